"""How many of 200 keys one real client of shards finds of those that another has written: CLIENT, and the URLs of each."""

import json
import sys
from types import SimpleNamespace

KEYS = [f"key:{number}" for number in range(200)]


def rb(urls):
    from urllib.parse import urlsplit

    from rb import Cluster

    parts = map(urlsplit, urls)
    hosts = {
        number: {"host": part.hostname, "port": part.port, "password": part.password}
        for number, part in enumerate(parts)
    }
    cluster = Cluster(hosts=hosts)
    # The routing client of rb 1.11 fails with redis-py 8, and so each key's own client is asked for.
    return SimpleNamespace(
        set=lambda key, value: cluster.get_local_client_for_key(key).set(key, value),
        get=lambda key: cluster.get_local_client_for_key(key).get(key),
    )


def django_redis(urls):
    from django.conf import settings

    if not settings.configured:
        settings.configure()
    from django_redis.cache import RedisCache

    options = {"CLIENT_CLASS": "django_redis.client.ShardClient"}
    return RedisCache(urls, {"OPTIONS": options})


client = {"rb": rb, "django-redis": django_redis}[sys.argv[1]]
writer, reader = (client(json.loads(urls)) for urls in sys.argv[2:4])
for key in KEYS:
    writer.set(key, "value")
print(sum(reader.get(key) is not None for key in KEYS))
