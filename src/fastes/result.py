"""How a run ended: for the caller, for the reporters, and as `result.json`."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from fastes.algorithms import State
from fastes.kernels import NOISE_SPEC
from fastes.report import RunSummary
from fastes.run_directory import Progress
from fastes.storage import write_json
from fastes.types import Float64Array
from fastes.version import VERSION

Status = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """policy: the trained module; progress: the last state with what it took; returns: float64 [E], of the final
    policy's fresh episodes, None if the run was interrupted; directory: what was written, None for nothing.
    """

    status: Status
    policy: nn.Module
    progress: Progress
    returns: Float64Array | None
    directory: Path | None

    def __repr__(self) -> str:
        """In one line."""
        mean = "" if self.evaluation_mean is None else f", evaluation_mean={self.evaluation_mean:.6g}"
        return (
            f"Result(status={self.status!r}, generations={self.state.generation}{mean}, digest={self.digest!r}, "
            f"directory={None if self.directory is None else str(self.directory)!r})"
        )

    @property
    def state(self) -> State:
        """The last state, to go on with."""
        return self.progress.state

    @property
    def digest(self) -> str:
        """Digest of theta and the optimizer's state."""
        return self.state.digest()

    @property
    def evaluation_mean(self) -> float | None:
        """Mean of `returns`."""
        return None if self.returns is None else mean_and_std(self.returns)[0]

    @property
    def evaluation_std(self) -> float | None:
        """Standard deviation of `returns`."""
        return None if self.returns is None else mean_and_std(self.returns)[1]

    def summary(self) -> RunSummary:
        """The same for the reporters."""
        hint = None
        if self.directory is not None and self.status == "interrupted":
            hint = f"fastes train --resume {shlex.quote(str(self.directory))}"
        return RunSummary(
            status=self.status,
            generations=self.state.generation,
            evaluations=self.progress.evaluations,
            steps=self.progress.steps,
            seconds=self.progress.seconds,
            digest=self.digest,
            evaluation_mean=self.evaluation_mean,
            evaluation_std=self.evaluation_std,
            evaluation_episodes=0 if self.returns is None else len(self.returns),
            policy_path=None if self.directory is None else self.directory / "policy.safetensors",
            resume_hint=hint,
        )


def mean_and_std(returns: Float64Array) -> tuple[float, float]:
    """Mean and standard deviation of returns, which may be infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(returns.mean()), float(returns.std())


def write_result(
    directory: Path, status: Status, progress: Progress, returns: Float64Array | None, **more: Any
) -> None:
    """Writes `result.json`. Raises StorageError."""
    mean, std = (None, None) if returns is None else mean_and_std(returns)
    content = {
        "status": status,
        "digest": progress.state.digest(),
        "generations": progress.state.generation,
        "evaluations": progress.evaluations,
        "steps": progress.steps,
        "evaluation_mean": mean if mean is not None and math.isfinite(mean) else None,  # JSON has no infinity
        "evaluation_std": std if std is not None and math.isfinite(std) else None,
        "evaluation_episodes": 0 if returns is None else len(returns),
        "seconds": progress.seconds,
        "version": VERSION,
        "noise_spec": NOISE_SPEC,
    }
    write_json(directory / "result.json", content | more)
