import ssl

import pytest
from aiohttp import web

from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.kube.errors import KubeError
from plimsoll.kube.paths import path


class Api:
    """A server that answers as it is told and remembers what it was asked."""

    def __init__(self):
        self.answers, self.asked = [], []

    async def handle(self, request):
        body = await request.text()
        self.asked.append((request.method, request.path_qs, dict(request.headers), body))
        answer = self.answers.pop(0)
        if isinstance(answer, web.Response):
            return answer
        return web.json_response(answer)


@pytest.fixture
async def api():
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", api.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.config = KubeConfig(
        server=f"http://127.0.0.1:{runner.addresses[0][1]}",
        tls=ssl.create_default_context(),
        token="secret",
    )
    yield api
    await runner.cleanup()


@pytest.fixture
async def kube(api):
    async with KubeClient(api.config, agent="test/1", timeout=5) as kube:
        yield kube


def status(code, message="no"):
    return web.json_response({"kind": "Status", "message": message}, status=code)


async def test_we_say_who_we_are(api, kube):
    api.answers = [{}]
    await kube.get("/api")
    ((_, _, headers, _),) = api.asked
    assert headers["Authorization"] == "Bearer secret"
    assert headers["User-Agent"] == "test/1"


async def test_lists_come_page_by_page(api, kube):
    api.answers = [
        {"items": [1], "metadata": {"continue": "more"}},
        {"items": [2], "metadata": {}},
    ]
    assert await kube.list("/jobs", labels="a=b") == [1, 2]
    first, second = (asked[1] for asked in api.asked)
    assert "labelSelector=a%3Db" in first
    assert "continue=more" in second
    assert "labelSelector=a%3Db" in second


async def test_an_empty_list_may_be_null(api, kube):
    api.answers = [{"items": None, "metadata": {}}]
    assert await kube.list("/jobs") == []


async def test_what_is_not_there(api, kube):
    api.answers = [status(404), status(404)]
    assert await kube.find("/x") is None
    assert await kube.delete("/x") is False


@pytest.mark.parametrize(
    ("code", "retryable"),
    [(400, False), (403, False), (409, True), (422, False), (429, True), (500, True), (503, True)],
)
async def test_refusals_carry_the_status_and_the_servers_words(api, kube, code, retryable):
    api.answers = [status(code, "exceeded quota")]
    with pytest.raises(KubeError, match="exceeded quota") as caught:
        await kube.create("/jobs", {})
    assert caught.value.status == code
    assert caught.value.retryable is retryable
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "answer", [web.Response(text="<html>"), web.Response(text="[1]"), web.Response(text="")]
)
async def test_what_is_no_object(api, kube, answer):
    api.answers = [answer]
    with pytest.raises(KubeError, match="answer is no"):
        await kube.get("/x")


async def test_redirects_are_not_followed(api, kube):
    api.answers = [web.Response(status=302, headers={"Location": "/elsewhere"})]
    with pytest.raises(KubeError, match="302"):
        await kube.get("/x")
    assert len(api.asked) == 1


async def test_no_server():
    config = KubeConfig(server="http://127.0.0.1:1", tls=ssl.create_default_context())
    async with KubeClient(config, agent="t") as kube:
        with pytest.raises(KubeError) as caught:
            await kube.get("/x")
    assert caught.value.retryable
    assert caught.value.status == 0


async def test_methods(api, kube):
    api.answers = [{}, {}, {}]
    await kube.replace("/x/status", {"a": 1})
    await kube.merge("/x", {"a": None})
    await kube.delete("/x")
    methods = [(m, h["Content-Type"], b) for m, _, h, b in api.asked]
    assert methods == [
        ("PUT", "application/json", '{"a": 1}'),
        ("PATCH", "application/merge-patch+json", '{"a": null}'),
        ("DELETE", "application/json", '{"propagationPolicy": "Background"}'),
    ]


def test_paths():
    assert path("Pod", "team") == "/api/v1/namespaces/team/pods"
    assert path("Job", "team", "a") == "/apis/batch/v1/namespaces/team/jobs/a"
    where = "/apis/plimsoll.dev/v1alpha1/namespaces/team/imagebuilds/a/status"
    assert path("ImageBuild", "team", "a", "status") == where
    assert path("ImageBuild") == "/apis/plimsoll.dev/v1alpha1/imagebuilds"
    assert path("Pod", "a/b", "../c") == "/api/v1/namespaces/a%2Fb/pods/..%2Fc"
