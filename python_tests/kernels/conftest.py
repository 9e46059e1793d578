"""Fixtures that choose an instruction set or a number of threads, and put the old choice back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fastes import kernels


@pytest.fixture(params=kernels.info()["isas_usable"])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each instruction set that this processor has, in use."""
    before = kernels.info()["isa"]
    kernels.select_isa(request.param)
    yield request.param
    kernels.select_isa(before)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """`kernels.set_num_threads` for the length of a test."""
    before = kernels.info()["threads"]
    yield kernels.set_num_threads
    kernels.set_num_threads(before)
