"""The main job, promise by promise, on the real cluster with the installed chart."""

from __future__ import annotations

import pytest

from scenario.checks import CHECKS

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_promise(world, check):
    assert check.run(world)
