"""Handwritten digits of 8 x 8 pixels (Alpaydin, Kaynak 1998; the copy in scikit-learn), split once for all."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np

from fastes.errors import ProblemError
from fastes.policies import Interface
from fastes.problems.base import Problem, Session
from fastes.problems.torch_data import drawn_samples
from fastes.problems.torch_loss import BatchLoss, TorchLoss
from fastes.types import AnyArray, Float32Array

_TEST = 360
_SPLIT = 0  # the seed


@dataclass(frozen=True, slots=True)
class Digits(Problem):
    """Which of ten digits an image shows: `TorchLoss` on 1,437 images, and its accuracy on the 360 others.

    Policies see 64 numbers from 0 to 1, row by row, and give 10. The settings are those of `TorchLoss`.
    Needs the extra `digits`.
    """

    loss: str | BatchLoss = "cross_entropy"
    batch_size: int = 128
    common_seeds: bool = True
    chunk_size: int = 0
    forward: str = "auto"

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        self.supervised()

    def supervised(self) -> TorchLoss:
        """The same without a name of its own."""
        return TorchLoss(
            training,
            self.loss,
            self.batch_size,
            test_data=held_out,
            metric="accuracy",
            common_seeds=self.common_seeds,
            chunk_size=self.chunk_size,
            forward=self.forward,
        )

    @property
    def common_random_numbers(self) -> bool:
        """See `Problem`."""
        return self.common_seeds

    def interface(self) -> Interface:
        """See `Problem.interface`."""
        return self.supervised().interface()

    def open(self) -> Session:
        """See `Problem.open`."""
        return self.supervised().open()

    def for_evaluation(self) -> Problem:
        """See `Problem.for_evaluation`."""
        return self.supervised().for_evaluation()


def training() -> tuple[Float32Array, AnyArray]:
    """Images, float32 [1437, 64], and digits, int64 [1437]. Raises ProblemError without scikit-learn."""
    images, digits = _all()
    left = np.ones(len(digits), np.bool_)
    left[_test_samples(len(digits))] = False
    return images[left], digits[left]


def held_out() -> tuple[Float32Array, AnyArray]:
    """Images, float32 [360, 64], and digits, int64 [360]. Raises ProblemError without scikit-learn."""
    images, digits = _all()
    chosen = _test_samples(len(digits))
    return images[chosen], digits[chosen]


def _test_samples(size: int) -> AnyArray:
    """Those of the batch that a seed draws, on every machine the same."""
    return drawn_samples(_SPLIT, _TEST, size)


def _all() -> tuple[Float32Array, AnyArray]:
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise ProblemError(
            f"the digits are those of scikit-learn, which cannot be imported ({error}): pip install 'fastes[digits]'"
        ) from error
    images, digits = datasets.load_digits(return_X_y=True)
    return (images / 16.0).astype(np.float32), digits.astype(np.int64)
