"""``require.provenanceRules`` and ``require.freshness``: pure, over verified SLSA provenance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from plimsoll.api.meta import parse_duration
from plimsoll.api.predicates import SLSA_V02
from plimsoll.webhook.patterns import like

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from plimsoll.api.require import Freshness, ProvenanceRules, SourceRule
    from plimsoll.signing.results import VerifiedAttestation

#: How far clocks may differ.
SKEW = timedelta(minutes=5)


def provenance_failures(
    rules: ProvenanceRules | None,
    freshness: Freshness | None,
    documents: Sequence[VerifiedAttestation],
    now: datetime,
) -> Iterator[str]:
    """Why no verified provenance is good enough; one must satisfy everything."""
    reasons: list[str] = []
    for document in documents:
        why = list(_failures(rules, freshness, document, now))
        if not why:
            return
        reasons += why
    if reasons:
        yield "no provenance is good enough: " + "; ".join(dict.fromkeys(reasons))


def _failures(
    rules: ProvenanceRules | None,
    freshness: Freshness | None,
    document: VerifiedAttestation,
    now: datetime,
) -> Iterator[str]:
    predicate = document.predicate if isinstance(document.predicate, dict) else {}
    old = document.predicate_type == SLSA_V02
    if rules is not None:
        yield from _built(rules, _text(_at(predicate, *_builder(old=old))))
        sources = list(_sources(predicate, old=old))
        if rules.sources and not any(
            _from(rule, *source) for rule in rules.sources for source in sources
        ):
            names = ", ".join(f"{repository}@{ref}" for repository, ref in sources) or "unknown"
            yield f"its source is {names[:300]}"
    if freshness is not None:
        path = ("metadata", "buildFinishedOn") if old else ("runDetails", "metadata", "finishedOn")
        moment = parse_time(_at(predicate, *path))
        if moment is None:
            yield "it does not say when the image was built"
        elif moment > now + SKEW:
            yield f"it says that the image was built in the future ({moment.isoformat()})"
        elif now - moment > parse_duration(freshness.max_age):
            yield f"the image was built at {moment.isoformat()}, over {freshness.max_age} ago"


def _builder(*, old: bool) -> tuple[str, ...]:
    return ("builder", "id") if old else ("runDetails", "builder", "id")


def _built(rules: ProvenanceRules, builder: str) -> Iterator[str]:
    if not rules.builders:
        return
    levels = [one.level for one in rules.builders if builder and like(one.id, builder)]
    if not levels:
        yield f"its builder is {builder or 'unknown'}"
    elif max(levels) < (rules.level or 1):
        yield f"its builder {builder} is trusted for level {max(levels)}, not {rules.level}"


def _sources(predicate: dict[str, Any], *, old: bool) -> Iterator[tuple[str, str]]:
    """Repository and ref of what the build was asked to build.

    Dependencies are left out: whoever writes the build can depend on anything.
    """
    if old:
        yield from _split(_text(_at(predicate, "invocation", "configSource", "uri")))
        return
    asked = _at(predicate, "buildDefinition", "externalParameters")
    if not isinstance(asked, dict):
        return
    workflow = asked.get("workflow")
    if isinstance(workflow, dict) and _text(workflow.get("repository")):
        yield _plain(_text(workflow["repository"])), _text(workflow.get("ref"))
    for key in ("source", "configSource"):
        value = asked.get(key)
        yield from _split(_text(value.get("uri") if isinstance(value, dict) else value))


def _split(uri: str) -> Iterator[tuple[str, str]]:
    """``git+https://host/repo@refs/heads/main``; a login is no part of the name."""
    if uri:
        head, at, ref = uri.rpartition("@")
        named = bool(at) and "/" in head.partition("://")[2]
        yield (_plain(head), ref) if named else (_plain(uri), "")


def _plain(uri: str) -> str:
    return uri.removeprefix("git+").removesuffix(".git").rstrip("/")


def _from(rule: SourceRule, repository: str, ref: str) -> bool:
    if not like(_plain(rule.repository), repository):
        return False
    if rule.branch is not None:
        return ref.startswith("refs/heads/") and like(rule.branch, ref.removeprefix("refs/heads/"))
    if rule.tag is not None:
        return ref.startswith("refs/tags/") and like(rule.tag, ref.removeprefix("refs/tags/"))
    return True


def parse_time(value: Any) -> datetime | None:
    """An RFC 3339 time; ``None`` for anything else."""
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _at(value: Any, *path: str) -> Any:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
