"""The main job, promise by promise, on the real cluster with the installed chart."""

from __future__ import annotations

import pytest

from scenario.checks import CHECKS
from scenario.prepare import prepare

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def world(cluster, tmp_path_factory):
    """The cluster with base packages, our own image and the chart on it."""
    return prepare(cluster, print, tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_promise(world, check):
    assert check.run(world)
