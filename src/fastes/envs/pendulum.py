"""The pendulum to be swung up with a weak motor, as Gymnasium's Pendulum-v1 has it.

State: theta (rad, 0 upright, not wrapped), dtheta (rad/s). Observation: cos theta, sin theta, dtheta. Action: a torque
u (N m), clipped to [-2, 2]. With theta wrapped to [-pi, pi), a step is worth -(theta^2 + 0.1 dtheta^2 + 0.001 u^2), of
the state before it. Nothing ends it but the limit of steps.

    dtheta += 0.05 (15 sin theta + 3 u), clipped to [-8, 8]        theta += 0.05 dtheta

The torque is float32, and with NumPy 2 so are its terms 3 u and 0.001 u^2; all else is float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastes.envs.compiled import (
    LANES,
    RESET,
    STEP_BOX,
    callable_from_c,
    collect,
    compiled,
    forces,
    inlined,
    settle,
    start,
    views,
)
from fastes.envs.seeding import seeded, uniform
from fastes.envs.trigonometry import fma, sin_cos
from fastes.types import AnyArray, Float32Array, Float64Array

GRAVITY_FACTOR = 15.0
TORQUE_FACTOR = 3.0
MAX_TORQUE = 2.0
MAX_SPEED = 8.0
INTERVAL = 0.05
TORQUE_COST = np.float32(0.001)
TURN = 2 * math.pi

THETA, DTHETA, TORQUE, COST, COS, SIN = 0, LANES, 2 * LANES, 3 * LANES, 4 * LANES, 5 * LANES
WORK = 6 * LANES


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
        theta, generator = uniform(seeded(seeds[i]), -math.pi, math.pi)
        dtheta, generator = uniform(generator, -1.0, 1.0)
        state[slot, 0], state[slot, 1] = theta, dtheta
        sine, cosine = sin_cos(theta)
        observations[slot, 0], observations[slot, 1] = np.float32(cosine), np.float32(sine)
        observations[slot, 2] = np.float32(dtheta)
        start(slot, active, steps, returns)


@inlined
def wrapped(theta: float) -> float:
    """The angle in [-pi, pi), as the remainder of theta + pi after division by a turn: exact, as C's fmod is."""
    shifted = theta + math.pi
    turns = np.floor(shifted / TURN)
    remainder = fma(-turns, TURN, shifted)
    # The quotient may have been rounded up to a whole number of turns.
    remainder = fma(1.0 - turns, TURN, shifted) if remainder < 0.0 else remainder
    return remainder - math.pi


@inlined
def moved(theta: float, dtheta: float, torque: float) -> tuple[float, float, float]:
    """The state after a step, and the step's cost."""
    u = np.float32(torque)
    angle = wrapped(theta)
    cost = angle * angle + 0.1 * (dtheta * dtheta) + np.float64(TORQUE_COST * np.float32(u * u))
    sine, _ = sin_cos(theta)
    dtheta = dtheta + (GRAVITY_FACTOR * sine + np.float64(np.float32(TORQUE_FACTOR * torque))) * INTERVAL
    dtheta = min(max(dtheta, -MAX_SPEED), MAX_SPEED)
    return theta + dtheta * INTERVAL, dtheta, cost


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
            work[THETA + lane] = state[slot, 0]
            work[DTHETA + lane] = state[slot, 1]
            work[TORQUE + lane] = min(max(actions[slot, 0], -MAX_TORQUE), MAX_TORQUE)
        for lane in range(count):
            work[THETA + lane], work[DTHETA + lane], work[COST + lane] = moved(
                work[THETA + lane], work[DTHETA + lane], work[TORQUE + lane]
            )
        for lane in range(count):
            work[SIN + lane], work[COS + lane] = sin_cos(work[THETA + lane])
        for lane in range(count):
            slot = lanes[lane]
            state[slot, 0], state[slot, 1] = work[THETA + lane], work[DTHETA + lane]
            observations[slot, 0] = np.float32(work[COS + lane])
            observations[slot, 1] = np.float32(work[SIN + lane])
            observations[slot, 2] = np.float32(work[DTHETA + lane])
            reward = -work[COST + lane]
            running += settle(slot, reward, False, active, steps, max_steps, rewards, terminated, truncated, returns)
    return running


@callable_from_c
def step_at(arrays: Any, n: int, max_steps: int) -> int:
    """See `Kernels`."""
    return step(*views(arrays, n, max_steps, 2, 3, WORK, forces(arrays, n)))
