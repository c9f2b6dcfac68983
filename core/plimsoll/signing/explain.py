"""What was tried, as a tree that a person can read. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plimsoll.signing.results import Verdict

_MARKS = {True: "✓ ", False: "✗ ", None: ""}


@dataclass(frozen=True, slots=True)
class Node:
    """One line, and what led to it."""

    text: str
    good: bool | None = None
    """Whether it is a reason to accept, or not; ``None`` for neither."""

    below: tuple[Node, ...] = ()

    def lines(self, first: str = "", rest: str = "") -> Iterator[str]:
        """The tree, a line for each node.

        Args:
            first: stands before the node itself.
            rest: stands before all that is below it.
        """
        text = " ".join(self.text.split())
        yield first + _MARKS[self.good] + "".join(c for c in text if c.isprintable())
        for number, node in enumerate(self.below, 1):
            last = number == len(self.below)
            corner, bar = ("└─ ", "   ") if last else ("├─ ", "│  ")
            yield from node.lines(f"{rest}{corner}", f"{rest}{bar}")


def evidence(verdict: Verdict) -> tuple[Node, ...]:
    """Every piece of evidence that one authority was shown, and what it made of it."""
    found = [
        Node(f"signature by {one.identity} ({one.source})", good=True) for one in verdict.signatures
    ]
    found += [
        Node(f"attestation {one.predicate_type} by {one.identity} ({one.source})", good=True)
        for one in verdict.attestations
    ]
    found += [Node(f"{one.source}: {one.reason}", good=False) for one in verdict.rejections]
    return tuple(found) or (Node("no evidence was found"),)
