"""Which package fulfils which constraint, and which two packages exclude each other.

The meaning is the reference's, written once: the greedy pass, the complete search and the
explanations all ask here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.version import Constraint, Operator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plimsoll.apk.index import Index, IndexEntry

_NO_VERSIONS: tuple[str, ...] = ()
_UNVERSIONED = ("",)


class RepositoryIndex:
    """One repository's index for one architecture.

    Args:
        url: base URL of the repository, without the architecture.
        index: its verified index.
        tag: packages of a tagged repository serve only ``name@tag`` and what that needs.
    """

    __slots__ = ("index", "tag", "url")

    def __init__(self, url: str, index: Index, tag: str | None = None) -> None:
        self.url = url
        self.index = index
        self.tag = tag or ""

    def __repr__(self) -> str:
        return f"RepositoryIndex({self.url!r}, tag={self.tag!r})"


class Candidate:
    """One package of one repository; two are the same only if they are one object.

    Attributes:
        entry: what the index says of it.
        repository: where it comes from.
        name, version: of the entry.
        tag: of the repository, ``""`` for none.
    """

    __slots__ = ("_needs", "_provided", "entry", "name", "repository", "tag", "version")

    def __init__(self, entry: IndexEntry, repository: RepositoryIndex) -> None:
        self.entry = entry
        self.repository = repository
        self.tag = repository.tag
        self.name = entry.name
        self.version = entry.version
        self._needs: dict[str, Constraint] | None = None
        self._provided: dict[str, tuple[str, ...]] | None = None

    @property
    def needs(self) -> dict[str, Constraint]:
        """What it depends on and, negated, what it refuses: as written → as read.

        Raises:
            InvalidConstraintError: the repository wrote what is no constraint.
        """
        if self._needs is None:
            self._needs = {text: Constraint.read(text) for text in self.entry.depends}
        return self._needs

    @property
    def provided(self) -> dict[str, tuple[str, ...]]:
        """Name → the versions it is provided in, as texts; ``""`` is "without a version".

        Raises:
            InvalidConstraintError: the repository wrote what is no constraint.
        """
        if self._provided is None:
            provided: dict[str, tuple[str, ...]] = {}
            for text in self.entry.provides:
                item = Constraint.read(text)
                provided[item.name] = (*provided.get(item.name, ()), item.version_text)
            self._provided = provided
        return self._provided

    def forget_relations(self) -> None:
        """Let a package whose record cannot be read need and provide nothing."""
        self._needs = {}
        self._provided = {}

    def claims(self) -> dict[str, bool]:
        """The names the package holds → whether with a version.

        It holds its own name with its version. Of two packages that hold one name both must
        hold it without a version (a virtual name), or they exclude each other.
        """
        held = {name: any(versions) for name, versions in self.provided.items()}
        held[self.name] = True
        return held

    def carries(self, name: str) -> str:
        """The version it has under ``name``: its own, a provided one, or ``""``."""
        if name == self.name:
            return self.version
        return self.provided.get(name, _UNVERSIONED)[0]

    def __str__(self) -> str:
        return f"{self.name}-{self.version}"

    def __repr__(self) -> str:
        return f"<{self} of {self.repository.url}>"


def satisfies(package: Candidate, wanted: Constraint) -> bool:
    """Whether ``package`` fulfils ``wanted`` (its pin and ``!`` are not looked at).

    A bare name is fulfilled by the package of that name and by whatever provides it. A version
    is compared with the package's own where the name is its own, else with the version it
    provides the name in. A name provided without version has none to compare: there the
    package's own version, or that of anything else it provides, counts, as in the reference.
    """
    own = package.name == wanted.name
    if own and wanted.accepts(package.version):
        return True
    versions = package.provided.get(wanted.name, _NO_VERSIONS)
    if not versions:
        return False
    if wanted.operator is Operator.ANY:
        return True
    if any(versions):
        return any(text and wanted.accepts(text) for text in versions)
    return not own and loosely_satisfies(package, wanted)


def loosely_satisfies(package: Candidate, wanted: Constraint) -> bool:
    """Whether any version the package has, its own or one of a provided name, would do."""
    return wanted.accepts(package.version) or any(
        text and wanted.accepts(text) for versions in package.provided.values() for text in versions
    )


def clash(one: Candidate, other: Candidate) -> str | None:
    """The name because of which two packages exclude each other, or ``None``."""
    held = one.claims()
    for name, versioned in other.claims().items():
        if name in held and (versioned or held[name]):
            return name
    return None


def refusal(one: Candidate, other: Candidate) -> str | None:
    """The ``!name`` of ``one`` that hits ``other``, or ``None``; a package never hits itself."""
    if one is other:
        return None
    return next((t for t, c in one.needs.items() if c.negated and satisfies(other, c)), None)


def is_triggered(condition: str, present: Mapping[str, Candidate]) -> bool:
    """Whether a word of ``install_if`` (``name`` or ``name=version``, exactly) is true."""
    name, equals, version = condition.partition("=")
    package = present.get(name)
    return package is not None and (not equals or package.version == version)


def contradicts(candidate: Candidate, constraint: Constraint) -> bool:
    """Whether a version that ``candidate`` has under a name is another than is asked for."""
    if candidate.name == constraint.name:
        return not constraint.accepts(candidate.version)
    return any(
        text and not constraint.accepts(text)
        for text in candidate.provided.get(constraint.name, ())
    )
