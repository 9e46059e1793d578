"""The numbers of a run in words, as far as its directory knows them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastes.run_record import RunRecord
from fastes.types import Float64Array


def numbers_of(record: RunRecord) -> dict[str, str]:
    """What is told of a run beside its plots, by name."""
    result = record.result
    told = {
        "evaluation": evaluation(record),
        "best member": _last(record.column("fitness/max"), np.max),
        "generations": f"{int(record.column('generation')[-1]):,}",
        "evaluations": f"{result['evaluations']:,}" if "evaluations" in result else "",
        "steps": f"{result.get('steps', _total_steps(record)):,}",
        "time": duration(float(result.get("seconds", np.nansum(record.column("seconds"))))),
    }
    return {name: value for name, value in told.items() if value}


def evaluation(record: RunRecord) -> str:
    """The mean return of the centre with the standard deviation of its episodes; of a run that goes on the last one."""
    result = record.result
    mean, std = result.get("evaluation_mean"), result.get("evaluation_std")
    if mean is not None:
        episodes = int(result.get("evaluation_episodes", 0))
        # Equal returns have a standard deviation that is rounding alone.
        spread = 0.0 if std is None or std < 1e-9 * abs(mean) else std
        return f"{number(mean)} ± {number(spread)}" if episodes > 1 else number(mean)
    return _last(record.column("evaluation/mean"), lambda values: values[-1])


def number(value: float) -> str:
    """Four digits, or all of a whole number."""
    return f"{value:,.0f}" if abs(value) < 1e15 and (value == int(value) or abs(value) >= 1e4) else f"{value:.4g}"


def duration(seconds: float) -> str:
    """Such as 1.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours} h {minute} min" if hours else f"{minute} min {second} s"


def _last(values: Float64Array, summary: Callable[[Float64Array], float]) -> str:
    finite = values[np.isfinite(values)]
    return number(float(summary(finite))) if finite.size else ""


def _total_steps(record: RunRecord) -> int:
    steps = record.column("steps/total")
    finite = steps[np.isfinite(steps)]
    return int(finite[-1]) if finite.size else 0
