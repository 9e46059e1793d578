"""What a process of a pool does: takes a unit, evaluates it, answers, until its pipe closes."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np

from fastes import kernels
from fastes.evaluator import Evaluator
from fastes.executors.failure import evaluated
from fastes.executors.watchdog import pulse
from fastes.noise import Generation
from fastes.problems.pulse import no_pulse

_PR_SET_PDEATHSIG = 1


class Closable(Protocol):
    """A pipe's end or a socket."""

    def close(self) -> None:
        """Closes this process's copy of it."""


@dataclass(frozen=True, slots=True)
class Task:
    """unit: without its vectors, which are in shared memory; left_out: why, by number, members that are not to be
    evaluated again.
    """

    unit: Generation
    left_out: dict[int, str]


def work(
    evaluator: Evaluator,
    memory: Any,
    connection: Connection,
    inherited: Sequence[Closable],
    position: Any,
    parent: int,
) -> None:
    """Serves one pipe. memory: float32, shared, of the vectors that members are made of; inherited: what a fork has of
    the pool's process and has to close; position: shared with the watchdog, None without one; parent: the pool's
    process.
    """
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides what ends
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # not the coordinator's handler, which a fork has too
    for other in inherited:
        other.close()
    # An environment may start processes of its own, which multiprocessing refuses to those that it ends at its exit.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    kernels.set_num_threads(1)  # one core each: the processes are the parallelism
    vectors = np.frombuffer(memory, dtype=np.float32)
    watched = no_pulse if position is None else pulse(position)
    with contextlib.suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            task: Task = connection.recv()
            unit = task.unit.with_vectors(vectors, evaluator.policy.dim)
            connection.send(evaluated(evaluator, unit, task.left_out, watched))
    evaluator.close()


def _end_with(parent: int) -> None:
    """Has the system end this process with the pool's, however that ends, where it can (Linux, a direct child).

    Elsewhere a process notices at the end of its unit, when its pipe has closed.
    """
    if sys.platform == "linux" and os.getppid() == parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before that
            os._exit(1)
