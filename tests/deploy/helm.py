"""Helm, on a chart:

helm.py lint CHART <VALUES               exits with 1 if there is a warning or an error, and prints it
helm.py template CHART RELEASE <VALUES   prints the manifests, in the namespace `caches`
helm.py notes CHART RELEASE <VALUES      prints the text that is shown after an installation
helm.py values CHART                     prints the default values as JSON
helm.py package CHART FOLDER             writes CHART-VERSION.tgz, and prints its path
helm.py dependencies CHART               puts the charts that it includes into its folder `charts`
"""

import json
import sys

import helm_python

command, path, *rest = sys.argv[1:]


def chart_values():
    return helm_python.values_from_yaml(sys.stdin.read())


def rendered():
    with helm_python.Chart.load(path) as chart:
        return chart.render(chart_values(), name=rest[0], namespace="caches")


try:
    if command == "lint":
        report = helm_python.lint(path, chart_values(), strict=True, namespace="caches")
        # 1 is a recommendation, such as that of an icon.
        faults = [fault["error"] for fault in report["messages"] if fault["severity"] > 1]
        if faults or report["errors"]:
            sys.exit("\n".join(faults + report["errors"]))
    elif command == "template":
        for file, text in sorted(rendered().items()):
            if not file.endswith("NOTES.txt") and text.strip():
                print(f"---\n# {file}\n{text}")
    elif command == "notes":
        texts = rendered()
        print("\n".join(texts[file] for file in sorted(texts) if file.endswith("NOTES.txt")))
    elif command == "values":
        with helm_python.Chart.load(path) as chart:
            print(json.dumps(chart.values))
    elif command == "package":
        print(helm_python.package(path, destination=rest[0]))
    elif command == "dependencies":
        helm_python.dependency_update(path)
    else:
        sys.exit(__doc__)
except helm_python.HelmError as error:
    sys.exit(str(error))
