"""Spans of OpenTelemetry: none without an endpoint, whole traces with one."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from plimsoll.signing.privatekey import generate_key
from plimsoll.webhook.errors import NotConfiguredError
from plimsoll.webhook.tracing import OtlpTracing, Tracing, tracing_to
from registries import crane_registry
from webhooks import for_tests, key_policy, pod, push_signed, review, serving

pytestmark = pytest.mark.integration

KEY = generate_key()


@pytest.fixture(scope="module")
def registry():
    with crane_registry() as running:
        yield running


async def test_a_review_is_a_trace_with_every_call_of_a_registry(registry):
    image = await push_signed(registry.host, "traced", "1", KEY)
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing = OtlpTracing("", provider)
    async with serving(for_tests(registry.host), tracing=tracing) as webhook:
        webhook.policies.set(signed=key_policy(KEY.public.pem.decode()))
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        asked = review(pod(image))
        async with webhook.session.post(
            webhook.url, json=asked, headers={"traceparent": parent}
        ) as answer:
            assert (await answer.json())["response"]["allowed"]
        metrics = webhook.metrics.render().decode()
    spans = kept.get_finished_spans()
    (admission,) = [span for span in spans if span.name == "admission"]
    assert f"{admission.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{admission.parent.span_id:016x}" == "b7ad6b7169203331"
    assert admission.attributes["plimsoll.allowed"] is True
    assert admission.attributes["plimsoll.images"] == (image,)
    assert admission.attributes["plimsoll.policies"] == ("signed",)
    calls = [span for span in spans if span.name.startswith("registry ")]
    assert {span.context.trace_id for span in calls} == {admission.context.trace_id}
    assert {span.attributes["plimsoll.registry"] for span in calls} == {registry.host}
    # The list, two legacy tags that are not there, the manifest and the blob.
    assert sorted(span.attributes["plimsoll.status"] for span in calls) == [200] * 3 + [404] * 2
    assert 'plimsoll_webhook_registry_seconds_count{result="2xx"} 3.0' in metrics
    assert 'plimsoll_webhook_registry_seconds_count{result="404"} 2.0' in metrics


async def test_a_collector_gets_them_by_otlp():
    got: list[ExportTraceServiceRequest] = []

    async def take(request):
        got.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        tracing = tracing_to(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        with tracing.span("admission", {}, path="/validate") as span:
            span.set(allowed=False)
        await asyncio.to_thread(tracing.close)
    finally:
        await runner.cleanup()
    (resource,) = got[0].resource_spans
    named = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert named["service.name"] == "plimsoll-webhook"
    assert resource.scope_spans[0].spans[0].name == "admission"


def test_without_an_endpoint_nothing_is_imported():
    code = (
        "import sys; from plimsoll.webhook.run import run;"
        "from plimsoll.webhook.tracing import tracing_to; tracing_to('');"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.propagate", None)
    with pytest.raises(NotConfiguredError, match=r"install plimsoll\[tracing\]"):
        tracing_to("http://localhost:1")
    assert not tracing_to("").active
    with Tracing().span("x") as span:
        span.set(a=1)
