"""The same work by one route, extension or NVRTC: a process each, whose digests and rates gpu.py compares."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from fastes import kernels
from on_gpu import every_kernel, members, sums
from on_gpu.measuring import Case, Contender

ROWS, DIM = 1024, 2**24


def cases(route: str, *, quick: bool) -> Iterator[Case]:
    """Weighted sums of all kinds, then a population. The floors are asked of the route in use, in other groups."""

    def sums_of_all() -> Sequence[Contender]:
        return [replace(sums.ours(ROWS, DIM, kind), fields={"route": route}) for kind in kernels.KINDS]

    def population() -> Sequence[Contender]:
        out = torch.empty(members.MEMBERS, members.DIM, device="cuda")
        made = members.ours(members.MEMBERS, members.DIM, "normal", torch.float32, mirrored=True, out=out)
        return [replace(made, fields={"route": route})]

    yield Case(f"route: weighted_sum {ROWS:,} x {DIM:,}", sums_of_all)
    if not quick:
        yield Case(f"route: perturb normal float32 mirrored {members.MEMBERS} x {members.DIM:,}", population)


def answers(route: str, emit: Callable[[dict[str, Any]], None]) -> None:
    """The digest of every kernel's answers, a line each; a wrong one is an error too."""
    for call in every_kernel.calls():
        try:
            wrong, digest = every_kernel.compared(call)
            emit({"type": "answer", "name": call[0], "route": route, "value": digest})
        except Exception:
            wrong = traceback.format_exc().rstrip()
        if wrong:
            emit({"type": "error", "name": f"{call[0]} ({route})", "ours": True, "detail": f"wrong answer: {wrong}"})
