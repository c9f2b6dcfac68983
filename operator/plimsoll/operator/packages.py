"""What to do about a PackageRepo that is built here: pure, of what is wanted and what there is.

Level-based. A plan (a Job) says what can be built now; each package goes its way; what is built is
published, and planned again, until a plan finds nothing. Plans and publications never overlap, so
a plan always sees the index as it is.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from plimsoll.operator import packagesays
from plimsoll.operator.packageinputs import inputs, repositories
from plimsoll.operator.packagelook import PackagesLook
from plimsoll.operator.packagesession import Session
from plimsoll.operator.packagetidy import tidy
from plimsoll.operator.planning import next_look
from plimsoll.operator.specs import InvalidSpecError, MissingError
from plimsoll.operator.state import Plan

if TYPE_CHECKING:
    from datetime import datetime

    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.sources import Repositories
    from plimsoll.operator.state import PackagesObserved

#: How soon to look again at a Job whose pod does not start: no event tells why.
TROUBLE_INTERVAL = timedelta(seconds=10)
#: How soon to look again at what a watch may have missed, such as the ConfigMaps of sources.
UNWATCHED_INTERVAL = timedelta(minutes=1)


def reconcile_packages(
    desired: PackageRepo, observed: PackagesObserved, now: datetime, settings: JobSettings
) -> Plan[PackageRepoStatus]:
    """Decide what to do next.

    Args:
        desired: the object, with the status that was written last.
        observed: the world around it.
        now: the present time, UTC.
        settings: how Jobs run.
    """
    if desired.metadata.deletion_timestamp is not None:
        return Plan(status=desired.status)
    before = desired.status
    look = PackagesLook(desired, now, refused=observed.refused)
    others: Repositories | None = None
    try:
        look = replace(look, inputs=inputs(desired, observed))
        others = repositories(desired, observed)
    except InvalidSpecError as error:
        look = replace(look, invalid=error)
    except MissingError as error:
        look = replace(look, missing=error)
    if look.inputs is not None and look.invalid is None:
        look = Session(look, look.inputs, others, observed, settings).run()
    status = look.desired.status
    status = status.model_copy(
        update={
            "observed_generation": desired.metadata.generation,
            "progress": packagesays.progress(status),
            "history": status.history[: _kept(look)],
        }
    )
    look = look.having(status)
    status = status.model_copy(update={"conditions": packagesays.summarize(look)})
    look = look.having(status)
    return Plan(
        status=status,
        actions=(*look.actions, *tidy(look.desired, observed)),
        events=(*look.events, *packagesays.events(before, look)),
        requeue_after=_requeue(look),
    )


def _kept(look: PackagesLook) -> int:
    packages = look.desired.spec.packages
    return packages.retention.builds if packages is not None else 0


def _requeue(look: PackagesLook) -> timedelta | None:
    status, spec = look.desired.status, look.desired.spec
    waits: list[timedelta] = []
    if look.starting:
        waits.append(TROUBLE_INTERVAL)
    if look.missing is not None or (
        spec.packages is not None and any(s.config_map is not None for s in spec.packages.sources)
    ):
        waits.append(UNWATCHED_INTERVAL)
    times = [build.retry_at for build in status.builds]
    times += [publish.retry_at for publish in status.publishing]
    times += [status.retry_at, status.keys.retry_at if status.keys is not None else None]
    if look.inputs is not None:
        times.append(next_look(look.desired, look.inputs))
    if not spec.suspend:
        waits += [max(at - look.now, timedelta(seconds=1)) for at in times if at is not None]
    return min(waits, default=None)
