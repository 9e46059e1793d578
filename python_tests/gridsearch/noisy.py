"""A function that prints."""

from __future__ import annotations

import numpy as np


def sphere(x: np.ndarray) -> float:
    print('{"ended": {"status": "finished"}}', flush=True)
    return -float(np.sum(x.astype(np.float64) ** 2))
