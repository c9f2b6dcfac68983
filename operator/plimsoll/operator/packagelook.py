"""One look at a PackageRepo that is built here, as it grows. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from plimsoll.api.packagerepo import PackageRepo
    from plimsoll.api.packagestatus import PackageRepoStatus
    from plimsoll.operator.packageinputs import Inputs
    from plimsoll.operator.specs import InvalidSpecError, MissingError
    from plimsoll.operator.state import Action, Event


@dataclass(frozen=True, slots=True)
class PackagesLook:
    """What is known and decided so far.

    Attributes:
        desired: with the status as it will be written.
        refused: what the API server refused to create the last time.
        trouble: what keeps the keys, the plan or a publication from going on.
        trouble_reason: the same as one CamelCase word.
        starting: a pod is waited for; nothing may tell why it does not start.
    """

    desired: PackageRepo
    now: datetime
    inputs: Inputs | None = None
    invalid: InvalidSpecError | None = None
    missing: MissingError | None = None
    refused: str = ""
    trouble: str = ""
    trouble_reason: str = ""
    starting: bool = False
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()

    def having(self, status: PackageRepoStatus) -> PackagesLook:
        """The same with another status."""
        return replace(self, desired=self.desired.model_copy(update={"status": status}))
