"""Peak memory of a weighted sum at 10 million parameters and a population of 1000."""

from __future__ import annotations

from typing import Any

from fastes.bench.comparisons import MEMORY_LIMIT
from fastes.bench.memory import peak_growth

DIM, ROWS = 10_000_000, 1000


def test_peak_memory(benchmark: Any) -> None:
    growth = benchmark.pedantic(peak_growth, args=(DIM, ROWS), rounds=1)
    parameter_bytes = 4 * DIM
    assert parameter_bytes <= growth < MEMORY_LIMIT * parameter_bytes  # the sum itself is that large
