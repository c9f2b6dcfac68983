"""The informer against a server that does what API servers do on bad days."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl

import pytest
from aiohttp import web

from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.webhook.informer import Informer

_PATH = "/apis/g/v1/things"


def _item(name, version, **spec):
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": spec}


def _listed(version, *items, **metadata):
    return {"metadata": {"resourceVersion": str(version), **metadata}, "items": list(items)}


class Script:
    """Answers lists and watches one after the other; the last watch stays open."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.queries = []
        self.idle = asyncio.Event()

    async def handle(self, request):
        self.queries.append(dict(request.query))
        if not self.answers:
            self.idle.set()
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            return web.json_response({"message": "no"}, status=answer)
        if isinstance(answer, dict):
            return web.json_response(answer)
        response = web.StreamResponse()
        await response.prepare(request)
        for event in answer:
            data = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
            for part in (data[:5], data[5:]):
                await response.write(part)
        return response


@contextlib.asynccontextmanager
async def following(*answers, **options):
    """An informer that follows a scripted server, once the script is done."""
    script = Script(*answers)
    app = web.Application()
    app.router.add_get(_PATH, script.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    config = KubeConfig(server, ssl.create_default_context(), token="t")
    changes = []
    async with KubeClient(config, agent="test") as client:
        informer = Informer(client, _PATH, lambda: changes.append(1), backoff=0.01, **options)
        task = asyncio.create_task(informer.run())
        try:
            async with asyncio.timeout(10):
                await script.idle.wait()
            yield informer, script, changes
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await runner.cleanup()


async def test_a_list_in_pages_is_followed():
    async with following(
        _listed(5, _item("a", 1), **{"continue": "next"}),
        _listed(5, _item("b", 2)),
        [
            {"type": "ADDED", "object": _item("c", 6)},
            {"type": "MODIFIED", "object": _item("a", 7, x=1)},
            {"type": "DELETED", "object": _item("b", 8)},
            {"type": "BOOKMARK", "object": _item("", 9)},
        ],
    ) as (informer, script, changes):
        assert sorted(informer.objects) == ["a", "c"]
        assert informer.objects["a"]["spec"] == {"x": 1}
        assert informer.synced.is_set()
        assert len(changes) == 4
        assert script.queries[1]["continue"] == "next"
        assert [q.get("resourceVersion") for q in script.queries[2:]] == ["5", "9"]
        assert informer.problem == ""


async def test_a_version_that_is_gone_is_listed_anew():
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
    async with following(_listed(1, _item("a", 1)), [gone], _listed(9, _item("b", 9))) as (
        informer,
        script,
        _,
    ):
        assert list(informer.objects) == ["b"]
        assert script.queries[-1]["resourceVersion"] == "9"


@pytest.mark.parametrize(
    "broken",
    [
        500,
        403,
        [b"not json\n"],
        [{"type": "ERROR", "object": {"code": 500}}],
        [b"[]\n"],
    ],
)
async def test_the_last_known_objects_stay_while_the_server_is_ill(broken):
    async with following(_listed(1, _item("a", 1)), broken, 500, 503, 429) as (
        informer,
        _,
        changes,
    ):
        assert list(informer.objects) == ["a"]
        assert informer.synced.is_set()
        assert informer.problem
        assert len(changes) == 1


async def test_nothing_is_known_before_the_first_list():
    async with following(500, 403, 404) as (informer, _, changes):
        assert not informer.synced.is_set()
        assert "404" in informer.problem
        assert not changes


async def test_an_optional_kind_may_be_unknown(monkeypatch):
    monkeypatch.setattr("plimsoll.webhook.informer._ABSENT_SECONDS", 0.01)
    async with following(404, 404, _listed(3, _item("a", 3)), optional=True) as (informer, _, _c):
        assert informer.synced.is_set()
        assert list(informer.objects) == ["a"]
    async with following(_listed(3, _item("a", 3)), 404, 404, optional=True) as (informer, _, _c):
        # It was uninstalled.
        assert informer.objects == {}
