"""A measuring process: one group of cases on the GPU, lines into a file. Needs torch and the package."""

from __future__ import annotations

import functools
import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastes import kernels
from fastes.kernels import launchers
from on_gpu import calls, ceilings, environments, every_kernel, language, low_rank, members, routes, steps, sums, words
from on_gpu.measuring import QUICK_ROUNDS, ROUNDS, Case, Measuring, event_timer, warm_up, writer

NOT_HERE = 2
Emit = Callable[[dict[str, Any]], None]


def about() -> dict[str, Any]:
    """What the libraries and the kernels say of themselves."""
    report = kernels.cuda_report()
    found: dict[str, Any] = {
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "torch_device": str(torch.cuda.get_device_properties(0)),
        "kernels": kernels.info(),
        "cuda": report.lines(),
        "route": report.gpus[0].route if report.gpus else "",
        "numpy": np.__version__,
    }
    try:
        import cupy

        found["cupy"] = cupy.__version__
        found["nvrtc"] = ".".join(str(part) for part in cupy.cuda.nvrtc.getVersion())
    except Exception as error:
        found["cupy"] = f"{type(error).__name__}: {error}"
    return found


def check_all(emit: Emit, *, exhaustive: bool) -> int:
    """Runs every kernel and says on stderr what is wrong; gives how many are.

    exhaustive: all 2^32 words of the transform, too, which a sanitizer would take minutes for.
    """
    checks = {call[0]: functools.partial(every_kernel.wrong, call) for call in every_kernel.calls()}
    checks["words"] = words.check_words
    if exhaustive:
        checks["all words of the transform"] = words.check_exhaustive
    wrong = 0
    for name, check in checks.items():
        try:
            problem = check()
        except Exception:
            problem = traceback.format_exc().rstrip()
        if problem:
            wrong += 1
            print(f"{name}: {problem}", file=sys.stderr)
            emit({"type": "error", "name": name, "ours": True, "detail": f"wrong answer: {problem}"})
    return wrong


def cases_of(group: str, *, quick: bool) -> Iterable[Case]:
    """The cases of a group."""
    if group in launchers.ROUTES:
        return routes.cases(group, quick=quick)
    modules = {
        "sums": sums,
        "members": members,
        "ceilings": ceilings,
        "steps": steps,
        "low_rank": low_rank,
        "environments": environments,
        "language": language,
        "calls": calls,
    }
    return modules[group].cases(quick=quick)


def tidy() -> None:
    """Gives memory back to the GPU, so that the next case finds all of it."""
    gc.collect()
    torch.cuda.empty_cache()


def main(group: str, lines: Path | None, seconds: float, *, quick: bool) -> int:
    """Measures one group for so many seconds at most; gives the exit status, 2 for a route that is not installed."""
    if not torch.cuda.is_available():
        print("torch sees no GPU: its build has no CUDA, or the driver is too old for it.", file=sys.stderr)
        return 1
    with (lines or Path("/dev/null")).open("a", encoding="utf-8") as file:
        emit = writer(file)
        if group == "every_kernel":
            return 1 if check_all(emit, exhaustive=False) else 0
        if group == "answers":
            emit({"type": "about"} | about())
            check_all(emit, exhaustive=True)
            return 0
        if group in launchers.ROUTES:
            if not launchers.is_there(group):
                print(f"the route {group} is not installed", file=sys.stderr)
                return NOT_HERE
            print(launchers.launcher(0).describe())
            routes.answers(group, emit)
        timer, clock = event_timer(), time.monotonic
        deadline = clock() + seconds
        product = warm_up(timer, clock, 0.5)
        emit({"type": "about", f"product_of_4096_s, {group}": product})
        rounds = QUICK_ROUNDS if quick else ROUNDS
        Measuring(timer, clock, deadline, emit, rounds, tidy).run(cases_of(group, quick=quick))
    return 0
