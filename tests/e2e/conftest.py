"""The real cluster that end-to-end tests share."""

from __future__ import annotations

import os
import sys
from functools import partial

import pytest

import debian
import gotools
from cluster import HOW, Cluster, ClusterError, connect, unsupported
from scenario.prepare import prepare
from scenario.serve import stop
from scenario.team import Team
from scenario.world import give_key


@pytest.fixture(scope="session")
def cluster():
    """A fresh one-node cluster (``PLIMSOLL_KEEP_CLUSTER=1`` keeps it for the next session),
    or that of ``KUBECONFIG`` and ``PLIMSOLL_REGISTRY``."""
    keep = os.environ.get("PLIMSOLL_KEEP_CLUSTER") == "1"
    say = partial(print, "·", file=sys.stderr)
    one = connect(gotools.cache_dir() / "e2e-cluster", say=say)
    if isinstance(one, Cluster) and (why := unsupported()):
        pytest.skip(f"{why}. {HOW}")
    try:
        if not keep:
            one.down()
        one.up()
    except (ClusterError, gotools.ToolError, debian.MissingProgramError) as error:
        pytest.fail(f"no cluster: {error}", pytrace=False)
    try:
        yield one
    finally:
        if not keep:
            one.down()


@pytest.fixture(scope="session")
def world(cluster, tmp_path_factory):
    """The cluster with base packages, our own image and the chart on it."""
    world = prepare(cluster, print, tmp_path_factory.mktemp("world"))
    yield world
    stop(cluster)


@pytest.fixture
def team(world, request):
    name = f"op-{request.node.name.replace('test_', '').replace('_', '-')}"[:40].rstrip("-")
    world.kubectl("create", "namespace", name)
    give_key(world, name)
    yield Team(world, name)
    world.kubectl("delete", "namespace", name, "--wait=false")
