from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
import structlog
from aiohttp import web

from plimsoll.http import RetryPolicy
from plimsoll.webhook.alerts import Alert, Alerts, read_receivers
from plimsoll.webhook.errors import NotConfiguredError

ALERT = Alert(
    "running", "team", "ReplicaSet app", 'registry.example/app@sha256:1"', "signed", "no signature"
)
FAST = RetryPolicy(attempts=3, base=0.01, longest=0.05)


@contextlib.asynccontextmanager
async def receiver(*statuses):
    """A server that answers in turn, and then 200; its URL with a secret in it, what it got."""
    got, left = [], list(statuses)

    async def take(request):
        got.append((request.headers, await request.json()))
        return web.Response(status=left.pop(0) if left else 200)

    app = web.Application()
    app.router.add_post("/hook/{secret}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook/s3cret", got
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def sending(tmp_path, document):
    path = tmp_path / "alerts.yaml"
    path.write_text(json.dumps(document))
    alerts = Alerts(read_receivers(path), FAST)
    task = asyncio.create_task(alerts.run())
    try:
        yield alerts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  a counter changes
            await asyncio.sleep(0.005)


async def test_a_chat_gets_one_line(tmp_path):
    async with receiver() as (url, got):
        document = {"receivers": [{"name": "chat", "slack": {"url": url}}]}
        async with sending(tmp_path, document) as alerts:
            alerts.tell(ALERT)
            await until(lambda: alerts.sent)
    ((_, body),) = got
    assert body == {
        "text": 'plimsoll: ReplicaSet app in team: registry.example/app@sha256:1" runs, and would '
        "be refused now: no signature"
    }


async def test_a_template_keeps_its_shape_whatever_is_put_in(tmp_path):
    async with receiver() as (url, got):
        template = '{"title": "${policy}", "fields": [{"image": "${image}", "n": 1}]}'
        hook = {"url": url, "headers": {"Authorization": "Bearer t0ken"}, "template": template}
        async with sending(tmp_path, {"receivers": [{"name": "n", "webhook": hook}]}) as alerts:
            alerts.tell(ALERT)
            await until(lambda: alerts.sent)
    ((headers, body),) = got
    assert body == {"title": "signed", "fields": [{"image": ALERT.image, "n": 1}]}
    assert headers["Authorization"] == "Bearer t0ken"


async def test_a_receiver_that_stumbles_is_asked_again(tmp_path):
    async with receiver(503, 429) as (url, got):
        document = {"receivers": [{"name": "chat", "slack": {"url": url}}]}
        async with sending(tmp_path, document) as alerts:
            alerts.tell(ALERT)
            await until(lambda: alerts.sent)
    assert len(got) == 3


@pytest.mark.parametrize("status", [403, 500])
async def test_no_secret_is_logged(tmp_path, status):
    async with receiver(*[status] * 3) as (url, got):
        hook = {"url": url, "headers": {"Authorization": "Bearer t0ken"}}
        document = {"receivers": [{"name": "n", "webhook": hook}]}
        with structlog.testing.capture_logs() as lines:
            async with sending(tmp_path, document) as alerts:
                alerts.tell(ALERT)
                await until(lambda: alerts.failed)
    assert len(got) == (3 if status == 500 else 1)
    assert str(status) in json.dumps(lines)
    assert "s3cret" not in json.dumps(lines)
    assert "t0ken" not in json.dumps(lines)


async def test_a_receiver_that_is_not_there_is_not_named_either(tmp_path, caplog):
    caplog.set_level("DEBUG", "plimsoll")
    async with receiver() as (url, _):
        pass
    document = {"receivers": [{"name": "n", "slack": {"url": url}}]}
    with structlog.testing.capture_logs() as lines:
        async with sending(tmp_path, document) as alerts:
            alerts.tell(ALERT)
            await until(lambda: alerts.failed)
    assert lines[0]["receiver"] == "n"
    assert "s3cret" not in json.dumps(lines) + caplog.text


async def test_who_did_not_ask_is_not_told_and_nobody_twice(tmp_path):
    async with receiver() as (url, got):
        document = {"receivers": [{"name": "n", "slack": {"url": url}, "events": ["refused"]}]}
        async with sending(tmp_path, document) as alerts:
            alerts.tell(ALERT)
            for _ in range(3):
                alerts.tell(Alert("refused", "t", "Pod p", "i", "p", "m"))
            alerts.tell(Alert("refused", "t", "Pod q", "i", "p", "m"))
            await until(lambda: alerts.sent == 2)
    assert [body["text"].split()[2] for _, body in got] == ["p", "q"]


def test_more_than_can_be_sent_is_counted():
    alerts = Alerts([read_one()])
    for number in range(600):
        alerts.tell(Alert("running", "t", f"Pod {number}", "i", "p", "m"))
    assert alerts.failed == 100


def read_one():
    from plimsoll.webhook.alerts import Receiver, Slack  # noqa: PLC0415

    return Receiver(name="n", slack=Slack(url="http://localhost:1/"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("receivers: [{name: n}]", "n needs one of slack and webhook"),
        ("receivers: [{name: n, slack: {url: 'https://x/s3cret', uri: 1}}]", "slack.uri"),
        ("receivers: [{name: n, slack: {url: 's3cret'}}]", "url of n is no web address"),
        ("receivers: [{name: n, slack: {url: 'https://x'}, events: [never]}]", "events.0"),
        ("receivers: [{name: n, webhook: {url: 'https://x', template: '{'}}]", "template"),
        (
            "receivers: [{name: n, webhook: {url: 'https://x', template: '{\"a\": \"$b\"}'}}]",
            "template",
        ),
        ("[", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_says_where_and_repeats_nothing(tmp_path, text, says):
    path = tmp_path / "alerts.yaml"
    path.write_text(text)
    with pytest.raises(NotConfiguredError) as caught:
        read_receivers(path)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)
