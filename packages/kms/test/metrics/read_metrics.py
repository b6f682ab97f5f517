"""Reads metrics from the standard input as Prometheus's own client does, and writes them as JSON."""

import json
import math
import sys

from prometheus_client.parser import text_string_to_metric_families

families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    if family.name in families:
        raise SystemExit(f"{family.name} is told twice")
    families[family.name] = {
        "type": family.type,
        "help": family.documentation,
        "samples": [
            {
                "name": sample.name,
                "labels": sample.labels,
                # A lag that was never measured is not a number, which JSON has no word for.
                "value": sample.value if math.isfinite(sample.value) else str(sample.value),
            }
            for sample in family.samples
        ],
    }
json.dump(families, sys.stdout)
