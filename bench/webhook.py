"""Admission by the webhook against a server that only parses and echoes an AdmissionReview.

Both run as one process each, over TLS, with the same load:

- *latency*: an open loop at 200 requests a second (``load.py`` says why);
- *throughput*: 16 connections in a closed loop.

``PYTHONPATH=tests/support python bench/webhook.py`` prints a table and ratios; nothing is judged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from load import Load, cpu_seconds
from plimsoll.oci.reference import Reference
from plimsoll.oci.registry import Registry
from plimsoll.signing.attach import attach_bundle
from plimsoll.signing.privatekey import generate_key
from plimsoll.signing.sign import attest, sign_image
from plimsoll.webhook.certificates import renewed, utc_now
from plimsoll.webhook.log import configure
from plimsoll.webhook.run import settle_memory
from plimsoll.webhook.tls import ServingCertificate
from registries import crane_registry, free_port
from webhooks import for_tests, key_policy, pod, push_image, review, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE, SECONDS, CONNECTIONS = 200, 10, 16


async def echo(port: int, identity: dict[str, str]) -> None:
    """Parse, and answer that it is allowed."""

    async def handle(request: web.Request) -> web.Response:
        document = json.loads(await request.read())
        uid = document["request"]["uid"]
        answer = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {"uid": uid, "allowed": True},
        }
        return web.Response(body=json.dumps(answer).encode(), content_type="application/json")

    app = web.Application()
    app.router.add_post("/validate", handle)
    await _listen(app, port, identity)


async def webhook(port: int, identity: dict[str, str], setup: dict[str, Any]) -> None:
    """The real one, with policies as they would come from the cluster."""
    configure("info")
    async with serving(for_tests(setup["registry"])) as running:
        running.policies.set(**setup["policies"])
        settle_memory()
        await _listen(running.app, port, identity)


async def _listen(app: web.Application, port: int, identity: dict[str, str]) -> None:
    certificate = ServingCertificate()
    certificate.use(identity["certificate"].encode(), identity["key"].encode())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=certificate.context).start()
    await asyncio.Event().wait()


@contextlib.contextmanager
def process(kind: str, setup: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Run a server as a process of its own: URL and process id."""
    port = free_port()
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            [sys.executable, __file__, "--serve", kind, "--port", str(port)],
            stdin=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert child.stdin is not None
            child.stdin.write(json.dumps(setup).encode())
            child.stdin.close()
            yield f"https://localhost:{port}/validate", child.pid
        finally:
            child.terminate()
            child.wait()


async def wait_for(load: Load) -> float:
    """Until the server answers; how long its first answer took."""
    for _ in range(200):
        try:
            begin = time.perf_counter()
            body = await load.ask()
        except OSError:
            await asyncio.sleep(0.1)
        else:
            assert b'"allowed":true' in body.replace(b" ", b""), body
            return time.perf_counter() - begin
    raise TimeoutError


def resident(pid: int) -> float:
    """MiB of memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def a_review(image: str) -> bytes:
    """About as large as the API server's: with managed fields and environment."""
    target = pod(image)
    container = target["spec"]["containers"][0]
    container["env"] = [{"name": f"N{n}", "value": f"value {n}"} for n in range(20)]
    container["resources"] = {"requests": {"cpu": "1", "memory": "1Gi"}}
    fields = {f"f:n{n}": {".": {}, "f:value": {}} for n in range(60)}
    target["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": {"f:spec": fields}}]
    # Without white space and with a line feed, as Go encodes it.
    return json.dumps(review(target), separators=(",", ":")).encode() + b"\n"


async def measure(url: str, pid: int, bundle: bytes, body: bytes) -> dict[str, float]:
    load = Load(url, ssl.create_default_context(cadata=bundle.decode()), [body])
    cold = await wait_for(load)
    await load.closed_loop(CONNECTIONS, SECONDS / 5)
    before = cpu_seconds(pid)
    most = await load.closed_loop(CONNECTIONS, SECONDS / 2)
    cpu = cpu_seconds(pid) - before
    steady = await load.open_loop(RATE, SECONDS)
    load.close()
    for result in (most, steady):
        assert not result.faults, result.faults[:3]
        assert not result.denied
    return {
        "first answer, ms": cold * 1000,
        "p50, ms": steady.percentile(0.5),
        "p99, ms": steady.percentile(0.99),
        "requests/s": most.rate,
        "busy, %": 100 * cpu / most.seconds,
        "CPU, ms/request": 1000 * cpu / len(most.latencies),
        "memory, MiB": resident(pid),
    }


async def main() -> None:
    identity = renewed(None, ["localhost"], b"", utc_now())
    served = {"certificate": identity.certificate.decode(), "key": identity.key.decode()}
    key = generate_key()
    with crane_registry() as registry:
        image = await push_image(registry.host, "app", "1", "bench")
        reference = Reference.parse(image)
        async with Registry(insecure=frozenset({registry.host})) as client:
            subject = await client.resolve(reference)
            spdx = {"spdxVersion": "SPDX-2.3", "packages": [{"name": f"p{n}"} for n in range(500)]}
            for bundle in (
                sign_image(key, subject.digest),
                attest(key, subject.digest, "spdx", spdx),
            ):
                await attach_bundle(client, reference, subject, bundle)
        pem = key.public.pem.decode()
        signed = key_policy(pem, require={"signature": True, "sbom": True})
        others = {f"other{n}": key_policy(pem, f"registry{n}.example/**") for n in range(499)}
        body = a_review(image)
        by_tag = a_review(f"{registry.host}/app:1")
        results: dict[str, dict[str, float]] = {}
        for name, kind, policies, asked in (
            ("echo", "echo", {}, body),
            ("webhook", "webhook", {"signed": signed}, body),
            ("webhook, by tag", "webhook", {"signed": signed}, by_tag),
            ("webhook, 500 policies", "webhook", {"signed": signed, **others}, body),
        ):
            setup = {"identity": served, "registry": registry.host, "policies": policies}
            with process(kind, setup) as (url, pid):
                results[name] = await measure(url, pid, identity.bundle, asked)
    show(results, len(body))


def show(results: dict[str, dict[str, float]], size: int) -> None:
    print(f"one pod with one image, signature and SBOM required; a review has {size} bytes\n")
    columns = list(next(iter(results.values())))
    print("".join([f"{'':24}", *(f"{column:>18}" for column in columns)]))
    for name, row in results.items():
        print("".join([f"{name:24}", *(f"{row[column]:18.2f}" for column in columns)]))
    floor, real = results["echo"], results["webhook"]
    many = results["webhook, 500 policies"]
    cpu = "CPU, ms/request"
    print(f"\nthroughput of the webhook / echo: {real['requests/s'] / floor['requests/s']:.2f}")
    print(f"the same from CPU per request:    {floor[cpu] / real[cpu]:.2f}")
    print(f"p50 of the webhook / echo:        {real['p50, ms'] / floor['p50, ms']:.2f}")
    print(f"p50 with 500 policies / one:      {many['p50, ms'] / real['p50, ms']:.2f}")
    print(f"first answer / warm p50:          {real['first answer, ms'] / real['p50, ms']:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", choices=["echo", "webhook"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is None:
        asyncio.run(main())
    else:
        given = json.load(sys.stdin)
        os.environ.pop("DOCKER_CONFIG", None)
        with contextlib.suppress(KeyboardInterrupt):
            if options.serve == "echo":
                asyncio.run(echo(options.port, given["identity"]))
            else:
                asyncio.run(webhook(options.port, given["identity"], given))
