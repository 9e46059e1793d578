"""The car that is too weak for the hill (Moore 1990), as Gymnasium's MountainCar-v0 has it.

State and observation: position (m), velocity (m a step). Actions: to the left (0), none (1), to the right (2). Every
step is worth -1.

    velocity += 0.001 (action - 1) - 0.0025 cos(3 position)        position += velocity

both clipped, and the left wall stops the car. It ends at a position of 0.5 without going backwards.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastes.envs.compiled import (
    LANES,
    RESET,
    STEP_DISCRETE,
    callable_from_c,
    choices,
    collect,
    compiled,
    inlined,
    settle,
    start,
    views,
)
from fastes.envs.seeding import seeded, uniform
from fastes.envs.trigonometry import sin_cos
from fastes.types import AnyArray, Float32Array, Float64Array

FORCE = 0.001
GRAVITY = 0.0025
MIN_POSITION, MAX_POSITION = -1.2, 0.6
MAX_SPEED = 0.07
GOAL = 0.5
START_LOW, START_HIGH = -0.6, -0.4

POSITION, VELOCITY, PUSH = 0, LANES, 2 * LANES
WORK = 3 * LANES


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
    for i in range(seeds.size):
        slot = slots[i]
        position, _ = uniform(seeded(seeds[i]), START_LOW, START_HIGH)
        state[slot, 0], state[slot, 1] = position, 0.0
        observations[slot, 0], observations[slot, 1] = np.float32(position), np.float32(0.0)
        start(slot, active, steps, returns)


@inlined
def moved(position: float, velocity: float, push: float) -> tuple[float, float]:
    """The state after a step."""
    _, slope = sin_cos(3 * position)
    velocity += push + slope * -GRAVITY
    velocity = min(max(velocity, -MAX_SPEED), MAX_SPEED)
    position += velocity
    position = min(max(position, MIN_POSITION), MAX_POSITION)
    velocity = 0.0 if (position == MIN_POSITION) & (velocity < 0.0) else velocity
    return position, velocity


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
    running, following = 0, 0
    while following < active.size:
        count, following = collect(active, following, lanes)
        for lane in range(count):
            slot = lanes[lane]
            work[POSITION + lane] = state[slot, 0]
            work[VELOCITY + lane] = state[slot, 1]
            work[PUSH + lane] = (actions[slot] - 1) * FORCE
        for lane in range(count):
            work[POSITION + lane], work[VELOCITY + lane] = moved(
                work[POSITION + lane], work[VELOCITY + lane], work[PUSH + lane]
            )
        for lane in range(count):
            slot = lanes[lane]
            position, velocity = work[POSITION + lane], work[VELOCITY + lane]
            state[slot, 0], state[slot, 1] = position, velocity
            observations[slot, 0], observations[slot, 1] = np.float32(position), np.float32(velocity)
            ended = (position >= GOAL) & (velocity >= 0.0)
            running += settle(slot, -1.0, ended, active, steps, max_steps, rewards, terminated, truncated, returns)
    return running


@callable_from_c
def step_at(arrays: Any, n: int, max_steps: int) -> int:
    """See `Kernels`."""
    return step(*views(arrays, n, max_steps, 2, 2, WORK, choices(arrays, n)))
