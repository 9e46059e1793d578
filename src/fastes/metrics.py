"""The scalars of a generation that every algorithm has; algorithms add their own."""

from __future__ import annotations

import math

import numpy as np

from fastes.algorithms import State
from fastes.messages import Evaluations
from fastes.run_directory import Progress
from fastes.types import Float32Array, Metrics

_TOGETHER = 2**24


def fitness_metrics(evaluations: Evaluations) -> Metrics:
    """Mean, extremes and spread of the members whose fitness is finite."""
    fitness = evaluations.fitness[np.isfinite(evaluations.fitness)].astype(np.float64)
    if not fitness.size:
        return {}
    return {
        "fitness/mean": float(fitness.mean()),
        "fitness/max": float(fitness.max()),
        "fitness/min": float(fitness.min()),
        "fitness/std": float(fitness.std()),
    }


def progress_metrics(before: State, progress: Progress, evaluations: Evaluations, seconds: float) -> Metrics:
    """Norms, totals and rates; seconds: wall time of this generation."""
    seconds = max(seconds, 1e-9)
    return {
        "update/norm": _distance(progress.state.theta, before.theta),
        "theta/norm": float(np.linalg.norm(progress.state.theta)),
        "steps/total": float(progress.steps),
        "rate/evaluations": len(evaluations.fitness) / seconds,
        "rate/steps": int(evaluations.steps.sum()) / seconds,
    }


def _distance(a: Float32Array, b: Float32Array) -> float:
    """Of two vectors, some elements after others: their difference may be more than memory has room for."""
    starts = range(0, a.size, _TOGETHER)
    return math.hypot(*(float(np.linalg.norm(a[i : i + _TOGETHER] - b[i : i + _TOGETHER])) for i in starts))


def episode_metrics(evaluations: Evaluations) -> Metrics:
    """What environments told of their episodes: the mean over the members; and how many members failed."""
    told: Metrics = {}
    for name, values in evaluations.statistics.items():
        there = values[np.isfinite(values)]
        if there.size:
            told[f"episode/{name}"] = float(there.mean())
    if evaluations.failures:
        told["failures"] = float(len(evaluations.failures))
    return told
