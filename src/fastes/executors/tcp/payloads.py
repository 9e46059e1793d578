"""Results, commits and failures to messages and back. Every length and range that follows from the run is checked here.

Fitness may be anything that float32 can be: what is not finite is the algorithm's to judge, as on every executor.
"""

from __future__ import annotations

import math
import traceback

import numpy as np

from fastes.conditions import Moments
from fastes.errors import (
    ConfigError,
    ExecutorError,
    FastesError,
    FitnessError,
    PolicyError,
    ProblemError,
    StorageError,
    UserError,
)
from fastes.executors.tcp import limits
from fastes.executors.tcp.limits import RunNumbers
from fastes.executors.tcp.refusals import Code, ProtocolError, printable
from fastes.executors.tcp.wire import Commit, Failed, Result, SumsOfObservations
from fastes.messages import Evaluations, Transitions, UnitResult
from fastes.types import AnyArray

_ERRORS: dict[str, type[FastesError]] = {
    error.__name__: error
    for error in (
        *(FastesError, UserError, ConfigError, PolicyError),
        *(ProblemError, FitnessError, StorageError, ExecutorError),
    )
}
_MOST_COUNT = 2.0**53  # above it a float64 no longer counts
_F32, _F64, _U32 = np.dtype("<f4"), np.dtype("<f8"), np.dtype("<u4")


def result_of(unit: UnitResult, numbers: RunNumbers, digest: str | None = None) -> Result:
    """The message of a unit's result. digest: of the worker's state, with its first result of a generation.

    Raises ProtocolError if the run's numbers do not hold it, as the coordinator would.
    """
    behaviours = unit.behaviours
    if behaviours is not None and behaviours.shape[1] > numbers.behaviour:
        raise _wrong(
            f"a behaviour has {behaviours.shape[1]} numbers, and the run was set up for {numbers.behaviour} at most"
        )
    if len(unit.statistics) > limits.STATISTICS:
        raise _wrong(f"it has {len(unit.statistics)} statistics, and at most {limits.STATISTICS} travel")
    steps = unit.transitions
    if steps is not None and steps.rows.nbytes > limits.TRANSITIONS:
        raise _wrong(
            f"the steps in it have {steps.rows.nbytes} bytes, and at most {limits.TRANSITIONS} travel: lower unit_size"
        )
    return Result(
        generation=unit.generation,
        unit=unit.first // numbers.unit_size,
        fitness=_bytes(unit.fitness, _F32),
        steps=_bytes(unit.steps, _U32),
        digest=None if digest is None else bytes.fromhex(digest),
        moments=_sums(unit.moments),
        behaviours=None if behaviours is None else _bytes(behaviours, _F32),
        statistics={name: _bytes(values, _F64) for name, values in unit.statistics.items()},
        failures={member - unit.first: printable(why, limits.FAILURE_TEXT) for member, why in unit.failures.items()},
        transitions=None if steps is None else _bytes(steps.rows, _F32),
    )


def unit_result(message: Result, numbers: RunNumbers) -> UnitResult:
    """The result in a message. Raises ProtocolError if it does not fit the run."""
    if message.unit >= numbers.units:
        raise _wrong(f"it is of unit {message.unit}, and a generation has {numbers.units} units")
    first, size = message.unit * numbers.unit_size, numbers.size(message.unit)
    for member in message.failures:
        if member >= size:
            raise _wrong(f"member {member} of a unit of {size} is said to have failed")
    fitness, steps = _vector(message.fitness, _F32, size, "fitness"), _vector(message.steps, _U32, size, "steps")
    return UnitResult(
        message.generation,
        first,
        fitness,
        steps,
        _moments(message.moments, numbers),
        _behaviours(message.behaviours, size, numbers),
        {name: _vector(values, _F64, size, f"statistic {name!r}") for name, values in message.statistics.items()},
        {first + member: printable(why, limits.FAILURE_TEXT) for member, why in message.failures.items()},
        _transitions(message, steps, numbers),
    )


def commit_of(evaluations: Evaluations, before: str, *, steps: bool, behaviours: bool = False) -> Commit:
    """The message by which others make the state after a generation. before: digest of the state before; steps: whether
    the next depends on how many were taken, as a growing cut-off does; behaviours: whether it depends on them.
    """
    shown = evaluations.behaviours if behaviours else None
    return Commit(
        generation=evaluations.generation,
        before=bytes.fromhex(before),
        fitness=_bytes(evaluations.fitness, _F32),
        steps=_bytes(evaluations.steps, _U32) if steps else b"",
        moments=_sums(evaluations.moments),
        behaviours=None if shown is None else _bytes(shown, _F32),
    )


def evaluations_of(message: Commit, numbers: RunNumbers) -> Evaluations:
    """What a commit holds: one step for each member where none were sent. Raises ProtocolError if it does not fit."""
    members = numbers.members
    return Evaluations(
        message.generation,
        _vector(message.fitness, _F32, members, "fitness"),
        _vector(message.steps, _U32, members, "steps") if message.steps else np.ones(members, np.uint32),
        _moments(message.moments, numbers),
        _behaviours(message.behaviours, members, numbers),
    )


def failure_of(generation: int, unit: int | None, error: Exception) -> Failed:
    """The message that evaluating a unit, or with None building the run, raised."""
    told = "".join(traceback.format_exception(error))
    return Failed(
        generation,
        unit,
        printable(type(error).__name__, limits.NAME),
        printable(str(error), limits.TRACEBACK_TEXT),
        printable(told[-limits.TRACEBACK_TEXT :], limits.TRACEBACK_TEXT),
    )


def error_of(message: Failed, worker: str) -> FastesError:
    """The error to raise here, with the worker's traceback as a note. worker: who it was, for people."""
    text = printable(message.text, limits.TRACEBACK_TEXT)
    if message.error in _ERRORS:
        error = _ERRORS[message.error](text)
    else:
        error = FastesError(f"evaluating raised {printable(message.error, limits.NAME)}: {text}")
    if message.traceback:
        error.add_note(f"In {worker}:\n{printable(message.traceback, limits.TRACEBACK_TEXT)}")
    return error


def _wrong(what: str) -> ProtocolError:
    return ProtocolError(Code.MALFORMED, f"a message does not fit the run: {what}.")


def _bytes(array: AnyArray, dtype: np.dtype[np.generic]) -> bytes:
    return np.ascontiguousarray(array, dtype).tobytes()


def _vector(data: bytes, dtype: np.dtype[np.generic], length: int, what: str) -> AnyArray:
    """An owned array of native byte order."""
    if len(data) != length * dtype.itemsize:
        raise _wrong(f"{what} has {len(data)} bytes, not {length * dtype.itemsize} for {length} members")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))


def _sums(moments: Moments | None) -> SumsOfObservations | None:
    if moments is None:
        return None
    return SumsOfObservations(moments.count, _bytes(moments.total, _F64), _bytes(moments.squares, _F64))


def _moments(sums: SumsOfObservations | None, numbers: RunNumbers) -> Moments | None:
    if sums is None:
        return None
    if not numbers.observation:
        raise _wrong("it has moments of observations, which this run does not gather")
    if not (0 <= sums.count <= _MOST_COUNT and math.floor(sums.count) == sums.count):
        raise _wrong(f"the number of observations is {sums.count}")
    length = 8 * numbers.observation
    if len(sums.total) != length or len(sums.squares) != length:
        raise _wrong(f"moments have {len(sums.total)} and {len(sums.squares)} bytes, not {length} each")
    total, squares = (_vector(data, _F64, numbers.observation, "moments") for data in (sums.total, sums.squares))
    if (squares < 0).any():
        raise _wrong("a sum of squares is negative")
    return Moments(sums.count, total, squares)


def _transitions(message: Result, steps: AnyArray, numbers: RunNumbers) -> Transitions | None:
    """steps: uint32 [U], that the members took: there is a row for each, but for those of members that failed."""
    data = message.transitions
    if data is None:
        return None
    if not any(numbers.transition):
        raise _wrong("it has transitions, which this run does not record")
    taken = sum(count for member, count in enumerate(steps.tolist()) if member not in message.failures)
    width = Transitions.width(*numbers.transition)
    if len(data) != taken * width * _F32.itemsize:
        raise _wrong(f"transitions have {len(data)} bytes, not {_F32.itemsize * width} for each of {taken} steps")
    return Transitions(_vector(data, _F32, taken * width, "transitions").reshape(taken, width), *numbers.transition)


def _behaviours(data: bytes | None, size: int, numbers: RunNumbers) -> AnyArray | None:
    if data is None:
        return None
    width, rest = divmod(len(data), size * _F32.itemsize)
    if rest or width > numbers.behaviour:
        raise _wrong(
            f"behaviours have {len(data)} bytes, not {_F32.itemsize * size} times a number up to {numbers.behaviour}"
        )
    return _vector(data, _F32, size * width, "behaviours").reshape(size, width)
