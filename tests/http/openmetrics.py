"""Reads metrics from standard input: openmetrics.py openmetrics|text. What the parser has against them is an error; else
the name and type of each family is printed.
"""

import sys

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

families = {"openmetrics": openmetrics, "text": parser}[sys.argv[1]].text_string_to_metric_families(sys.stdin.read())
for family in families:
    print(family.name, family.type, len(family.samples))
