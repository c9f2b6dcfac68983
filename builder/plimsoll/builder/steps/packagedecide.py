"""Which packages can be built now: pure, one architecture at a time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from plimsoll.apk.version import Version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from plimsoll.builder.steps.packagestate import Published, State

Status = Literal["published", "ready", "blocked", "failed"]


@dataclass(frozen=True, slots=True)
class Item:
    """One configuration for one architecture.

    Attributes:
        name: the origin.
        version: without the epoch.
        epoch: as it is written.
        inputs: hash of everything that it is made from and that is not a package.
        offers: names of its packages and what they provide.
        needs: names that its steps need.
        wants: names that its packages and their tests need besides.
    """

    name: str
    version: str
    epoch: int
    inputs: str
    offers: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    wants: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one item.

    Attributes:
        epoch: what it has, or will have.
        inputs_hash: under which a failure of it is remembered.
        reason: why it is due; empty if it is not.
        on: what it waits for.
        on_failed: whether that failed.
    """

    name: str
    status: Status
    version: str
    epoch: int
    inputs_hash: str
    reason: str = ""
    on: str = ""
    on_failed: bool = False

    @property
    def full_version(self) -> str:
        """``1.2-r3``."""
        return f"{self.version}-r{self.epoch}"


@dataclass(slots=True)
class _Due:
    item: Item
    epoch: int
    inputs_hash: str
    reason: str
    after: set[str] = field(default_factory=set)


def decide(
    items: Iterable[Item], state: State, failed: Collection[tuple[str, str]] = ()
) -> list[Decision]:
    """Decide about every item.

    A package is due if it is new, its inputs changed, its epoch was raised, or the ABI of a library
    that it links changed. It is ready once nothing that it needs is due. Packages that need each
    other are not kept waiting for each other: what they need comes from elsewhere the first time.

    Args:
        items: all configurations.
        state: what is published.
        failed: name and ``inputs_hash`` of what is not tried again.
    """
    by_name = {item.name: item for item in items}
    bases = {soname: abi.base for soname, abi in state.abi().items()}
    retired = _retired_epochs(state)
    due: dict[str, _Due] = {}
    hashes = {}
    for item in by_name.values():
        known = state.origins.get(item.name)
        links = {soname: bases.get(soname, "") for soname in known.links} if known else {}
        hashes[item.name] = inputs_hash(item, links)
        reason = _reason(item, known, links)
        if reason:
            epoch = _epoch(item, known, retired)
            due[item.name] = _Due(item, epoch, hashes[item.name], reason)
    lost = {name for name, one in due.items() if (name, one.inputs_hash) in failed}
    after = _order(by_name, due)
    result = []
    for name, item in by_name.items():
        one = due.get(name)
        if one is None:
            epoch = state.origins[name].epoch
            result.append(Decision(name, "published", item.version, epoch, hashes[name]))
            continue
        waits = sorted(after[name])
        broken = [other for other in waits if other in lost or _stuck(other, after, lost)]
        status: Status = "failed" if name in lost else "blocked" if waits else "ready"
        on = "" if status != "blocked" else (broken or waits)[0]
        result.append(
            Decision(
                name,
                status,
                item.version,
                one.epoch,
                one.inputs_hash,
                one.reason,
                on,
                status == "blocked" and bool(broken),
            )
        )
    return result


def inputs_hash(item: Item, links: Mapping[str, str]) -> str:
    """Under which a failure is remembered: what it is made from, and what it links."""
    text = json.dumps([item.inputs, item.version, item.epoch, sorted(links.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _reason(item: Item, known: Published | None, links: Mapping[str, str]) -> str:
    if known is None:
        return "New"
    if known.inputs != item.inputs or known.version != item.version:
        return "Changed"
    if known.withdrawn:
        # What was taken back is not built again from the same.
        return "Changed" if item.epoch > known.epoch else ""
    if item.epoch > known.epoch:
        return "Changed"
    return "AbiChanged" if links != known.links else ""


def _epoch(item: Item, known: Published | None, retired: Mapping[tuple[str, str], int]) -> int:
    """No two builds of a version share an epoch, not even one that was taken back."""
    epochs = [retired.get((item.name, item.version), -1)]
    if known is not None and known.version == item.version:
        epochs.append(known.epoch)
    return max(item.epoch, max(epochs) + 1)


def _retired_epochs(state: State) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for one in state.retired:
        version, _, epoch = one.version.rpartition("-r")
        if epoch.isdecimal():
            key = (one.origin or one.name, version)
            found[key] = max(found.get(key, -1), int(epoch))
    return found


def _order(items: Mapping[str, Item], due: Mapping[str, _Due]) -> dict[str, set[str]]:
    """What each due item waits for."""
    makers: dict[str, list[str]] = {}
    for item in items.values():
        for offer in sorted(item.offers):
            makers.setdefault(offer, []).append(item.name)

    def origins(names: Iterable[str]) -> set[str]:
        return {maker for name in names for maker in makers.get(name, ())}

    hard = {name: origins(item.needs) - {name} for name, item in items.items()}
    soft = {name: origins(item.wants) - {name} for name, item in items.items()}
    # What a needed package needs at run time must be there with it.
    full = {
        name: {
            *needed,
            *(far for other in needed for far in _reach(other, soft)),
        }
        - {name}
        for name, needed in hard.items()
    }
    circles = _circles(full)
    strict = {
        name: {o for o in others if circles[o] != circles[name]} for name, others in full.items()
    }
    # Tests are worth waiting for, unless what they need waits for this very package.
    merged = {name: set(others) for name, others in strict.items()}
    for name in sorted(items):
        for other in sorted({o for near in soft[name] for o in (near, *_reach(near, soft))}):
            if (
                other != name
                and name not in _reach(other, merged)
                and circles[other] != circles[name]
            ):
                merged[name].add(other)
    return {name: {o for o in _reach(name, merged) if o in due and o != name} for name in due}


def _reach(start: str, edges: Mapping[str, Collection[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(edges.get(start, ()))
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += edges.get(name, ())
    return found


def _circles(edges: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The first member of the circle that each is in; itself for all that are in none."""
    reach = {name: _reach(name, edges) for name in edges}
    return {
        name: min([name, *(other for other in reach[name] if name in reach.get(other, ()))])
        for name in edges
    }


def _stuck(name: str, after: Mapping[str, Collection[str]], lost: Collection[str]) -> bool:
    return any(other in lost for other in after.get(name, ()))


def newest_first(versions: Iterable[str]) -> list[str]:
    """Versions in falling order."""
    return sorted(versions, key=lambda v: (Version.parse(v), v), reverse=True)
