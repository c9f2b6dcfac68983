"""What policies take from elsewhere: asked for, checked, and kept where it cannot be had anew."""

from __future__ import annotations

import hashlib

import pytest
from aiohttp import web

from plimsoll.http import NO_RETRY, Http
from plimsoll.kube.errors import KubeError
from plimsoll.webhook import externals as module
from plimsoll.webhook.externals import Externals, fetch_text
from plimsoll.webhook.needs import Needs

RULE = b"true"
CHECKSUM = hashlib.sha256(RULE).hexdigest()


@pytest.fixture
async def server():
    state = {"body": RULE, "status": 200}

    async def answer(_):
        return web.Response(body=state["body"], status=state["status"])

    app = web.Application()
    app.router.add_get("/rule", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    state["url"] = f"http://127.0.0.1:{runner.addresses[0][1]}/rule"
    yield state
    await runner.cleanup()


@pytest.mark.parametrize(
    ("body", "status", "fault"),
    [
        (RULE, 200, ""),
        (b"false", 200, "another text than sha256sum says"),
        (RULE, 404, "404"),
        (b"x" * (module.RULE_LIMIT + 1), 200, "over 1048576"),
    ],
)
async def test_a_text_must_have_its_checksum(server, body, status, fault):
    server["body"], server["status"] = body, status
    async with Http(retry=NO_RETRY) as http:
        found = await fetch_text(http, server["url"], CHECKSUM)
    assert fault in found.fault
    assert found.text == (None if fault else "true")


async def test_a_text_must_be_text(server):
    server["body"] = b"\xff"
    async with Http(retry=NO_RETRY) as http:
        found = await fetch_text(http, server["url"], hashlib.sha256(b"\xff").hexdigest())
    assert found.fault.endswith("has no text")


async def test_a_policy_does_not_make_us_ask_this_machine(server):
    kept = Externals("own")
    await kept.update([Needs(remote=frozenset({(server["url"], CHECKSUM)}))])
    assert "loopback" in kept.texts.remote[CHECKSUM].fault


async def test_config_maps_are_read_and_kept():
    answers = {"rules": {"data": {"a": "true"}}}

    async def read(name):
        found = answers.get(name, 404)
        if isinstance(found, int):
            raise KubeError("no", status=found)
        return found

    kept = Externals("own", read)
    wanted = [Needs(config_maps=frozenset({"rules", "absent"}))]
    assert await kept.update(wanted)
    assert kept.texts.config_maps == {"rules": {"a": "true"}, "absent": None}
    answers["rules"] = 500
    assert not await kept.update(wanted)
    assert kept.texts.config_maps["rules"] == {"a": "true"}, "the last good one"
    answers["rules"] = 404
    assert await kept.update(wanted)
    assert kept.texts.config_maps["rules"] is None, "one that is no more is no more"
