"""What to tell of workers that a generation has no work for."""

from __future__ import annotations


def idle_remarks(units: int, count: int, workers: str = "workers") -> list[str]:
    """One sentence if `count` workers share fewer units. workers: what to call them."""
    if units >= count:
        return []
    has = "is one work unit" if units == 1 else f"has {units} work units"
    return [f"a generation {has}, so {count - units} of {count} {workers} have nothing to do: lower unit_size."]
