"""Our kernels as contenders: on every instruction set of this machine, and as the NumPy reference has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastes import kernels
from fastes.bench.contender import Contender, Size

_REFERENCE_NORMALS = 2**17


def on_each_isa(
    new: Callable[..., Contender], work: Callable[[], Any], right: Callable[[Any], bool], kind: str = "normal"
) -> list[Contender]:
    """The work of our kernels on every instruction set that this machine has, named by it and by the kind of noise."""
    return [new(named(isa, kind), work, right, isa=isa) for isa in kernels.info()["isas_usable"]]


def on_reference(
    size: Size, new: Callable[..., Contender], work: Callable[[], Any], right: Callable[[Any], bool]
) -> list[Contender]:
    """The work of the NumPy reference, where the size is small enough for its few million normals a second."""
    return [new("reference", work, right)] if size.normals <= _REFERENCE_NORMALS else []


def named(isa: str, kind: str) -> str:
    """What a contender of ours is called: normal noise goes without saying."""
    return isa if kind == "normal" else f"{isa} {kind}"
