"""Which public keys belong to the signing keys of a repository: a Job reads them. Pure.

The operator can make Secrets and read none. So a Job that sees the keys says their public halves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plimsoll.api.imagebuildstatus import BuildFailure
from plimsoll.api.meta import REQUESTED_AT
from plimsoll.api.packagestatus import PublicKey, SigningKeys
from plimsoll.api.packagesteps import PackageKeysResult
from plimsoll.operator.packagejobs import job_name
from plimsoll.operator.packagerequest import identity
from plimsoll.operator.packageway import read
from plimsoll.operator.podspec import service_account
from plimsoll.operator.state import Create, MakeKey
from plimsoll.operator.trigger import retry_delay

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.operator.packageinputs import Inputs
    from plimsoll.operator.packagejobs import PackageJobs
    from plimsoll.operator.settings import JobSettings
    from plimsoll.operator.state import Action, JobView


@dataclass(frozen=True, slots=True)
class Keys:
    """The status after a look at the keys.

    Attributes:
        known: whether it has the public keys of the present spec.
        view: the Job that is waited for.
    """

    status: PackageRepoStatus
    known: bool = False
    actions: tuple[Action, ...] = ()
    view: JobView | None = None


def look_at_keys(  # noqa: PLR0913, PLR0917  everything that a Job's manifest is made from
    desired: PackageRepo,
    inputs: Inputs,
    jobs: PackageJobs,
    views: Mapping[str, JobView],
    settings: JobSettings,
    now: datetime,
) -> Keys:
    """Read the keys if they are not known."""
    status = desired.status
    keys = _wanted(desired, inputs, now)
    if keys.current or keys.failure is not None:
        return Keys(status, known=bool(keys.current))
    status = status.model_copy(update={"keys": keys})
    view = views.get(job_name(keys.id, "keys"))
    if view is None:
        name = f"{desired.metadata.namespace}-{desired.metadata.name}"[:64]
        namespace = desired.metadata.namespace
        actions: tuple[Action, ...] = (
            MakeKey(namespace, inputs.secret, name),
            Create(service_account(namespace, settings.seal_account)),
            Create(jobs.keys(keys, inputs)),
        )
        return Keys(status, actions=actions)
    if not view.finished:
        return Keys(status, view=view)
    result = read(view, "package-keys", PackageKeysResult, "keys")
    if isinstance(result, BuildFailure):
        retry = now.replace(microsecond=0) + retry_delay(keys.attempt)
        update = {"failure": result, "retry_at": retry if result.retryable else None}
        return Keys(status.model_copy(update={"keys": keys.model_copy(update=update)}))
    public = [PublicKey(name=name, data=pem) for name, pem in sorted(result.keys.items())]
    current = keys.model_copy(update={"current": result.current})
    return Keys(status.model_copy(update={"keys": current, "public_keys": public}), known=True)


def _wanted(desired: PackageRepo, inputs: Inputs, now: datetime) -> SigningKeys:
    """The reading that there is, or the next."""
    keys = desired.status.keys
    asked = desired.metadata.annotations.get(REQUESTED_AT)
    attempt = 1
    if keys is not None and keys.spec == inputs.signing and keys.requested_at == asked:
        if keys.retry_at is None or now < keys.retry_at:
            return keys
        attempt = keys.attempt + 1
    return SigningKeys(
        spec=inputs.signing,
        requested_at=asked,
        id=identity(desired, "keys", inputs.signing, asked, attempt),
        attempt=attempt,
    )
