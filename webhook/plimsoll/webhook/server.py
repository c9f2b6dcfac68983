"""The HTTP side: reviews over TLS; health and metrics on a plain port beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from plimsoll.webhook import admission
from plimsoll.webhook.alerts import Alert
from plimsoll.webhook.answers import answer
from plimsoll.webhook.body import MAX_BODY, decode
from plimsoll.webhook.decide import Decision
from plimsoll.webhook.errors import BadReviewError
from plimsoll.webhook.pin import patch
from plimsoll.webhook.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Callable

    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.alerts import Alerts
    from plimsoll.webhook.decide import Decider, PolicySource
    from plimsoll.webhook.metrics import Metrics
    from plimsoll.webhook.tracing import Span

log = structlog.get_logger("plimsoll.webhook")


class AdmissionHandler:
    """Answers ``POST /validate`` and ``POST /mutate``.

    Args:
        decider: makes the decisions.
        metrics: counts them.
        alerts: are told of refusals.
        tracing: gets a span for each review.
        ending: whether the process will end soon. Then each answer asks the API server to leave
            its connection, so that none of its requests meets one that is being closed.
    """

    def __init__(
        self,
        decider: Decider,
        metrics: Metrics,
        alerts: Alerts | None = None,
        tracing: Tracing | None = None,
        ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ending = ending
        # Bound once: the proxy would look for its configuration with every line.
        self._log = log.bind()
        self._tracing = tracing or Tracing()
        self._alerts = alerts
        self._decider = decider
        self._metrics = metrics

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one AdmissionReview; what cannot be answered with its uid is a 400."""
        return await self._traced(request, pin=False)

    async def mutate(self, request: web.Request) -> web.Response:
        """The same, and put digests into what is admitted."""
        return await self._traced(request, pin=True)

    async def _traced(self, request: web.Request, *, pin: bool) -> web.Response:
        if not self._tracing.active:
            return await self._answer(request, None, pin=pin)
        with self._tracing.span("admission", request.headers, path=request.path) as span:
            return await self._answer(request, span, pin=pin)

    async def _answer(self, request: web.Request, span: Span | None, *, pin: bool) -> web.Response:
        begin = time.perf_counter()
        uid = ""
        try:
            document = decode(await request.read())
            uid = admission.uid_of(document)
            review = admission.read(document)
        except BadReviewError as error:
            log.warning("request not understood", uid=uid, error=str(error))
            if not uid:
                return web.Response(status=400, text=f"{error}\n")
            refused = Decision(allowed=False, refusals=(str(error),))
            self._metrics.count("", "", refused, time.perf_counter() - begin)
            return self._response(answer(uid, refused))
        decision = await self._decider.decide(review, pin=pin)
        changes = patch(review, decision) if pin else []
        seconds = time.perf_counter() - begin
        self._metrics.count(review.resource, review.operation, decision, seconds, len(changes))
        self._log.info("decision", **_facts(review, decision, seconds, pinned=len(changes)))
        if span is not None:
            span.set(**_attributes(review, decision))
        if self._alerts is not None and not decision.allowed and not review.dry_run:
            self._alerts.tell(_alert(review, decision))
        return self._response(answer(uid, decision, changes))

    def _response(self, body: bytes) -> web.Response:
        response = web.Response(body=body, content_type="application/json")
        if self._ending():
            response.force_close()
        return response


def admission_app(handler: AdmissionHandler, *, pins: bool = False) -> web.Application:
    """The application behind TLS.

    Args:
        handler: answers.
        pins: whether it changes pods too.
    """
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/validate", handler.handle)
    if pins:
        app.router.add_post("/mutate", handler.mutate)
    return app


def health_app(
    source: PolicySource, metrics: Metrics, faults: Callable[[], list[str]]
) -> web.Application:
    """The application on the plain port.

    Args:
        source: the policies.
        metrics: rendered at ``/metrics``.
        faults: further reasons not to be ready.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reasons = [] if source.ready else ["policies are not loaded", *source.problems]
        reasons += faults()
        if reasons:
            return web.Response(status=503, text="\n".join(reasons) + "\n")
        return web.Response(text="ok\n")

    async def render(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", render)
    return app


def _attributes(review: Review, decision: Decision) -> dict[str, Any]:
    """What a span says about a decision."""
    return {
        "uid": review.uid,
        "resource": review.resource,
        "operation": review.operation,
        "namespace": review.namespace,
        "name": review.name,
        "allowed": decision.allowed,
        "undecided": decision.undecided,
        "images": [use.image for use in review.images],
        "policies": sorted({one.policy for one in decision.verdicts}),
    }


def _alert(review: Review, decision: Decision) -> Alert:
    failed = next((one for one in decision.verdicts if not one.passed and one.enforce), None)
    return Alert(
        event="refused",
        namespace=review.namespace,
        object=f"{review.kind} {review.name}",
        image=" ".join(dict.fromkeys(use.image for use in review.images)),
        policy=failed.policy if failed else "",
        message=decision.refusals[0],
    )


def _facts(review: Review, decision: Decision, seconds: float, *, pinned: int) -> dict[str, Any]:
    """What the log says about a decision."""
    return {
        "allowed": decision.allowed,
        "undecided": decision.undecided,
        "uid": review.uid,
        "operation": review.operation,
        "resource": review.resource,
        "subresource": review.subresource,
        "namespace": review.namespace,
        "name": review.name,
        "user": review.user,
        "images": [use.image for use in review.images],
        "digests": [digest for _, digest in decision.digests],
        "policies": sorted({one.policy for one in decision.verdicts}),
        "pinned": pinned,
        "generation": decision.generation,
        "refusals": decision.refusals,
        "warnings": decision.warnings,
        "milliseconds": round(seconds * 1000, 2),
    }
