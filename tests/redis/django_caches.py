"""Uses each cache of a file with Django's CACHES as an application does: django_caches.py FILE

A line for each: its name, and `works`, or the type of the exception. A value that does not come back is `lost`."""

import json
import sys

import django
from django.conf import settings
from django.core.cache import caches

with open(sys.argv[1], encoding="utf-8") as file:
    settings.configure(CACHES=json.load(file))
django.setup()

for name in settings.CACHES:
    try:
        caches[name].set("application", name, timeout=60)
        # A read goes to any replica.
        read = {caches[name].get("application") for _ in range(4)}
        print(name, "works" if read == {name} else "lost")
    except Exception as error:
        print(name, type(error).__name__)
