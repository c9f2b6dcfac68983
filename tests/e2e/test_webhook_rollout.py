"""The webhook's pods are replaced under load, and nobody notices."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.kube.errors import KubeError
from scenario.shell import wait_for
from scenario.world import SYSTEM, TEAM

pytestmark = pytest.mark.e2e

RATE = 25


def pod(image):
    container = {"name": "c", "image": image}
    metadata = {"generateName": "rollout-", "namespace": TEAM}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container]},
    }


async def test_not_one_admission_is_lost_in_a_rolling_update(world):
    """Pods are asked for by the clock; nothing is stored, but the webhook is asked each time."""
    path = f"/api/v1/namespaces/{TEAM}/pods?dryRun=All"
    good, bad = world.own_image, f"{world.registry}/plimsoll/plimsoll@sha256:{'0' * 64}"
    counts: Counter[str] = Counter()
    faults: list[str] = []

    async def ask(api, image):
        try:
            await api.create(path, pod(image))
            counts["admitted" if image == good else "wrong"] += 1
        except KubeError as error:
            refused = error.status == 403 and "denied the request" in str(error)
            if image == bad and refused:
                counts["refused"] += 1
            else:
                faults.append(str(error))

    async with KubeClient(KubeConfig.from_file(world.cluster.kubeconfig), agent="load") as api:
        rollout = asyncio.create_task(asyncio.to_thread(replace_pods, world))
        loop = asyncio.get_running_loop()
        begin, number = loop.time(), 0
        async with asyncio.TaskGroup() as tasks:
            while not rollout.done():
                number += 1
                await asyncio.sleep(max(0.0, begin + number / RATE - loop.time()))
                tasks.create_task(ask(api, bad if number % 5 == 0 else good))
        old, new = await rollout
    assert not old & new, "every pod was replaced"
    assert not faults, (len(faults), faults[:3])
    assert not counts["wrong"]
    assert counts["admitted"] > 10 * RATE / 2
    assert counts["refused"]


def pods(world):
    selector = "app.kubernetes.io/component=webhook"
    found = world.get("pods", "-n", SYSTEM, "-l", selector)["items"]
    return {one["metadata"]["name"] for one in found}


def replace_pods(world):
    """Names of the pods before and after, once the last old one has ended."""
    before = pods(world)
    deployment = ("deployment/plimsoll-webhook", "-n", SYSTEM)
    world.kubectl("rollout", "restart", *deployment)
    world.kubectl("rollout", "status", *deployment, "--timeout=180s")
    wait_for("the old pods to end", lambda: not before & pods(world), seconds=60)
    return before, pods(world)
