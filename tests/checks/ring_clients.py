"""Prints the servers that a client chooses for 2,000 keys: ring_clients.py CLIENT HOST[:PORT]...

The output is JSON: the names of the servers, and the place of the server of each key. The servers are real listeners that
note the keys which the client writes to them.
"""

import json
import socketserver
import sys
import threading

KEYS = [f"key:{number}" for number in range(2000)]
places = {}


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            words = line.split()
            if words[0] == b"set":
                self.rfile.readline()
                places[words[1].decode()] = self.server.place
                self.wfile.write(b"STORED\r\n")
            else:
                self.wfile.write(b"VERSION 1.6.18\r\n" if words[0] == b"version" else b"ERROR\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def start(place, host):
    name, _, port = host.partition(":")
    server = Server((name, int(port or 0)), Handler)
    server.place = place
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"{name}:{server.server_address[1]}"


def writer(client, servers):
    if client == "pymemcache":
        from pymemcache.client.hash import HashClient

        return HashClient(servers, default_noreply=False)
    if client == "python-memcached":
        import memcache

        return memcache.Client(servers)
    import pylibmc

    behaviors = {
        "libmemcached": {},
        "libmemcached-ketama": {"ketama": True},
        "libmemcached-ketama-weighted": {"ketama_weighted": True},
    }
    return pylibmc.Client(servers, behaviors=behaviors[client])


client, *hosts = sys.argv[1:]
servers = [start(place, host) for place, host in enumerate(hosts)]
cache = writer(client, servers)
for key in KEYS:
    cache.set(key, "1")
print(json.dumps([servers, [places[key] for key in KEYS]]))
