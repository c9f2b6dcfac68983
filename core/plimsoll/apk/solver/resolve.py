"""Resolution of a request, for one architecture and for several together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.greedy import DeadEndError, Greedy
from plimsoll.apk.solver.model import Resolution, UnsatisfiableError, normalise_world
from plimsoll.apk.solver.relations import satisfies
from plimsoll.apk.solver.universe import Universe
from plimsoll.apk.solver.verify import violations
from plimsoll.apk.version import Constraint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from plimsoll.apk.solver.relations import Candidate, RepositoryIndex

_ONE = ""


def resolve(
    world: Iterable[str],
    repositories: Sequence[RepositoryIndex],
    *,
    arch: str = "",
    exact: bool = False,
) -> Resolution:
    """Choose the packages of one architecture.

    Args:
        world: ``name``, ``name=1.2-r0`` (or ``< > <= >= ~``), ``name@tag``, ``!name``; in any
            order.
        repositories: in order of preference between otherwise equal packages.
        arch: its name, for messages and the result.
        exact: return the reference's greedy choices even where they break a rule.

    Returns:
        The reference's greedy choices if they keep every rule; else the nearest solution that a
        complete search finds.

    Raises:
        PackageNotFoundError: a requested name is nowhere.
        UnsatisfiableError: there is no solution, or none was found within bounds; says why.
        InvalidConstraintError, InvalidVersionError: an item of ``world`` cannot be read.
        IndexFormatError: a record that had to be read is malformed.
    """
    return resolve_all(world, {arch or _ONE: repositories}, exact=exact)[arch or _ONE]


def resolve_all(
    world: Iterable[str],
    repositories: Mapping[str, Sequence[RepositoryIndex]],
    *,
    exact: bool = False,
) -> dict[str, Resolution]:
    """Choose the packages of several architectures together.

    A package counts only if every architecture has it in that version, and what fulfils an item
    of the request has the same name and version on all.

    Args:
        world: as for ``resolve``.
        repositories: architecture → its repositories.
        exact: as for ``resolve``.

    Raises:
        PackageNotFoundError, UnsatisfiableError, InvalidConstraintError, InvalidVersionError,
        IndexFormatError: as for ``resolve``.
    """
    request = normalise_world(world)
    universes = [Universe(arch, indexes) for arch, indexes in repositories.items()]
    for universe in universes:
        universe.others = tuple(u for u in universes if u is not universe)
    chosen: list[Sequence[Candidate]] = []
    searched = [False] * len(universes)
    for place, universe in enumerate(universes):
        packages = _greedy(request, universe, exact=exact)
        searched[place] = packages is None
        chosen.append(_search(request, [universe])[0] if packages is None else packages)
    if not _agree(request, chosen):
        # The order in which architectures are named must not decide what they agree on.
        order = sorted(universes, key=lambda universe: universe.arch)
        found = dict(zip(order, _search(request, order), strict=True))
        chosen = [found[universe] for universe in universes]
        searched = [True] * len(universes)
    return {
        universe.arch: Resolution(universe.arch, request, packages, searched=was_searched)
        for universe, packages, was_searched in zip(universes, chosen, searched, strict=True)
    }


def _greedy(world: Sequence[str], universe: Universe, *, exact: bool) -> list[Candidate] | None:
    try:
        packages = Greedy(universe, exact=exact).run(world)
    except DeadEndError:
        return None
    if exact or next(violations(world, packages), None) is None:
        return packages
    return None


def _search(world: Sequence[str], universes: Sequence[Universe]) -> list[Sequence[Candidate]]:
    # Most builds never come here, so these are imported only when needed.
    from plimsoll.apk.solver.order import Layout  # noqa: PLC0415
    from plimsoll.apk.solver.sat import LimitError  # noqa: PLC0415
    from plimsoll.apk.solver.search import Search  # noqa: PLC0415

    try:
        search = Search(world, universes)
        found = search.solve()
        if found is None:
            from plimsoll.apk.solver.explain import explain  # noqa: PLC0415

            raise explain(world, universes, search.core())
        extras: list[tuple[Universe, Candidate]] = []
        refused: set[tuple[str, str]] = set()
        while True:
            layouts = [Layout(world, packages) for packages in found]
            triggered = next(
                (
                    (universe, candidate)
                    for universe, layout in zip(universes, layouts, strict=True)
                    for candidate in layout.triggered(universe)
                    if (universe.arch, str(candidate)) not in refused
                ),
                None,
            )
            if triggered is None:
                return [layout.order() for layout in layouts]
            more = Search(world, universes, [*extras, triggered]).solve()
            if more is None:
                refused.add((triggered[0].arch, str(triggered[1])))
            else:
                found = more
                extras.append(triggered)
    except LimitError:
        raise UnsatisfiableError(
            f"gave up looking for packages that fit together for {_names(universes)}",
            hint="name exact versions of the packages you care about: each one that is fixed "
            "makes the search shorter",
        ) from None


def _names(universes: Sequence[Universe]) -> str:
    return ", ".join(u.arch for u in universes if u.arch) or "this request"


def _agree(world: Sequence[str], chosen: Sequence[Sequence[Candidate]]) -> bool:
    """Whether each item of the request has a common fulfilment on all architectures."""
    if len(chosen) < 2:
        return True
    for wanted in map(Constraint.parse, world):
        common = [
            {(p.name, p.version) for p in packages if satisfies(p, wanted)} for packages in chosen
        ]
        if not wanted.negated and not set.intersection(*common):
            return False
    return True
