"""Rewrites an image's archive without what differs from build to build: same.py ARCHIVE

buildah notes the container, its host name and the images in between in the configuration of an image in Docker's format.
"""

import hashlib
import io
import json
import os
import sys
import tarfile

path = sys.argv[1]
with tarfile.open(path) as old:
    manifest = json.load(old.extractfile("manifest.json"))[0]
    config = json.load(old.extractfile(manifest["Config"]))
    layers = {name: old.extractfile(name).read() for name in manifest["Layers"]}
for key in ("container", "parent", "container_config"):
    config.pop(key, None)
config["config"]["Hostname"] = ""
for step in config["history"]:
    step.pop("comment", None)
config = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
name = hashlib.sha256(config).hexdigest() + ".json"
tags = [tag for tag in manifest["RepoTags"] if not tag.startswith("localhost/")]
manifest = json.dumps([{"Config": name, "RepoTags": tags, "Layers": list(layers)}]).encode()
with tarfile.open(path + ".new", "w") as new:
    for name, data in [*layers.items(), (name, config), ("manifest.json", manifest)]:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        new.addfile(entry, io.BytesIO(data))
os.replace(path + ".new", path)
