"""A coordinator in this process that waits for workers, for those who want to look at it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from executors.tcp.connections import TOKEN

from fastes import config
from fastes.executors.base import Plan
from fastes.executors.tcp import Tcp, TcpExecutor

TABLES: dict[str, Any] = {
    "seed": 5,
    "generations": 3,
    "unit_size": 4,
    "problem": {"kind": "function", "function": "specimens:sphere", "dim": 30},
    "algorithm": {"population": 24},
}


@contextlib.contextmanager
def log_of_its_own() -> Iterator[None]:
    """Within, `show_log` of a command writes to the test's standard error, and afterwards nobody does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("fastes"), "handlers", [])
        yield


@contextlib.contextmanager
def coordinator(directory: Path, **settings: Any) -> Iterator[TcpExecutor]:
    """Listens on a port of this machine, with TOKEN as its secret, in `directory`/secret. settings: of `Tcp`."""
    secret = directory / "secret"
    secret.write_text(TOKEN.secret.decode() + "\n")
    secret.chmod(0o600)
    trainer = config.trainer(TABLES | {"executor": {"kind": "inline"}})
    interface = trainer.problem.interface()
    executor = TcpExecutor(Tcp(token_file=secret, **settings))
    with (
        log_of_its_own(),
        contextlib.closing(trainer.evaluator(interface)) as evaluator,
        contextlib.closing(executor),
    ):
        conditions = trainer.problem.conditions(interface, trainer.algorithm.members)
        state = trainer.algorithm.init(evaluator.policy.theta(), trainer.seed, conditions)
        executor.start(evaluator, Plan(trainer.algorithm, state, trainer.generations, trainer.config()))
        yield executor
