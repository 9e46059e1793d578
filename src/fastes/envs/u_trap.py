"""The point robot before a U-shaped wall: what `testbeds.UTrap` describes.

State: x, y, then the constants: start (x, y), goal (x, y), step, steps, scale, and the edges of each wall.
"""

from __future__ import annotations

from functools import cache
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
from fastes.types import AnyArray, Float32Array, Float64Array

START_X, START_Y, GOAL_X, GOAL_Y, STEP, STEPS, SCALE, WALLS = range(2, 10)

X, Y, NEXT_X, NEXT_Y, STOPPED = 0, LANES, 2 * LANES, 3 * LANES, 4 * LANES
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
        for j in range(2):
            state[slot, j] = state[slot, START_X + j]
            observations[slot, j] = np.float32(state[slot, SCALE] * state[slot, j])
        start(slot, active, steps, returns)


@inlined
def clipped(action: Any) -> float:
    """Within -1 .. 1, in float64; NaN stays, so that a policy that gives it is found out."""
    a: float = np.float64(action)
    a = -1.0 if a < -1.0 else a
    return 1.0 if a > 1.0 else a


@inlined
def stop(work: Float64Array, xs: int, ys: int, count: int, edges: Float64Array) -> None:
    """Marks the lanes whose (x, y), in the rows xs and ys of work, is inside a wall. edges: [4 walls]."""
    for lane in range(count):
        work[STOPPED + lane] = 0.0
    for wall in range(0, edges.size, 4):
        left, right, low, high = edges[wall], edges[wall + 1], edges[wall + 2], edges[wall + 3]
        for lane in range(count):
            x, y = work[xs + lane], work[ys + lane]
            inside = (x >= left) & (x <= right) & (y >= low) & (y <= high)
            work[STOPPED + lane] = 1.0 if inside else work[STOPPED + lane]


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
        if count == 0:
            break
        constants = state[lanes[0]]
        longest, scale, last = constants[STEP], constants[SCALE], int(constants[STEPS])
        for lane in range(count):
            slot = lanes[lane]
            work[X + lane] = state[slot, 0]
            work[Y + lane] = state[slot, 1]
            work[NEXT_X + lane] = clipped(actions[slot, 0])
            work[NEXT_Y + lane] = clipped(actions[slot, 1])
        for lane in range(count):
            work[NEXT_X + lane] = work[X + lane] + longest * work[NEXT_X + lane]
            work[NEXT_Y + lane] = work[Y + lane] + longest * work[NEXT_Y + lane]
        stop(work, NEXT_X, Y, count, constants[WALLS:])
        for lane in range(count):
            work[X + lane] = work[X + lane] if work[STOPPED + lane] != 0.0 else work[NEXT_X + lane]
        stop(work, X, NEXT_Y, count, constants[WALLS:])
        for lane in range(count):
            work[Y + lane] = work[Y + lane] if work[STOPPED + lane] != 0.0 else work[NEXT_Y + lane]
        for lane in range(count):
            slot = lanes[lane]
            x, y = work[X + lane], work[Y + lane]
            state[slot, 0], state[slot, 1] = x, y
            observations[slot, 0], observations[slot, 1] = np.float32(scale * x), np.float32(scale * y)
            dx, dy = x - constants[GOAL_X], y - constants[GOAL_Y]
            reward = -np.sqrt(dx * dx + dy * dy) if steps[slot] + 1 == last else 0.0
            limit = min(max_steps, last)
            running += settle(slot, reward, False, active, steps, limit, rewards, terminated, truncated, returns)
    return running


@cache
def step_at(states: int, observed: int) -> Any:
    """See `Kernels`; of environments with that many numbers of state."""

    @callable_from_c
    def stepped(arrays: Any, n: int, max_steps: int) -> int:
        return step(*views(arrays, n, max_steps, states, observed, WORK, forces(arrays, n, 2)))

    return stepped
