"""The first pass: the reference's greedy choices, in its order, without second thoughts.

It walks the request, always taking the item with the fewest candidates and of these the
preferred one, and rules out whatever contradicts a choice. Then it walks depth first through
what the choices need. It may end in a dead end where a solution exists, and its result may break
a rule that it does not look at; callers check it and use the complete search then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from plimsoll.apk.solver.preference import Preference
from plimsoll.apk.solver.relations import contradicts, is_triggered, loosely_satisfies
from plimsoll.apk.version import Constraint, Operator

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from plimsoll.apk.solver.relations import Candidate
    from plimsoll.apk.solver.universe import Universe


class DeadEndError(Exception):
    """The greedy pass cannot go on; whether a solution exists is open."""


class _Frame:
    """One package on the way down, and what it still needs."""

    __slots__ = ("children", "cyclic", "needs", "options", "package", "ranked", "seen")

    def __init__(self, package: Candidate, needs: dict[str, Constraint], *, cyclic: bool) -> None:
        self.package = package
        self.needs = needs
        #: Its own ancestor: what it needs is being looked for already.
        self.cyclic = cyclic
        #: Places of its children in the list of what was found.
        self.children: list[int] = []
        #: What could meet each need; the needs from the loosest to the tightest; and how much was
        #: ruled out and held when that was found.
        self.options: dict[str, list[Candidate]] = {}
        self.ranked: list[str] = []
        self.seen = (-1, -1)


class _Known:
    """What is chosen so far: packages by name, versions by origin; of two the later found."""

    __slots__ = ("_places", "chosen", "origins")

    def __init__(self, chosen: dict[str, Candidate]) -> None:
        self.chosen = chosen
        self.origins = {c.entry.origin: c.version for c in chosen.values() if c.entry.origin}
        self._places: dict[tuple[str, bool], int] = {}

    def note(self, package: Candidate, place: int) -> None:
        """Take in a package that was found as number ``place``."""
        if self._is_later(package.name, place, origin=False):
            self.chosen[package.name] = package
        origin = package.entry.origin
        if origin and self._is_later(origin, place, origin=True):
            self.origins[origin] = package.version

    def _is_later(self, name: str, place: int, *, origin: bool) -> bool:
        later = self._places.get((name, origin), -1) < place
        if later:
            self._places[name, origin] = place
        return later


class Greedy:
    """One greedy pass over one architecture.

    Args:
        universe: what there is.
        exact: follow the reference where it breaks its own rules: packages of ``install_if``
            come even if they are ruled out or of a repository with another tag.
    """

    def __init__(self, universe: Universe, *, exact: bool = False) -> None:
        self._universe = universe
        self._exact = exact
        self._out: set[Candidate] = set()
        # Name (own, or provided in a version) → the package that was chosen for it.
        self._holders: dict[str, Candidate] = {}
        self._allowed: dict[tuple[str, str], tuple[int, list[Candidate]]] = {}

    def run(self, world: Sequence[str]) -> list[Candidate]:
        """The packages for a normalised request, in install order.

        Raises:
            DeadEndError: it found no solution.
        """
        constraints = {item: Constraint.parse(item) for item in world}
        self._constrain(constraints)
        wanted = {text: c for text, c in constraints.items() if not c.negated}
        chosen = self._choose_requested(wanted)
        order: dict[str, Candidate] = {}
        for text, constraint in wanted.items():
            package, below = self._install(text, constraint, chosen)
            for each in (*below, package):
                order.setdefault(each.name, each)
                chosen.setdefault(each.name, each)
        return list(order.values())

    def _choose_requested(self, wanted: dict[str, Constraint]) -> dict[str, Candidate]:
        chosen: dict[str, Candidate] = {}
        remaining = dict(wanted)
        while remaining:
            options = {text: self._options(text, c, c.pin) for text, c in remaining.items()}
            tightest = min(options, key=lambda text: len(options[text]))
            if not options[tightest]:
                raise DeadEndError
            constraint = remaining.pop(tightest)
            preference = Preference(constraint.name, pin=constraint.pin)
            package = preference.best(options[tightest])
            chosen[package.name] = package
            self._rule_out_rivals(package)
        return chosen

    def _install(
        self, text: str, wanted: Constraint, chosen: dict[str, Candidate]
    ) -> tuple[Candidate, list[Candidate]]:
        """The package for one item of the request and what comes with it."""
        candidates = self._options(text, wanted, wanted.pin)
        if not candidates:
            raise DeadEndError
        package = Preference(wanted.name, pin=wanted.pin).best(candidates)
        below: dict[str, Candidate] = {}
        for each in self._descend(package, wanted.pin, dict(chosen)):
            below.setdefault(each.name, each)
        self._add_triggered(below, wanted.pin, chosen)
        return package, list(below.values())

    def _descend(self, top: Candidate, pin: str, chosen: dict[str, Candidate]) -> list[Candidate]:
        """What ``top`` needs, depth first, children before parents (with repetitions)."""
        known = _Known(chosen)
        found: list[Candidate] = []
        stack = [self._enter(top, ())]
        path = {top.name}
        while True:
            frame = stack[-1]
            child = self._next_child(frame, pin, known)
            if child is not None:
                self._rule_out_rivals(child)
                self._hold(frame.package)
                stack.append(self._enter(child, path))
                path.add(child.name)
                continue
            # A package counts as chosen only when the one that needs it is done.
            for place in frame.children:
                known.note(found[place], place)
            stack.pop()
            if not stack:
                return found
            if not frame.cyclic:
                path.discard(frame.package.name)
            stack[-1].children.append(len(found))
            found.append(frame.package)

    def _enter(self, package: Candidate, path: Collection[str]) -> _Frame:
        if package.name in path:
            return _Frame(package, {}, cyclic=True)
        self._constrain(package.needs)
        needs = {text: need for text, need in package.needs.items() if not need.negated}
        return _Frame(package, needs, cyclic=False)

    def _next_child(self, frame: _Frame, pin: str, known: _Known) -> Candidate | None:
        """The best candidate for the need with the fewest; drops the needs that are met."""
        # Both only grow: where neither did, what was found before still holds.
        now = (len(self._out), len(self._holders))
        if frame.seen != now or self._universe.tagged:
            self._look_at_needs(frame, pin, known)
            frame.seen = now
        if not frame.ranked:
            return None
        tightest = frame.ranked.pop()
        name = frame.needs.pop(tightest).name
        return Preference(name, known.chosen, known.origins).best(frame.options[tightest])

    def _look_at_needs(self, frame: _Frame, pin: str, known: _Known) -> None:
        options: dict[str, list[Candidate]] = {}
        for text, need in frame.needs.items():
            if not self._is_met(frame.package, need):
                options[text] = self._options(text, need, pin, known.chosen.get(need.name))
                if not options[text]:
                    raise DeadEndError
        frame.needs = {text: frame.needs[text] for text in options}
        frame.options = options
        frame.ranked = sorted(options, key=lambda t: (len(options[t]), t), reverse=True)

    def _is_met(self, package: Candidate, need: Constraint) -> bool:
        if need.name in package.provided or (
            need.name == package.name and need.accepts(package.version)
        ):
            return True
        holder = self._holders.get(need.name)
        if holder is None:
            return False
        if need.operator is Operator.ANY or need.accepts(holder.version):
            return True
        if any(text and need.accepts(text) for text in holder.provided.get(need.name, ())):
            return True
        raise DeadEndError

    def _hold(self, package: Candidate) -> None:
        """Note the names a package holds from now on."""
        if self._holders.get(package.name) is package:
            return
        for name, versioned in package.claims().items():
            if self._holders.get(name, package) is not package:
                raise DeadEndError
            if versioned:
                self._holders[name] = package

    def _constrain(self, constraints: dict[str, Constraint]) -> None:
        """Rule out what contradicts a version that is asked for, or is refused."""
        for text, constraint in constraints.items():
            if constraint.negated:
                self._out.update(self._options(text, constraint, constraint.pin))
            elif constraint.operator is not Operator.ANY:
                self._out.update(
                    candidate
                    for candidate in self._universe.candidates(constraint.name)
                    if contradicts(candidate, constraint)
                )

    def _rule_out_rivals(self, package: Candidate) -> None:
        """Rule out other packages that hold a name this one provides."""
        for name, versions in package.provided.items():
            versioned = any(versions)
            for rival in self._universe.candidates(name):
                if rival is not package and (versioned or rival.carries(name)):
                    self._out.add(rival)

    def _options(
        self, text: str, wanted: Constraint, pin: str, installed: Candidate | None = None
    ) -> list[Candidate]:
        """The candidates that are left for a constraint."""
        if not self._universe.tagged:
            installed = None
        # More is ruled out all the time and nothing is ever let in again, so the number of
        # what is ruled out says whether an earlier answer still holds.
        known = self._allowed.get((text, pin)) if installed is None else None
        if known is not None and known[0] == len(self._out):
            return known[1]
        found = list(self._filter(wanted, pin, installed))
        if installed is None:
            self._allowed[text, pin] = (len(self._out), found)
        return found

    def _filter(
        self, wanted: Constraint, pin: str, installed: Candidate | None
    ) -> Iterator[Candidate]:
        out, excluded = self._out, self._universe.excluded
        any_version = wanted.operator is Operator.ANY
        for candidate in self._universe.candidates(wanted.name):
            if candidate in out or candidate in excluded:
                continue
            if candidate.tag and candidate.tag != pin and candidate is not installed:
                continue
            if any_version or loosely_satisfies(candidate, wanted):
                yield candidate

    def _add_triggered(
        self, below: dict[str, Candidate], pin: str, chosen: dict[str, Candidate]
    ) -> None:
        """Add packages whose ``install_if`` names only what is in ``below``."""
        queue = list(below)
        for name in queue:
            for candidate in self._triggered_by(below[name]):
                if candidate.name in below or not self._may_trigger(candidate, pin):
                    continue
                if not all(is_triggered(text, below) for text in candidate.entry.install_if):
                    continue
                # The reference does not look at what such a package needs in its turn.
                needs = [] if self._exact else self._descend(candidate, pin, chosen | below)
                for each in (*needs, candidate):
                    if each.name not in below:
                        below[each.name] = each
                        queue.append(each.name)

    def _triggered_by(self, package: Candidate) -> list[Candidate]:
        found = self._universe.conditional_on(package.name)
        if not self._exact:
            return found
        # Where a package waits for the bare name, the reference forgets those for the version.
        bare = [c for c in found if package.name in c.entry.install_if]
        with_version = f"{package.name}={package.version}"
        return bare or [c for c in found if with_version in c.entry.install_if]

    def _may_trigger(self, candidate: Candidate, pin: str) -> bool:
        if self._exact:
            return True
        excluded = candidate in self._out or candidate in self._universe.excluded
        return not excluded and (not candidate.tag or candidate.tag == pin)
