"""Where the conformance data lies, which a checkout does not carry."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"


def shared(name: str) -> Path:
    """The folder or file ``name`` of the conformance data; skips the test where it is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(
            f"conformance data {name!r} is not here (looked in ../shared/data)",
            allow_module_level=True,
        )
    return path
