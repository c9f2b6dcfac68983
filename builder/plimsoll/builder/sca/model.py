"""What the dependency scan is told, and what it says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[^@=><~\s!][^@=><~\s]*", re.ASCII)
_OPERATOR = re.compile(r"[=><~]")


@dataclass(frozen=True, slots=True)
class Options:
    """What the scan leaves out (``options`` of a package)."""

    no_provides: bool = False
    no_depends: bool = False
    no_commands: bool = False
    no_versioned_shlib_deps: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a package beside its files.

    Attributes:
        name: of the package.
        version: with epoch: ``1.2.3-r0``.
        runtime: dependencies that its configuration declares.
        options: what the scan leaves out.
        library_versions: soname → version of the package that offers it as ``so-ver:``, for the
            libraries it was built with. Dependencies on them are bound to that version or later.
    """

    name: str
    version: str
    runtime: tuple[str, ...] = ()
    options: Options = Options()
    library_versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What a package needs and offers; each list sorted and without duplicates.

    Attributes:
        runtime: what must be installed with it.
        provides: names it goes by, as ``name=version``.
        vendored: what it brings along for itself only.
        own: names that its own files satisfy, offered or not.
        notes: what a person should look at.
    """

    runtime: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    vendored: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def settled(self, runtime: Iterable[str] = (), provides: Iterable[str] = ()) -> Dependencies:
        """Add what the configuration declares, and drop what the package itself satisfies.

        Declared dependencies stay, whoever satisfies them.
        """
        declared = set(runtime)
        offered = {*self.provides, *provides}
        own = self.own | {name_of(p) for p in (*offered, *self.vendored)}
        needed = {need for need in self.runtime if name_of(need) not in own}
        return Dependencies(
            runtime=tuple(sorted(needed | declared)),
            provides=tuple(sorted(offered)),
            vendored=self.vendored,
            own=own,
            notes=self.notes,
        )


@dataclass(slots=True)
class Findings:
    """Collects what the parts of the scan find.

    Names come from files that nobody vouches for: one that cannot stand in a dependency is noted
    and left out.
    """

    runtime: set[str] = field(default_factory=set)
    provides: set[str] = field(default_factory=set)
    vendored: set[str] = field(default_factory=set)
    notes: set[str] = field(default_factory=set)

    def need(self, kind: str, name: str, path: str, constraint: str = "") -> None:
        """Add a dependency."""
        if self._sound(name, path):
            self.runtime.add(f"{kind}{name}{constraint}")

    def provide(self, kind: str, name: str, version: str, path: str, *, vendored: bool) -> None:
        """Add something that the package offers, or keeps to itself."""
        if self._sound(name, path):
            (self.vendored if vendored else self.provides).add(f"{kind}{name}={version}")

    def _sound(self, name: str, path: str) -> bool:
        sound = len(name) <= 255 and name.isprintable() and _NAME.fullmatch(name)
        if not sound or not name.isascii():
            self.notes.add(f"{path}: {name[:80]!r} cannot stand in a dependency; left out")
            return False
        return True


def name_of(text: str) -> str:
    """The name in a dependency or provider: ``so:libc.so.6`` of ``so:libc.so.6=6``."""
    return _OPERATOR.split(text, maxsplit=1)[0]
