"""Names of the array types and letters used throughout.

Shape legend: N members of a population, P mirrored pairs (N = 2 P), D parameters, K rows of noise, U members of
a work unit, E episodes of a member.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]
UInt32Array: TypeAlias = npt.NDArray[np.uint32]
AnyArray: TypeAlias = npt.NDArray[Any]

Metrics: TypeAlias = dict[str, float]
"""Scalars of one generation by name, in the order in which reports show them."""
