"""Packages' own SPDX documents merged as the published image documents show."""

from __future__ import annotations

import json

import pytest

from plimsoll.builder.licences import Licences
from plimsoll.builder.spdx import Graph
from plimsoll.builder.spdxclean import Cleaner
from shared_data import shared

FOLDER = shared("spdx")
CASES = json.loads((FOLDER / "expected.json").read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_merge(case):
    expected = json.loads((FOLDER / case["expect"]).read_text())
    system = case["os"]["name"]
    graph, left_out = Graph(), []
    layer = expected["documentDescribes"][0]
    for package in case["packages_in_install_order"]:
        own = json.loads((FOLDER / package["apk_sbom"]).read_text())
        cleaner = Cleaner(Licences(), left_out.append)
        for name in graph.merge(own, f"Organization: {system}", cleaner):
            graph.relate(layer, "CONTAINS", name)
    # The first two packages are the layer and the system.
    assert graph.packages == expected["packages"][2:]
    assert graph.relationships == expected["relationships"]
    assert list(graph.licences.values()) == expected.get("hasExtractedLicensingInfos", [])
    assert not left_out
    assert len({p["SPDXID"] for p in graph.packages}) == len(graph.packages)
