"""`pytest benchmarks` runs everything once and checks the answers; `--benchmark-enable` measures too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fastes import bench

bench.one_blas_thread()  # before anything imports NumPy

from fastes.bench.contender import Contender, settings  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("python_files", "bench_*.py")


@pytest.fixture
def answer(benchmark: Any, contender: Contender) -> Iterator[Any]:
    """What the contender answers, after it was measured under its settings."""
    benchmark.group = contender.group
    with settings(contender.isa, contender.threads):
        yield benchmark(contender.work)
