"""Holds TOML files against a JSON Schema: schema.py SCHEMA FILE...

A line for each file: its path, a tab, and the first thing that is wrong with it, or nothing."""

import json
import sys
import tomllib

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)

for path in sys.argv[2:]:
    with open(path, "rb") as file:
        error = best_match(validator.iter_errors(tomllib.load(file)))
    wrong = f"{error.json_path}: {error.message}".splitlines()[0] if error else ""
    print(path, wrong, sep="\t")
