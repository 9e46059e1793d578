"""What the two systems that fastes takes over from send in a generation, by their own code's messages.

es_pytorch (src/core/es.py): each rank sends each other rank its results, `comm.Alltoall` of float64 [pairs of the
rank, 2 objectives + 1]: both fitness values and the noise index. portable-es (portable_es.py): the manager sends each
worker its seeds, gets back a dict of rewards by seed, and sends all workers the dict of weights by seed; all pickled.
"""

from __future__ import annotations

import pickle

import numpy as np


def es_pytorch(members: int, ranks: int) -> int:
    """Bytes between ranks for one objective; steps and sums of observations, some hundred bytes more, left out."""
    return 8 * 3 * (members // 2) * (ranks - 1)


def portable_es(members: int, workers: int) -> int:
    """Bytes between manager and workers."""
    rng = np.random.RandomState(42)
    half = rng.randint(0, 2**31, size=(members // 2,))
    seeds = np.hstack((half, -half))
    config = {"sigma": 0.1, "lr": 0.01}
    total = 0
    for part in np.array_split(seeds, workers):
        total += len(pickle.dumps({"run": {"seeds": part, "env_seed": 1, "config": config}}))
        total += len(pickle.dumps({"rewards": {seed: float(place) + 0.1 for place, seed in enumerate(part)}}))
    weights = rng.rand(members).astype(np.float32)
    update = config | {"deltas": dict(zip(seeds, weights, strict=True))}
    return total + workers * len(pickle.dumps({"update": update}))
