"""How many builds run at the same time, in the cluster and in one namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plimsoll.operator.workqueue import Key


class Slots:
    """Counts what runs: images, and packages for one architecture.

    What runs is known once an object was looked at; after a restart that takes a moment, in which
    more may start.

    Args:
        most: in the cluster; 0 for no limit.
        most_in_namespace: the same for each namespace.
    """

    def __init__(self, most: int = 0, most_in_namespace: int = 0) -> None:
        self._most = most
        self._most_in_namespace = most_in_namespace
        self._running: dict[Key, int] = {}

    def room(self, key: Key) -> int | None:
        """How many builds of an object may run, those that do included; ``None``: any number."""
        others = {each: count for each, count in self._running.items() if each != key}
        here = sum(count for each, count in others.items() if each.namespace == key.namespace)
        rooms = []
        if self._most:
            rooms.append(self._most - sum(others.values()))
        if self._most_in_namespace:
            rooms.append(self._most_in_namespace - here)
        return max(min(rooms), 0) if rooms else None

    def note(self, key: Key, running: int) -> None:
        """So many builds of an object run now."""
        if running:
            self._running[key] = running
        else:
            self._running.pop(key, None)
