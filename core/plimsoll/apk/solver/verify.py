"""Whether a set of packages is a solution: every rule, looked at from the outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.relations import satisfies
from plimsoll.apk.version import Constraint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from plimsoll.apk.solver.relations import Candidate


def violations(world: Sequence[str], packages: Sequence[Candidate]) -> Iterator[str]:
    """The rules that a set of packages breaks, one sentence each; nothing for a solution.

    Args:
        world: the normalised request.
        packages: what is to be installed on one architecture.
    """
    holders: dict[str, list[Candidate]] = {}
    for package in packages:
        for name in package.claims():
            holders.setdefault(name, []).append(package)
    wanted = [Constraint.parse(text) for text in world]
    yield from _unmet(None, wanted, holders)
    for package in packages:
        yield from _unmet(package, package.needs.values(), holders)
    for name, holding in holders.items():
        if len(holding) > 1 and any(name == p.name or any(p.provided[name]) for p in holding):
            yield f"{', '.join(map(str, holding))} all hold {name}"
    for tag in sorted({p.tag for p in packages if p.tag}):
        reached = _reached([w for w in wanted if w.pin == tag and not w.negated], packages, holders)
        for package in packages:
            if package.tag == tag and package not in reached:
                yield f"{package} is of a repository tagged {tag}, and nothing @{tag} needs it"


def _unmet(
    package: Candidate | None,
    constraints: Iterable[Constraint],
    holders: dict[str, list[Candidate]],
) -> Iterator[str]:
    who = package or "the request"
    for constraint in constraints:
        met = [p for p in holders.get(constraint.name, ()) if satisfies(p, constraint)]
        if constraint.negated:
            yield from (f"{who} refuses {p}" for p in met if p is not package)
        elif not met:
            yield f"{who} needs {constraint}"


def _reached(
    starts: Sequence[Constraint],
    packages: Sequence[Candidate],
    holders: dict[str, list[Candidate]],
) -> set[Candidate]:
    """What these items of the request lead to, ``install_if`` included."""
    reached: set[Candidate] = set()
    stack = [p for c in starts for p in holders.get(c.name, ()) if satisfies(p, c)]
    conditional = [p for p in packages if p.entry.install_if]
    while stack:
        while stack:
            package = stack.pop()
            if package not in reached:
                reached.add(package)
                needs = [c for c in package.needs.values() if not c.negated]
                stack += [p for c in needs for p in holders.get(c.name, ()) if satisfies(p, c)]
        names = {p.name for p in reached}
        for package in conditional:
            conditions = (Constraint.read(text).name for text in package.entry.install_if)
            if package not in reached and names.issuperset(conditions):
                stack.append(package)
    return reached
