"""openmetrics.py - reads OpenMetrics text from stdin with the parser of python3-prometheus-client, prints its samples as JSON

Run by /usr/bin/python3, for which Debian installs that package. The parser is strict: it ends with an error for what the
format does not allow.
"""
import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

text = sys.stdin.buffer.read().decode("utf-8")
print(json.dumps([[family.name, family.type, family.documentation, sample.name, sample.labels, sample.value]
    for family in text_string_to_metric_families(text) for sample in family.samples]))
