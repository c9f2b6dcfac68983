"""Conditions and events of an ImageBuild: its state in words. Pure.

The order of kstatus is kept: ``Reconciling`` or ``Stalled`` is True whenever ``Ready`` is not, so
that tools which know conditions only see progress, failure and success as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from plimsoll.api.meta import Condition, find_condition, with_condition
from plimsoll.operator.state import Event
from plimsoll.operator.supply import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from plimsoll.api.imagebuildstatus import Build, ImageBuildStatus
    from plimsoll.operator.reconcile import Look

Truth = Literal["True", "False", "Unknown"]
Says = tuple[Truth, str, str]
_LIMIT = 2000


def summarize(look: Look) -> list[Condition]:
    """All conditions of an ImageBuild."""
    says = {
        "Ready": _ready(look),
        "BuildSucceeded": _build_succeeded(look),
        "Signed": _signed(look),
        "Reconciling": _reconciling(look),
        "Stalled": _stalled(look),
    }
    status, generation = look.desired.status, look.desired.metadata.generation
    return say(status.conditions, says, generation, look.now)


def say(
    current: Sequence[Condition], says: Mapping[str, Says], generation: int, now: datetime
) -> list[Condition]:
    """The conditions with what is said now."""
    conditions = list(current)
    for kind, (truth, reason, message) in says.items():
        new = Condition(
            type=kind,
            status=truth,
            reason=reason,
            message=message if len(message) <= _LIMIT else f"{message[:_LIMIT]}…",
            observed_generation=generation,
        )
        conditions = with_condition(conditions, new, now)
    return conditions


def _ready(look: Look) -> Says:
    return _satisfied(look) or _unsatisfied(look)


def _satisfied(look: Look) -> Says | None:
    """Whether the image is what the spec asks for; a failed rebuild does not matter."""
    status = look.desired.status
    if look.configuration is not None:
        if status.image is not None and status.configuration == look.configuration.hash:
            return "True", "ImageAvailable", status.image
        return None
    # What the spec asks for cannot be seen now, so what was known of this generation holds.
    old = find_condition(status.conditions, "Ready")
    if look.missing is None or old is None or old.status != "True":
        return None
    if old.observed_generation != look.desired.metadata.generation:
        return None
    return old.status, old.reason, old.message


def _unsatisfied(look: Look) -> Says:  # noqa: PLR0911  one for each state
    status, build = look.desired.status, look.desired.status.build
    if look.invalid is not None:
        return "False", look.invalid.reason, str(look.invalid)
    if awaited := _awaited(look):
        return "Unknown", "WaitingForPackages", awaited
    if build is not None and build.state == "Failed" and _is_for(build, look):
        return "False", build.failure.reason if build.failure else "Failed", _failure(build, look)
    if look.missing is not None:
        return "False", look.missing.reason, str(look.missing)
    if _stopped(look):
        return "False", "Cancelled", f"build {build.id if build else ''} was cancelled"
    if look.desired.spec.suspend and look.progress is None:
        return "False", "Suspended", "no image for this spec exists, and spec.suspend is set"
    old = find_condition(status.conditions, "Ready")
    if old is not None and old.status == "False" and build is not None and build.reason == "Retry":
        return old.status, old.reason, old.message
    return "Unknown", "Building", "no image for this spec exists yet"


def _build_succeeded(look: Look) -> Says:
    build = look.desired.status.build
    if build is None:
        return "Unknown", "NotBuilt", "no build has started"
    if build.state == "Failed":
        return "False", build.failure.reason if build.failure else "Failed", _failure(build, look)
    if build.state in {"Succeeded", "Unchanged"}:
        text = "nothing changed" if build.state == "Unchanged" else f"made {build.digest}"
        return "True", build.state, f"build {build.id}: {text}"
    old = find_condition(look.desired.status.conditions, "BuildSucceeded")
    if old is not None and old.status != "Unknown":
        return old.status, old.reason, old.message
    return "Unknown", build.state, f"build {build.id}: {build.message}"


def _signed(look: Look) -> Says:
    status = look.desired.status
    if status.image is None:
        return "Unknown", "NotBuilt", "there is no image yet"
    if status.signed:
        return "True", "Signed", f"{status.image} is signed"
    return "False", "NotRequested", "spec.signing is not set"


def _reconciling(look: Look) -> Says:  # noqa: PLR0911  one for each state
    status, build = look.desired.status, look.desired.status.build
    if look.progress is not None and look.progress.phase:
        return (
            "True",
            look.progress.phase,
            f"build {look.progress.build.id}: {look.progress.detail}",
        )
    if look.invalid is not None:
        return "False", look.invalid.reason, "the spec must be changed first"
    if look.missing is not None:
        return "True", look.missing.reason, str(look.missing)
    if look.desired.spec.suspend:
        return "False", "Suspended", "spec.suspend is set"
    if look.crowded:
        return "True", "WaitingForOthers", "as many builds run as the operator's settings allow"
    if awaited := _awaited(look):
        return "True", "WaitingForPackages", awaited
    if status.retry_at is not None and build is not None:
        return "True", "RetryScheduled", f"tried again at {status.retry_at:%Y-%m-%dT%H:%M:%SZ}"
    return "False", "Idle", "nothing to do"


def _stalled(look: Look) -> Says:
    status, build = look.desired.status, look.desired.status.build
    if look.invalid is not None:
        return "True", look.invalid.reason, str(look.invalid)
    if _stopped(look) and _satisfied(look) is None:
        text = "the build was cancelled; annotate plimsoll.dev/requested-at for another"
        return "True", "Cancelled", text
    failed = build is not None and build.state == "Failed" and not _awaited(look)
    if failed and build is not None and build.failure is not None and status.retry_at is None:
        return "True", build.failure.reason, _failure(build, look)
    return "False", "Progressing", "nothing stands in the way"


def _stopped(look: Look) -> bool:
    """Whether somebody ended the last build, and nothing else asks for one."""
    build = look.desired.status.build
    if build is None or build.state != "Cancelled" or look.crowded or look.progress is not None:
        return False
    return look.configuration is not None and _is_for(build, look)


def _is_for(build: Build, look: Look) -> bool:
    return look.configuration is None or build.inputs.configuration == look.configuration.hash


def _awaited(look: Look) -> str:
    """What a build lacked that its repositories will soon have; empty if that is not so."""
    build = look.desired.status.build
    if build is None or build.state != "Failed" or not _is_for(build, look):
        return ""
    if not lacking(build.failure) or look.desired.spec.suspend or not look.supply.coming:
        return ""
    return "; ".join([*look.supply.coming, _failure(build, look)])


def _failure(build: Build, look: Look) -> str:
    if build.failure is None:
        return f"build {build.id} failed"
    said = f"build {build.id}, {build.failure.step}: {build.failure.message}"
    return "; ".join([said, *look.supply.failed]) if lacking(build.failure) else said


def events(old: ImageBuildStatus, new: ImageBuildStatus, look: Look) -> tuple[Event, ...]:
    """What to tell people about the way from one status to the next."""
    return (*_build_events(old, look), *_hindrances(old, new, look))


def _build_events(old: ImageBuildStatus, look: Look) -> Iterator[Event]:
    new = look.desired.status
    before, after = old.build, new.build
    if after is None:
        return
    started = before is None or before.id != after.id
    if started:
        if before is not None and before.state == "Running":
            yield Event("Normal", "BuildCancelled", f"build {before.id}: the spec changed")
        yield Event("Normal", "BuildStarted", f"build {after.id}: {after.message}")
    if not started and before is not None and before.state == after.state:
        return
    if after.state != "Running":
        yield _ended(after, look)


def _ended(after: Build, look: Look) -> Event:
    match after.state:
        case "Succeeded":
            image = look.desired.status.image
            return Event("Normal", "BuildSucceeded", f"build {after.id} made {image}")
        case "Unchanged":
            return Event("Normal", "BuildUnchanged", f"build {after.id}: nothing changed")
        case "Failed" if awaited := _awaited(look):
            return Event("Normal", "WaitingForPackages", awaited)
        case "Failed":
            return Event("Warning", "BuildFailed", _failure(after, look))
        case _:
            return Event("Normal", "BuildCancelled", f"build {after.id} was stopped")


def _lost(status: ImageBuildStatus) -> bool:
    stalled = find_condition(status.conditions, "Stalled")
    return stalled is not None and stalled.status == "True"


def _hindrances(old: ImageBuildStatus, new: ImageBuildStatus, look: Look) -> Iterator[Event]:
    """A warning for what stands in the way, once for each sentence."""
    troubled = look.progress is not None and look.progress.trouble_reason
    missing = look.missing is not None and not look.missing.expected and look.progress is None
    before = find_condition(old.conditions, "Reconciling")
    in_vain = before is not None and before.reason == "WaitingForPackages" and _lost(new)
    for kind, applies, reason in (
        ("Stalled", look.invalid is not None, ""),
        ("Stalled", in_vain, "BuildFailed"),
        ("Reconciling", missing, ""),
        ("Reconciling", bool(troubled), troubled or ""),
    ):
        was, now = find_condition(old.conditions, kind), find_condition(new.conditions, kind)
        if applies and now is not None and (was is None or was.message != now.message):
            yield Event("Warning", reason or now.reason, now.message)
