"""Symbols to be remembered: what `testbeds.Copy` describes.

State: the L symbols, from 0, then the constant: delay. What is shown and asked for follows from the number of steps.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastes.envs.compiled import RESET, STEP_DISCRETE, callable_from_c, choices, compiled, inlined, settle, start, views
from fastes.envs.seeding import seeded, uniform
from fastes.types import AnyArray, Float32Array, Float64Array

WORK = 1


@inlined
def show(symbols: Float64Array, delay: int, taken: int, observation: Float32Array) -> None:
    """What is seen after so many steps. symbols: [L]; observation: [A + 1]."""
    length = symbols.size
    observation[:] = 0
    if taken < length:
        observation[int(symbols[taken])] = 1
    elif length + delay <= taken < 2 * length + delay:
        observation[observation.size - 1] = 1


@compiled(RESET)
def reset(
    seeds: AnyArray,
    slots: AnyArray,
    state: Float64Array,
    observations: Float32Array,
    active: AnyArray,
    steps: AnyArray,
    returns: Float64Array,
) -> None:
    """See `Kernels`."""
    length, alphabet = state.shape[1] - 1, observations.shape[1] - 1
    for i in range(seeds.size):
        slot = slots[i]
        generator = seeded(seeds[i])
        for place in range(length):
            drawn, generator = uniform(generator, 0.0, np.float64(alphabet))
            state[slot, place] = np.floor(drawn)
        show(state[slot, :length], int(state[slot, length]), 0, observations[slot])
        start(slot, active, steps, returns)


@compiled(STEP_DISCRETE)
def step(
    state: Float64Array,
    actions: AnyArray,
    active: AnyArray,
    steps: AnyArray,
    max_steps: int,
    observations: Float32Array,
    rewards: Float64Array,
    terminated: AnyArray,
    truncated: AnyArray,
    returns: Float64Array,
    lanes: AnyArray,
    work: Float64Array,
) -> int:
    """See `Kernels`."""
    running, length = 0, state.shape[1] - 1
    for slot in range(active.size):
        if not active[slot]:
            continue
        delay = int(state[slot, length])
        place = int(steps[slot]) - length - delay
        right = 0 <= place < length and actions[slot] == state[slot, place]
        show(state[slot, :length], delay, int(steps[slot]) + 1, observations[slot])
        reward = 1.0 / length if right else 0.0
        limit = min(max_steps, 2 * length + delay)
        running += settle(slot, reward, False, active, steps, limit, rewards, terminated, truncated, returns)
    return running


@cache
def step_at(states: int, observed: int) -> Any:
    """See `Kernels`; of environments with so many numbers of state and of observation."""

    @callable_from_c
    def stepped(arrays: Any, n: int, max_steps: int) -> int:
        return step(*views(arrays, n, max_steps, states, observed, WORK, choices(arrays, n)))

    return stepped
