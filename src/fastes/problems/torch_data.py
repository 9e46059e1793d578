"""Data sets of torch as problems see them: a number of samples, and the batch that a seed draws from them.

The batch of B out of n samples that belongs to a seed, without replacement, in O(B) whatever n is:

    w_j = 64 bits, words 2 j (high) and 2 j + 1 (low) of Philox4x32-10 with key = seed, counter = (block, 7, 0, 0)
    d_j = floor(n w_j / 2^64)
    S   = the first min(B, n - B) different of d_0, d_1, ...
    the batch is S if 2 B <= n, else all samples but S; in ascending order
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset, default_collate

from fastes import kernels
from fastes.errors import ProblemError
from fastes.import_path import imported
from fastes.noise import Stream
from fastes.types import AnyArray, UInt32Array

Data: TypeAlias = str | Callable[..., Any] | Dataset[Any] | Sequence[torch.Tensor | AnyArray]
"""Tensors or arrays with samples in front, a map-style Dataset, or a callable without arguments that gives one of
these, or "module:callable" naming it."""

_STREAM = Stream.BATCHES
_MOST_SAMPLES = 2**32 - 1
_SLACK = 16


class Source(ABC):
    """Samples by number. size: n."""

    size: int

    @abstractmethod
    def batch(self, samples: AnyArray) -> Any:
        """The samples of these numbers, int64 [B], collated: tensors [B, ...] in the order of the numbers."""

    @property
    def classes(self) -> int:
        """How many classes integer targets have; 0 if that is not known."""
        return 0


class Arrays(Source):
    """Arrays [n, ...] side by side, such as inputs and targets."""

    def __init__(self, arrays: Sequence[AnyArray]) -> None:
        """Raises ProblemError if there are none, or they are of several lengths."""
        lengths = [len(array) if array.ndim else 0 for array in arrays]
        if len(set(lengths)) > 1:
            raise ProblemError(f"problem.data: inputs and targets must be of one length, not {lengths}.")
        self.size = _checked_size(lengths[0] if lengths else 0)
        try:
            self._tensors = [torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in arrays]
        except TypeError as error:
            raise ProblemError(f"problem.data: {error} Give numbers.") from error

    def batch(self, samples: AnyArray) -> tuple[torch.Tensor, ...]:
        """See `Source.batch`."""
        chosen = torch.from_numpy(samples)
        return tuple(tensor[chosen] for tensor in self._tensors)

    @property
    def classes(self) -> int:
        """The largest target and one more."""
        return 0 if self._tensors[-1].is_floating_point() else int(self._tensors[-1].max()) + 1


class Items(Source):
    """A Dataset, its items stacked as torch's DataLoader does."""

    def __init__(self, dataset: Any) -> None:
        """Raises ProblemError if it has no length."""
        try:
            size = len(dataset)
        except TypeError as error:
            raise ProblemError(
                f"problem.data: a batch is drawn by the numbers of its samples, so {type(dataset).__name__} needs "
                "__len__ and __getitem__: an IterableDataset has to be read into one that has them."
            ) from error
        self.size, self._dataset = _checked_size(size), dataset

    def batch(self, samples: AnyArray) -> Any:
        """See `Source.batch`."""
        return default_collate([self._dataset[number] for number in samples.tolist()])

    @property
    def classes(self) -> int:
        """As many as `classes` of the Dataset lists."""
        return len(getattr(self._dataset, "classes", ()))


def portable(data: Data | None) -> Any:
    """The same with tensors as NumPy's arrays, which travel to workers by value."""
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, Sequence) and not isinstance(data, str | Dataset):
        return tuple(_array(values) for values in data)
    return data


def opened(data: Data) -> Source:
    """The samples of data. Raises ProblemError if it cannot be imported or called, or holds no samples."""
    made: Any = imported(data, ProblemError) if isinstance(data, str) else data
    if callable(made) and not isinstance(made, Dataset):
        try:
            made = made()
        except Exception as error:
            raise ProblemError(f"problem.data: {data!r} raised {type(error).__name__}: {error}.") from error
    made = portable(made)
    if isinstance(made, tuple):
        return Arrays(made)
    if not hasattr(made, "__getitem__"):
        raise ProblemError(
            "problem.data must be (inputs, targets) as tensors, a torch Dataset or 'module:callable' giving one, not a "
            f"{type(made).__name__}."
        )
    return Items(made)


def drawn_samples(seed: int, count: int, size: int) -> AnyArray:
    """The batch of `count` out of `size` samples that belongs to a seed of 32 bits: int64 [count], ascending."""
    few = min(count, size - count)
    words = 2 * (few + few // 2 + _SLACK)
    while True:
        different, at = np.unique(_uniform(seed, words, size), return_index=True)
        if len(different) >= few:
            break
        words *= 2
    chosen = np.sort(different[np.argsort(at)[:few]])
    if few == count:
        return chosen
    left = np.ones(size, np.bool_)
    left[chosen] = False
    return np.flatnonzero(left)


def _uniform(seed: int, words: int, size: int) -> AnyArray:
    """d_0, d_1, ... of the equation above: int64 [words / 2]."""
    counters = np.zeros((-(-words // 4), 4), np.uint32)
    counters[:, 0] = np.arange(len(counters))
    counters[:, 1] = _STREAM
    drawn: UInt32Array = kernels.philox4x32(counters, seed).reshape(-1, 2)
    high, low, n = drawn[:, 0].astype(np.uint64), drawn[:, 1].astype(np.uint64), np.uint64(size)
    half = np.uint64(32)
    # n < 2^32, so neither product nor their sum overflows 64 bits.
    return (high * n + (low * n >> half) >> half).astype(np.int64)


class Batches:
    """The batches of a source. count: samples of one."""

    def __init__(self, source: Source, count: int) -> None:
        """count: 0 for all samples. Raises ProblemError if there are fewer."""
        if count > source.size:
            raise ProblemError(
                f"problem.batch_size = {count} is more than the {source.size} samples of the data. Lower it, or set 0 "
                "for all of them."
            )
        self.source, self.count = source, count or source.size
        self._last: dict[int, Any] = {}

    def of(self, seeds: Iterable[int]) -> dict[int, Any]:
        """The batch of each seed. Those of the last call are kept: the units of a generation share their seeds."""
        wanted = {seed: self._last.get(seed) for seed in seeds}
        for seed, batch in wanted.items():
            if batch is None:
                wanted[seed] = self._read(drawn_samples(seed, self.count, self.source.size), seed)
        self._last = wanted
        return wanted

    def first(self) -> Any:
        """The first sample, as a batch of one."""
        return self._read(np.zeros(1, np.int64), 0)

    def _read(self, samples: AnyArray, seed: int) -> Any:
        """Torch's generator is seeded, for a Dataset may draw from it: a batch depends on the seed alone."""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return self.source.batch(samples)
        except Exception as error:
            raise ProblemError(
                f"problem.data raised {type(error).__name__} while {len(samples)} samples, {samples[0]} to "
                f"{samples[-1]}, were read: {error}."
            ) from error


def _array(values: torch.Tensor | AnyArray) -> AnyArray:
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def _checked_size(size: int) -> int:
    if not 1 <= size <= _MOST_SAMPLES:
        raise ProblemError(f"problem.data must have from 1 to 2^32 - 1 samples, not {size}.")
    return size
