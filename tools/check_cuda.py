"""What nvcc and NVRTC make of the kernels for GPUs: registers, memory, spills and exact arithmetic. Needs no GPU.

    python tools/check_cuda.py

Exits with 1 if a kernel spills registers to memory, one of those that take the time has a stack frame or stores single
elements where it could store four, or a float is rounded in another way than the contract's. Without nvcc that is said,
and an error only with FASTES_REQUIRE_NVCC=1.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nvcc as nvcc_tool
import nvrtc
from ptx_contract import contract_problems, entry_names, store_problems

from fastes.kernels.nvrtc import SOURCES, compiled

ARCHITECTURES = ("80", "90")
HOT = ("fill_", "perturb_", "weighted_sum", "sgd_", "adam_", "snes_", "clipup_", "chunk_totals_", "low_rank_")
HOT += ("environment_",)


@dataclass(frozen=True, slots=True)
class Usage:
    """What a kernel takes on one architecture: registers of a thread; bytes of a block, and of a thread."""

    registers: int = 0
    shared_bytes: int = 0
    stack_bytes: int = 0
    spill_bytes: int = 0


def usages(ptxas_output: str) -> Iterator[tuple[str, Usage]]:
    """Each kernel's usage from what `ptxas -v` prints; functions that were not inlined count with their kernel."""
    for part in ptxas_output.split("Compiling entry function '")[1:]:
        frames = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        yield (
            part.partition("'")[0].removeprefix("fastes_"),
            Usage(
                registers=int(registers[1]) if registers else 0,
                shared_bytes=int(shared[1]) if shared else 0,
                stack_bytes=sum(int(stack) for stack, _, _ in frames),
                spill_bytes=sum(int(stores) + int(loads) for _, stores, loads in frames),
            ),
        )


def usage_problems(name: str, usage: Usage) -> list[str]:
    """Why a kernel is slower than it has to be; empty if it is not."""
    problems = []
    if usage.spill_bytes:
        problems.append(f"spills {usage.spill_bytes} bytes")
    if usage.stack_bytes and name.startswith(HOT):
        problems.append(f"has a stack frame of {usage.stack_bytes} bytes")
    return problems


def print_table(tables: dict[str, dict[str, Usage]]) -> None:
    """One line per kernel, four columns per architecture."""
    heads = "".join(f" | {f'sm_{architecture}':<31}" for architecture in tables)
    print(f"{'':34}{heads}".rstrip())
    print(f"{'kernel':<34}" + " | registers  shared  stack  spills" * len(tables))
    for name in reversed(next(iter(tables.values()))):  # ptxas begins with the last
        columns = [table.get(name, Usage()) for table in tables.values()]
        print(
            f"{name:<34}"
            + "".join(f" | {u.registers:9}  {u.shared_bytes:6}  {u.stack_bytes:5}  {u.spill_bytes:6}" for u in columns)
        )
    print()


def check_usage(nvcc: str) -> list[str]:
    """Prints the table; gives what is wrong in it."""
    tables = {
        architecture: dict(usages(nvcc_tool.run(nvcc, f"-arch=sm_{architecture}", "-cubin", "-Xptxas", "-v")[1]))
        for architecture in ARCHITECTURES
    }
    print_table(tables)
    return [
        f"sm_{architecture}: {name} {problem}"
        for architecture, table in tables.items()
        for name, usage in table.items()
        for problem in usage_problems(name, usage)
    ]


def check_ptx(label: str, ptx: str) -> list[str]:
    """Prints a line; gives what breaks the contract."""
    inexact, narrow = contract_problems(ptx), store_problems(ptx)
    arithmetic = "arithmetic that is not exact" if inexact else "only exact arithmetic"
    stores = "stores that could be wider" if narrow else "stores of 16 and 8 bytes"
    print(f"{label}: {len(entry_names(ptx))} kernels, {arithmetic}, {stores}")
    return [f"{label}: {problem}" for problem in inexact + narrow]


def check_nvrtc(nvcc: str, expected: list[str]) -> list[str]:
    """The route of an installation without the extension: its own copy of the sources, compiled by NVRTC."""
    library = nvrtc.find(Path(nvcc).resolve().parent.parent)
    if library is None:
        print("NVRTC: no libnvrtc was found, so the sources that CuPy would compile are not checked")
        return []
    ptx = compiled(nvrtc.Nvrtc(library), SOURCES, f"compute_{ARCHITECTURES[0]}").decode()
    missing = sorted(set(expected) - set(entry_names(ptx)))
    return check_ptx(f"NVRTC ({library.name})", ptx) + [f"NVRTC: {name} is missing" for name in missing]


def main() -> int:
    """The exit status."""
    nvcc = nvcc_tool.find()
    if nvcc is None:
        print(
            "There is no nvcc, so the kernels for GPUs are not compiled. It comes with the CUDA toolkit, 12.4 or later."
        )
        return int(os.environ.get("FASTES_REQUIRE_NVCC") == "1")
    problems = check_usage(nvcc)
    ptx, _ = nvcc_tool.run(nvcc, f"-arch=compute_{ARCHITECTURES[0]}", "-ptx")
    problems += check_ptx("nvcc", ptx)
    problems += check_nvrtc(nvcc, entry_names(ptx))
    for problem in problems:
        print(f"problem: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
