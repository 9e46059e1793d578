"""What a side has made of a run, so that both can compare: hashes of settings, sources and layout, and what a fixed
unit comes to, as a `Ready`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastes import kernels
from fastes.conditions import Conditions
from fastes.evaluator import Evaluator
from fastes.executors.failure import Failure
from fastes.executors.tcp.allow import Reference
from fastes.executors.tcp.fingerprint import layout_hash, source_hash, table_hash
from fastes.executors.tcp.handshake import TABLES
from fastes.executors.tcp.refusals import Code
from fastes.executors.tcp.wire import Identity, Ready, Setup
from fastes.messages import UnitResult
from fastes.noise import Generation, Perturbation

if TYPE_CHECKING:
    from fastes.algorithms import Algorithm

_PROBE_STEPS = 3  # of each episode: enough for the policy to act on what its environment made of its acts
_PROBE_SEED = 0x70726F6265
_RATE_ROWS, _RATE_DIM = 64, 1 << 16


class Run(NamedTuple):
    """What coordinator and workers have to agree on. identity, built: of the coordinator itself; rows: K, of noise that
    an update sums; steps, behaviours: whether states depend on them.
    """

    identity: Identity
    setup: Setup
    built: Ready
    tolerate: tuple[Code, ...]
    generations: int
    rows: int
    steps: bool
    behaviours: bool = False


def probe(evaluator: Evaluator, algorithm: Algorithm) -> Generation:
    """A first unit of a run that nobody makes: parameters, perturbations and episodes from a fixed seed, of few steps.

    As large as the units of the run, because that fixes the shapes of matrix products, and so their bits; and with the
    noise that the algorithm's settings name, which some forwards are made for.
    """
    count = min(evaluator.unit_size, algorithm.members)
    named = getattr(algorithm, "noise", "normal"), getattr(algorithm, "rank", 1)
    noise = Perturbation.named(*named, evaluator.policy.tensors)
    theta = np.float32(0.1) * kernels.normal(evaluator.policy.dim, seed=_PROBE_SEED)
    rows, scales = np.arange(count, dtype=np.uint32), np.full(count, 0.1, np.float32)
    return Generation(_PROBE_SEED, 0, theta, rows, scales, noise, conditions=Conditions(step_limit=_PROBE_STEPS))


def probed(outcome: UnitResult | Failure) -> bytes:
    """Digest of what the probe came to: 16 bytes, zeros if it raised; a run would have, too."""
    if isinstance(outcome, Failure):
        return bytes(16)
    arrays = [outcome.fitness, outcome.steps]
    if outcome.behaviours is not None:
        arrays.append(outcome.behaviours)
    return bytes.fromhex(kernels.digest(*(np.ascontiguousarray(array) for array in arrays)))


def built(
    tables: Mapping[str, Any], references: Iterable[Reference], evaluator: Evaluator, forward: bytes, credit: int
) -> Ready:
    """tables: as resolved; references: what they name; forward: of `probed`. Raises ExecutorError if a source cannot be
    read.
    """
    entries = [(entry.name, entry.shape, entry.dtype) for entry in evaluator.policy.layout.entries]
    return Ready(
        layout=layout_hash(entries),
        sources={module: source_hash(module) for module in {reference.module for reference in references}},
        forward=forward,
        credit=credit,
        rate=kernel_rate(),
        **{name: table_hash(tables[name]) for name in TABLES},
    )


def kernel_rate() -> float:
    """Elements of noise that this process sums a second, with all its threads: the better of two tries of some ms."""
    weights, rows = np.ones(_RATE_ROWS, np.float32), np.arange(_RATE_ROWS, dtype=np.uint32)
    best = 0.0
    for _ in range(2):
        started = time.perf_counter()
        kernels.weighted_sum(weights, rows, _RATE_DIM, seed=0)
        best = max(best, _RATE_ROWS * _RATE_DIM / (time.perf_counter() - started))
    return best


def resolved(tables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The four tables of a run that fix what is computed."""
    return {name: dict(tables[name]) for name in TABLES}
