"""Says whether what comes in is a description in OpenAPI: nothing, or what is wrong with it and code 1."""

import json
import sys

from openapi_spec_validator import validate

validate(json.load(sys.stdin))
