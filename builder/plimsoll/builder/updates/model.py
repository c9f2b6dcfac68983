"""What is asked upstream, what comes back, and what it means for a package."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from plimsoll.errors import Error

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from plimsoll.builder.updates.versions import Rules


class UpdateError(Error):
    """Upstream could not be asked, or its answer is of no use."""

    reason = "UpdateFailed"


class LimitError(UpdateError):
    """A service gives no more answers for now."""

    reason = "RateLimited"
    retryable = True


class Service(Enum):
    """Who is asked."""

    RELEASE_MONITOR = "release-monitor"
    GITHUB_RELEASES = "github releases"
    GITHUB_TAGS = "github tags"
    GIT = "git"
    OCI = "oci"


@dataclass(frozen=True, slots=True)
class Query:
    """One question; packages that ask the same one share its answer.

    Attributes:
        service: who is asked.
        target: number of a project, ``OWNER/REPOSITORY``, URL of a repository, or image.
        prefix: of tags; spares the answer what does not count.
        contains: stands in tags; likewise, where the service can look for it.
    """

    service: Service
    target: str
    prefix: str = ""
    contains: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something upstream has.

    Attributes:
        name: what upstream calls it: a tag or a version.
        commit: that it leads to, where the answer says so.
        prerelease: whether upstream calls it one.
    """

    name: str
    commit: str = ""
    prerelease: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a package wants to know.

    Attributes:
        query: the question; ``None`` where there is none, for ``reason``.
        rules: what counts of the answer.
        sequential: the next version is wanted, not the newest.
        shared: packages that need this one are built again with it.
        manual: a person makes the update.
        period: time between two looks: ``daily``, ``weekly``, ``monthly``, or empty.
    """

    file: Path
    package: str
    version: str
    query: Query | None
    rules: Rules
    reason: str = ""
    sequential: bool = False
    shared: bool = False
    manual: bool = False
    period: str = ""


class State(Enum):
    """What became of a request."""

    NEW = "new"
    CURRENT = "current"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer for a package.

    Attributes:
        version: the version to go to, empty where there is none.
        newest: the newest that there is; another one than ``version`` where one is taken after
            the other.
        name: what upstream calls ``version``.
        commit: of that, where known.
        reason: why nothing was asked, or what went wrong.
    """

    request: Request
    state: State
    version: str = ""
    newest: str = ""
    name: str = ""
    commit: str = ""
    reason: str = ""
    checked: datetime | None = None
