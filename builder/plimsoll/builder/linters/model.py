"""Linters, what they are told, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from plimsoll.arch import Arch
    from plimsoll.builder.sca.tree import Tree


class Severity(Enum):
    """What a finding means for the package."""

    ERROR = "error"
    """The package must not be published."""

    WARNING = "warning"
    """A person should look at it."""

    IGNORED = "ignored"
    """The linter does not run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        linter: name of the linter.
        path: the file, relative; ``""`` if it is about the package as a whole.
        message: what is wrong there.
    """

    linter: str
    severity: Severity
    path: str
    message: str


@dataclass(frozen=True, slots=True)
class LintFacts:
    """What is known of a package beside its files.

    Attributes:
        name: of the package.
        version: with epoch; names the package's own SBOM. ``""`` if there is none yet.
        arch: architecture it was built for, ``None`` if that is not known.
        no_provides: whether its configuration says that it offers nothing.
        test_uses: pipelines that its test uses; ``None`` if its configuration is not known.
    """

    name: str
    version: str = ""
    arch: Arch | None = None
    no_provides: bool = False
    test_uses: frozenset[str] | None = None

    def is_a(self, *suffixes: str) -> bool:
        """Whether the package's name says that it is a ``-dev``, ``-doc``… package."""
        return self.name.endswith(suffixes)


@dataclass(frozen=True, slots=True)
class Linter:
    """One rule.

    Attributes:
        severity: what its findings mean unless something else is chosen.
        hint: what to do about them.
        check: yields path and message of each.
    """

    name: str
    severity: Severity
    hint: str
    check: Callable[[Tree, LintFacts], Iterator[tuple[str, str]]]
