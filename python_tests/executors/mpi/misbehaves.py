"""`mpirun -np 2 python misbehaves.py HOW`: a script of a user or a rank that does what it should not."""

from __future__ import annotations

import sys

import torch
from torch import nn

import fastes
from fastes.executors.mpi import Mpi, executor
from fastes.executors.mpi.world import world


def train(module: nn.Module | None = None) -> None:
    problem = fastes.problems.Function("sphere", dim=4) if module is None else fastes.problems.Gym("CartPole-v1")
    fastes.train(problem, module, generations=2, executor=Mpi(), reporters=[])


def bug_on_rank_1() -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    if world().rank == 1:
        executor.unpacked_generation = broken
    train()


def another_policy() -> None:
    """The last layer, not optimised, is drawn by each rank for itself."""
    torch.manual_seed(world().rank)
    module = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    module[1].requires_grad_(False)
    train(module)


def two_runs() -> None:
    train()
    print(f"rank {world().rank} goes on", flush=True)
    train()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
