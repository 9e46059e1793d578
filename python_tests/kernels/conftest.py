"""Fixtures that choose an instruction set, a number of threads or a GPU, and put the old choice back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conformance.device import PLACES, SIMULATED, at

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


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Simulated GPUs, and each library and route of real ones: what `conformance.device.On` takes."""
    with at(request.param, monkeypatch) as found:
        yield found


@pytest.fixture(params=SIMULATED)
def simulated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The simulated GPUs only."""
    with at(request.param, monkeypatch) as found:
        yield found
