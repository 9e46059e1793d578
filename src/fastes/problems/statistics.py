"""What environments tell of an episode in the info of its last step, for the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastes.errors import ProblemError
from fastes.types import AnyArray, Float64Array

GIVEN = "statistics"
"""The key under which an environment may give a dict of its own: scalars, and images [height, width, 1 or 3 or 4]."""


class EpisodeStatistics:
    """Named scalars of each member, the mean over its episodes; images of the first episode."""

    def __init__(self, names: Sequence[str], infos: Mapping[int, Mapping[str, Any]], shape: tuple[int, int]) -> None:
        """names: in info, with dots into dicts; infos: by slot; shape: (U, E)."""
        self._shape = shape
        self._found: dict[int, dict[str, Any]] = {}
        for slot, info in infos.items():
            wanted = {name: _inside(info, name) for name in names}
            given = info.get(GIVEN)
            found = wanted | (dict(given) if isinstance(given, Mapping) else {})
            if found:
                self._found[slot] = found

    def scalars(self) -> dict[str, Float64Array]:
        """float64 [U] by name, NaN for members none of whose episodes has it."""
        slots = self._shape[0] * self._shape[1]
        values: dict[str, Float64Array] = {}
        for slot, found in sorted(self._found.items()):
            for name, value in found.items():
                if value is not None and np.ndim(value) == 0 and not isinstance(value, str):
                    values.setdefault(name, np.full(slots, np.nan))[slot] = _number(name, value)
        return {name: _means(rows.reshape(self._shape)) for name, rows in sorted(values.items())}

    def images(self) -> dict[str, AnyArray]:
        """uint8 [height, width, channels] by name, of the first episode."""
        return {name: as_image(np.asarray(value)) for name, value in self._found.get(0, {}).items() if _is_image(value)}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        parts = ", ".join(f"{name}.{key}" for key in value) if isinstance(value, Mapping) else "a number"
        raise ProblemError(
            f"problem.statistics: {name} in the info of an episode's last step is {value!r}. Name {parts}."
        ) from error


def as_image(image: AnyArray) -> AnyArray:
    """uint8 [height, width, channels], of one with or without channels, in front or behind; floats are from 0 to 1."""
    if image.dtype.kind == "f":
        image = np.rint(np.clip(image, 0.0, 1.0) * 255.0)
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    elif image.shape[2] not in (1, 3, 4) and image.shape[0] in (1, 3, 4):
        image = image.transpose(1, 2, 0)
    return image.astype(np.uint8)


def _is_image(value: Any) -> bool:
    shape = np.shape(value)
    return len(shape) == 2 or (len(shape) == 3 and (shape[2] in (1, 3, 4) or shape[0] in (1, 3, 4)))


def _inside(info: Any, name: str) -> Any:
    for part in name.split("."):
        if not isinstance(info, Mapping) or part not in info:
            return None
        info = info[part]
    return info


def _means(values: Float64Array) -> Float64Array:
    """Of each row, without what is missing."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Float64Array = np.where(there, values, 0.0).sum(axis=1) / there.sum(axis=1)
    return means
