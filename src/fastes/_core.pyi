"""
Compiled CPU kernels of fastes. Use them through fastes.kernels.
"""

from __future__ import annotations
import numpy
import typing

__all__: list[str] = [
    "MAX_ELEMENTS",
    "NOISE_SPEC",
    "adam_step",
    "isa",
    "isas_built",
    "isas_usable",
    "normal",
    "num_threads",
    "perturb",
    "philox4x32",
    "select_isa",
    "set_num_threads",
    "sgd_step",
    "weighted_sum",
    "words_only",
]

def adam_step(
    theta: numpy.ndarray,
    m: numpy.ndarray,
    v: numpy.ndarray,
    weights: numpy.ndarray,
    rows: numpy.ndarray,
    seed: typing.Any,
    generation: typing.Any,
    stream: typing.Any,
    offset: typing.Any,
    *,
    step_size: typing.SupportsFloat | typing.SupportsIndex,
    beta1: typing.SupportsFloat | typing.SupportsIndex,
    one_minus_beta1: typing.SupportsFloat | typing.SupportsIndex,
    beta2: typing.SupportsFloat | typing.SupportsIndex,
    one_minus_beta2: typing.SupportsFloat | typing.SupportsIndex,
    v_scale: typing.SupportsFloat | typing.SupportsIndex,
    epsilon: typing.SupportsFloat | typing.SupportsIndex,
    l2: typing.SupportsFloat | typing.SupportsIndex,
    decay: typing.SupportsFloat | typing.SupportsIndex,
    theta_out: numpy.ndarray,
    m_out: numpy.ndarray,
    v_out: numpy.ndarray,
) -> None: ...
def isa() -> str: ...
def isas_built() -> list[str]: ...
def isas_usable() -> list[str]: ...
def normal(
    seed: typing.Any,
    generation: typing.Any,
    stream: typing.Any,
    row: typing.Any,
    offset: typing.Any,
    out: numpy.ndarray,
) -> None: ...
def num_threads() -> int: ...
def perturb(
    theta: numpy.ndarray,
    rows: numpy.ndarray,
    scales: numpy.ndarray,
    seed: typing.Any,
    generation: typing.Any,
    stream: typing.Any,
    offset: typing.Any,
    out: numpy.ndarray,
    out_type: str,
) -> None: ...
def philox4x32(
    counters: numpy.ndarray, key: typing.Any, rounds: typing.SupportsInt | typing.SupportsIndex, out: numpy.ndarray
) -> None: ...
def select_isa(name: str) -> None: ...
def set_num_threads(threads: typing.SupportsInt | typing.SupportsIndex) -> None: ...
def sgd_step(
    theta: numpy.ndarray,
    momentum_buffer: numpy.ndarray | None,
    weights: numpy.ndarray,
    rows: numpy.ndarray,
    seed: typing.Any,
    generation: typing.Any,
    stream: typing.Any,
    offset: typing.Any,
    *,
    lr: typing.SupportsFloat | typing.SupportsIndex,
    momentum: typing.SupportsFloat | typing.SupportsIndex,
    nesterov: bool,
    l2: typing.SupportsFloat | typing.SupportsIndex,
    decay: typing.SupportsFloat | typing.SupportsIndex,
    theta_out: numpy.ndarray,
    momentum_out: numpy.ndarray | None,
) -> None: ...
def weighted_sum(
    weights: numpy.ndarray,
    rows: numpy.ndarray,
    seed: typing.Any,
    generation: typing.Any,
    stream: typing.Any,
    offset: typing.Any,
    out: numpy.ndarray,
) -> None: ...
def words_only(
    row_count: typing.SupportsInt | typing.SupportsIndex,
    dim: typing.SupportsInt | typing.SupportsIndex,
    seed: typing.Any,
) -> int: ...

MAX_ELEMENTS: int = 17179869184
NOISE_SPEC: int = 1
