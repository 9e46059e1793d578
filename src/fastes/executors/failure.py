"""An evaluation in another process: its result, or the error that it raised in a form that travels."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from fastes.errors import FastesError
from fastes.evaluator import Evaluator
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.problems.pulse import Pulse, no_pulse


@dataclass(frozen=True, slots=True)
class Failure:
    """The error that evaluating a unit raised."""

    error: Exception


def evaluated(
    evaluator: Evaluator, unit: Generation, left_out: Mapping[int, str] | None = None, pulse: Pulse = no_pulse
) -> UnitResult | Failure:
    """What `Evaluator.evaluate` gives or raises; an error that is none of fastes' own becomes a FastesError."""
    try:
        return evaluator.evaluate(unit, left_out, pulse)
    except FastesError as error:
        return _failure(type(error)(*error.args), error)
    except Exception as error:
        members = f"members {unit.first} to {unit.first + len(unit) - 1} of generation {unit.index}"
        return _failure(FastesError(f"evaluating {members} raised {type(error).__name__}: {error}"), error)


def _failure(sent: Exception, raised: Exception) -> Failure:
    """What is sent has no cause, which may hold what cannot travel; the traceback goes along as text."""
    sent.add_note("In the worker:\n" + "".join(traceback.format_exception(raised)))
    return Failure(sent)
