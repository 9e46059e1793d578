"""What is done apart while a run is built: it comes back, or is left alone, and its processes stay."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from conformance.executors import evaluator_of, expected, generation_of
from specimens import KillsOnce

from fastes.errors import ExecutorError, ProblemError
from fastes.executors.failure import Failure
from fastes.executors.pool import Pool
from fastes.executors.tcp.apart import apart, tried
from fastes.messages import UnitResult
from fastes.policies import MLP
from fastes.problems import Function, Gym

pytestmark = pytest.mark.usefixtures("no_leftover_processes")


def test_what_comes_back() -> None:
    def raises() -> int:
        raise ExecutorError("no")

    assert asyncio.run(apart(lambda: 5)) == 5
    with pytest.raises(ExecutorError, match=r"^no$"):
        asyncio.run(apart(raises))


def test_what_does_not_come_back() -> None:
    """The loop ends without it."""
    held, leave = threading.Event(), threading.Event()

    def holds() -> None:
        held.set()
        leave.wait()

    async def cancelled() -> None:
        task = asyncio.create_task(apart(holds))
        await asyncio.to_thread(held.wait)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    (thread,) = [each for each in threading.enumerate() if each.name == "fastes-build"]
    leave.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_trial() -> None:
    evaluator = evaluator_of()
    generation = generation_of(evaluator)
    unit = evaluator.units(generation)[0]
    with contextlib.closing(Pool(evaluator, 2)) as pool:
        outcome = asyncio.run(tried(pool, unit))
        assert pool.free == 2
    assert isinstance(outcome, UnitResult)
    np.testing.assert_array_equal(outcome.fitness, expected(evaluator, unit))


def test_a_trial_whose_process_dies(tmp_path: Path) -> None:
    """The one in its place stays when the trial is over."""
    evaluator = evaluator_of(Function(KillsOnce(tmp_path / "marker"), dim=50))
    unit = evaluator.units(generation_of(evaluator))[0]
    with contextlib.closing(Pool(evaluator, 1)) as pool:
        first = [child.pid for child in psutil.Process().children()]
        outcome = asyncio.run(tried(pool, unit))
        second = [child.pid for child in psutil.Process().children()]
        again = asyncio.run(tried(pool, unit))
        assert [child.pid for child in psutil.Process().children()] == second
    assert first != second
    assert isinstance(outcome, UnitResult)
    assert isinstance(again, UnitResult)
    np.testing.assert_array_equal(outcome.fitness, expected(evaluator, unit))
    np.testing.assert_array_equal(again.fitness, outcome.fitness)


def test_a_trial_that_raises() -> None:
    evaluator = evaluator_of(Gym("specimens:Chain", {"raise_in": "step"}), MLP((2,)))
    with contextlib.closing(Pool(evaluator, 1)) as pool:
        outcome = asyncio.run(tried(pool, evaluator.units(generation_of(evaluator))[0]))
    assert isinstance(outcome, Failure)
    assert type(outcome.error) is ProblemError
    assert "no mass" in str(outcome.error)
