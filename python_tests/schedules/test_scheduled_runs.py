"""Schedules in algorithms, optimizers and problems: what is used when, in Python and in a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from specimens import changed

import fastes
from fastes import config
from fastes.algorithms import ARS, PGPE, SNES, Algorithm, NoveltyES, OpenAIES
from fastes.errors import ConfigError
from fastes.messages import Evaluations
from fastes.optim import SGD, Adam, ClipUp
from fastes.problems import Function, Gym
from fastes.schedules import Exponential, Linear, Plateau

TINY: dict[str, Any] = {
    "generations": 6,
    "problem": {"kind": "function", "dim": 10},
    "algorithm": {"population": 8},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 0, "episodes": 1},
}
HALVED = {"kind": "exponential", "start": 0.1, "decay": 0.5}


def rising(generation: int) -> float:
    return 0.1 * (generation + 1)


def after(algorithm: Algorithm, generations: int) -> tuple[Any, list[dict[str, float]]]:
    """The state after so many generations of a sum, and their metrics."""
    state, told = algorithm.init(np.zeros(5, np.float32), seed=1), []
    for _ in range(generations):
        made = algorithm.ask(state).materialize()
        state, metrics = algorithm.tell(state, Evaluations(state.generation, made.sum(axis=1)))
        told.append(metrics)
    return state, told


@pytest.mark.parametrize("optimizer", [SGD, Adam, ClipUp])
def test_a_scheduled_run_is_one_with_the_numbers_set_by_hand(optimizer: Any) -> None:
    halved = Exponential(0.1, 0.5)
    algorithm = OpenAIES(8, sigma=halved, optimizer=optimizer(lr=halved, l2=Linear(0.0, 0.1, 2), weight_decay=rising))
    state, told = after(algorithm, 3)
    byhand = OpenAIES(8).init(np.zeros(5, np.float32), seed=1)
    for g in range(3):
        step = optimizer(lr=0.1 * 0.5**g, l2=min(0.05 * g, 0.1), weight_decay=0.1 * (g + 1))
        one = OpenAIES(8, sigma=0.1 * 0.5**g, optimizer=step)
        byhand = one.init(byhand.theta, 1) if g == 0 else byhand
        made = one.ask(byhand).materialize()
        byhand, _ = one.tell(byhand, Evaluations(g, made.sum(axis=1)))
    assert state.digest() == byhand.digest()
    assert [metrics["sigma"] for metrics in told] == [0.1, 0.05, 0.025]
    assert [metrics["lr"] for metrics in told] == [0.1, 0.05, 0.025]
    assert [metrics["weight_decay"] for metrics in told] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "algorithm",
    [
        ARS(8, sigma=Linear(0.1, 0.2, 2)),
        PGPE(8, lr_sigma=Linear(0.1, 0.2, 2)),
        SNES(8, lr=Linear(0.1, 0.2, 2), lr_sigma=Linear(0.1, 0.2, 2)),
    ],
    ids=lambda algorithm: type(algorithm).__name__,
)
def test_other_algorithms(algorithm: Any) -> None:
    _, told = after(algorithm, 3)
    name = "sigma" if isinstance(algorithm, ARS) else "lr_sigma"
    assert [metrics[name] for metrics in told] == pytest.approx([0.1, 0.15, 0.2])


def test_a_plateau_is_part_of_the_state() -> None:
    stuck = OpenAIES(4, sigma=Plateau(0.1, 2.0, patience=1))
    state = stuck.init(np.zeros(3, np.float32), seed=1)
    assert state.schedules == {"sigma": {"value": 0.1, "stale": 0.0}}
    for generation in range(3):
        state, _ = stuck.tell(state, Evaluations(generation, np.zeros(4, np.float32)))
    assert state.schedules["sigma"] == {"value": 0.4, "stale": 0.0, "best": 0.0}
    assert set(abs(stuck.ask(state).scales)) == {np.float32(0.4)}
    again = stuck.restore(state.arrays(), state.scalars())
    assert (again.schedules, again.digest()) == (state.schedules, state.digest())
    other, _ = stuck.tell(state, Evaluations(3, np.ones(4, np.float32)))
    assert other.schedules["sigma"]["best"] == 1.0


def test_weight_of_reward() -> None:
    falling = NoveltyES(8, agents=1, weight=Linear(1.0, 0.0, 2), initial="policy")
    state, weights = falling.init(np.zeros(4, np.float32), seed=1), []
    for generation in range(3):
        fitness, shown = np.arange(9, dtype=np.float32), np.ones((9, 2), np.float32)
        state, metrics = falling.tell(state, Evaluations(generation, fitness, behaviours=shown))
        weights.append(metrics["reward_weight"])
    assert weights == [1.0, 0.5, 0.0]
    assert NoveltyES(variant="nsra", weight=0.25, initial="policy").init(np.zeros(4, np.float32), 1).weight == 0.25  # type: ignore[attr-defined]
    for arguments, message in (
        ({"variant": "ns", "weight": 0.5}, "algorithm.weight is for the variants nsr and nsra"),
        ({"variant": "nsra", "weight": Linear(1.0, 0.0, 2)}, "'nsra' adapts the weight by itself"),
        ({"weight": 1.5}, "algorithm.weight must be from 0 to 1, not 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            NoveltyES(**arguments)  # type: ignore[arg-type]


def test_noise_on_actions_fades() -> None:
    """With as much as there is in a generation by hand."""
    kept: dict[str, Any] = {"env": "Pendulum-v1", "native": True, "max_steps": 20}
    fading = Gym(**kept, action_noise=Linear(1.0, 0.0, 1))
    policy, options = fastes.policies.MLP((4,)), {"seed": 1, "executor": "inline", "reporters": []}
    es = OpenAIES(8)
    first, second = (fastes.train(fading, policy, es, generations=g, **options) for g in (1, 2))  # type: ignore[arg-type]
    noisy = fastes.train(Gym(**kept, action_noise=1.0), policy, es, generations=1, **options)  # type: ignore[arg-type]
    silent = fastes.train(Gym(**kept), policy, es, generations=1, **options)  # type: ignore[arg-type]
    assert first.digest == noisy.digest != silent.digest
    state = first.state
    quiet = fastes.train(Gym(**kept), policy, es, generations=2, **options)  # type: ignore[arg-type]
    assert second.digest != quiet.digest
    assert state.generation == 1


def test_a_configuration_makes_and_keeps_them(in_directory: Path) -> None:
    tables = changed(TINY, algorithm={"sigma": HALVED}, optimizer={"lr": {"kind": f"{__name__}:rising"}})
    tables["output"] = {"dir": "run", "tensorboard": False}
    result = config.trainer(tables).run()
    kept = config.read_tables(Path("run/config.toml"))
    assert kept["algorithm"]["sigma"] == HALVED | {"floor": 0.0}
    assert kept["optimizer"]["lr"] == {"kind": f"{__name__}:rising"}
    again = config.trainer(config.with_settings(kept, ["generations=3", "output.dir=other"])).run()
    assert again.state.generation == 3
    longer = config.with_settings(config.read_tables(Path("other/config.toml")), ["generations=6"])
    assert config.trainer(longer, resume=Path("other")).run().digest == result.digest


def test_functions_of_a_program_are_named_in_the_directory(in_directory: Path) -> None:
    options: Any = {"executor": "inline", "reporters": [], "output": "run", "generations": 2}
    fastes.train(Function(dim=4), algorithm=OpenAIES(4, sigma=rising), **options)
    assert config.read_tables(Path("run/config.toml"))["algorithm"]["sigma"] == f"python: {__name__}:rising"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"algorithm": {"sigma": {"kind": "exponental"}}},
            r"algorithm.sigma.kind cannot be 'exponental': .* 'exponential'",
        ),
        (
            {"algorithm": {"sigma": {"start": 1.0}}},
            "algorithm.sigma.kind is missing: it must be one of constant,",
        ),
        (
            {"algorithm": {"sigma": {"kind": "linear", "start": 1.0}}},
            "algorithm.sigma.end is missing: a linear",
        ),
        ({"algorithm": {"sigma": HALVED | {"flor": 0.1}}}, "unknown key algorithm.sigma.flor. Did you mean 'floor'"),
        ({"algorithm": {"sigma": HALVED | {"decay": "x"}}}, "algorithm.sigma.decay must be a number, not 'x'"),
        ({"algorithm": {"sigma": HALVED | {"decay": -1.0}}}, r"^algorithm.sigma.decay must be above 0"),
        ({"algorithm": {"sigma": "x"}}, "algorithm.sigma must be a number or a schedule such as"),
        ({"algorithm": {"shaping": HALVED}}, "algorithm.shaping.kind must be one of identity"),
        ({"optimizer": {"betas": HALVED}}, "optimizer.betas must be a list of 2 values"),
        ({"optimizer": {"lr": {"kind": "torch.optim.lr_scheduler.StepLR", "start": 0.1}}}, "StepLR cannot be made of"),
        ({"optimizer": {"lr": {"kind": "torch.optim.lr_scheduler.StepLR"}}}, "optimizer.lr.start must be a number"),
        ({"optimizer": {"lr": {"kind": "nowhere:f"}}}, r"\[optimizer.lr\]: 'nowhere:f' cannot be imported"),
        (
            {"optimizer": {"lr": {"kind": "linear", "start": 0.1, "end": -0.1, "generations": 5}}},
            "in generation 5 of a schedule: adam: lr must be above 0 .* not -0.1",
        ),
    ],
)
def test_what_a_configuration_gets_wrong(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.trainer(changed(TINY, **tables)).run()


def fails_later(generation: int) -> float:
    return 0.1 / (2 - generation)


def test_a_function_that_fails_ends_the_run_with_a_message() -> None:
    lost = changed(TINY, optimizer={"lr": {"kind": f"{__name__}:fails_later"}})
    with pytest.raises(ConfigError, match=r"fails_later raised ZeroDivisionError: .* for generation 2"):
        config.trainer(lost).run()


def test_numbers_that_nobody_could_foresee_end_the_run_with_a_message() -> None:
    flat = changed(TINY, generations=3, problem={"function": "sphere", "start": 0.0})
    sinks = {"kind": "plateau", "start": 0.1, "factor": 1e-60, "patience": 1}
    with pytest.raises(ConfigError, match=r"algorithm.sigma must be above 0 .* not 1e-61"):
        config.trainer(changed(flat, algorithm={"sigma": sinks}, generations=50)).run()


def test_a_plateau_is_not_for_problems() -> None:
    with pytest.raises(fastes.errors.ProblemError, match=r"problem\.action_noise cannot follow a plateau"):
        Gym("Pendulum-v1", action_noise=Plateau(0.1, 0.5))
