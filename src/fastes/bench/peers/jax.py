"""JAX on one processor: what one would write with it, jitted, with its default generator. K rows, D elements.

XLA makes as many threads as its process may use processors when its client starts, and JAX has no setting for that.
So it starts here, while the process may use one; that one worker may go to any processor afterwards.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from fastes.bench.answers import is_normal
from fastes.bench.contender import SEED, Contender, Size
from fastes.bench.noise import SIGMA as PERTURB_SIGMA
from fastes.bench.peers.climb import LR, SIGMA, Generation, climbs
from fastes.bench.steps import BETAS, EPS
from fastes.bench.weighted_sum import random as random_sum


@contextlib.contextmanager
def _one_processor() -> Iterator[None]:
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        yield
    finally:
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(thread), processors)


with _one_processor():
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_platforms", "cpu")
    jax.devices()


def weighted_sum(size: Size) -> Contender:
    """Weights times a matrix of noise that is made each time: float32 [D]."""
    weights = jnp.asarray(size.weights)

    @jax.jit
    def product(key: Any, weights: Any) -> Any:
        return weights @ jax.random.normal(key, (size.rows, size.dim))

    work = drawing(product, weights)
    return Contender(f"weighted_sum {size}", "JAX", work, random_sum(size), size.normals)


def perturb(size: Size) -> Contender:
    """Theta + sigma epsilon[k] for every k: float32 [K, D]."""
    theta = jnp.asarray(size.theta)

    @jax.jit
    def members(key: Any, theta: Any) -> Any:
        return theta + PERTURB_SIGMA * jax.random.normal(key, (size.rows, size.dim))

    def right(answer: Any) -> bool:
        return is_normal(np.asarray(answer) - size.theta, PERTURB_SIGMA)

    return Contender(f"perturb {size}", "JAX", drawing(members, theta), right, size.normals)


def generation(size: Size) -> Contender:
    """OpenAI-ES by hand, two jitted functions: ask, all members in memory, tell. The noise of ask is kept for tell."""
    n = size.rows

    @jax.jit
    def ask(key: Any, theta: Any) -> tuple[Any, Any]:
        epsilons = jax.random.normal(key, (n // 2, size.dim))
        return jnp.concatenate([theta + SIGMA * epsilons, theta - SIGMA * epsilons]), epsilons

    @jax.jit
    def tell(state: tuple[Any, ...], epsilons: Any, fitness: Any) -> tuple[Any, ...]:
        theta, m, v, t = state
        weights = jnp.argsort(jnp.argsort(fitness)) / (n - 1) - 0.5
        g = (weights[: n // 2] - weights[n // 2 :]) @ epsilons / n
        m, v, t = BETAS[0] * m + (1 - BETAS[0]) * g, BETAS[1] * v + (1 - BETAS[1]) * g * g, t + 1
        step = LR * (m / (1 - BETAS[0] ** t)) / (jnp.sqrt(v / (1 - BETAS[1] ** t)) + EPS)
        return theta + step, m, v, t

    theta = jnp.asarray(size.theta)
    state = theta, jnp.zeros(size.dim), jnp.zeros(size.dim), jnp.float32(0)
    keys = new_keys()

    def work() -> Generation:
        nonlocal state
        before = state[0]
        members, epsilons = ask(next(keys), before)
        state = tell(state, epsilons, members[:, 0])
        finished(state)
        return Generation(before, state[0], before, SIGMA, members, slice(n // 2))

    return Contender(f"generation {size}", "JAX", work, climbs)


def drawing(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """Work that calls `function` with a new key each time, and waits until its answer is there."""
    keys = new_keys()
    return lambda: finished(function(next(keys), *arguments))


def finished(answer: Any) -> Any:
    """The answer, waited for: JAX gives it before it is there."""
    return jax.block_until_ready(answer)


def new_keys() -> Iterator[Any]:
    """Random keys, all different."""
    at = jax.jit(partial(jax.random.fold_in, jax.random.key(SEED)))
    return (at(i) for i in count())
