"""The watch of ConfigMaps against a server that says what a test wrote down."""

import asyncio
import contextlib
import json
import ssl

from aiohttp import web

from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.operator import configmaps
from plimsoll.operator.configmaps import watch_config_maps


class Notes:
    def __init__(self):
        self.seen = []
        self.news = asyncio.Event()

    def notice_config_map(self, namespace, name):
        self.seen.append((namespace, name))
        self.news.set()


def changed(name, version, kind="MODIFIED"):
    meta = {"namespace": "n", "name": name, "resourceVersion": version}
    return json.dumps({"type": kind, "object": {"metadata": meta}}).encode() + b"\n"


@contextlib.asynccontextmanager
async def server(answers):
    """Answers watches one after the other; the last one stays open."""
    asked = []

    async def handle(request):
        asked.append(
            dict(request.query) | {"accept": request.headers["Accept"], "path": request.path}
        )
        if "watch" not in request.query:
            return web.json_response({"metadata": {"resourceVersion": "10"}, "items": []})
        if answers and answers[0] == 403:
            return web.json_response({"message": "no"}, status=403)
        response = web.StreamResponse()
        await response.prepare(request)
        for line in answers.pop(0) if answers else ():
            await response.write(line)
        if not answers:
            await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/{where:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        config = KubeConfig(
            server=f"http://127.0.0.1:{runner.addresses[0][1]}", tls=ssl.create_default_context()
        )
        async with KubeClient(config, agent="test") as kube:
            yield kube, asked
    finally:
        await runner.cleanup()


async def test_changes_are_told_and_the_watch_goes_on(monkeypatch):
    monkeypatch.setattr(configmaps, "_PAUSE", 0.01)
    gone = json.dumps({"type": "ERROR", "object": {"code": 410}}).encode() + b"\n"
    answers = [
        [changed("a", "11"), changed("x", "12", "BOOKMARK")],
        [gone],
        [changed("b", "13", "ADDED")],
    ]
    async with server(answers) as (kube, asked):
        notes = Notes()
        task = asyncio.create_task(watch_config_maps(kube, notes, ()))
        async with asyncio.timeout(10):
            while len(notes.seen) < 2:
                notes.news.clear()
                await notes.news.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert notes.seen == [("n", "a"), ("n", "b")]
    watches = [each for each in asked if "watch" in each]
    assert [each["resourceVersion"] for each in watches] == ["10", "12", "10"]
    assert all("PartialObjectMetadata" in each["accept"] for each in watches)


async def test_without_the_right_it_ends_and_nothing_else_does():
    async with server([403]) as (kube, _):
        async with asyncio.timeout(10):
            await watch_config_maps(kube, Notes(), ())


async def test_some_namespaces():
    async with server([403]) as (kube, asked):
        async with asyncio.timeout(10):
            await watch_config_maps(kube, Notes(), ("n", "m"))
    assert {each["path"] for each in asked} == {
        "/api/v1/namespaces/n/configmaps",
        "/api/v1/namespaces/m/configmaps",
    }
