"""Two links and a torque between them (Sutton 1996; Sutton, Barto 2018), as Gymnasium's Acrobot-v1 has it.

State: theta1 (rad, of the first link, 0 hanging), theta2 (rad, of the second against the first), dtheta1, dtheta2
(rad/s). Observation: cos theta1, sin theta1, cos theta2, sin theta2, dtheta1, dtheta2. Actions: a torque of -1, 0 or
1 N m. Every step is worth -1 until the tip is above 1 m: -cos theta1 - cos(theta1 + theta2) > 1 ends the episode at 0.
Links of 1 m and 1 kg with their centres half way and moments of inertia 1; Runge and Kutta's method of order 4, 0.2 s.

Gymnasium takes the cosines of an episode's first observation in float32; here they are rounded to it.
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
from fastes.envs.trigonometry import sin_cos
from fastes.types import AnyArray, Float32Array, Float64Array

GRAVITY = 9.8
CENTRE = 0.5
INERTIA = 1.0
INTERVAL = 0.2
MAX_DTHETA1 = 4 * math.pi
MAX_DTHETA2 = 9 * math.pi
START = 0.1
WHOLE_TURN = math.pi - -math.pi

THETA1, THETA2, DTHETA1, DTHETA2, TORQUE = 0, LANES, 2 * LANES, 3 * LANES, 4 * LANES
COS1, SIN1, COS2, SIN2, COS12 = 5 * LANES, 6 * LANES, 7 * LANES, 8 * LANES, 9 * LANES
WORK = 10 * LANES


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
            drawn, generator = uniform(generator, -START, START)
            state[slot, j] = np.float32(drawn)
        for j in range(2):
            sine, cosine = sin_cos(state[slot, j])
            observations[slot, 2 * j] = np.float32(cosine)
            observations[slot, 2 * j + 1] = np.float32(sine)
            observations[slot, 4 + j] = np.float32(state[slot, 2 + j])
        start(slot, active, steps, returns)


@inlined
def accelerations(theta1: float, theta2: float, dtheta1: float, dtheta2: float, torque: float) -> tuple[float, float]:
    """ddtheta1, ddtheta2 by the equations of the book, term by term in Gymnasium's order."""
    sine, cosine = sin_cos(theta2)
    _, both = sin_cos(theta1 + theta2 - math.pi / 2)
    _, first = sin_cos(theta1 - math.pi / 2)
    d1 = CENTRE * CENTRE + (1.0 + CENTRE * CENTRE + 2 * CENTRE * cosine) + INERTIA + INERTIA
    d2 = (CENTRE * CENTRE + CENTRE * cosine) + INERTIA
    phi2 = CENTRE * GRAVITY * both
    phi1 = (
        -CENTRE * (dtheta2 * dtheta2) * sine
        - 2 * CENTRE * dtheta2 * dtheta1 * sine
        + (CENTRE + 1.0) * GRAVITY * first
        + phi2
    )
    ddtheta2 = (torque + d2 / d1 * phi1 - CENTRE * (dtheta1 * dtheta1) * sine - phi2) / (
        CENTRE * CENTRE + INERTIA - d2 * d2 / d1
    )
    return -(d2 * ddtheta2 + phi1) / d1, ddtheta2


@inlined
def integrated(theta1: float, theta2: float, dtheta1: float, dtheta2: float, torque: float) -> tuple[float, ...]:
    """The state after a step, its angles not yet wrapped and its velocities not yet bounded."""
    half, sixth = INTERVAL / 2.0, INTERVAL / 6.0
    v1, v2 = dtheta1, dtheta2
    a1, a2 = accelerations(theta1, theta2, v1, v2, torque)
    velocity1, velocity2, acceleration1, acceleration2 = v1, v2, a1, a2
    theta1_k, theta2_k = theta1 + half * v1, theta2 + half * v2
    v1, v2 = dtheta1 + half * a1, dtheta2 + half * a2
    a1, a2 = accelerations(theta1_k, theta2_k, v1, v2, torque)
    velocity1, velocity2 = velocity1 + 2 * v1, velocity2 + 2 * v2
    acceleration1, acceleration2 = acceleration1 + 2 * a1, acceleration2 + 2 * a2
    theta1_k, theta2_k = theta1 + half * v1, theta2 + half * v2
    v1, v2 = dtheta1 + half * a1, dtheta2 + half * a2
    a1, a2 = accelerations(theta1_k, theta2_k, v1, v2, torque)
    velocity1, velocity2 = velocity1 + 2 * v1, velocity2 + 2 * v2
    acceleration1, acceleration2 = acceleration1 + 2 * a1, acceleration2 + 2 * a2
    theta1_k, theta2_k = theta1 + INTERVAL * v1, theta2 + INTERVAL * v2
    v1, v2 = dtheta1 + INTERVAL * a1, dtheta2 + INTERVAL * a2
    a1, a2 = accelerations(theta1_k, theta2_k, v1, v2, torque)
    return (
        theta1 + sixth * (velocity1 + v1),
        theta2 + sixth * (velocity2 + v2),
        dtheta1 + sixth * (acceleration1 + a1),
        dtheta2 + sixth * (acceleration2 + a2),
    )


@inlined
def wrapped(angle: float) -> float:
    """The angle in [-pi, pi], by whole turns as Gymnasium takes them."""
    while angle > math.pi:
        angle -= WHOLE_TURN
    while angle < -math.pi:
        angle += WHOLE_TURN
    return angle


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
            work[THETA1 + lane] = state[slot, 0]
            work[THETA2 + lane] = state[slot, 1]
            work[DTHETA1 + lane] = state[slot, 2]
            work[DTHETA2 + lane] = state[slot, 3]
            work[TORQUE + lane] = actions[slot] - 1
        for lane in range(count):
            work[THETA1 + lane], work[THETA2 + lane], work[DTHETA1 + lane], work[DTHETA2 + lane] = integrated(
                work[THETA1 + lane],
                work[THETA2 + lane],
                work[DTHETA1 + lane],
                work[DTHETA2 + lane],
                work[TORQUE + lane],
            )
        for lane in range(count):  # on its own: its loops would keep the others from being vectorised
            work[THETA1 + lane] = wrapped(work[THETA1 + lane])
            work[THETA2 + lane] = wrapped(work[THETA2 + lane])
            work[DTHETA1 + lane] = min(max(work[DTHETA1 + lane], -MAX_DTHETA1), MAX_DTHETA1)
            work[DTHETA2 + lane] = min(max(work[DTHETA2 + lane], -MAX_DTHETA2), MAX_DTHETA2)
        for lane in range(count):
            work[SIN1 + lane], work[COS1 + lane] = sin_cos(work[THETA1 + lane])
            work[SIN2 + lane], work[COS2 + lane] = sin_cos(work[THETA2 + lane])
            _, work[COS12 + lane] = sin_cos(work[THETA2 + lane] + work[THETA1 + lane])
        for lane in range(count):
            slot = lanes[lane]
            for j in range(4):
                state[slot, j] = work[j * LANES + lane]
            observations[slot, 0] = np.float32(work[COS1 + lane])
            observations[slot, 1] = np.float32(work[SIN1 + lane])
            observations[slot, 2] = np.float32(work[COS2 + lane])
            observations[slot, 3] = np.float32(work[SIN2 + lane])
            observations[slot, 4] = np.float32(work[DTHETA1 + lane])
            observations[slot, 5] = np.float32(work[DTHETA2 + lane])
            ended = -work[COS1 + lane] - work[COS12 + lane] > 1.0
            reward = 0.0 if ended else -1.0
            running += settle(slot, reward, ended, active, steps, max_steps, rewards, terminated, truncated, returns)
    return running


@callable_from_c
def step_at(arrays: Any, n: int, max_steps: int) -> int:
    """See `Kernels`."""
    return step(*views(arrays, n, max_steps, 4, 6, WORK, choices(arrays, n)))
