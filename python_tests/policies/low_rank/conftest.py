"""One thread of torch, as populations are evaluated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fastes.policies.population.base import one_thread


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield
