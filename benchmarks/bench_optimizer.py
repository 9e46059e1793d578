"""Optimizer steps, fused with the weighted sum and apart from it; and a generation of OpenAI-ES around them."""

from __future__ import annotations

from typing import Any

import pytest

from fastes.bench.contender import Contender, Size
from fastes.bench.steps import adam_step, generation, sgd_step

SIZES = (Size(8, 4096), Size(), Size(16, 2**22))
CONTENDERS = [contender for size in SIZES for step in (sgd_step, adam_step) for contender in step(size)]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_step(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)


@pytest.mark.parametrize("contender", [generation(Size())], ids=str)
def test_generation(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
