"""Spans of OpenTelemetry, for who wants them.

Without an endpoint nothing is imported and nothing is measured. With one, the packages of the
extra ``plimsoll[tracing]`` are needed; they are not part of the image. The API server's own trace
goes on where it sends one (``traceparent``, W3C Trace Context).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from plimsoll.webhook.errors import NotConfiguredError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import TracerProvider


class Span(Protocol):
    """Something that takes some time."""

    def set(self, **attributes: Any) -> None:
        """Say more about it."""


class _Nothing:
    def set(self, **attributes: Any) -> None:
        """Nobody listens."""


_NOTHING = _Nothing()


class Tracing:
    """Makes no spans; ``OtlpTracing`` does."""

    @contextlib.contextmanager
    def span(
        self, name: str, headers: Mapping[str, str] | None = None, **attributes: Any
    ) -> Iterator[Span]:
        """Measure what happens inside.

        Args:
            name: what it is.
            headers: of the request that began it.
            attributes: what is known about it.
        """
        del name, headers, attributes
        yield _NOTHING

    @property
    def active(self) -> bool:
        """Whether anybody listens."""
        return False

    def close(self) -> None:
        """Send what is left."""


class OtlpTracing(Tracing):
    """Sends spans by OTLP over HTTP.

    Args:
        endpoint: of the collector; ``/v1/traces`` is added.
        provider: of spans, instead of one that sends to ``endpoint``.
    """

    def __init__(self, endpoint: str, provider: TracerProvider | None = None) -> None:
        from opentelemetry.propagate import extract  # noqa: PLC0415  an extra
        from opentelemetry.trace import SpanKind  # noqa: PLC0415  an extra

        self._provider = provider or _exporting(endpoint)
        self._tracer = self._provider.get_tracer("plimsoll.webhook")
        self._extract = extract
        self._server = SpanKind.SERVER
        self._inner = SpanKind.INTERNAL

    @contextlib.contextmanager
    def span(
        self, name: str, headers: Mapping[str, str] | None = None, **attributes: Any
    ) -> Iterator[Span]:
        """See ``Tracing``."""
        parent = None if headers is None else self._extract(dict(headers))
        kind = self._inner if headers is None else self._server
        with self._tracer.start_as_current_span(
            name, parent, kind, attributes=_named(attributes)
        ) as span:
            yield _Open(span)

    @property
    def active(self) -> bool:
        """See ``Tracing``."""
        return True

    def close(self) -> None:
        """See ``Tracing``."""
        self._provider.shutdown()


class _Open:
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, **attributes: Any) -> None:
        self._span.set_attributes(_named(attributes))


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"plimsoll.{key}": value for key, value in attributes.items()}


def _exporting(endpoint: str) -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": "plimsoll-webhook"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def tracing_to(endpoint: str) -> Tracing:
    """Tracing to a collector; none if ``endpoint`` is empty.

    Raises:
        NotConfiguredError: the packages are not installed.
    """
    if not endpoint:
        return Tracing()
    try:
        return OtlpTracing(endpoint)
    except ImportError as error:
        raise NotConfiguredError(
            f"spans cannot be sent to {endpoint}: {error.name} is not installed",
            hint="install plimsoll[tracing], or leave the endpoint out",
        ) from None
