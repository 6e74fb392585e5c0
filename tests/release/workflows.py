"""Prints the jobs of workflows as JSON, by the name of the file: workflows.py FOLDER"""

import json
import sys
from pathlib import Path

import yaml

print(json.dumps({path.name: yaml.safe_load(path.read_text())["jobs"] for path in Path(sys.argv[1]).glob("*.yml")}))
