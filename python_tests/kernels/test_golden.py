"""Golden values in csrc/testdata, through the public functions on every instruction set and on GPUs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import Numba, On

from fastes import kernels
from fastes.types import AnyArray, Float32Array, UInt32Array

ROOT = Path(__file__).parents[2]
TESTDATA = ROOT / "csrc" / "testdata"


def lines(name: str) -> list[list[str]]:
    text = (TESTDATA / name).read_text().splitlines()
    return [line.split() for line in text if not line.startswith("#")]


def address(columns: list[str]) -> dict[str, Any]:
    """Named numbers of the first columns, which are taken off: seed, generation, stream, row, offset."""
    names = ("seed", "generation", "stream", "row", "offset")
    return {name: int(columns.pop(0)) for name in names}


def ramp(count: int) -> Float32Array:
    j = np.arange(count, dtype=np.uint32)
    return ((np.uint32(2654435761) * j >> 8).astype(np.float32) - np.float32(2**23)) / np.float32(2**20)


def rows_from(row: int, steps: AnyArray) -> UInt32Array:
    return ((row + steps.astype(np.uint64)) % 2**32).astype(np.uint32)


def scales_from(text: str, count: int) -> Float32Array:
    """Plus and minus a float of these bits in turns."""
    scale = np.array(int(text, 16), np.uint32).view(np.float32)
    return np.where(np.arange(count) % 2 == 0, scale, -scale)


def empty(type_: str, *shape: int) -> torch.Tensor:
    return torch.empty(shape, dtype=getattr(torch, type_))


def integers(out: torch.Tensor) -> AnyArray:
    found: AnyArray = out.view(torch.int32 if out.dtype == torch.float32 else torch.int16).numpy()
    return found


def bits(*arrays: AnyArray | None) -> str:
    """The last column of a file, of those arrays that there are."""
    given = [values for values in arrays if values is not None]
    words = [word for values in given for word in values.reshape(-1).view(f"u{values.itemsize}").tolist()]
    if len(words) <= 97:
        return " ".join(f"{word:0{2 * given[0].itemsize}x}" for word in words)
    digest = 0xCBF29CE484222325
    for word in words:
        digest = (digest ^ word) * 0x100000001B3 % 2**64
    return f"{digest:016x}"


NOT_OURS = ("philox4x32", "exhaustive")  # Random123's known answers; the digests that the C++ tests read


def test_the_files_are_those_of_this_version() -> None:
    assert kernels.NOISE_SPEC == 1
    for path in TESTDATA.glob("*.txt"):
        if path.stem not in NOT_OURS:
            assert path.read_text().startswith("# Golden values of noise specification 1:"), path


def test_every_file_is_read() -> None:
    assert {path.stem for path in TESTDATA.iterdir()} == {*NOT_OURS, *FILES}


def test_the_reference_gives_the_files() -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "tools" / "make_golden.py"), "--check"]
    assert subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True).stderr == ""


@pytest.mark.usefixtures("isa")
def test_philox() -> None:
    assert_philox()


def assert_philox() -> None:
    for rounds, *columns in lines("philox4x32.txt"):
        words = [int(word, 16) for word in columns]
        counters = np.array(words[:4], np.uint32)
        found = kernels.philox4x32(counters, words[4] | words[5] << 32, rounds=int(rounds))
        assert found.tolist() == words[6:]


def normal(columns: list[str], kind: str = "normal") -> str:
    at = address(columns)
    return bits(kernels.normal(int(columns.pop(0)), kind=kind, **at))


def perturb(columns: list[str], type_: str, kind: str = "normal", *, with_sigma: bool = False) -> str:
    at = address(columns)
    row, dim, count = at.pop("row"), int(columns.pop(0)), int(columns.pop(0))
    out, scales = empty(type_, count, dim), scales_from(columns.pop(0), count)
    sigma = np.abs(ramp(dim)[::-1]) if with_sigma else None
    kernels.perturb(ramp(dim), rows_from(row, np.arange(count) // 2), scales, **at, kind=kind, sigma=sigma, out=out)
    return bits(integers(out))


def weighted_sum(columns: list[str], kind: str = "normal") -> str:
    at = address(columns)
    row, dim, count = at.pop("row"), int(columns.pop(0)), int(columns.pop(0))
    return bits(kernels.weighted_sum(ramp(count), rows_from(row, np.arange(count)), dim, kind=kind, **at))


def weighted_sums(columns: list[str]) -> str:
    kind = columns.pop(0)
    at = address(columns)
    row, dim, count = at.pop("row"), int(columns.pop(0)), int(columns.pop(0))
    weights, rows = ramp(count), rows_from(row, np.arange(count))
    return bits(*kernels.weighted_sums(weights, weights[::-1].copy(), rows, dim, kind=kind, **at))


def tensor(columns: list[str]) -> tuple[int, int, int, UInt32Array, dict[str, Any]]:
    """m, n, rank, rows and the rest of an address."""
    kind = columns.pop(0)
    at = address(columns) | {"kind": kind}
    m, n, rank, count = (int(columns.pop(0)) for _ in range(4))
    return m, n, rank, rows_from(at.pop("row"), np.arange(count)), at


def low_rank_factors(columns: list[str]) -> str:
    m, n, rank, rows, at = tensor(columns)
    ((a, b),) = kernels.low_rank_factors([(at.pop("offset"), (m, n))], rank, rows, **at)
    return bits(np.concatenate([a, b], axis=1).transpose(0, 2, 1))


def low_rank_perturb(columns: list[str]) -> str:
    type_ = columns.pop(0)
    m, n, rank, rows, at = tensor(columns)
    out, scales = empty(type_, len(rows), m, n), scales_from(columns.pop(0), len(rows))
    kernels.low_rank_perturb(ramp(m * n).reshape(m, n), rank, rows, scales, **at, out=out)
    return bits(integers(out))


def low_rank_sum(columns: list[str]) -> str:
    m, n, rank, rows, at = tensor(columns)
    return bits(kernels.low_rank_sum(ramp(len(rows)), rows, (m, n), rank, **at))


def step_arguments(columns: list[str], names: str) -> tuple[Any, ...]:
    """theta, another array of its size, weights and rows; then the settings by name with the rest of the address."""
    kind = columns.pop(0)
    at = address(columns) | {"kind": kind}
    dim, count = int(columns.pop(0)), int(columns.pop(0))
    theta, rows = ramp(dim), rows_from(at.pop("row"), np.arange(count))
    settings = {name: float(columns.pop(0)) for name in names.split()}
    return theta, theta[::-1].copy(), ramp(count), rows, settings, at


def sgd_step(columns: list[str]) -> str:
    names = "lr momentum nesterov l2 weight_decay"
    theta, buffer, weights, rows, settings, at = step_arguments(columns, names)
    nesterov = settings.pop("nesterov") == 1
    if settings["momentum"] == 0:
        buffer = None
    return bits(*kernels.sgd_step(theta, buffer, weights, rows, nesterov=nesterov, **settings, **at))


def adam_step(columns: list[str]) -> str:
    names = "lr beta1 beta2 power1 power2 eps l2 weight_decay"
    theta, m, weights, rows, settings, at = step_arguments(columns, names)
    betas, powers = ((settings.pop(f"{name}1"), settings.pop(f"{name}2")) for name in ("beta", "power"))
    at |= {"betas": betas, "beta_powers": powers}
    return bits(*kernels.adam_step(theta, m, np.abs(theta), weights, rows, **settings, **at))


def clipup_step(columns: list[str]) -> str:
    names = "lr max_speed momentum l2 weight_decay"
    theta, velocity, weights, rows, settings, at = step_arguments(columns, names)
    return bits(*kernels.clipup_step(theta, velocity, weights, rows, **settings, **at))


def snes_step(columns: list[str]) -> str:
    theta, sigma, weights, rows, settings, at = step_arguments(columns, "lr lr_sigma")
    return bits(*kernels.snes_step(theta, np.abs(sigma), weights, rows, **settings, **at))


FILES: dict[str, Callable[[list[str]], str]] = {
    "normal": normal,
    "perturb": lambda columns: perturb(columns, columns.pop(0)),
    "weighted_sum": weighted_sum,
    "kinds_normal": lambda columns: normal(columns, columns.pop(0)),
    "kinds_perturb": lambda columns: perturb(columns, columns.pop(0), columns.pop(0)),
    "kinds_weighted_sum": lambda columns: weighted_sum(columns, columns.pop(0)),
    "perturb_sigma": lambda columns: perturb(columns, columns.pop(0), columns.pop(0), with_sigma=True),
    "weighted_sums": weighted_sums,
    "low_rank_factors": low_rank_factors,
    "low_rank_perturb": low_rank_perturb,
    "low_rank_sum": low_rank_sum,
    "sgd_step": sgd_step,
    "adam_step": adam_step,
    "clipup_step": clipup_step,
    "snes_step": snes_step,
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", FILES)
def test_the_kernels_give_the_files(name: str) -> None:
    assert_file(name)


def assert_file(name: str) -> None:
    """A function takes a line's inputs off its columns; what is left is the result."""
    for columns in lines(f"{name}.txt"):
        inputs = " ".join(columns)[:110]
        found = FILES[name](columns)
        assert found == " ".join(columns), inputs


@pytest.mark.parametrize("name", [*FILES, "philox4x32"])
def test_gpus_give_the_files(name: str, place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "low_rank_factors" and isinstance(place, Numba):
        pytest.skip("Numba's arrays have no views of swapped axes")
    monkeypatch.setattr(sys.modules[__name__], "kernels", On(place))
    if name == "philox4x32":
        assert_philox()
    else:
        assert_file(name)
