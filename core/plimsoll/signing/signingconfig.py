"""Where to sign: sigstore's ``SigningConfig`` v0.2 (protobuf-specs, ``sigstore_trustroot.proto``).

Of the services that are valid now and spoken here, one of each operator counts: that of the
highest API version, the latest started of several. How many of these are used says the selector:
``ALL``, ``EXACT`` with a count, or ``ANY``, which means one, the next where it does not answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from plimsoll.signing.encoding import array, child, parse_json, text
from plimsoll.signing.errors import InvalidEvidenceError, InvalidSigningConfigError
from plimsoll.signing.trustroot import Period

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
CONFIG_LIMIT: Final = 1 << 20
SERVICE_LIMIT: Final = 64
#: API versions that are spoken here: Fulcio's v2 paths belong to its version 1.
FULCIO_VERSIONS: Final = frozenset({1})
REKOR_VERSIONS: Final = frozenset({1, 2})
TSA_VERSIONS: Final = frozenset({1})

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_WHERE = "the signing config"
_ALWAYS = Period()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One server."""

    url: str
    """Without a final slash. A timestamp authority's is complete, the others' are bases."""

    version: int
    operator: str = ""
    valid_for: Period = _ALWAYS


@dataclass(frozen=True, slots=True)
class Choice:
    """Servers to use."""

    services: tuple[Service, ...] = ()
    """In the order in which they are tried."""

    count: int = 0
    """How many of them must answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningConfig:
    """What a signer talks to at one moment."""

    fulcio: Choice
    rekor: Choice
    tsa: Choice

    @classmethod
    def parse(cls, data: bytes, *, now: datetime | None = None) -> SigningConfig:
        """Read a signing config and choose.

        Args:
            data: JSON.
            now: the moment; default: now.

        Raises:
            InvalidSigningConfigError: if it is none, or names too few servers that are valid now,
                or none of a kind that it asks for.
        """
        moment = now or datetime.now(UTC)
        try:
            obj = parse_json(data, _WHERE, CONFIG_LIMIT)
            if text(obj, "mediaType", _WHERE) != MEDIA_TYPE:
                raise InvalidSigningConfigError(
                    f"{obj['mediaType'][:80]!r} is no signing config that is known",
                    hint=f"its mediaType must be {MEDIA_TYPE}",
                )
            config = cls(
                fulcio=_choose(obj, "caUrls", "", FULCIO_VERSIONS, moment),
                rekor=_choose(obj, "rekorTlogUrls", "rekorTlogConfig", REKOR_VERSIONS, moment),
                tsa=_choose(obj, "tsaUrls", "tsaConfig", TSA_VERSIONS, moment),
            )
        except InvalidEvidenceError as error:
            raise InvalidSigningConfigError(error.message) from None
        if not config.tsa.count and not any(one.version == 1 for one in config.rekor.services):
            raise InvalidSigningConfigError(
                "nothing in the signing config proves when something is signed",
                hint="name a timestamp authority in tsaUrls: Rekor v2 proves no time",
            )
        return config


def _choose(
    obj: dict[str, Any], key: str, config: str, versions: frozenset[int], moment: datetime
) -> Choice:
    listed = [_service(item, key) for item in array(obj, key, _WHERE, SERVICE_LIMIT)]
    best: dict[str, Service] = {}
    for one in listed:
        if one.version not in versions or moment not in one.valid_for:
            continue
        other = best.get(one.operator)
        if other is None or _rank(one) > _rank(other):
            best[one.operator] = one
    services = tuple(best.values())
    selector, count = _selector(obj, config, key)
    if selector == "ALL":
        count = len(services)
    needed = count if selector == "EXACT" or listed or not config else 0
    if len(services) < needed or (needed and not services):
        raise InvalidSigningConfigError(
            f"{key} of the signing config has {len(services)} servers that can be used at "
            f"{moment:%Y-%m-%dT%H:%M:%SZ}, not {needed}",
            hint="a server can be used within its validFor, and with an API version of "
            + ", ".join(map(str, sorted(versions))),
        )
    return Choice(services, needed)


def _rank(service: Service) -> tuple[int, datetime]:
    return service.version, service.valid_for.start or _EARLIEST


def _selector(obj: dict[str, Any], config: str, key: str) -> tuple[str, int]:
    if not config or obj.get(config) is None:
        if config and obj.get(key):
            raise InvalidSigningConfigError(f"the signing config has {key} but no {config}")
        return "ANY", 1
    value = child(obj, config, _WHERE)
    selector, count = text(value, "selector", config), value.get("count", 0)
    if selector == "EXACT":
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise InvalidSigningConfigError(f"{config} needs a count of 1 or more with EXACT")
        return selector, count
    if selector not in {"ANY", "ALL"}:
        raise InvalidSigningConfigError(f"the selector {selector[:40]!r} of {config} is unknown")
    return selector, 1


def _service(item: Any, key: str) -> Service:
    where = f"{key} of the signing config"
    if not isinstance(item, dict):
        raise InvalidSigningConfigError(f"a server in {where} is no object")
    url = text(item, "url", where)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InvalidSigningConfigError(f"{url[:200]!r} in {where} is no http or https URL")
    version = item.get("majorApiVersion")
    if not isinstance(version, int) or isinstance(version, bool):
        raise InvalidSigningConfigError(f"a server in {where} has no majorApiVersion")
    operator = item.get("operator", "")
    return Service(
        url=url.rstrip("/"),
        version=version,
        operator=operator if isinstance(operator, str) else "",
        valid_for=_period(item.get("validFor"), where),
    )


def _period(value: Any, where: str) -> Period:
    if value is None:
        return Period()
    if not isinstance(value, dict):
        raise InvalidSigningConfigError(f"validFor in {where} is no object")
    return Period(_moment(value, "start", where), _moment(value, "end", where))


def _moment(value: Mapping[str, Any], name: str, where: str) -> datetime | None:
    found = value.get(name)
    if found is None:
        return None
    try:
        moment = datetime.fromisoformat(found)
    except (TypeError, ValueError):
        raise InvalidSigningConfigError(f"validFor.{name} in {where} is no time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
