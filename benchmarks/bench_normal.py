"""One row of noise into memory."""

from __future__ import annotations

from typing import Any

import pytest

from fastes.bench.contender import Contender, Size
from fastes.bench.noise import normal

CONTENDERS = [contender for size in (Size(1), Size(1, 2**22)) for contender in normal(size)]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_normal(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
