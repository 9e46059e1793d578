"""The cart and pole of Barto, Sutton, Anderson 1983, as Gymnasium's CartPole has it.

State: x (m), dx (m/s), theta (rad, 0 upright), dtheta (rad/s); the observation is the state. Actions push with 10 N to
the left (0) or right (1). Every step is worth 1. With the pole's half length l, mass m and the total mass M,

    push    = (F + m l dtheta^2 sin theta) / M
    ddtheta = (g sin theta - cos theta push) / (l (4/3 - m cos^2 theta / M))
    ddx     = push - m l ddtheta cos theta / M

integrated by Euler's method. It ends beyond 2.4 m or 12 degrees, so that theta stays below pi/4 before a step.
"""

from __future__ import annotations

import math
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
from fastes.envs.trigonometry import sin_cos_near
from fastes.types import AnyArray, Float32Array, Float64Array

GRAVITY = 9.8
POLE_MASS = 0.1
TOTAL_MASS = 1.1
HALF_LENGTH = 0.5
POLE_MOMENT = POLE_MASS * HALF_LENGTH
FORCE = 10.0
INTERVAL = 0.02
MAX_X = 2.4
MAX_THETA = 12 * 2 * math.pi / 360
START = 0.05

X, DX, THETA, DTHETA, PUSH = 0, LANES, 2 * LANES, 3 * LANES, 4 * LANES
WORK = 5 * LANES


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
        generator = seeded(seeds[i])
        for j in range(4):
            state[slot, j], generator = uniform(generator, -START, START)
            observations[slot, j] = state[slot, j]
        start(slot, active, steps, returns)


@inlined
def moved(x: float, dx: float, theta: float, dtheta: float, force: float) -> tuple[float, float, float, float]:
    """The state after a step."""
    sine, cosine = sin_cos_near(theta)
    push = (force + POLE_MOMENT * (dtheta * dtheta) * sine) / TOTAL_MASS
    ddtheta = (GRAVITY * sine - cosine * push) / (
        HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cosine * cosine) / TOTAL_MASS)
    )
    ddx = push - POLE_MOMENT * ddtheta * cosine / TOTAL_MASS
    return x + INTERVAL * dx, dx + INTERVAL * ddx, theta + INTERVAL * dtheta, dtheta + INTERVAL * ddtheta


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
            work[X + lane] = state[slot, 0]
            work[DX + lane] = state[slot, 1]
            work[THETA + lane] = state[slot, 2]
            work[DTHETA + lane] = state[slot, 3]
            work[PUSH + lane] = FORCE if actions[slot] == 1 else -FORCE
        for lane in range(count):
            work[X + lane], work[DX + lane], work[THETA + lane], work[DTHETA + lane] = moved(
                work[X + lane], work[DX + lane], work[THETA + lane], work[DTHETA + lane], work[PUSH + lane]
            )
        for lane in range(count):
            slot = lanes[lane]
            x, dx, theta, dtheta = work[X + lane], work[DX + lane], work[THETA + lane], work[DTHETA + lane]
            state[slot, 0], state[slot, 1], state[slot, 2], state[slot, 3] = x, dx, theta, dtheta
            observations[slot, 0] = np.float32(x)
            observations[slot, 1] = np.float32(dx)
            observations[slot, 2] = np.float32(theta)
            observations[slot, 3] = np.float32(dtheta)
            ended = (x < -MAX_X) | (x > MAX_X) | (theta < -MAX_THETA) | (theta > MAX_THETA)
            running += settle(slot, 1.0, ended, active, steps, max_steps, rewards, terminated, truncated, returns)
    return running


@callable_from_c
def step_at(arrays: Any, n: int, max_steps: int) -> int:
    """See `Kernels`."""
    return step(*views(arrays, n, max_steps, 4, 4, WORK, choices(arrays, n)))
