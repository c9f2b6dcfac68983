"""What is carried out, against a server that keeps objects and refuses what a test says."""

import contextlib
import ssl

import pytest
from aiohttp import web

from plimsoll.apk.keys import SigningKey
from plimsoll.kube.client import KubeClient
from plimsoll.kube.config import KubeConfig
from plimsoll.kube.errors import KubeError
from plimsoll.operator.act import carry_out
from plimsoll.operator.state import Apply, Create, Delete, MakeKey

POLICIES = "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies"
SECRETS = "/api/v1/namespaces/n/secrets"


class Server:
    """A few verbs of an API server."""

    def __init__(self):
        self.objects, self.calls, self.refuse = {}, [], {}

    async def handle(self, request):
        self.calls.append(f"{request.method} {request.path_qs}")
        if request.path in self.refuse:
            return web.json_response({"message": "no"}, status=self.refuse[request.path])
        if request.method == "DELETE":
            gone = self.objects.pop(request.path, None)
            return web.json_response({}, status=200 if gone else 404)
        body = await request.json()
        where = request.path
        if request.method == "POST":
            where = f"{where}/{body['metadata']['name']}"
            if where in self.objects:
                return web.json_response({"message": "exists"}, status=409)
            if "dryRun" in request.query:
                return web.json_response(body)
        self.objects[where] = body
        return web.json_response(body)


@pytest.fixture
async def server():
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{where:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        config = KubeConfig(server=url, tls=ssl.create_default_context())
        server.kube = await stack.enter_async_context(KubeClient(config, agent="test"))
        yield server


def policy(**spec):
    meta = {"name": "p", "namespace": "n"}
    return {"kind": "NetworkPolicy", "metadata": meta, "spec": spec}


async def test_what_somebody_changed_is_put_right(server):
    await carry_out(server.kube, [Apply(policy(policyTypes=["Egress"]))])
    server.objects[f"{POLICIES}/p"] = policy(egress=[{}])
    assert await carry_out(server.kube, [Apply(policy(policyTypes=["Egress"]))]) == ""
    assert server.objects[f"{POLICIES}/p"]["spec"] == {"policyTypes": ["Egress"]}


async def test_what_is_there_is_left_as_it_is(server):
    server.objects[f"{POLICIES}/p"] = policy(a=1)
    await carry_out(server.kube, [Create(policy(a=2))])
    assert server.objects[f"{POLICIES}/p"]["spec"] == {"a": 1}


async def test_a_key_is_made_once(server, monkeypatch):
    made, key = [], SigningKey.generate("small.rsa.pub", 2048)

    def generate(name):
        made.append(name)
        return key

    monkeypatch.setattr(SigningKey, "generate", generate)
    action = MakeKey("n", "ours-signing", "team-ours")
    for _ in range(2):
        assert await carry_out(server.kube, [action]) == ""
    (name,) = made
    secret = server.objects[f"{SECRETS}/ours-signing"]
    assert set(secret["stringData"]) == {name, name.removesuffix(".pub")}
    assert "PRIVATE KEY" in secret["stringData"][name.removesuffix(".pub")]
    assert "ownerReferences" not in secret["metadata"]
    assert not [call for call in server.calls if call.startswith("GET")], "no Secret is read"


async def test_a_refusal_is_told_and_ends_it(server):
    server.refuse[POLICIES] = 403
    said = await carry_out(server.kube, [Create(policy()), Delete("Job", "n", "j")])
    assert said.startswith("NetworkPolicy p cannot be created")
    assert len(server.calls) == 1


async def test_a_fault_that_may_pass_is_raised(server):
    server.refuse[POLICIES] = 503
    with pytest.raises(KubeError):
        await carry_out(server.kube, [Create(policy())])


async def test_what_is_gone_is_as_good_as_deleted(server):
    assert await carry_out(server.kube, [Delete("Job", "n", "j")]) == ""
