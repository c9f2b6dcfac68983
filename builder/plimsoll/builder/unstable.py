"""Sorting as Go's ``sort.Slice`` does: a pattern-defeating quicksort, which moves equals about.

Where a file lists equals in the order that such a sort left them in, only the same steps give the
same file (Orson Peters, "Pattern-defeating Quicksort", arXiv:2106.05123).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_WORD = (1 << 64) - 1
#: Ranges up to this length are sorted by insertion.
_SHORT = 12
#: From this length on, the pivot is the median of three medians.
_LONG = 50
_MOST_SWAPS = 12
_REPAIRS = 5


def sort_unstable(items: list[T], before: Callable[[T, T], bool]) -> None:
    """Sort in place.

    Args:
        items: what to sort.
        before: whether the first one belongs before the second.
    """
    _Sorter(items, before).sort(0, len(items), len(items).bit_length())


class _Sorter(Generic[T]):
    """A list in the making; ranges are ``low`` to ``high``, which is not part of them."""

    def __init__(self, items: list[T], before: Callable[[T, T], bool]) -> None:
        self.items = items
        self.before = before

    def less(self, one: int, other: int) -> bool:
        return self.before(self.items[one], self.items[other])

    def swap(self, one: int, other: int) -> None:
        self.items[one], self.items[other] = self.items[other], self.items[one]

    def sort(self, low: int, high: int, limit: int) -> None:
        balanced = partitioned = True
        while high - low > _SHORT:
            if limit == 0:
                self._heap(low, high)
                return
            if not balanced:
                self._scatter(low, high)
                limit -= 1
            pivot, swaps = self._pivot(low, high)
            rising = swaps == 0
            if swaps == _MOST_SWAPS:
                self.items[low:high] = self.items[low:high][::-1]
                pivot = high - 1 - (pivot - low)
                rising = True
            if balanced and partitioned and rising and self._nearly_sorted(low, high):
                return
            if low > 0 and not self.less(low - 1, pivot):
                low = self._past_equals(low, high, pivot)
                continue
            middle, partitioned = self._partition(low, high, pivot)
            left, right = middle - low, high - middle
            balanced = min(left, right) >= (high - low) // 8
            if left < right:
                self.sort(low, middle, limit)
                low = middle + 1
            else:
                self.sort(middle + 1, high, limit)
                high = middle
        for at in range(low + 1, high):
            self._sink_left(at, low)

    def _sink_left(self, at: int, low: int) -> None:
        while at > low and self.less(at, at - 1):
            self.swap(at, at - 1)
            at -= 1

    def _partition(self, low: int, high: int, pivot: int) -> tuple[int, bool]:
        """Put what belongs before the pivot before it; also tells whether it was so already."""
        self.swap(low, pivot)
        i, j = self._close_in(low, low + 1, high - 1)
        if i > j:
            self.swap(j, low)
            return j, True
        while i <= j:
            self.swap(i, j)
            i, j = self._close_in(low, i + 1, j - 1)
        self.swap(j, low)
        return j, False

    def _close_in(self, pivot: int, i: int, j: int) -> tuple[int, int]:
        while i <= j and self.less(i, pivot):
            i += 1
        while i <= j and not self.less(j, pivot):
            j -= 1
        return i, j

    def _past_equals(self, low: int, high: int, pivot: int) -> int:
        """Put equals of the pivot first; returns where the rest begins."""
        self.swap(low, pivot)
        i, j = low + 1, high - 1
        while True:
            while i <= j and not self.less(low, i):
                i += 1
            while i <= j and self.less(low, j):
                j -= 1
            if i > j:
                return i
            self.swap(i, j)
            i, j = i + 1, j - 1

    def _nearly_sorted(self, low: int, high: int) -> bool:
        """Repair a few places; whether all is in order then."""
        at = low + 1
        for _ in range(_REPAIRS):
            while at < high and not self.less(at, at - 1):
                at += 1
            if at == high:
                return True
            if high - low < _LONG:
                return False
            self.swap(at, at - 1)
            if at - low >= 2:
                self._sink_left(at - 1, 0)
            if high - at >= 2:
                for right in range(at + 1, high):
                    if not self.less(right, right - 1):
                        break
                    self.swap(right, right - 1)
        return False

    def _scatter(self, low: int, high: int) -> None:
        """Break a pattern that makes for bad pivots."""
        length = high - low
        number, mask = length, (1 << length.bit_length()) - 1
        middle = low + length // 4 * 2 - 1
        for step in range(3):
            number ^= number << 13 & _WORD
            number ^= number >> 7
            number ^= number << 17 & _WORD
            other = number & mask
            self.swap(middle + step, low + (other - length if other >= length else other))

    def _pivot(self, low: int, high: int) -> tuple[int, int]:
        """The pivot, and how many swaps it took to find it."""
        swaps = 0

        def median(one: int, two: int, three: int) -> int:
            nonlocal swaps
            places = [one, two, three]
            for at in (0, 1, 0):
                if self.less(places[at + 1], places[at]):
                    swaps += 1
                    places[at], places[at + 1] = places[at + 1], places[at]
            return places[1]

        length = high - low
        quarters = [low + length // 4 * number for number in (1, 2, 3)]
        if length >= _LONG:
            quarters = [median(at - 1, at, at + 1) for at in quarters]
        return median(*quarters), swaps

    def _heap(self, low: int, high: int) -> None:
        length = high - low
        for start in range((length - 1) // 2, -1, -1):
            self._sift(start, length, low)
        for end in range(length - 1, -1, -1):
            self.swap(low, low + end)
            self._sift(0, end, low)

    def _sift(self, root: int, length: int, low: int) -> None:
        while (child := 2 * root + 1) < length:
            if child + 1 < length and self.less(low + child, low + child + 1):
                child += 1
            if not self.less(low + root, low + child):
                return
            self.swap(low + root, low + child)
            root = child
