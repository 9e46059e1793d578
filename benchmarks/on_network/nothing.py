"""A problem that does nothing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def nothing(parameters: npt.NDArray[np.float32]) -> float:
    return 0.0
