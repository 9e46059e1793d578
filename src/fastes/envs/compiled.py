"""How the environments are compiled, and what all of them do around their equations.

Shape legend: n episodes, S numbers of state, O of observation, A of action.

Each `step` works in chunks: it collects up to LANES active episodes, copies what the equations need into rows of
`work`, runs the equations over the lanes of those rows, and writes the results back. The middle loop has no branches
and addresses one array at constant distances, so that LLVM vectorises it; finished episodes cost the test of their
flag.

Measured for CartPole on one core (AVX-512, 256 episodes, all active; and one in ten active, per active episode):
equations straight on the state with the C library's sine 23 and 31 ns, on [n, S] and [S, n] alike; with `trigonometry`,
which LLVM then does not vectorise, 17 and 21; rows of [S, n] copied in blocks with masks 14 and 128; this 8 and 18, and
11 with the accounts of `settle`, which the others did without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import carray  # type: ignore[attr-defined]

from fastes.types import AnyArray, Float64Array

F = TypeVar("F", bound=Callable[..., Any])

LANES = 64

RESET = (
    "void(uint64[::1], int64[::1], float64[:, ::1], float32[:, ::1], boolean[::1], uint32[::1], float64[::1])"
    # seeds [k]  slots [k]   state [n, S]      observations [n, O] active [n]  steps [n]    returns [n]
)
_STEP = (
    "int64(float64[:, ::1], {actions}, boolean[::1], uint32[::1], int64, float32[:, ::1], float64[::1], boolean[::1],"
    #     state [n, S]      actions    active [n]    steps [n]    max_steps  observations  rewards [n]  terminated [n]
    " boolean[::1], float64[::1], int64[::1], float64[::1])"
    # truncated [n] returns [n]   lanes       work
)
STEP_DISCRETE = _STEP.format(actions="int64[::1]")
STEP_BOX = _STEP.format(actions="float32[:, ::1]")
_STEP_AT = "int64(CPointer(voidptr), int64, int64)"
#                 arrays             n      max_steps

# Python's division raises; IEEE's does not and needs no branch. No fastmath: LLVM then neither fuses nor reorders, and
# results are the same bits on every machine.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": False, "error_model": "numpy"}


def compiled(signature: str) -> Callable[[F], F]:
    """Compiles for one signature, now, or takes the code from numba's cache.

    numba notices a change of the file that a function stands in, but not of files whose functions it inlines: after
    editing `trigonometry`, `seeding` or this file, delete the `*.nbi` files of the package.
    """

    def decorate(function: F) -> F:
        return cast("F", _cached(numba.njit, signature, function))

    return decorate


def callable_from_c(function: Callable[[Any, int, int], int]) -> Any:
    """Compiles a function whose `address` C++ calls, as csrc/include/fastes/rollout.hpp declares it.

    It is to give `step(*views(...))`, in the file where that `step` stands, which is the one that numba watches.
    """
    return _cached(numba.cfunc, _STEP_AT, function)


def _cached(compiler: Callable[..., Any], signature: str, function: Callable[..., Any]) -> Any:
    try:
        return compiler(signature, cache=True, **_OPTIONS)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
    return compiler(signature, **_OPTIONS)(function)  # neither package nor home can be written


def inlined(function: F) -> F:
    """For functions of a lane: LLVM vectorises a loop only if nothing is called in it."""
    return cast("F", numba.njit(forceinline=True, **_OPTIONS)(function))


@inlined
def choices(arrays: Any, n: int) -> AnyArray:
    """The actions of a Discrete environment, int64 [n]."""
    return carray(carray(arrays, 2)[1], (n,), np.int64)


@inlined
def forces(arrays: Any, n: int, size: int = 1) -> AnyArray:
    """The actions of a Box, float32 [n, size]."""
    return carray(carray(arrays, 2)[1], (n, size), np.float32)


@inlined
def views(arrays: Any, n: int, max_steps: int, states: int, observed: int, work: int, actions: AnyArray) -> Any:
    """The arguments of `step` from the pointers that C++ holds.

    arrays: pointers to state [n, states], actions, active, steps, observations [n, observed], rewards, terminated,
    truncated, returns, lanes and work.
    """
    at = carray(arrays, 11)
    return (
        carray(at[0], (n, states), np.float64),
        actions,
        carray(at[2], (n,), np.bool_),
        carray(at[3], (n,), np.uint32),
        max_steps,
        carray(at[4], (n, observed), np.float32),
        carray(at[5], (n,), np.float64),
        carray(at[6], (n,), np.bool_),
        carray(at[7], (n,), np.bool_),
        carray(at[8], (n,), np.float64),
        carray(at[9], (LANES,), np.int64),
        carray(at[10], (work,), np.float64),
    )


@inlined
def collect(active: AnyArray, first: int, lanes: AnyArray) -> tuple[int, int]:
    """Writes the next active slots from `first` on to `lanes`; gives how many, and where to go on."""
    count, slot = 0, first
    while slot < active.size and count < lanes.size:
        lanes[count] = slot
        count += active[slot]
        slot += 1
    return count, slot


@inlined
def start(slot: int, active: AnyArray, steps: AnyArray, returns: Float64Array) -> None:
    """Begins an episode in a slot."""
    active[slot] = True
    steps[slot] = 0
    returns[slot] = 0.0


@inlined
def settle(
    slot: int,
    reward: float,
    ended: bool,
    active: AnyArray,
    steps: AnyArray,
    max_steps: int,
    rewards: Float64Array,
    terminated: AnyArray,
    truncated: AnyArray,
    returns: Float64Array,
) -> bool:
    """Accounts for a step; gives whether the episode goes on."""
    steps[slot] += 1
    rewards[slot] = reward
    returns[slot] += reward
    late = steps[slot] >= max_steps
    terminated[slot] = ended
    truncated[slot] = late
    running = not (ended | late)
    active[slot] = running
    return running
