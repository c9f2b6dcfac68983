"""Everything that the webhook depends on is broken in turn: it refuses in time and says what it
misses, or goes on with what it knows and may still use.

Registries are broken in ``test_webhook_faults.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import pytest

from keyless_bundles import keyless_bundle
from miniature_sigstore import ISSUER, SUBJECT, MiniatureSigstore
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry
from plimsoll.signing.attach import attach_bundle
from plimsoll.signing.bundle import Bundle
from plimsoll.signing.privatekey import generate_key
from plimsoll.signing.sign import attest
from plimsoll.webhook import evaluate as evaluate_module
from plimsoll.webhook import store as store_module
from plimsoll.webhook.run import run
from plimsoll.webhook.trust import KnownRoots, parsed_root
from registries import crane_registry, free_port
from tuf_repository import TufRepository
from webhook_world import as_webhook, policy, webhook_world
from webhooks import for_tests, key_policy, pod, push_image, push_signed, review, serving

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("control-plane")]

KEY = generate_key()
PEM = KEY.public.pem.decode()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with webhook_world(tmp_path_factory.mktemp("cluster")) as world:
        # The webhook is asked by the tests themselves here, as no API server might be there.
        world.plane.kubectl("delete", "validatingwebhookconfigurations", "plimsoll-webhook")
        yield world


@dataclass
class Line:
    """A network line to a server that can be cut."""

    host: str
    port: int
    here: int = 0
    cut: bool = False
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def carry(self, reader, writer):
        if self.cut:
            writer.transport.abort()
            return
        other, outward = await asyncio.open_connection(self.host, self.port)
        self.open |= {writer, outward}
        await asyncio.gather(_pour(reader, outward), _pour(other, writer))

    def fail(self):
        self.cut = True
        for writer in self.open:
            writer.transport.abort()
        self.open.clear()


async def _pour(reader, writer):
    with contextlib.suppress(ConnectionError, OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def line_to(url):
    parts = urlsplit(url)
    line = Line(parts.hostname, parts.port)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.here = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        line.fail()


@dataclass
class Running:
    """A webhook of its own process's kind, asked without the API server."""

    session: aiohttp.ClientSession
    url: str
    health: str
    stop: asyncio.Event
    ended: asyncio.Task[None]

    async def ask(self, image, path="/validate"):
        async with self.session.post(self.url + path, json=review(pod(image))) as answer:
            return (await answer.json())["response"]

    async def text(self, path):
        async with self.session.get(self.health + path) as answer:
            return answer.status, await answer.text()


@contextlib.asynccontextmanager
async def whole_webhook(settings, config):
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, config, stop))
    connector = aiohttp.TCPConnector(ssl=ssl._create_unverified_context())
    try:
        async with aiohttp.ClientSession(connector=connector) as session:
            ports = (settings.port, settings.health_port)
            urls = (f"https://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}")
            yield Running(session, *urls, stop, task)
    finally:
        stop.set()
        await task


async def until(condition):
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110  asked over HTTP
            await asyncio.sleep(0.05)


async def is_ready(webhook):
    with contextlib.suppress(aiohttp.ClientError):
        return (await webhook.text("/readyz"))[0] == 200
    return False


async def misses_policies(webhook):
    with contextlib.suppress(aiohttp.ClientError):
        return "clusterimagepolicies" in (await webhook.text("/readyz"))[1]
    return False


async def watches_fail(webhook):
    return "watches_failing 0.0" not in (await webhook.text("/metrics"))[1]


async def is_refused(webhook, image):
    return not (await webhook.ask(image))["allowed"]


async def test_without_the_api_server_it_goes_on_with_the_policies_it_knows(world, monkeypatch):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    good = await push_signed(world.registry, "good", "1", KEY)
    other = await push_signed(world.registry, "other", "1", KEY)
    bad = await push_image(world.registry, "bad", "1", "bad")
    world.apply(policy("signed", key_policy(PEM)))
    async with line_to(world.plane.url) as line:
        config = replace(as_webhook(world), server=f"https://127.0.0.1:{line.here}")
        without_secrets = replace(world.settings, pod_pull_secrets=False)
        async with whole_webhook(without_secrets, config) as webhook:
            await until(lambda: is_ready(webhook))
            assert (await webhook.ask(good))["allowed"]
            line.fail()
            # What is remembered, what is new, and what is bad.
            assert (await webhook.ask(good))["allowed"]
            assert (await webhook.ask(other))["allowed"]
            assert not (await webhook.ask(bad))["allowed"]
            assert (await webhook.text("/readyz"))[0] == 200, "no replica could do better"
            await until(lambda: watches_fail(webhook))
            # The line comes back, and with it what has changed meanwhile.
            line.cut = False
            world.apply(policy("signed", key_policy(generate_key().public.pem.decode())))
            await until(lambda: is_refused(webhook, good))


async def test_without_the_api_server_pods_whose_logins_it_must_ask_for_are_refused(
    world, monkeypatch
):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    good = await push_signed(world.registry, "logins", "1", KEY)
    world.apply(policy("signed", key_policy(PEM)))
    async with line_to(world.plane.url) as line:
        config = replace(as_webhook(world), server=f"https://127.0.0.1:{line.here}")
        async with whole_webhook(world.settings, config) as webhook:
            await until(lambda: is_ready(webhook))
            line.fail()
            answer = await webhook.ask(good)
            assert not answer["allowed"]
            message = answer["status"]["message"]
            assert "could not be checked" in message
            assert "pull secrets cannot be read" in message
            assert "Kubernetes API" in message


async def test_without_the_api_server_from_the_start_it_is_never_ready(world):
    async with line_to(world.plane.url) as line:
        line.fail()
        config = replace(as_webhook(world), server=f"https://127.0.0.1:{line.here}")
        settings = replace(world.settings, port=free_port(), health_port=free_port())
        async with whole_webhook(settings, config) as webhook:
            await until(lambda: misses_policies(webhook))
            status, text = await webhook.text("/readyz")
            assert status == 503
            assert "policies are not loaded" in text
            # Nobody is answered by a webhook that knows nothing.
            with pytest.raises(aiohttp.ClientConnectionError):
                await webhook.ask("nginx")


async def test_a_webhook_that_ends_answers_until_nobody_asks_it(world, monkeypatch):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    world.apply(policy("signed", key_policy(PEM)))
    good = await push_signed(world.registry, "ending", "1", KEY)
    settings = replace(world.settings, pod_pull_secrets=False, drain_seconds=4.0)
    async with whole_webhook(settings, as_webhook(world)) as webhook:
        await until(lambda: is_ready(webhook))
        assert (await webhook.ask(good))["allowed"]
        loop = asyncio.get_running_loop()
        webhook.stop.set()
        begin = loop.time()
        status, text = await webhook.text("/readyz")
        assert status == 503, "no new connection should come"
        assert "it is ending" in text
        answered = 0
        # None comes just when the server is closed: asyncio before Python 3.12 forgets a connection
        # that it accepts at that moment (cpython issue 109564), and only a process that ends lets
        # go of it.
        while loop.time() - begin < 2.5:
            # Each answer lets its connection go, so each question comes by a new one.
            assert (await webhook.ask(good))["allowed"]
            answered += 1
        await asyncio.wait_for(asyncio.shield(webhook.ended), 30)
        assert loop.time() - begin >= 4.0
        with pytest.raises(aiohttp.ClientConnectorError):
            await webhook.ask(good)
        assert answered > 10


async def test_without_its_trust_root_a_policy_refuses_and_others_go_on(world, monkeypatch):
    monkeypatch.setattr(store_module, "SECRET_SECONDS", 0.2)
    good = await push_signed(world.registry, "rooted", "1", KEY)
    mirror = f"http://127.0.0.1:{free_port()}"
    root = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "TrustRoot",
        "metadata": {"name": "far"},
        "spec": {"remote": {"mirror": mirror, "root": TufRepository(b"{}").root}},
    }
    keyless = {
        "images": [{"glob": f"{world.registry}/far/**"}],
        "authorities": [
            {"keyless": {"trustRootRef": "far", "identities": [{"issuer": "i", "subject": "s"}]}}
        ],
    }
    world.apply(root, policy("far", keyless), policy("signed", key_policy(PEM)))
    settings = replace(world.settings, pod_pull_secrets=False)
    try:
        async with whole_webhook(settings, as_webhook(world)) as webhook:
            await until(lambda: is_ready(webhook))
            assert (await webhook.ask(good))["allowed"]
            answer = await webhook.ask(await push_signed(world.registry, "far/app", "1", KEY))
            assert not answer["allowed"]
            assert 'policy "far"' in answer["status"]["message"]
            message = answer["status"]["message"]
            assert "TrustRoot far: it could not be fetched" in message
            assert "connect" in message
    finally:
        world.plane.kubectl("delete", "clusterimagepolicies.plimsoll.dev", "far")
        world.plane.kubectl("delete", "trustroots.plimsoll.dev", "far")


@pytest.fixture(scope="module")
def registry():
    with crane_registry() as running:
        yield running


async def test_neither_log_nor_authority_need_be_there(registry):
    """Evidence brings its proofs: Fulcio, Rekor and the timestamp authority are asked nothing."""
    sigstore = MiniatureSigstore()
    image = await push_image(registry.host, "offline", "1", "a")
    reference = Reference.parse(image)
    async with Registry(insecure=frozenset({registry.host})) as client:
        subject = await client.resolve(reference)
        bundle = Bundle.parse(keyless_bundle(sigstore, subject.digest))
        await attach_bundle(client, reference, subject, bundle)
    roots = KnownRoots({("plimsoll.dev", "r"): parsed_root(sigstore.trusted_root())})
    identity = {"issuer": ISSUER, "subject": SUBJECT}
    authority = {"name": "ci", "keyless": {"trustRootRef": "r", "identities": [identity]}}
    asked: list[str] = []

    async with serving(for_tests(registry.host)) as webhook:
        connect = asyncio.get_running_loop().create_connection

        async def noted(*args, **kwargs):
            asked.append(str(kwargs.get("sock") or args))
            return await connect(*args, **kwargs)

        asyncio.get_running_loop().create_connection = noted
        webhook.policies.set(
            trust=roots, signed={"images": [{"glob": "**"}], "authorities": [authority]}
        )
        assert (await webhook.admit(image))["allowed"]
    port = registry.host.rpartition(":")[2]
    ours = str(urlsplit(webhook.url).port)
    assert all(port in one or ours in one for one in asked), asked


@pytest.mark.parametrize(
    ("years", "text"),
    [(-20, "no possible time"), (20, "over 24h old"), (0, "")],
    ids=["slow", "fast", "right"],
)
async def test_a_clock_that_is_wrong_admits_nothing_more(registry, monkeypatch, years, text):
    """A report must be young: by a clock that is wrong it is too old, or not yet made."""
    now = datetime.now(UTC)
    image = await push_signed(registry.host, f"clock{years}", "1", KEY)
    reference = Reference.parse(image)
    report = {
        "invocation": {},
        "scanner": {"uri": "s", "version": "1", "db": {}, "result": {"matches": []}},
        "metadata": {
            "scanStartedOn": now.isoformat(),
            "scanFinishedOn": now.isoformat(),
        },
    }
    async with Registry(insecure=frozenset({registry.host})) as client:
        subject = await client.resolve(reference)
        await attach_bundle(client, reference, subject, attest(KEY, subject.digest, "vuln", report))

    class Wrong(datetime):
        @classmethod
        def now(cls, tz=None):
            return now.astimezone(tz) + timedelta(days=365 * years)

    monkeypatch.setattr(evaluate_module, "datetime", Wrong)
    async with serving(for_tests(registry.host)) as webhook:
        require = {"vulnerabilities": {"maxAge": "24h"}}
        webhook.policies.set(fresh=key_policy(PEM, require=require))
        answer = await webhook.admit(image)
        assert answer["allowed"] is (years == 0), answer
        if years:
            assert 'policy "fresh"' in answer["status"]["message"]
            assert text in answer["status"]["message"]
