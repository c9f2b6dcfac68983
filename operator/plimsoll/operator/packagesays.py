"""Conditions and events of a PackageRepo that is built here: its state in words. Pure.

As for images, ``Reconciling`` or ``Stalled`` is True whenever ``Ready`` is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.api.meta import find_condition
from plimsoll.operator.conditions import say
from plimsoll.operator.sources import UNSETTLED
from plimsoll.operator.state import Event
from plimsoll.operator.supply import failed, named, why

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.api.meta import Condition
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.operator.conditions import Says
    from plimsoll.operator.packagelook import PackagesLook

_NAMED = 8


def progress(status: PackageRepoStatus) -> str | None:
    """How many packages are published, for people."""
    counts = status.counts
    return None if counts is None else f"{counts.published}/{counts.total}"


def summarize(look: PackagesLook) -> list[Condition]:
    """All conditions."""
    status, generation = look.desired.status, look.desired.metadata.generation
    reconciling = _reconciling(look)
    stalled = _stalled(look, reconciling)
    says = {
        "Ready": _ready(look, reconciling, stalled),
        "IndexVerified": _verified(look),
        "PackagesBuilt": _built(look),
        "AbiStable": _abi(status),
        "Reconciling": reconciling,
        "Stalled": stalled,
    }
    return say(status.conditions, says, generation, look.now)


def _ready(look: PackagesLook, reconciling: Says, stalled: Says) -> Says:
    """Whether images can use it: what could be published is."""
    status = look.desired.status
    old = find_condition(status.conditions, "Ready")
    was = old is not None and old.status == "True"
    if look.invalid is None and status.indexes and (was or _settled(status, reconciling)):
        counts = [f"{index.arch} has {index.packages} packages" for index in status.indexes]
        return "True", "Published", ", ".join(counts)
    if stalled[0] == "True":
        return "False", stalled[1], stalled[2]
    if look.missing is not None:
        coming = look.missing.expected
        return "Unknown" if coming else "False", look.missing.reason, str(look.missing)
    if look.desired.spec.suspend:
        return "False", "Suspended", "nothing is published yet, and spec.suspend is set"
    return "Unknown", "Building", f"nothing is published yet: {reconciling[2]}"


def _settled(status: PackageRepoStatus, reconciling: Says) -> bool:
    """Whether no more comes soon. A Job whose pod has trouble may still bring something."""
    planning = status.plan is not None and status.plan.state == "Running"
    publishing = any(each.failure is None for each in status.publishing)
    return not planning and not publishing and reconciling[1] not in UNSETTLED


def _verified(look: PackagesLook) -> Says:
    status, plan = look.desired.status, look.desired.status.plan
    if plan is not None and plan.state == "Failed" and plan.failure is not None:
        return "Unknown", plan.failure.reason, plan.failure.message
    if status.indexes:
        return "True", "Verified", "every index is signed by a key of the repository"
    return "Unknown", "NotPublished", "there is no index yet"


def _built(look: PackagesLook) -> Says:
    status, counts = look.desired.status, look.desired.status.counts
    bad = failed(status)
    if bad:
        names = [f"{named(b)}: {why(b)}" for b in bad[:_NAMED]]
        more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        blocked = [f"{b.name} for {b.arch} waits for {b.on}" for b in status.blocked if b.failed]
        return "False", "PackageFailed", "; ".join([*names, *blocked[:_NAMED]]) + more
    if counts is None:
        return "Unknown", "NotPlanned", "no plan has ended yet"
    text = f"{counts.published} of {counts.total} packages are published"
    if counts.published == counts.total and not status.plan_again and not status.builds:
        return "True", "Built", text
    return "False", "Building", text


def _abi(status: PackageRepoStatus) -> Says:
    if not status.abi:
        return "True", "Compatible", "nothing that was published takes away what others may use"
    named = [f"{c.name}-{c.version} for {c.arch}: {', '.join(c.changes)}" for c in status.abi]
    return "False", "AbiChanged", "; ".join(named[:_NAMED])


def _reconciling(look: PackagesLook) -> Says:
    for speak in (_hindered, _moving, _waiting):
        says = speak(look)
        if says is not None:
            return says
    return "False", "Idle", "nothing to do"


def _hindered(look: PackagesLook) -> Says | None:
    if look.invalid is not None:
        return "False", look.invalid.reason, "the spec must be changed first"
    keys = look.desired.status.keys
    if keys is not None and keys.failure is not None:
        # Nothing goes on without them.
        if keys.retry_at is None:
            return "False", keys.failure.reason, "the signing keys must be changed first"
        return "True", "RetryScheduled", f"tried again at {keys.retry_at:%Y-%m-%dT%H:%M:%SZ}"
    if look.refused and look.actions:
        return "True", "CreateRefused", look.refused
    if look.trouble_reason:
        return "True", look.trouble_reason, look.trouble
    return None


def _moving(look: PackagesLook) -> Says | None:
    status = look.desired.status
    keys, plan = status.keys, status.plan
    publishing = [each for each in status.publishing if each.failure is None]
    if keys is not None and not keys.current and keys.failure is None:
        return "True", "ReadingKeys", f"waiting for Job {keys.id}-keys"
    if plan is not None and plan.state == "Running":
        if look.missing is not None:
            return "True", look.missing.reason, str(look.missing)
        return "True", "Planning", f"waiting for Job {plan.id}-plan"
    if publishing:
        return "True", "Publishing", f"waiting for Job {publishing[0].id}-publish"
    return _building(status)


def _building(status: PackageRepoStatus) -> Says | None:
    busy = [b for b in status.builds if b.state not in {"Failed", "Queued", "Built"}]
    if not busy:
        return None
    # What cannot start says so only when nothing else goes on.
    stuck = [b for b in busy if b.message]
    if len(stuck) < len(busy):
        said = ", ".join(f"{named(b)} ({b.state.lower()})" for b in busy[:_NAMED])
        return "True", "Building", said
    return (
        "True",
        stuck[0].message_reason,
        "; ".join(f"{named(b)}: {b.message}" for b in stuck[:_NAMED]),
    )


def _waiting(look: PackagesLook) -> Says | None:
    status = look.desired.status
    if look.missing is not None:
        return "True", look.missing.reason, str(look.missing)
    if look.desired.spec.suspend:
        return "False", "Suspended", "spec.suspend is set"
    if status.plan_again or any(b.state == "Queued" for b in status.builds):
        return "True", "Building", "more is to be built"
    times = [status.retry_at, *(each.retry_at for each in status.publishing)]
    times += [b.retry_at for b in status.builds]
    times.append(status.keys.retry_at if status.keys is not None else None)
    if at := min((at for at in times if at is not None), default=None):
        return "True", "RetryScheduled", f"tried again at {at:%Y-%m-%dT%H:%M:%SZ}"
    return None


def _stalled(look: PackagesLook, reconciling: Says) -> Says:  # noqa: PLR0911  one for each cause
    status = look.desired.status
    if look.invalid is not None:
        return "True", look.invalid.reason, str(look.invalid)
    if reconciling[0] == "True":
        return "False", "Progressing", "something goes on"
    keys, plan = status.keys, status.plan
    if keys is not None and keys.failure is not None and keys.retry_at is None:
        return "True", keys.failure.reason, f"the signing keys: {keys.failure.message}"
    if plan is not None and plan.failure is not None and status.retry_at is None:
        return "True", plan.failure.reason, plan.failure.message
    for publish in status.publishing:
        if publish.failure is not None and publish.retry_at is None:
            return "True", publish.failure.reason, publish.failure.message
    bad = failed(status)
    if bad:
        return "True", "PackageFailed", "; ".join(f"{named(b)}: {why(b)}" for b in bad[:_NAMED])
    if plan is not None and not status.indexes and not look.desired.spec.suspend:
        return "True", "NothingToPublish", "the sources have no package for any architecture"
    return "False", "Progressing", "nothing stands in the way"


def events(old: PackageRepoStatus, look: PackagesLook) -> tuple[Event, ...]:
    """What to tell about the way from one status to the next, beside what the look tells."""
    return tuple(_events(old, look))


def _events(old: PackageRepoStatus, look: PackagesLook) -> Iterator[Event]:
    new = look.desired.status
    if old.public_keys != new.public_keys and new.keys is not None:
        names = ", ".join(key.name for key in new.public_keys)
        yield Event("Normal", "SigningKeys", f"{new.keys.current} signs; trusted: {names}")
    was, now = find_condition(old.conditions, "PackagesBuilt"), _built(look)
    if now[0] == "True" and (was is None or was.status != "True"):
        yield Event("Normal", "PackagesBuilt", now[2])
    stuck = {b.id: b.message for b in old.builds}
    for build in new.builds:
        if build.message and stuck.get(build.id) != build.message:
            yield Event("Warning", build.message_reason, f"{named(build)}: {build.message}")
    for kind, applies in (
        ("Stalled", look.invalid is not None),
        ("Reconciling", bool(look.trouble_reason or (look.refused and look.actions))),
        ("Reconciling", look.missing is not None and not look.missing.expected),
    ):
        before, after = find_condition(old.conditions, kind), find_condition(new.conditions, kind)
        if applies and after is not None and (before is None or before.message != after.message):
            yield Event("Warning", after.reason, after.message)
