"""The HTTP side: ``POST /validate`` over TLS; health and metrics on a plain port beside it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

from plimsoll.webhook import admission
from plimsoll.webhook.body import MAX_BODY, decode
from plimsoll.webhook.decide import Decision
from plimsoll.webhook.errors import BadReviewError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from plimsoll.webhook.admission import Review
    from plimsoll.webhook.decide import Decider, PolicySource
    from plimsoll.webhook.metrics import Metrics

log = structlog.get_logger("plimsoll.webhook")

_JSON = "application/json"
#: The API server cuts longer warnings, and drops what is over 4096 characters in all.
_WARNING_LENGTH = 256
_MAX_WARNINGS = 15
_MAX_MESSAGE = 16_000
_MAX_AUDIT = 4_000


class AdmissionHandler:
    """Answers ``POST /validate``.

    Args:
        decider: makes the decisions.
        metrics: counts them.
    """

    def __init__(self, decider: Decider, metrics: Metrics) -> None:
        self._decider = decider
        self._metrics = metrics

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one AdmissionReview; what cannot be answered with its uid is a 400."""
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
            return _response(uid, refused)
        decision = await self._decider.decide(review)
        seconds = time.perf_counter() - begin
        self._metrics.count(review.resource, review.operation, decision, seconds)
        _log(review, decision, seconds)
        return _response(uid, decision)


def admission_app(handler: AdmissionHandler) -> web.Application:
    """The application behind TLS."""
    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post("/validate", handler.handle)
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


def _response(uid: str, decision: Decision) -> web.Response:
    warnings = [
        line if len(line) <= _WARNING_LENGTH else f"{line[: _WARNING_LENGTH - 1]}…"
        for line in decision.warnings[:_MAX_WARNINGS]
    ]
    audit = {"verdict": "allowed" if decision.allowed else "denied"}
    if decision.digests:
        audit["images"] = " ".join(f"{image}={digest}" for image, digest in decision.digests)
        audit["policies"] = " ".join(sorted({one.policy for one in decision.verdicts}))
    failed = [one for one in decision.verdicts if not one.passed]
    if failed:
        audit["failures"] = "; ".join(f"{one.policy}: {one.reason}" for one in failed)[:_MAX_AUDIT]
    body = admission.answer(
        uid,
        allowed=decision.allowed,
        message=_message(decision.refusals),
        warnings=warnings,
        audit=audit,
    )
    return web.Response(body=body, content_type=_JSON)


def _message(refusals: Sequence[str]) -> str:
    """One line for each refusal, as many as fit."""
    text = "\n".join(refusals)
    if len(text) <= _MAX_MESSAGE:
        return text
    kept = text[:_MAX_MESSAGE].split("\n")[:-1] or [text[:_MAX_MESSAGE]]
    if rest := len(refusals) - len(kept):
        kept.append(f"and {rest} more; the webhook's log has all of them")
    return "\n".join(kept)


def _log(review: Review, decision: Decision, seconds: float) -> None:
    log.info(
        "decision",
        allowed=decision.allowed,
        undecided=decision.undecided,
        uid=review.uid,
        operation=review.operation,
        resource=review.resource,
        subresource=review.subresource,
        namespace=review.namespace,
        name=review.name,
        user=review.user,
        images=[use.image for use in review.images],
        digests=[digest for _, digest in decision.digests],
        policies=sorted({one.policy for one in decision.verdicts}),
        generation=decision.generation,
        refusals=list(decision.refusals),
        warnings=list(decision.warnings),
        milliseconds=round(seconds * 1000, 2),
    )
