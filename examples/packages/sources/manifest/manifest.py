"""Adds up a cargo manifest: lines of ``item,weight in tonnes`` on standard input."""

import csv
import json
import sys


def total(lines):
    """Weight by item, and of all."""
    weights = {}
    for item, weight in csv.reader(lines):
        weights[item] = weights.get(item, 0.0) + float(weight)
    return {"items": weights, "total": sum(weights.values())}


def main():
    """Print the sums as JSON."""
    try:
        print(json.dumps(total(sys.stdin), sort_keys=True))
    except ValueError as error:
        sys.exit(f"manifest: {error}")
