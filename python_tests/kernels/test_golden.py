"""Golden values in csrc/testdata, through the public functions on every instruction set."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastes import kernels
from fastes.types import AnyArray, Float32Array, UInt32Array

ROOT = Path(__file__).parents[2]
TESTDATA = ROOT / "csrc" / "testdata"


def lines(name: str) -> list[list[str]]:
    text = (TESTDATA / name).read_text().splitlines()
    return [line.split() for line in text if not line.startswith("#")]


def address(columns: list[str]) -> dict[str, Any]:
    """Named numbers of the first columns: seed, generation, stream, row, offset, dim."""
    names = ("seed", "generation", "stream", "row", "offset", "dim")
    return dict(zip(names, map(int, columns), strict=False))


def ramp(count: int) -> Float32Array:
    j = np.arange(count, dtype=np.uint32)
    return ((np.uint32(2654435761) * j >> 8).astype(np.float32) - np.float32(2**23)) / np.float32(2**20)


def rows_from(row: int, steps: AnyArray) -> UInt32Array:
    return ((row + steps.astype(np.uint64)) % 2**32).astype(np.uint32)


def bits(values: AnyArray) -> str:
    """The last column of a file."""
    words = values.reshape(-1).view(f"u{values.itemsize}").tolist()
    if len(words) <= 97:
        return " ".join(f"{word:0{2 * values.itemsize}x}" for word in words)
    digest = 0xCBF29CE484222325
    for word in words:
        digest = (digest ^ word) * 0x100000001B3 % 2**64
    return f"{digest:016x}"


def test_the_files_are_those_of_this_version() -> None:
    assert kernels.NOISE_SPEC == 1
    for name in ("normal.txt", "perturb.txt", "weighted_sum.txt"):
        assert (TESTDATA / name).read_text().startswith("# Golden values of noise specification 1:")


def test_the_reference_gives_the_files() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "tools" / "make_golden.py"), "--check"]
    assert subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True).stderr == ""


@pytest.mark.usefixtures("isa")
def test_philox() -> None:
    for rounds, *columns in lines("philox4x32.txt"):
        words = [int(word, 16) for word in columns]
        counters = np.array(words[:4], np.uint32)
        found = kernels.philox4x32(counters, words[4] | words[5] << 32, rounds=int(rounds))
        assert found.tolist() == words[6:]


@pytest.mark.usefixtures("isa")
def test_normal() -> None:
    for columns in lines("normal.txt"):
        assert bits(kernels.normal(**address(columns[:6]))) == " ".join(columns[6:]), columns[:6]


@pytest.mark.usefixtures("isa")
def test_perturb() -> None:
    for type_, *columns in lines("perturb.txt"):
        at = address(columns[:6])
        row, dim, count = at.pop("row"), at.pop("dim"), int(columns[6])
        members = np.arange(count)
        scale = np.array(int(columns[7], 16), np.uint32).view(np.float32)
        scales = np.where(members % 2 == 0, scale, -scale)
        out = torch.empty((count, dim), dtype=getattr(torch, type_))
        kernels.perturb(ramp(dim), rows_from(row, members // 2), scales, **at, out=out)
        found = out.view(torch.int32 if type_ == "float32" else torch.int16).numpy()
        assert bits(found) == " ".join(columns[8:]), [type_, *columns[:8]]


@pytest.mark.usefixtures("isa")
def test_weighted_sum() -> None:
    for columns in lines("weighted_sum.txt"):
        at = address(columns[:6])
        row, dim, count = at.pop("row"), at.pop("dim"), int(columns[6])
        found = kernels.weighted_sum(ramp(count), rows_from(row, np.arange(count)), dim, **at)
        assert bits(found) == " ".join(columns[7:]), columns[:7]
