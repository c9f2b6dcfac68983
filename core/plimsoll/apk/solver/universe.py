"""What one architecture offers: candidates by name, looked up when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.relations import Candidate, RepositoryIndex, satisfies
from plimsoll.apk.version import InvalidConstraintError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from plimsoll.apk.index import IndexEntry
    from plimsoll.apk.version import Constraint


class Universe:
    """All packages of one architecture's repositories.

    Args:
        arch: the name of the architecture, for messages.
        repositories: in their order, which decides between equal packages.

    Attributes:
        excluded: candidate → why it can never be chosen. It grows as names are looked up.
        others: the universes of the other architectures; a package that one of them lacks in
            the same version is excluded here.
    """

    def __init__(self, arch: str, repositories: Sequence[RepositoryIndex]) -> None:
        self.arch = arch
        self.repositories = tuple(repositories)
        self.tagged = any(r.tag for r in self.repositories)
        self.excluded: dict[Candidate, str] = {}
        self.others: tuple[Universe, ...] = ()
        self._candidates: dict[str, list[Candidate]] = {}
        self._versions: dict[str, frozenset[str]] = {}
        self._known: dict[int, Candidate] = {}

    def candidates(self, name: str) -> list[Candidate]:
        """Packages called ``name``, then those that provide it, once for each time they do.

        Excluded ones are among them.
        """
        found = self._candidates.get(name)
        if found is None:
            found = [
                self._candidate(entry, repository)
                for repository in self.repositories
                for entry in repository.index.named(name)
            ]
            for repository in self.repositories:
                for entry in repository.index.providers(name):
                    candidate = self._candidate(entry, repository)
                    found += [candidate] * len(candidate.provided.get(name, ()))
            self._candidates[name] = found
        return found

    def matching(self, wanted: Constraint) -> list[Candidate]:
        """The candidates that fulfil ``wanted`` and are not excluded, each once; any tag."""
        return [
            candidate
            for candidate in dict.fromkeys(self.candidates(wanted.name))
            if candidate not in self.excluded and satisfies(candidate, wanted)
        ]

    def conditional_on(self, name: str) -> list[Candidate]:
        """Packages whose ``install_if`` mentions ``name``, in the order of the indexes."""
        return [
            self._candidate(entry, repository)
            for repository in self.repositories
            for entry in repository.index.conditional_on(name)
        ]

    def versions(self, name: str) -> frozenset[str]:
        """All versions of the package ``name`` (not of its providers), as texts."""
        found = self._versions.get(name)
        if found is None:
            found = self._versions[name] = frozenset(
                entry.version for r in self.repositories for entry in r.index.named(name)
            )
        return found

    def names(self) -> Iterable[str]:
        """Every package name, in the order of the indexes."""
        return dict.fromkeys(n for r in self.repositories for n in r.index.names())

    def provided_names(self) -> Iterable[str]:
        """Every provided name, in the order of the indexes."""
        return dict.fromkeys(n for r in self.repositories for n in r.index.provided_names())

    def _candidate(self, entry: IndexEntry, repository: RepositoryIndex) -> Candidate:
        # An index keeps its entries, so their identity lasts as long as the index does.
        candidate = self._known.get(id(entry))
        if candidate is None:
            candidate = self._known[id(entry)] = Candidate(entry, repository)
            if why := self._unusable(candidate):
                self.excluded[candidate] = why
        return candidate

    def _unusable(self, candidate: Candidate) -> str | None:
        try:
            _ = candidate.needs, candidate.provided
        except InvalidConstraintError as error:
            candidate.forget_relations()
            return f"its record in {candidate.repository.url} cannot be read: {error.message}"
        for other in self.others:
            if candidate.version not in other.versions(candidate.name):
                return f"{other.arch} does not have it"
        return None
