from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from plimsoll.kube.errors import KubeError
from plimsoll.webhook import background as module
from plimsoll.webhook.alerts import Alerts
from plimsoll.webhook.background import Background
from plimsoll.webhook.settings import Settings


class Ill:
    """An API server that answers after some refusals."""

    def __init__(self, refusals):
        self.refusals = refusals
        self.config = SimpleNamespace(namespace="plimsoll-system")

    async def get(self, path):
        if self.refusals:
            self.refusals -= 1
            raise KubeError(f"GET {path}: refused", status=403)
        return {"items": [], "metadata": {}}


class Alone:
    leading = True

    async def wait(self):
        return


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "_LOOK", 0.001)
    monkeypatch.setattr(module, "_RETRY", 0.001)


async def test_a_round_that_failed_is_tried_again_soon(quick):
    policies = SimpleNamespace(policies=SimpleNamespace(generation=1), ready=True)
    settings = Settings(background=True, background_seconds=3600.0)
    found = Background(Ill(2), settings, policies, None, Alone(), Alerts([]))
    task = asyncio.create_task(found.run())
    try:
        async with asyncio.timeout(5):
            while not found.findings.rounds:  # noqa: ASYNC110  a counter changes
                await asyncio.sleep(0.001)
        # And when all is well, not before its time, unless policies change.
        await asyncio.sleep(0.05)
        assert found.findings.rounds == 1
        policies.policies = SimpleNamespace(generation=2)
        async with asyncio.timeout(5):
            while found.findings.rounds < 2:  # noqa: ASYNC110  a counter changes
                await asyncio.sleep(0.001)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(
    ("told", "digest"),
    [
        ("registry.example/app@sha256:" + "1" * 64, "sha256:" + "1" * 64),
        ("docker-pullable://app@sha256:" + "1" * 64, "sha256:" + "1" * 64),
        ("sha256:" + "1" * 64, None),
        ("app@sha1:abc", None),
        ("", None),
        (None, None),
    ],
)
def test_the_digest_that_runs_is_what_the_node_tells(told, digest):
    status = {"containerStatuses": [{"name": "c", "imageID": told}]}
    found = module._running({"status": status})
    assert found == ({"c": digest} if digest else {})
    assert module._running({}) == {}
