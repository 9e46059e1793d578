"""A network of a billion parameters trained with noise of rank 1: memory, bytes of the journal, the same weights again.

    python benchmarks/billion.py --directory /tmp/billion

Needs some 18 GB of memory, and 9 GB in the directory, which has to be new. The network is 15 layers of 8,192 x 8,192,
`x + tanh(W x)`, on a classification of noise: what it learns is of no interest, what it takes is.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

import torch
from torch import nn

import fastes
from fastes.algorithms import OpenAIES
from fastes.optim import SGD
from fastes.run_directory import replay

WIDTH, SAMPLES, CLASSES = 8192, 64, 10


class Residual(nn.Module):
    """Samples [rows, WIDTH] to [rows, CLASSES]."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(layers))
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return x[:, :CLASSES]


def peak_bytes() -> int:
    """The most memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> int:
    """Trains, says what it took, makes the weights again; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", type=Path, required=True, help="of the run, new")
    parser.add_argument("--layers", type=int, default=15)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--generations", type=int, default=2)
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, WIDTH, generator=generator)
    targets = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    algorithm = OpenAIES(population=options.members, sigma=0.01, noise="low_rank", optimizer=SGD(lr=0.1))
    result = fastes.train(
        fastes.problems.TorchLoss((inputs, targets), batch_size=4),
        lambda: Residual(options.layers),
        algorithm,
        generations=options.generations,
        seed=1,
        unit_size=8,
        executor="inline",
        output=fastes.Output(options.directory, checkpoint_every=10**6, keep=1, tensorboard=False),
        evaluation=fastes.Evaluation(every=0, episodes=1),
    )
    dim, digest = result.state.theta.size, result.digest
    journal = options.directory / "journal.bin"
    print(f"{dim:,} parameters, {4 * dim / 2**30:.2f} GiB in float32; most memory {peak_bytes() / 2**30:.2f} GiB")
    print(f"journal: {journal.stat().st_size:,} bytes after {options.generations} generations of {options.members}")
    del result
    started = time.monotonic()
    again = replay(journal, algorithm, None, print).digest()
    seconds, told = time.monotonic() - started, "the same" if again == digest else f"not {digest}"
    print(f"made again from it in {seconds:.1f} s: {again}, {told}")
    return 0 if again == digest else 1


if __name__ == "__main__":
    sys.exit(main())
