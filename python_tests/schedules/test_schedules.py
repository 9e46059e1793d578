"""fastes.schedules: each number, in plain Python or from PyTorch; what a plateau remembers; what is refused."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from fastes.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Custom,
    Exponential,
    Linear,
    Piecewise,
    Plateau,
    Schedule,
    TorchSchedule,
    at_first,
    check_numbers,
    fixed,
    number,
)
from fastes.schedules.base import power
from fastes.schedules.cosine import cosine_of

FALLING = np.array([1.0, 2.0, math.nan], np.float32)


def double(generation: int, *, times: float = 2.0) -> float:
    return times * (generation + 1)


def numbers(schedule: Schedule, count: int) -> list[float]:
    return [schedule.at(g, schedule.begin()) for g in range(count)]


def remembered(schedule: Plateau, fitness: list[float]) -> list[float]:
    """The numbers before each generation, and after the last."""
    memory, told = schedule.begin(), []
    for generation, value in enumerate(fitness):
        told.append(schedule.at(generation, memory))
        memory = schedule.after(memory, np.full(4, value, np.float32))
    return [*told, schedule.at(len(fitness), memory)]


def test_numbers() -> None:
    assert numbers(Constant(0.3), 3) == [0.3] * 3
    assert numbers(Linear(1.0, 0.0, 4), 6) == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    assert numbers(Exponential(1.0, 0.5, floor=0.2), 5) == [1.0, 0.5, 0.25, 0.2, 0.2]
    assert numbers(Piecewise([3.0, 2.0, 1.0], [1, 3]), 5) == [3.0, 2.0, 2.0, 1.0, 1.0]  # type: ignore[arg-type]
    assert numbers(Cosine(1.0, 4), 6) == pytest.approx([1.0, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0, 0])
    warm = numbers(Cosine(1.0, 7, end=0.5, warmup=3), 8)
    assert warm == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.9267766952966369, 0.75, 0.5732233047033631, 0.5])


def test_a_power_is_a_product() -> None:
    for exponent in (0, 1, 2, 3, 10, 1000):
        exact = Fraction(0.995) ** exponent
        assert abs(Fraction(power(0.995, exponent)) - exact) <= exact * Fraction(3, 10**14)
    assert power(2.0, 10) == 1024.0


def test_the_cosine_is_that_of_mpmath() -> None:
    angles = [math.pi * i / 1000 for i in range(1001)]
    with mpmath.workprec(100):
        assert max(abs(float(mpmath.cos(x) - cosine_of(x))) for x in angles) < 1e-15
    assert cosine_of(math.pi / 2) == pytest.approx(0.0, abs=1e-15)


def test_a_plateau_changes_the_number_after_patience() -> None:
    plateau = Plateau(start=1.0, factor=0.5, patience=2, floor=0.3)
    assert remembered(plateau, [1, 2, 2, 2, 2, 2, 3]) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.3, 0.3]
    raised = Plateau(start=1.0, factor=4.0, patience=1, ceiling=8.0, recovers=True, cooldown=1)
    assert remembered(raised, [1, 1, 1, 1, 1, 2, 2]) == [1.0, 1.0, 4.0, 4.0, 8.0, 8.0, 1.0, 4.0]
    picky = Plateau(start=1.0, factor=0.5, patience=1, threshold=1.0)
    assert remembered(picky, [1.0, 1.9, 3.0]) == [1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(("watch", "best"), [("mean", 1.5), ("max", 2.0), ("min", 1.0)])
def test_a_plateau_watches_finite_fitness(watch: Any, best: float) -> None:
    plateau = Plateau(start=1.0, factor=0.5, watch=watch)
    assert plateau.after(plateau.begin(), FALLING) == {"value": 1.0, "stale": 0.0, "best": best}
    nothing = plateau.after(plateau.begin(), FALLING[2:])
    assert nothing == {"value": 1.0, "stale": 1.0}  # no infinity, which a checkpoint could not hold


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("StepLR", {"step_size": 3}),
        ("CosineAnnealingLR", {"T_max": 5}),
        ("OneCycleLR", {"max_lr": 0.4, "total_steps": 12}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("MultiStepLR", {"milestones": [2, 4]}),
    ],
)
def test_schedulers_of_torch(name: str, arguments: dict[str, Any]) -> None:
    schedule = TorchSchedule(f"torch.optim.lr_scheduler.{name}", 0.1, arguments)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    assert schedule.at(9, {}) == pytest.approx(0.1, abs=1.0)  # out of order
    for generation in range(10):
        assert schedule.at(generation, {}) == optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
    assert schedule.table() == {"kind": f"torch.optim.lr_scheduler.{name}", "start": 0.1, **arguments}


def test_schedulers_made_by_a_function() -> None:
    def warm_up(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.SequentialLR:
        parts = [
            torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=2),
            torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
        ]
        return torch.optim.lr_scheduler.SequentialLR(optimizer, parts, [2])

    assert numbers(TorchSchedule(warm_up, 1.0), 4) == [0.5, 0.5, 1.0, 0.5]


def test_functions() -> None:
    assert (number(double, 2), number(0.5, 2), number(Constant(3.0), 1)) == (6.0, 0.5, 3.0)
    assert (at_first(double), at_first(Plateau(0.2, 2.0)), at_first(7)) == (2.0, 0.2, 7.0)
    named = Custom(f"{__name__}:double", {"times": 3.0})
    assert numbers(named, 3) == [3.0, 6.0, 9.0]
    assert named.table() == {"kind": f"{__name__}:double", "times": 3.0}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_table_makes_the_same_again(kind: str) -> None:
    made: dict[str, Schedule] = {
        "constant": Constant(0.1),
        "linear": Linear(1.0, 0.5, 3),
        "exponential": Exponential(1.0, 0.9),
        "cosine": Cosine(1.0, 5, warmup=2),
        "piecewise": Piecewise((1.0, 2.0), (3,)),
        "plateau": Plateau(1.0, 2.0),
    }
    table = made[kind].table()
    assert table.pop("kind") == kind
    assert SCHEDULES[kind](**table) == made[kind]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(math.inf), "value must be finite, not inf"),
        (lambda: Linear(1.0, 0.0, 0), "generations must be at least 1 generation, not 0"),
        (lambda: Exponential(1.0, 0.0), "decay must be above 0, a factor such as 0.995, not 0.0"),
        (lambda: Exponential(1.0, 0.9, floor=2.0), "floor must not be above start = 1.0, so it cannot be 2.0"),
        (lambda: Cosine(1.0, 5, warmup=5), "warmup must be from 0 to below generations = 5, so it cannot be 5"),
        (lambda: Piecewise((1.0,), (2,)), "values must be one more than the 1 boundaries, not 1"),
        (lambda: Piecewise((1.0, 2.0, 3.0), (2, 2)), r"boundaries must be .* ascend, not \[2, 2\]"),
        (lambda: Plateau(1.0, 1.0), "factor must be above 0 and not 1"),
        (lambda: Plateau(1.0, 0.5, patience=0), "patience must be at least 1 generation, not 0"),
        (lambda: Plateau(1.0, 0.5, cooldown=-1), "cooldown must not be negative, not -1"),
        (lambda: Plateau(1.0, 0.5, threshold=-1.0), "threshold must not be negative, not -1.0"),
        (lambda: Plateau(1.0, 2.0, ceiling=0.5), "start must be from floor = 0.0 to ceiling = 0.5"),
        (lambda: Plateau(1.0, 2.0, watch="median"), "watch must be one of mean, max, min, not 'median'"),  # type: ignore[arg-type]
        (lambda: TorchSchedule("StepLR", 0.1), "StepLR cannot be made of {}"),
        (lambda: TorchSchedule("torch.optim.Adam", 0.1), "torch.optim.Adam cannot be made|makes a Adam"),
        (lambda: TorchSchedule("ReduceLROnPlateau", 0.1), "take kind = 'plateau'"),
        (lambda: TorchSchedule("NoLR", 0.1), "NoLR' cannot be imported"),
        (lambda: Custom("math:nothing"), "'math:nothing' cannot be imported"),
        (lambda: Custom("math:pi"), "math:pi is a float, not a function"),
        (lambda: Custom(f"{__name__}:double", {"time": 1.0}), "double raised TypeError: .*time"),
        (lambda: number(lambda g: 1 / (3 - g), 3), "lambda> raised ZeroDivisionError: .* for generation 3"),
        (lambda: Custom("not-a-name:f"), "is not of the form 'module:callable'"),
        (lambda: number(lambda g: math.nan, 3), "gave nan for generation 3, not a finite number"),
        (lambda: number(lambda g: "x", 3), "gave 'x' for generation 3"),  # type: ignore[arg-type,return-value]
    ],
)
def test_what_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_schedule_is_no_number() -> None:
    assert fixed(3) == 3.0
    with pytest.raises(TypeError, match="a number for every generation"):
        fixed(Constant(1.0))


def test_numbers_are_checked_before_a_run() -> None:
    from fastes.optim import SGD

    falls = SGD(lr=Linear(0.1, 0.0, 10))
    check_numbers(falls, 10)
    with pytest.raises(ValueError, match=r"in generation 10 of a schedule: sgd: lr must be above 0 .* not 0.0"):
        check_numbers(falls, 11)
    check_numbers(SGD(lr=Plateau(0.1, 0.5)), 11)  # which looks back, so that nothing is known
