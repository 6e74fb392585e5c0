"""Holds the documents that come in, one a line, against a JSON Schema: conform.py SCHEMA

A line for each document: the first thing that is wrong with it, or nothing."""

import json
import sys

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)

for line in sys.stdin:
    error = best_match(validator.iter_errors(json.loads(line)))
    print(f"{error.json_path}: {error.message}".splitlines()[0] if error else "")
