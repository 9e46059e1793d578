"""The weighted sum of noise rows, the heart of every generation."""

from __future__ import annotations

from typing import Any

import pytest

from fastes.bench.contender import Contender, Size
from fastes.bench.weighted_sum import weighted_sum

CONTENDERS = [contender for size in (Size(8, 4096), Size()) for contender in weighted_sum(size)]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_weighted_sum(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
