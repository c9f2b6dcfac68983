"""Why a build starts, and when the next one may. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from plimsoll.api.meta import REQUESTED_AT, parse_duration
from plimsoll.operator.sources import hash_of
from plimsoll.operator.specs import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.api.imagebuild import ImageBuild, ImageBuildSpec
    from plimsoll.api.imagebuildstatus import BuildReason
    from plimsoll.operator.sources import Configuration, Repositories

FIRST_RETRY = timedelta(minutes=1)
LAST_RETRY = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why a build starts.

    Attributes:
        force: build even if the plan finds nothing new.
    """

    reason: BuildReason
    message: str
    force: bool = False


def trigger(
    desired: ImageBuild, configuration: Configuration, repositories: Repositories, now: datetime
) -> Trigger | None:
    """Why a build shall start now, if one shall. The current one has ended.

    Raises:
        InvalidSpecError: the schedule cannot be read.
    """
    return next(_reasons(desired, configuration, repositories, now), None)


def _reasons(
    desired: ImageBuild, configuration: Configuration, repositories: Repositories, now: datetime
) -> Iterator[Trigger]:
    status, generation = desired.status, desired.metadata.generation
    last = status.build
    asked = desired.metadata.annotations.get(REQUESTED_AT)
    if last is None:
        yield Trigger("Configuration", "first build")
        return
    if asked and asked != status.last_handled_reconcile_at:
        yield Trigger("Requested", f"{REQUESTED_AT}: {asked}", force=True)
    if last.inputs.configuration != configuration.hash:
        if last.inputs.generation != generation:
            text = f"the spec changed from generation {last.inputs.generation} to {generation}"
        else:
            text = "the image configuration changed"
        yield Trigger("Configuration", text)
    if last.state in {"Failed", "Cancelled"} and last.inputs.generation != generation:
        yield Trigger("Configuration", f"the spec changed to generation {generation}")
    scan = scan_hash(desired.spec)
    if scan and last.inputs.scan != scan:
        yield Trigger("Configuration", "spec.scan changed")
    # Many packages may follow one change; the image is built when all of them are there.
    if last.inputs.repositories != repositories.hash and not repositories.unsettled:
        yield Trigger("Repository", "a package repository changed")
    if status.retry_at is not None and now >= status.retry_at:
        yield Trigger("Retry", f"{status.failures} failed in a row; trying again")
    due = next_schedule(desired)
    if due is not None and now >= due:
        yield Trigger("Schedule", f"scheduled for {due:%Y-%m-%dT%H:%M:%SZ}")


def next_schedule(desired: ImageBuild) -> datetime | None:
    """When the schedule starts the next build: after the start of the last one.

    Raises:
        InvalidSpecError: the schedule cannot be read.
    """
    schedule, last = desired.spec.schedule, desired.status.build
    if schedule is None:
        return None
    if len(schedule.cron.split()) != 5:
        raise InvalidSpecError(
            f"spec.schedule.cron: {schedule.cron!r} has not five fields",
            hint="use five fields: minute, hour, day of month, month, day of week",
        )
    try:
        zone = ZoneInfo(schedule.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidSpecError(
            f"spec.schedule.timeZone: there is no time zone {schedule.time_zone!r}",
            hint="use an IANA name such as Europe/Berlin",
        ) from None
    delay = _jitter(desired.metadata.uid, parse_duration(schedule.jitter))
    since = last.started_at if last else desired.metadata.creation_timestamp
    start = (since or datetime.fromtimestamp(0, UTC)) - delay
    try:
        fires: datetime = next(CronSim(schedule.cron, start.astimezone(zone)))
    except CronSimError as error:
        raise InvalidSpecError(
            f"spec.schedule.cron: {schedule.cron!r} is no cron expression: {error}",
            hint="use five fields: minute, hour, day of month, month, day of week",
        ) from None
    except StopIteration:
        raise InvalidSpecError(
            f"spec.schedule.cron: {schedule.cron!r} never comes", hint="correct the expression"
        ) from None
    return fires.astimezone(UTC) + delay


def scan_hash(spec: ImageBuildSpec) -> str:
    """Hash of what an image is scanned by; empty if it is not.

    It makes no difference to the image, so a plan finds nothing new and the image is scanned again.
    """
    return hash_of(spec.scan.model_dump(mode="json")) if spec.scan is not None else ""


def retry_delay(failures: int) -> timedelta:
    """How long to wait after so many failures: doubling up to half an hour."""
    doublings = min(max(failures - 1, 0), 10)
    return min(FIRST_RETRY * (1 << doublings), LAST_RETRY)


def _jitter(uid: str, most: timedelta) -> timedelta:
    """A delay below ``most`` that is always the same for one object."""
    seconds = int(most.total_seconds())
    if not seconds:
        return timedelta()
    digest = hashlib.sha256(uid.encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8]) % (seconds + 1))
