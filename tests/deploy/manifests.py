"""Holds Kubernetes' manifests against its schemas: manifests.py VERSION <MANIFESTS

Prints the manifests as one list of JSON. A field that Kubernetes does not know is an error, as it is to `kubectl apply`.
"""

import json
import sys

import kubernetes_validate
import yaml

version = sys.argv[1]
manifests = list(yaml.safe_load_all(sys.stdin))
for manifest in manifests:
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(str(part) for part in error.path)
        sys.exit(f"{manifest['kind']} {manifest['metadata']['name']}: {place}: {error.message}")
json.dump(manifests, sys.stdout)
