"""What an agent did, as a vector: the behaviour characterisations of novelty search (Lehman and Stanley 2011; Conti et
al. 2018, arXiv 1712.06560).

Shapes: n episodes, B numbers of behaviour.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from fastes.errors import ProblemError
from fastes.import_path import imported
from fastes.problems.batches.base import Batch
from fastes.types import AnyArray, Float32Array

Behaviour = Literal["none", "final_observation", "final_position", "trajectory", "team_returns"]
"""The kinds that have names."""

BehaviourFunction: TypeAlias = Callable[[Float32Array, dict[str, Any]], AnyArray]
"""A user's: from the observations of an episode, float32 [T + 1, *observation_shape], and its last step's info to
numbers [B]."""


class Recorder(ABC):
    """Looks at a batch after it was reset and after every step; gives the behaviours at the end."""

    def begin(self, batch: Batch) -> None:  # noqa: B027 (some look only at the end)
        """The batch was reset."""

    def look(self, batch: Batch) -> None:  # noqa: B027
        """The batch was stepped."""

    def behaviours(self, batch: Batch, sound: npt.NDArray[np.bool_]) -> Float32Array:
        """Of all episodes, which are over: float32 [n, B], NaN for those of members that failed.

        sound: bool [n], the others; B is 0 if there are none.
        """
        slots = np.flatnonzero(sound)
        if not slots.size:
            return np.empty((sound.size, 0), np.float32)
        found = self._of(batch, slots)
        behaviours = np.full((sound.size, found.shape[1]), np.nan, np.float32)
        behaviours[slots] = found
        return behaviours

    @abstractmethod
    def _of(self, batch: Batch, slots: npt.NDArray[np.intp]) -> AnyArray:
        """Of the episodes in k slots, one or more, which are over: [k, B]."""

    @property
    def only_end(self) -> bool:
        """Whether it needs no look at every step."""
        return type(self).look is Recorder.look


def recorder(kind: str | BehaviourFunction, samples: int, max_steps: int = 0) -> Recorder | None:
    """The recorder of a kind; None for "none". samples: observations of a trajectory; max_steps: of an episode, where
    the environment itself does not cut it off before, 0 for none. Raises ProblemError.
    """
    if callable(kind) or ":" in kind:
        return _Called(imported(kind, ProblemError) if isinstance(kind, str) else kind)
    if kind not in get_args(Behaviour):
        known = ", ".join(get_args(Behaviour))
        raise ProblemError(f"problem.behaviour must be one of {known}, or 'module:callable', not {kind!r}.")
    if samples < 1:
        raise ProblemError(f"problem.behaviour_samples must be at least 1, not {samples}.")
    at_the_end: dict[str, Callable[[], Recorder]] = {
        "final_observation": _FinalObservation,
        "final_position": _FinalPosition,
        "team_returns": _TeamReturns,
    }
    return at_the_end.get(kind, lambda: _Trajectory(samples, max_steps) if kind == "trajectory" else None)()


class _FinalObservation(Recorder):
    def _of(self, batch: Batch, slots: npt.NDArray[np.intp]) -> AnyArray:
        return batch.observations[slots].reshape(slots.size, -1)


class _FinalPosition(Recorder):
    """x_position and, where there is one, y_position of the last step's info: Gymnasium's MuJoCo has them."""

    def _of(self, batch: Batch, slots: npt.NDArray[np.intp]) -> AnyArray:
        infos = [batch.infos.get(slot, {}) for slot in slots.tolist()]
        names = [name for name in ("x_position", "y_position") if any(name in info for info in infos)]
        if not all("x_position" in info for info in infos):
            found = ", ".join(sorted({str(key) for info in infos for key in info})) or "nothing"
            raise ProblemError(
                "problem.behaviour = 'final_position' needs x_position in the info of an episode's last step, which "
                f"holds {found}. Take 'final_observation', or a function: 'module:callable'."
            )
        return np.array([[info.get(name, 0.0) for name in names] for info in infos], np.float32)


class _TeamReturns(Recorder):
    """What each team of several agents has gathered: not of novelty, but on the same way to the algorithm."""

    def _of(self, batch: Batch, slots: npt.NDArray[np.intp]) -> AnyArray:
        infos = [batch.infos.get(slot, {}) for slot in slots.tolist()]
        if not all("team_returns" in info for info in infos):
            raise ProblemError(
                "problem.behaviour = 'team_returns' needs teams: take problem.kind = 'pettingzoo', or an environment "
                "that gives team_returns in the info of an episode's last step."
            )
        return np.array([info["team_returns"] for info in infos])


class _Trajectory(Recorder):
    """Observations at equal distances over the longest episode that there may be; after the end, the last one.

    A cutoff that grows does not count: behaviours of different generations are compared.
    """

    def __init__(self, samples: int, max_steps: int) -> None:
        self._samples, self._max_steps = samples, max_steps

    def begin(self, batch: Batch) -> None:
        longest = min((steps for steps in (self._max_steps, batch.longest) if steps), default=0)
        if longest == 0:
            raise ProblemError(
                "problem.behaviour = 'trajectory' needs a longest episode: this environment has no limit of its own, "
                "so set problem.max_steps."
            )
        self._marks = np.ceil(np.arange(1, self._samples + 1) * longest / self._samples).astype(np.int64)
        n = batch.active.size
        self._seen = np.zeros((n, self._samples, batch.observations[0].size), np.float32)
        self._steps = np.zeros(n, np.uint32)

    def look(self, batch: Batch) -> None:
        moved = np.flatnonzero(batch.steps != self._steps)
        self._steps[:] = batch.steps
        first = np.searchsorted(self._marks, batch.steps[moved])  # of the marks at one step, where samples are many
        at = self._marks[np.minimum(first, self._samples - 1)] == batch.steps[moved]
        self._seen[moved[at], first[at]] = batch.observations[moved[at]].reshape(-1, self._seen.shape[2])

    def _of(self, batch: Batch, slots: npt.NDArray[np.intp]) -> AnyArray:
        late = self._marks > batch.steps[slots, np.newaxis]
        last = batch.observations[slots].reshape(slots.size, 1, -1)
        held = self._seen[slots][:, np.searchsorted(self._marks, self._marks)]
        return np.where(late[:, :, np.newaxis], last, held).reshape(slots.size, -1)


class _Called(Recorder):
    def __init__(self, function: BehaviourFunction) -> None:
        self._function = function

    def begin(self, batch: Batch) -> None:
        self._steps = batch.steps.copy()
        self._seen = [[observation.copy()] for observation in batch.observations]

    def look(self, batch: Batch) -> None:
        for slot in np.flatnonzero(batch.started).tolist():
            self._seen[slot] = [batch.observations[slot].copy()]
        for slot in np.flatnonzero(batch.steps != self._steps).tolist():
            self._seen[slot].append(batch.observations[slot].copy())
        self._steps[:] = batch.steps

    def _of(self, batch: Batch, slots: npt.NDArray[np.intp]) -> AnyArray:
        made: list[AnyArray] = []
        for slot in slots.tolist():
            seen = np.stack(self._seen[slot])
            found = np.asarray(self._function(seen, batch.infos.get(slot, {})), np.float32).reshape(-1)
            if made and found.shape != made[0].shape:
                raise ProblemError(
                    f"problem.behaviour gave {found.size} numbers for one episode and {made[0].size} for another; "
                    "they must be as many for all."
                )
            made.append(found)
        return np.stack(made)
