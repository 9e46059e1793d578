"""Perturbed parameters of all members in memory."""

from __future__ import annotations

from typing import Any

import pytest

from fastes.bench.contender import Contender, Size
from fastes.bench.noise import perturb

CONTENDERS = [contender for size in (Size(8, 4096), Size()) for contender in perturb(size)]


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_perturb(contender: Contender, answer: Any) -> None:
    assert contender.right(answer)
