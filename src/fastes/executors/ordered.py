"""Keys in the order of their ranks, from which any can be taken out."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Ordered(Generic[K]):
    """A sorted list: a change takes O(log n) comparisons and moves n pointers at most, in one go.

    Ranks are tuples of numbers, no two of them the same.
    """

    def __init__(self) -> None:
        self._ranks: dict[K, tuple[float, ...]] = {}
        self._sorted: list[tuple[tuple[float, ...], K]] = []

    def put(self, key: K, *rank: float) -> None:
        """Puts a key at its rank, wherever it was before."""
        self.discard(key)
        self._ranks[key] = rank
        insort(self._sorted, (rank, key))

    def discard(self, key: K) -> None:
        """Takes a key out, if it is there."""
        rank = self._ranks.pop(key, None)
        if rank is not None:
            del self._sorted[bisect_left(self._sorted, (rank,))]

    def clear(self) -> None:
        """Takes all out."""
        self._ranks.clear()
        self._sorted.clear()

    def first(self, default: float) -> float:
        """The first number of the least rank, or `default` where there is no key."""
        return self._sorted[0][0][0] if self._sorted else default

    def due(self, limit: float) -> Iterator[K]:
        """Takes out, one by one and in order, the keys whose rank begins with at most `limit`."""
        while self._sorted and self._sorted[0][0][0] <= limit:
            key = self._sorted[0][1]
            self.discard(key)
            yield key

    def __contains__(self, key: object) -> bool:
        """Whether the key is there."""
        return key in self._ranks

    def __len__(self) -> int:
        """Number of keys."""
        return len(self._sorted)

    def __iter__(self) -> Iterator[K]:
        """The keys in order."""
        return (key for _, key in self._sorted)
