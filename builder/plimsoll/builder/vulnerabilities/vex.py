"""OpenVEX documents (0.2): what somebody found out about vulnerabilities of a product."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from plimsoll.builder.vulnerabilities.model import VulnerabilityDataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from plimsoll.builder.vulnerabilities.model import Vulnerability

_CLEARING = {"not_affected", "fixed"}
_STATUSES = _CLEARING | {"affected", "under_investigation"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in force.

    Attributes:
        names: of the vulnerability.
        products: what it is about, each an image (``""`` for any) and a part of it (``""`` for
            all of it); none: everything.
        why: justification or impact statement.
    """

    names: frozenset[str]
    products: frozenset[tuple[str, str]]
    status: str
    why: str
    moment: datetime

    def about(self, vulnerability: Vulnerability, digest: str) -> bool:
        """Whether it speaks of this vulnerability in this component of this image."""
        if not self.names & vulnerability.aliases:
            return False
        if not self.products:
            return True
        purl = vulnerability.component.purl
        plain = purl.partition("?")[0]
        names = {"", purl, plain, plain.partition("@")[0]}
        return any(
            part in names and (not image or bool(digest and digest in image))
            for image, part in self.products
        )


def parse_vex(data: bytes, source: str) -> list[Statement]:
    """Read a document.

    Raises:
        VulnerabilityDataError: it is no OpenVEX document.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    statements = document.get("statements") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(statements, list):
        raise _bad(source, "no statements")
    return [_statement(one, document.get("timestamp"), source) for one in statements]


def clearing(
    statements: Iterable[Statement], vulnerability: Vulnerability, digest: str
) -> Statement | None:
    """The statement that clears a vulnerability, if what was said last about it does."""
    said = sorted(
        (one for one in statements if one.about(vulnerability, digest)), key=lambda one: one.moment
    )
    return said[-1] if said and said[-1].status in _CLEARING else None


def _statement(item: Any, stamp: Any, source: str) -> Statement:
    status = item.get("status") if isinstance(item, dict) else None
    if not isinstance(status, str) or status not in _STATUSES:
        raise _bad(source, f"a statement with the status {status!r}")
    names = frozenset(_named(item.get("vulnerability")))
    if not names:
        raise _bad(source, "a statement about no vulnerability")
    why = item.get("justification") or item.get("impact_statement") or ""
    if status == "not_affected" and not why:
        raise _bad(source, "a statement 'not_affected' that does not say why")
    return Statement(
        names,
        frozenset(_products(item.get("products"))),
        status,
        str(why),
        _time(item.get("timestamp") or stamp, source),
    )


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        names = [value.get("name"), value.get("@id")]
        aliases = value.get("aliases")
        names += aliases if isinstance(aliases, list) else []
        yield from (name for name in names if isinstance(name, str) and name)


def _products(products: Any) -> Iterator[tuple[str, str]]:
    for product in products if isinstance(products, list) else ():
        names = [name.replace("%3A", ":") for name in _identifiers(product)]
        parts = product.get("subcomponents") if isinstance(product, dict) else None
        inside = parts if isinstance(parts, list) and parts else [None]
        for part in inside:
            for inner in _identifiers(part) if part is not None else ("",):
                for name in names:
                    # A package stands for itself; an image, and what has parts, is a whole.
                    whole = part is not None or "sha256:" in name or name.startswith("pkg:oci/")
                    yield (name, inner) if whole else ("", name)


def _identifiers(item: Any) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    if not isinstance(item, dict):
        return
    known = item.get("identifiers")
    hashes = item.get("hashes")
    purl = known.get("purl") if isinstance(known, dict) else None
    sha256 = hashes.get("sha-256") if isinstance(hashes, dict) else None
    for value in (item.get("@id"), purl, f"sha256:{sha256}" if sha256 else None):
        if isinstance(value, str) and value:
            yield value


def _time(value: Any, source: str) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise _bad(source, "a statement without a time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _bad(source: str, what: str) -> VulnerabilityDataError:
    return VulnerabilityDataError(
        f"{source} is no OpenVEX document: it has {what}", hint="see openvex.dev for its form"
    )
