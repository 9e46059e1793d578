"""The model's constants, of what was measured on this machine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from fastes import kernels
from fastes.evaluator import Evaluator
from fastes.noise import Generation, mirrored_rows, mirrored_signs
from fastes.policies import MLP, build
from fastes.problems import Gym
from on_network.model import Constants

_DIM, _ROWS = 1 << 20, 64


def rates() -> dict[str, float]:
    """Of one thread. noise: elements that are summed a second; made: that are made; step_s, parameter_s: of one step of
    CartPole by networks of two sizes.
    """
    threads = kernels.num_threads()
    kernels.set_num_threads(1)
    try:
        weights, rows = np.ones(_ROWS, np.float32), np.arange(_ROWS, dtype=np.uint32)
        theta, scales = np.zeros(_DIM, np.float32), np.full(16, 0.1, np.float32)
        noise = _ROWS * _DIM / _best(lambda: kernels.weighted_sum(weights, rows, _DIM, seed=0))
        made = 16 * _DIM / _best(lambda: kernels.perturb(theta, rows[:16], scales, seed=0))
        narrow, wide = (_step_s(hidden) for hidden in ((64, 64), (256, 256)))
    finally:
        kernels.set_num_threads(threads)
    (narrow_s, narrow_dim), (wide_s, wide_dim) = narrow, wide
    parameter_s = (wide_s - narrow_s) / (wide_dim - narrow_dim)
    step_s = max(narrow_s - narrow_dim * parameter_s, 0.0)
    return {"noise": noise, "made": made, "step_s": step_s, "parameter_s": parameter_s}


def constants(found: dict[str, Any], link: float, round_trip_s: float) -> Constants:
    """found: of `network.measure`. What a commit costs comes from how processor time grows with the nodes."""
    one, _, many = found["null"]
    each = [seen["cpu_s"] / seen["generations"] for seen in (one, many)]
    commit_s = max(each[1] - each[0], 0.0) / (many["workers"] - one["workers"])
    members = one["evaluations"] / one["generations"]
    return Constants(
        unit_s=one["cpu_s"] / one["units"],
        commit_s=0.0,
        commit_byte_s=commit_s / (4 * members),
        row_s=0.0,  # in unit_s
        round_trip_s=round_trip_s,
        link=link,
        **found["rates"],
    )


def _step_s(hidden: tuple[int, ...]) -> tuple[float, int]:
    """Seconds of one step of one member, and its parameters."""
    problem = Gym("CartPole-v1", max_steps=200, common_seeds=True)
    evaluator = Evaluator(problem, build(MLP(hidden), problem.interface(), 0), 64)
    unit = Generation(0, 0, evaluator.policy.theta(), mirrored_rows(64), mirrored_signs(64) * np.float32(0.0))
    taken = [evaluator.evaluate(unit).steps.sum() for _ in range(2)][-1]
    seconds = _best(lambda: evaluator.evaluate(unit)) / float(taken)
    evaluator.close()
    return seconds, evaluator.policy.dim


def _best(function: Any) -> float:
    times = []
    for _ in range(7):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)
