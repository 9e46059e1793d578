"""Combinations, samples of them, and what their directories are called."""

from __future__ import annotations

from typing import Any

import pytest

from fastes.errors import ConfigError
from fastes.gridsearch.axes import Axis
from fastes.gridsearch.cells import Cell, cells, run_name
from fastes.gridsearch.names import directory_name, labels, text, texts
from fastes.gridsearch.plan import read_grid

SIGMA = Axis(("algorithm", "sigma"), (0.05, 0.1))
HIDDEN = Axis(("policy", "hidden"), ([64, 64], [32], []))


def test_the_product() -> None:
    found = cells([SIGMA, HIDDEN])
    assert [(*cell.values.values(),) for cell in found] == [
        (0.05, [64, 64]),
        (0.05, [32]),
        (0.05, []),
        (0.1, [64, 64]),
        (0.1, [32]),
        (0.1, []),
    ]
    assert found[0].shown == {"sigma": "0.05", "hidden": "64x64"}
    assert [run_name(cell, 3) for cell in found[:3]] == [
        "sigma=0.05,hidden=64x64,seed=3",
        "sigma=0.05,hidden=32,seed=3",
        "sigma=0.05,hidden=none,seed=3",
    ]
    assert run_name(found[0], None) == "sigma=0.05,hidden=64x64"


def test_without_axes() -> None:
    (cell,) = cells([])
    assert cell == Cell({}, {})
    assert (run_name(cell, 1), run_name(cell, None)) == ("seed=1", "run")


def numbers(samples: int, seed: int = 0) -> list[int]:
    digits = Axis(("problem", "dim"), tuple(range(10)))
    return [
        10 * cell.values["problem.dim"] + cell.values["problem.start"]
        for cell in cells([digits, Axis(("problem", "start"), tuple(range(10)))], samples, seed)
    ]


def test_samples() -> None:
    """Each once, the same every time, and more of them begin with those of fewer."""
    assert numbers(0) == numbers(100) == numbers(101) == list(range(100))
    assert numbers(5) == [47, 76, 72, 17, 51]
    assert numbers(99)[:5] == numbers(5)
    assert len(set(numbers(99))) == 99
    assert numbers(5, seed=1) != numbers(5)


def test_samples_are_uniform() -> None:
    """Each of 100 cells is drawn by one seed in ten, within 4 standard deviations."""
    drawn = [number for seed in range(500) for number in numbers(10, seed)]
    counts = [drawn.count(number) for number in range(100)]
    assert sum(counts) == 5000
    assert all(abs(count - 50) < 4 * (500 * 0.1 * 0.9) ** 0.5 for count in counts)


def test_a_sample_of_more_cells_than_memory_holds() -> None:
    axes = [Axis(("problem", str(i)), tuple(range(1000))) for i in range(10)]
    assert len({str(cell.values) for cell in cells(axes, 7)}) == 7


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([("algorithm", "sigma"), ("optimizer", "lr")], ["sigma", "lr"]),
        ([("algorithm", "lr"), ("optimizer", "lr")], ["algorithm.lr", "optimizer.lr"]),
        ([("algorithm", "kind"), ("optimizer", "kind")], ["algorithm", "optimizer"]),
        ([("device",), ("algorithm",)], ["device", "algorithm"]),
    ],
)
def test_labels(paths: list[tuple[str, ...]], expected: list[str]) -> None:
    assert labels(paths) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.05, "0.05"),
        (1.0, "1"),
        (1e-8, "1e-08"),
        (0.1234567890123, "0.1234567890123"),
        (True, "true"),
        ([[1, 2], [3]], "1x2x3"),
        ({"kind": "snes", "sigma": 0.1}, "snes"),
        ({"a": 1, "b": 2}, "a=1+b=2"),
    ],
)
def test_texts(value: Any, expected: str) -> None:
    assert text(value) == expected


def test_what_looks_alike_is_told_apart_wherever_it_stands() -> None:
    narrow, wide, other = {"kind": "snes", "sigma": 0.1}, {"kind": "snes"}, {"kind": "ga"}
    first, plain, second = texts([narrow, other, wide])
    assert (plain, first[:5], second[:5]) == ("ga", "snes~", "snes~")
    assert first != second
    assert texts([{"kind": "snes", "sigma": 0.3}, wide, narrow])[1:] == [second, first]


def test_too_many_runs_are_refused_before_any_is_made() -> None:
    axis = {"logspace": [0.01, 1.0, 100]}
    tables = {"optimizer": {"lr": axis, "l2": axis}, "algorithm": {"sigma": axis}, "seed": [1, 2]}
    tables["problem"] = {"kind": "function"}
    with pytest.raises(ConfigError, match="has 1,000,000 cells with 2 seeds each, and 100,000 runs are the most"):
        read_grid(tables).runs()
    assert len(read_grid(tables, samples=3).runs()) == 6


def test_names_of_directories() -> None:
    """Whatever the values, one part of a path, not too long, and different for different values."""
    slash, colon = directory_name({"env": "a/b"}), directory_name({"env": "a:b"})
    assert slash.startswith("env=a_b~")
    assert slash != colon
    long, other = (directory_name({f"key{i}": "v" * 40 for i in range(9)} | {"end": end}) for end in "ab")
    assert long != other
    assert max(len(long), len(other)) <= 180
    assert len(directory_name({"env": "é" * 300})) < 80
