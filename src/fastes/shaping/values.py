"""Weights from the values of fitness, not only from its order: outliers keep their weight.

Sums are rounded once (Shewchuk 1997, as `math.fsum` has it): they depend neither on the order of members nor on the
machine. All else is float64, which the squares of float32 numbers do not overflow, and is rounded to float32 at the
end. Constant fitness gives zeros.
"""

from __future__ import annotations

import math

import numpy as np

from fastes.shaping.base import is_constant
from fastes.types import Float32Array, Float64Array


def identity(fitness: Float32Array) -> Float32Array:
    """The fitness itself; zeros where it is constant, as in every shaping.

    fitness: float32 [N], finite, higher is better.
    """
    return np.zeros_like(fitness) if is_constant(fitness) else fitness.copy()


def z_score(fitness: Float32Array) -> Float32Array:
    """Deviation from the mean in standard deviations of the population: weight = (f - mean) / std. They sum to 0.

    fitness: float32 [N], finite, higher is better.
    """
    if is_constant(fitness):
        return np.zeros_like(fitness)
    deviation = _deviation(fitness)
    variance = math.fsum((deviation * deviation).tolist()) / len(fitness)
    weights: Float32Array = (deviation / math.sqrt(variance)).astype(np.float32)
    return weights


def z_score_max(fitness: Float32Array) -> Float32Array:
    """z-scores over the largest of them: the best member has weight 1, the mean 0. They sum to 0.

    The standard deviation cancels: weight = (f - mean) / (max f - mean), which is nowhere below 1 - N.

    fitness: float32 [N], finite, higher is better. "stdmean" of portable-es.
    """
    if is_constant(fitness):
        return np.zeros_like(fitness)
    deviation = _deviation(fitness)
    weights: Float32Array = (deviation / deviation.max()).astype(np.float32)
    return weights


def max_normalized(fitness: Float32Array) -> Float32Array:
    """Fitness stretched to [-1, 1]: weight = 2 (f - min) / (max - min) - 1.

    fitness: float32 [N], finite, higher is better. `MaxNormalizedRanker` of es_pytorch for fitness that begins at 0,
    where it is 2 f / max - 1; of negative fitness that turns the order round.
    """
    if is_constant(fitness):
        return np.zeros_like(fitness)
    above = fitness.astype(np.float64) - float(fitness.min())
    weights: Float32Array = (2.0 * (above / above.max()) - 1.0).astype(np.float32)
    return weights


def _deviation(fitness: Float32Array) -> Float64Array:
    """Of each member from the mean: float64 [N]."""
    return fitness.astype(np.float64) - math.fsum(fitness.tolist()) / len(fitness)
