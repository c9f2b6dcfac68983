"""The glob rows of policy-controller."""

from __future__ import annotations

import pytest

from plimsoll.api.imageglob import Glob
from plimsoll.oci.errors import InvalidReferenceError
from plimsoll.oci.reference import Reference
from plimsoll.webhook.names import spellings
from shared_data import shared

_ROWS = [
    line.split("\t")
    for line in (shared("policy") / "glob.tsv").read_text().splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize(("image", "glob", "expect"), _ROWS, ids=lambda text: text)
def test_glob(image, glob, expect):
    try:
        compiled = Glob(glob)
        matched = any(compiled.matches(name) for name in spellings(Reference.parse(image)))
    except (ValueError, InvalidReferenceError):
        assert expect == "error"
    else:
        assert expect == ("match" if matched else "no-match")
