"""Numbers that depend on a seed alone, drawn on the device."""

from __future__ import annotations

import torch

from fastes.kernels import philox4x32

_WORDS = 4  # of a block of Philox


def uniform(seeds: torch.Tensor, count: int, purpose: int = 0) -> torch.Tensor:
    """`count` numbers for each seed: float32 [n, count], multiples of 2^-24 from 0 up to 1, the same on every device.

    seeds: int64 [n], from 0 to 2^32 - 1; purpose: another for each use of the same seeds, 32 bits.

    Raises ValueError for a count below 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}.")
    blocks = -(-count // _WORDS)
    counters = torch.zeros(len(seeds), blocks, _WORDS, dtype=torch.int64, device=seeds.device)
    counters[..., 0] = torch.arange(blocks, device=seeds.device)
    counters[..., 1] = seeds[:, None]
    counters[..., 2] = purpose
    words = philox4x32(_low_words(counters), 0)
    if not isinstance(words, torch.Tensor):
        words = torch.from_numpy(words)
    drawn = words.view(torch.int32).to(torch.int64).bitwise_and(0xFFFFFFFF) >> 8
    return drawn.view(len(seeds), -1)[:, :count].to(torch.float32) * 2.0**-24


def _low_words(values: torch.Tensor) -> torch.Tensor:
    """The lower 32 bits of int64 numbers as uint32, for which torch has no arithmetic of its own."""
    return values.view(torch.int32)[..., ::2].contiguous().view(torch.uint32)
