"""Which values of a configuration are axes, and what they hold."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from fastes.errors import ConfigError
from fastes.gridsearch.axes import Axis, split, with_values


def axes_of(text: str) -> dict[str, tuple[Any, ...]]:
    _, axes = split(tomllib.loads(text))
    return {axis.name: axis.values for axis in axes}


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("[algorithm]\nsigma = [0.05, 0.1]", "algorithm.sigma", (0.05, 0.1)),
        ("[algorithm]\nsigma = { choice = [0.05, 0.1] }", "algorithm.sigma", (0.05, 0.1)),
        ("seed = [3, 1]", "seed", (3, 1)),
        ("seed = { range = [1, 4] }", "seed", (1, 2, 3)),
        ("generations = { range = [10, 31, 10] }", "generations", (10, 20, 30)),
        ("generations = { range = [10, 30, 10] }", "generations", (10, 20)),
        ("generations = { range = [3, 0, -1] }", "generations", (3, 2, 1)),
        ("[optimizer]\nlr = { range = [0.1, 0.5, 0.1] }", "optimizer.lr", (0.1, 0.2, 0.3, 0.4)),
        ("[optimizer]\nlr = { range = [1, 2.0, 0.25] }", "optimizer.lr", (1.0, 1.25, 1.5, 1.75)),
        ("[optimizer]\nlr = { logspace = [0.001, 0.1, 3] }", "optimizer.lr", (0.001, 0.01, 0.1)),
        ("[optimizer]\nlr = { logspace = [1, 0.1, 3] }", "optimizer.lr", (1.0, 0.316227766017, 0.1)),
        ("[optimizer]\nlr = { logspace = [0.1, 1, 1] }", "optimizer.lr", (0.1,)),
        ("[algorithm]\npopulation = { logspace = [64, 1024, 5] }", "algorithm.population", (64, 128, 256, 512, 1024)),
        ("[algorithm]\npopulation = { logspace = [1, 3, 9] }", "algorithm.population", (1, 2, 3)),
        ("[policy]\nhidden = [[64, 64], [32], []]", "policy.hidden", ([64, 64], [32], [])),
        ("[policy]\nactivation = ['tanh', 'relu']", "policy.activation", ("tanh", "relu")),
        ("[policy]\nbias = [true, false]", "policy.bias", (True, False)),
        ("[algorithm]\nkind = ['openai_es', 'snes']", "algorithm.kind", ("openai_es", "snes")),
        ("[algorithm]\nkind = ['pgpe', 'snes']\nlr_sigma = [0.1, 0.2]", "algorithm.lr_sigma", (0.1, 0.2)),
        ("[optimizer]\nkind = 'torch.optim.RAdam'\nlr = [0.1, 0.2]", "optimizer.lr", (0.1, 0.2)),
        ("device = ['cpu', 'cuda']", "device", ("cpu", "cuda")),
        ("[problem]\nkind = 'm:f'\nsize = { choice = [1, 'a'] }", "problem.size", (1, "a")),
        ("[problem]\nkind = 'm:f'\na = { b = { range = [0, 2] } }", "problem.a.b", (0, 1)),
        ("[algorithm.sigma]\nkind = 'cosine'\nstart = { choice = [0.1, 0.2] }", "algorithm.sigma.start", (0.1, 0.2)),
        (
            "[algorithm]\nchoice = [{ kind = 'snes' }, { kind = 'pgpe' }]",
            "algorithm",
            ({"kind": "snes"}, {"kind": "pgpe"}),
        ),
        ("[algorithm]\nsigma = [0.1, { kind = 'cosine' }]", "algorithm.sigma", (0.1, {"kind": "cosine"})),
    ],
)
def test_axes(text: str, name: str, values: tuple[Any, ...]) -> None:
    found = axes_of(text)
    assert found[name] == values
    assert [type(value) for value in found[name]] == [type(value) for value in values]


@pytest.mark.parametrize(
    "text",
    [
        "[policy]\nhidden = [64, 64]",
        "[policy]\nhidden = []",
        "[optimizer]\nbetas = [0.9, 0.999]",
        "[problem]\nkind = 'm:f'\nsizes = [1, 2]",
        "[problem]\nkind = 'm:f'\nchoice = 3\nother = 1",
        "[problem]\nenv_args = { choice = [1], size = 3 }",
        "[problem]\nstatistics = ['a', 'b']",
        "[algorithm]\nsgima = [0.1, 0.2]",
        "[algorithm.sigma]\nkind = 'piecewise'\nvalues = [0.1, 0.2]\nboundaries = [3]",
    ],
)
def test_values(text: str) -> None:
    """Lists that the key takes, arguments of which nothing is known, and what the configuration will complain of."""
    assert axes_of(text) == {}
    assert split(tomllib.loads(text))[0] == tomllib.loads(text)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{ rnage = [1, 2] }", "unknown axis algorithm.sigma.rnage. Did you mean 'range'?"),
        ("[]", "algorithm.sigma is an axis without values"),
        ("{ choice = [] }", "algorithm.sigma is an axis without values"),
        ("{ choice = 3 }", "algorithm.sigma.choice must be a list of values, not 3"),
        ("[0.1, 0.2, 0.1]", "algorithm.sigma names 0.1 twice"),
        ("{ choice = [1], range = [1, 2] }", "algorithm.sigma has choice and range; an axis has one of them"),
        ("{ range = [1] }", "algorithm.sigma.range must be [start, stop] or [start, stop, step], numbers, not [1]"),
        ("{ range = ['a', 2] }", "must be [start, stop] or"),
        ("{ range = [true, 2] }", "must be [start, stop] or"),
        ("{ range = [1, 1] }", "holds no value: the stop is not included"),
        ("{ range = [1, 2, -1] }", "holds no value"),
        ("{ range = [1, 2, 0] }", "must have a step that is not 0"),
        ("{ range = [0, 1, 1e-9] }", "has 1,000,000,000 values, more than 100,000"),
        ("{ range = [0, inf] }", "must be [start, stop] or"),
        ("{ logspace = [0, 1, 3] }", "must be between numbers above 0, not 0 and 1: use range or choice"),
        ("{ logspace = [1, 2] }", "must be [low, high, count], numbers, not [1, 2]"),
        ("{ logspace = [1, 2, 2.5] }", "must end in a count of values from 1 to 100,000, not 2.5"),
        ("{ logspace = [1, 2, 0] }", "must end in a count of values"),
    ],
)
def test_wrong_axes(value: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        axes_of(f"[algorithm]\nsigma = {value}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_left_and_put_back() -> None:
    tables = {"seed": [1, 2], "algorithm": {"sigma": [0.1, 0.2], "population": 16}}
    plain, axes = split(tables)
    assert plain == {"algorithm": {"population": 16}}
    assert axes == [Axis(("seed",), (1, 2)), Axis(("algorithm", "sigma"), (0.1, 0.2))]
    values = {("seed",): 2, ("algorithm", "sigma"): 0.1, ("policy", "cell", "deep"): "x"}
    made = with_values(plain, values)
    assert made == {
        "seed": 2,
        "algorithm": {"population": 16, "sigma": 0.1},
        "policy": {"cell": {"deep": "x"}},
    }
    assert plain == {"algorithm": {"population": 16}}
