"""The shards that a real client chooses for keys: {"client", "urls", "keys"} in, their numbers out, both as JSON."""

import json
import sys
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

asked = json.load(sys.stdin)
urls = asked["urls"]


def rb_host(url):
    parts = urlsplit(url)
    host = {
        "host": parts.netloc.rpartition("@")[2].rpartition(":")[0],
        "port": parts.port,
        "db": int(parts.path.lstrip("/") or 0),
    }
    if parts.password:
        host["password"] = unquote(parts.password)
    if parts.scheme == "rediss":
        host["ssl"] = True
    return host


if asked["client"] == "django-redis":
    from django_redis.client.sharded import ShardClient
    from django_redis.hash_ring import HashRing

    client = SimpleNamespace(_ring=HashRing(urls), _findhash=ShardClient._findhash)
    places = [urls.index(ShardClient.get_server_name(client, key)) for key in asked["keys"]]
else:
    from rb import Cluster
    from rb.router import ConsistentHashingRouter, PartitionRouter

    router = {"rb": PartitionRouter, "rb-ketama": ConsistentHashingRouter}[asked["client"]]
    cluster = Cluster(hosts=dict(enumerate(map(rb_host, urls))), router_cls=router)
    places = [cluster.get_router().get_host_for_key(key) for key in asked["keys"]]
    places = [getattr(place, "host_id", place) for place in places]
print(json.dumps(places))
