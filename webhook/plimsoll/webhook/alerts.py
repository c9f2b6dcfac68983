"""Alerts: somebody is told of what was refused, and of what runs and would be refused today.

Addresses and headers of receivers are secrets (whoever knows a chat's address may write there),
so neither is ever logged, nor what an error of the network says about them.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass
from string import Template
from typing import TYPE_CHECKING, Any, Literal

import structlog
import yaml
from pydantic import Field, ValidationError, field_validator

from plimsoll.api.base import Section
from plimsoll.errors import Error
from plimsoll.http import Http, HttpError, RetryPolicy, Timeouts
from plimsoll.http.retry import retrying
from plimsoll.webhook.body import encode
from plimsoll.webhook.cache import ExpiringCache
from plimsoll.webhook.errors import NotConfiguredError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = structlog.get_logger("plimsoll.webhook.alerts")

Event = Literal["running", "refused"]
#: Alerts that wait to be sent; what comes beyond is counted and dropped.
_WAITING = 500
#: Seconds in which the same is not told again.
_REPEAT = 3600.0
_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that somebody should know."""

    event: Event
    """``running``: it runs and would be refused today; ``refused``: it was refused."""

    namespace: str
    object: str
    image: str
    policy: str
    message: str

    @property
    def text(self) -> str:
        """One line for people."""
        what = "runs, and would be refused now" if self.event == "running" else "was refused"
        return f"{self.object} in {self.namespace}: {self.image} {what}: {self.message}"


class Slack(Section):
    """An incoming webhook of Slack, or of what understands the same."""

    url: str
    """``https://…``."""


class Webhook(Section):
    """Any receiver of JSON."""

    url: str
    """``https://…``."""

    headers: dict[str, str] = Field(default_factory=dict)
    template: str = '{"text": "${text}"}'
    """JSON whose texts may hold ``${event}``, ``${namespace}``, ``${object}``, ``${image}``,
    ``${policy}``, ``${message}`` and ``${text}``."""

    @field_validator("template")
    @classmethod
    def _is_json(cls, value: str) -> str:
        try:
            _fill(json.loads(value), dict.fromkeys(_NAMES, ""))
        except KeyError as error:
            raise ValueError(f"nothing is called {error}") from None
        return value


class Receiver(Section):
    """Somebody who is told."""

    name: str
    slack: Slack | None = None
    webhook: Webhook | None = None
    events: tuple[Event, ...] = ("running",)

    @property
    def url(self) -> str:
        """Where to."""
        chosen = self.slack or self.webhook
        return "" if chosen is None else chosen.url

    @property
    def headers(self) -> dict[str, str]:
        """Headers beside the content type."""
        return {} if self.webhook is None else self.webhook.headers

    def body(self, alert: Alert) -> bytes:
        """What is sent."""
        if self.webhook is None:
            return encode({"text": f"plimsoll: {alert.text}"})
        values = {**asdict(alert), "text": alert.text}
        return encode(_fill(json.loads(self.webhook.template), values))


class Receivers(Section):
    """The file of receivers."""

    receivers: list[Receiver] = Field(default_factory=list)


_NAMES = ("event", "namespace", "object", "image", "policy", "message", "text")


def read_receivers(path: Path) -> list[Receiver]:
    """Read the file of receivers (YAML).

    Raises:
        NotConfiguredError: it cannot be read or understood; its values are not repeated.
    """
    try:
        found = Receivers.model_validate(yaml.safe_load(path.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NotConfiguredError(f"{path} cannot be read: {type(error).__name__}") from None
    except ValidationError as error:
        places = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise NotConfiguredError(f"{path}: {'; '.join(places)}") from None
    for one in found.receivers:
        if (one.slack is None) == (one.webhook is None):
            raise NotConfiguredError(f"{path}: {one.name} needs one of slack and webhook")
        if not one.url.startswith(("https://", "http://")):
            raise NotConfiguredError(f"{path}: the url of {one.name} is no web address")
    return found.receivers


class NotDeliveredError(Error):
    """A receiver did not take an alert; says nothing about where it is.

    Args:
        message: why.
        retryable: whether it may take it later.
    """

    reason = "NotDelivered"

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class Alerts:
    """Sends alerts, each to whoever wants its kind; use ``run`` as a task.

    Args:
        receivers: all of them; none: nothing is sent.
        retry: how often to try.
    """

    def __init__(self, receivers: Sequence[Receiver], retry: RetryPolicy | None = None) -> None:
        self._receivers = list(receivers)
        self._retry = retry or RetryPolicy(attempts=5, base=1.0, longest=60.0)
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(_WAITING)
        self._told: ExpiringCache[bool] = ExpiringCache(10_000, time.monotonic)
        self.sent = 0
        self.failed = 0

    def tell(self, alert: Alert) -> None:
        """Take note of something; never waits."""
        if not any(alert.event in one.events for one in self._receivers):
            return
        key = (alert.event, alert.namespace, alert.object, alert.image, alert.policy)
        if self._told.get(key):
            return
        try:
            self._waiting.put_nowait(alert)
        except asyncio.QueueFull:
            self.failed += 1
        else:
            self._told.put(key, value=True, seconds=_REPEAT)

    async def run(self) -> None:
        """Send what was told until cancelled."""
        timeouts = Timeouts(connect=5.0, idle=10.0, total=15.0)
        async with Http(timeouts=timeouts, user_agent="plimsoll-webhook") as http:
            while True:
                alert = await self._waiting.get()
                wanted = [one for one in self._receivers if alert.event in one.events]
                await asyncio.gather(*(self._deliver(http, one, alert) for one in wanted))

    async def _deliver(self, http: Http, receiver: Receiver, alert: Alert) -> None:
        try:
            await retrying(lambda: _send(http, receiver, alert), self._retry)
            self.sent += 1
        except NotDeliveredError as error:
            self.failed += 1
            log.warning("alert not delivered", receiver=receiver.name, error=str(error))


async def _send(http: Http, receiver: Receiver, alert: Alert) -> None:
    headers = {"Content-Type": "application/json", **receiver.headers}
    try:
        answer = await http.fetch(
            "POST", receiver.url, max_size=_ANSWER, headers=headers, body=receiver.body(alert)
        )
    except HttpError:
        # Its words name the address.
        raise NotDeliveredError("the receiver cannot be reached", retryable=True) from None
    if answer.status >= 300:
        again = answer.status in {408, 425, 429} or answer.status >= 500
        raise NotDeliveredError(f"the receiver answered {answer.status}", retryable=again)


def _fill(value: Any, values: dict[str, str]) -> Any:
    """Put values into the texts of a JSON value: they cannot change its shape."""
    if isinstance(value, str):
        return Template(value).substitute(values)
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    if isinstance(value, dict):
        return {key: _fill(item, values) for key, item in value.items()}
    return value
