"""The noise itself: words without a transform, and the transform of all 2^32 words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastes.kernels import noise
from fastes.kernels.ceilings import transform_digests, words_only
from fastes.kernels.device import place_of
from on_gpu import arrays
from on_gpu.checks import ROOT
from on_gpu.measuring import Contender

CHECKED_ROWS, CHECKED_DIM = 70, 4096


def check_words() -> str:
    """Whether all words of a small sum, folded into one, are the CPU's."""
    out, fill = words_only(CHECKED_ROWS, CHECKED_DIM, seed=arrays.SEED)
    fill()
    made = np.asarray(place_of(out, "out").on_host(out)).view(np.uint32)
    word = int(np.bitwise_xor.reduce(made))
    own = noise.words_only(CHECKED_ROWS, CHECKED_DIM, seed=arrays.SEED)
    return "" if word == own else f"words fold to {word:#x}, not {own:#x}"


def words(rows: int, dim: int) -> Contender:
    """Philox alone: a word for each normal, and no transform."""
    made: list[tuple[Any, Callable[[], None]]] = []

    def work() -> Any:
        if not made:  # here, where a failure is this contender's own
            made.append(words_only(rows, dim, seed=arrays.SEED))
        return made[0][1]()

    return Contender("Philox only", work, lambda _: check_words(), float(rows * dim), "words", ours=True)


def check_exhaustive() -> str:
    """Whether the digests of all words, and of one in 509, are those of every CPU."""
    found = []
    for line in (ROOT / "csrc/testdata/exhaustive.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        stride, *expected = line.split()
        digests = [f"{digest:016x}" for digest in transform_digests(int(stride))]
        if digests != expected:
            found.append(f"stride {stride}: radius and direction {' '.join(digests)}, not {' '.join(expected)}")
    return "; ".join(found)
