"""What goes into a resolution and what comes out of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from plimsoll.apk.solver.relations import Candidate, satisfies
from plimsoll.apk.version import Constraint
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class UnsatisfiableError(Error):
    """No set of packages fulfils the request.

    Attributes:
        reasons: the shortest chain found, one sentence each, from the request to the clash.
    """

    reason = "UnsatisfiablePackages"

    def __init__(
        self, message: str, *, reasons: Sequence[str] = (), hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.reasons = tuple(reasons)


class PackageNotFoundError(UnsatisfiableError):
    """A requested name is in no repository, neither as a package nor as a provided name."""

    reason = "PackageNotFound"


class Edge(NamedTuple):
    """``needs`` of ``parent`` is fulfilled by ``child``; without a parent, of the request."""

    parent: str | None
    needs: str
    child: str


class Resolution:
    """The packages of one architecture.

    Attributes:
        arch: the name of the architecture, as it was passed in.
        world: the normalised request.
        packages: in install order: what a package needs stands before it (cycles aside).
        searched: whether the greedy pass failed and the complete search found this.
    """

    def __init__(
        self,
        arch: str,
        world: Sequence[str],
        packages: Iterable[Candidate],
        *,
        searched: bool = False,
    ) -> None:
        self.arch = arch
        self.world = tuple(world)
        self.packages = tuple(packages)
        self.searched = searched
        self._by_name = {p.name: p for p in self.packages}

    def __getitem__(self, name: str) -> Candidate:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.packages)

    def __len__(self) -> int:
        return len(self.packages)

    def edges(self) -> Iterator[Edge]:
        """Who asks for whom: the request's own edges first, then each package's."""
        holders: dict[str, list[Candidate]] = {}
        for package in self.packages:
            for name in package.claims():
                holders.setdefault(name, []).append(package)

        def fulfilled(parent: str | None, texts: Iterable[str]) -> Iterator[Edge]:
            for text in dict.fromkeys(texts):
                wanted = Constraint.read(text)
                for child in holders.get(wanted.name, ()) if not wanted.negated else ():
                    if child.name != parent and satisfies(child, wanted):
                        yield Edge(parent, text, child.name)

        yield from fulfilled(None, self.world)
        for package in self.packages:
            yield from fulfilled(package.name, package.entry.depends)
            # install_if points the other way: what is installed brings the package.
            for edge in fulfilled(package.name, package.entry.install_if):
                yield Edge(edge.child, "install_if", package.name)

    def why(self, name: str) -> tuple[Edge, ...]:
        """The shortest chain from the request to package ``name``; empty if it is not chosen."""
        children: dict[str | None, list[Edge]] = {}
        for edge in self.edges():
            children.setdefault(edge.parent, []).append(edge)
        came: dict[str, Edge] = {}
        queue: deque[str | None] = deque([None])
        while queue:
            for edge in children.get(queue.popleft(), ()):
                if edge.child not in came:
                    came[edge.child] = edge
                    queue.append(edge.child)
        chain: list[Edge] = []
        step: str | None = name
        while step is not None and step in came:
            chain.append(came[step])
            step = came[step].parent
        return tuple(reversed(chain))


def normalise_world(world: Iterable[str]) -> tuple[str, ...]:
    """Trim, check, sort and de-duplicate a request.

    Each item is ``name``, ``name=1.2-r0`` (or another operator), either with ``@tag``, or
    ``!name`` for what must not be installed. The order is that of the code points, as the
    reference sorts its world: it decides between solutions.

    Raises:
        InvalidConstraintError: an item is none of these.
        InvalidVersionError: an item has an operator and something that is no version.
    """
    items = sorted({item for text in world if (item := text.strip())})
    for item in items:
        Constraint.parse(item)
    return tuple(items)
