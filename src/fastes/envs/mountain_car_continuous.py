"""The weak car with a continuous force (Moore 1990), as Gymnasium's MountainCarContinuous-v0 has it.

State and observation: position (m), velocity (m a step). Action: a force, clipped to [-1, 1]. A step is worth
-0.1 action^2, not clipped, and 100 more where it ends: at a position of 0.45 without going backwards.

    velocity += 0.0015 force - 0.0025 cos(3 position)        position += velocity

Gymnasium's state is float64 when an episode starts and float32 from its first step on, and with NumPy 2 so is the
arithmetic; only a force that was clipped is Python's float64. The equations below round where that rounds. A sum of two
float32 numbers in float64 that is rounded to float32 is the float32 sum.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastes.envs.compiled import LANES, STEP_BOX, callable_from_c, collect, compiled, forces, inlined, settle, views
from fastes.envs.mountain_car import reset
from fastes.envs.trigonometry import sin_cos
from fastes.types import AnyArray, Float32Array, Float64Array

POWER = 0.0015
POWER32 = float(np.float32(POWER))
GRAVITY = 0.0025
MIN_POSITION, MAX_POSITION = -1.2, 0.6
MIN_POSITION32, MAX_POSITION32 = float(np.float32(MIN_POSITION)), float(np.float32(MAX_POSITION))
MAX_SPEED32 = float(np.float32(0.07))
GOAL32 = float(np.float32(0.45))

__all__ = ["WORK", "reset", "step"]

POSITION, VELOCITY, ACTION, FIRST = 0, LANES, 2 * LANES, 3 * LANES
WORK = 4 * LANES


@inlined
def rounded(x: float) -> float:
    """Rounds to float32."""
    return np.float64(np.float32(x))


@inlined
def moved(position: float, velocity: float, action: float, first: float) -> tuple[float, float]:
    """The state after a step; first: 1 for the step that starts from float64, else 0."""
    thrice = 3 * position
    _, slope = sin_cos(thrice if first != 0.0 else rounded(thrice))
    pull = GRAVITY * slope
    clipped = POWER if action > 1.0 else -POWER
    inside = rounded(rounded(action * POWER32) - rounded(pull))
    beyond = clipped - pull
    beyond = beyond if first != 0.0 else rounded(beyond)
    velocity += beyond if (action > 1.0) | (action < -1.0) else inside
    velocity = velocity if first != 0.0 else rounded(velocity)
    velocity = MAX_SPEED32 if velocity > MAX_SPEED32 else velocity
    velocity = -MAX_SPEED32 if velocity < -MAX_SPEED32 else velocity
    position = rounded(position + velocity)
    position = MAX_POSITION32 if position > MAX_POSITION32 else position
    position = MIN_POSITION32 if position < MIN_POSITION32 else position
    velocity = 0.0 if (position == MIN_POSITION32) & (velocity < 0.0) else velocity
    return position, rounded(velocity)


@compiled(STEP_BOX)
def step(
    state: Float64Array,
    actions: Float32Array,
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
            work[ACTION + lane] = actions[slot, 0]
            work[FIRST + lane] = 1.0 if steps[slot] == 0 else 0.0
        for lane in range(count):
            work[POSITION + lane], work[VELOCITY + lane] = moved(
                work[POSITION + lane], work[VELOCITY + lane], work[ACTION + lane], work[FIRST + lane]
            )
        for lane in range(count):
            slot = lanes[lane]
            position, velocity, action = work[POSITION + lane], work[VELOCITY + lane], work[ACTION + lane]
            state[slot, 0], state[slot, 1] = position, velocity
            observations[slot, 0], observations[slot, 1] = np.float32(position), np.float32(velocity)
            ended = (position >= GOAL32) & (velocity >= 0.0)
            reward = (100.0 if ended else 0.0) - action * action * 0.1
            running += settle(slot, reward, ended, active, steps, max_steps, rewards, terminated, truncated, returns)
    return running


@callable_from_c
def step_at(arrays: Any, n: int, max_steps: int) -> int:
    """See `Kernels`."""
    return step(*views(arrays, n, max_steps, 2, 2, WORK, forces(arrays, n)))
