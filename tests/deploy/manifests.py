"""Holds Kubernetes' manifests against its schemas: manifests.py VERSION... <MANIFESTS

Prints the manifests as one list of JSON. A field that Kubernetes does not know is an error, as it is to `kubectl apply`. The
kinds of Prometheus' operator are held against what cloudcoil made of its definitions.
"""

import functools
import json
import os
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

OPERATOR = "monitoring.coreos.com/v1"

# It would read the definitions of a version, 2 MB, for each manifest again.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


@functools.cache
def operator_schemas():
    """The schemas of the operator's kinds. To make them takes seconds, so they are kept beside the packages."""
    kept = Path(kubernetes_validate.__file__).parent.parent / "operator-schemas.json"
    if not kept.exists():
        from cloudcoil.pydantic import BaseModel

        BaseModel.model_config["extra"] = "forbid"
        from cloudcoil.models.prometheus_operator import v1

        kinds = {kind: getattr(v1, kind).model_json_schema() for kind in ("PodMonitor", "PrometheusRule")}
        new = kept.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(kinds))
        new.replace(kept)
    return json.loads(kept.read_text())


def validate(manifest, version):
    if manifest["apiVersion"] == OPERATOR:
        validator = jsonschema.Draft202012Validator(operator_schemas()[manifest["kind"]])
        if error := jsonschema.exceptions.best_match(validator.iter_errors(manifest)):
            raise error
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


manifests = [manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest]
for manifest in manifests:
    for version in sys.argv[1:]:
        try:
            validate(manifest, version)
        except jsonschema.ValidationError as error:
            place = ".".join(str(part) for part in error.path)
            sys.exit(f"{manifest['kind']} {manifest['metadata']['name']}: {place}: {error.message}")
json.dump(manifests, sys.stdout)
