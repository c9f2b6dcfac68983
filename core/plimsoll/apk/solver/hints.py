"""What could be meant instead, and why a candidate does not count."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from plimsoll.apk.solver.relations import satisfies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.apk.solver.universe import Universe
    from plimsoll.apk.version import Constraint

_MOST = 4
#: Spaces of names that a person may have left out.
_SPACES = ("cmd:", "so:", "pc:")


def listing(items: Sequence[str], word: str = "and") -> str:
    """``a, b and c``; a long list is cut: ``a, b, c, d and 7 more``."""
    items = list(dict.fromkeys(items))
    if len(items) > _MOST + 1:
        items = [*items[:_MOST], f"{len(items) - _MOST} more"]
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def near_names(name: str, universe: Universe) -> str:
    """What to do about a name that nothing has."""
    for space in _SPACES:
        if found := universe.candidates(space + name):
            return f"did you mean {space}{name}, which {found[0].name} provides?"
    having = [other.arch for other in universe.others if other.candidates(name)]
    if having:
        return (
            f"{listing(having)} {'has' if len(having) == 1 else 'have'} it: leave {name} out, or "
            f"do not build for {universe.arch}"
        )
    known = list(universe.names())
    if not known:
        return "the repositories are empty; check their URLs and the architecture"
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.7)
    near = near or [n for n in known if n.startswith(name)][:3]
    near = near or _near_provided(name, universe)
    if near:
        return f"did you mean {listing(near, 'or')}?"
    return "check the name, or add the repository that has it"


def _near_provided(name: str, universe: Universe) -> list[str]:
    """Provided names that begin alike: ``so:libssl.so.1.1`` for ``so:libssl.so.3``."""
    space, colon, rest = name.partition(":")
    if not colon:
        return []
    alike = [n for n in universe.provided_names() if n.startswith(f"{space}:{rest[:4]}")]
    stem = name.partition(".so.")[0] + ".so."
    versions = [n for n in alike if n.startswith(stem)][:3]
    return versions or difflib.get_close_matches(name, alike, n=3, cutoff=0.7)


def why_not(wanted: Constraint, universe: Universe) -> str:
    """Why nothing in ``universe`` fulfils ``wanted``."""
    candidates = list(dict.fromkeys(universe.candidates(wanted.name)))
    if not candidates:
        return f"nothing provides {wanted.name}"
    fitting = [c for c in candidates if satisfies(c, wanted)]
    excluded = [f"{c}: {universe.excluded[c]}" for c in fitting if c in universe.excluded]
    if excluded:
        return f"it cannot be chosen ({listing(excluded)})"
    tagged = [c for c in fitting if c.tag]
    if tagged:
        return (
            f"only {tagged[0]} of the repository tagged @{tagged[0].tag} fulfils it: "
            f"ask for {tagged[0].name}@{tagged[0].tag}"
        )
    offers = [
        str(c)
        if c.name == wanted.name
        else f"{c} (which provides {wanted.name} {c.carries(wanted.name) or 'without version'})"
        for c in candidates
    ]
    return f"there is only {listing(offers)}"
