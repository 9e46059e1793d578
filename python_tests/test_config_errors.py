"""Whatever a configuration says wrong is told in one line with the key: for every section, kind and field there is.

The cases follow from the registries and the fields of their dataclasses: a new algorithm or setting is covered without
a line here.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union

import pytest

from fastes import config
from fastes.algorithms import ALGORITHMS
from fastes.errors import ConfigError, FastesError, UserError
from fastes.executors import EXECUTORS
from fastes.optim import OPTIMIZERS
from fastes.policies import POLICIES
from fastes.problems import PROBLEMS
from fastes.report import REPORTERS
from fastes.run_settings import Evaluation, Output
from fastes.schedules import SCHEDULES
from fastes.shaping.registry import SHAPINGS, WRAPPERS

BASE: dict[str, Any] = {
    "problem": {"kind": "gym"},
    "policy": {"kind": "mlp"},
    "algorithm": {"kind": "openai_es"},
    "executor": {"kind": "inline"},
}
REGISTRIES: dict[str, dict[str, Any]] = {
    "problem": PROBLEMS,
    "policy": POLICIES,
    "algorithm": ALGORITHMS,
    "optimizer": OPTIMIZERS,
    "executor": EXECUTORS,
    "reporters[0]": REPORTERS,
}
SECTIONS = [(section, kind, cls) for section, registry in REGISTRIES.items() for kind, cls in registry.items()]
SECTIONS += [("evaluation", "", Evaluation), ("output", "", Output)]
NEEDED = {  # without which a table says nothing
    "output": {"dir": "x"},
    "torch_loss": {"data": "module:callable"},
    "completions": {"task": "module:callable"},
}
TOP = {"seed": int, "generations": int, "unit_size": int, "device": str}
NUMBERS = [0, 1, -1, 2**40, 10**30, 0.0, -0.5, 1e300, 1e-300, math.nan, math.inf, -math.inf]
OTHERS = ["", "no such thing", True, [], ["x"], [1], [[]], {}, {"x": 1}, {"kind": "x"}, datetime.date(2000, 1, 1)]
TEXTS_OF_ANY_KIND = ("problem.data", "problem.task")  # annotated as object: Python gives anything

ids = [f"{section}-{kind}".rstrip("-") for section, kind, _ in SECTIONS]
each_section = pytest.mark.parametrize(("section", "kind", "cls"), SECTIONS, ids=ids)


def tables(section: str, kind: str, /, **values: Any) -> dict[str, Any]:
    """A whole configuration, with these values in one of its tables."""
    table = ({"kind": kind} if kind else {}) | NEEDED.get(kind or section, {}) | values
    return BASE | ({"reporters": [table]} if section.startswith("reporters") else {section: table})


def refusal(given: dict[str, Any]) -> str:
    """What is said of a configuration, empty if nothing is. Raises what is no error to a user."""
    try:
        config.trainer(given)
    except FastesError as error:
        return str(error)
    return ""


def wrong(given: dict[str, Any], path: str) -> str:
    """How a refusal falls short; empty for one that does not, and for a configuration that is accepted."""
    try:
        said = refusal(given)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if not said or (path in said and "\n" not in said and len(said) < 1200) else said


def settings(cls: Any) -> dict[str, Any]:
    """The keys of a dataclass with the types that they take."""
    hints = typing.get_type_hints(cls)
    return {
        field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init and field.name != "optimizer"
    }


def options(hint: Any) -> Iterator[Any]:
    """The types that a field takes."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        for argument in typing.get_args(hint):
            yield from options(argument)
    else:
        yield hint


def misfits(hint: Any) -> Iterator[Any]:
    """Values that no field of this type can take."""
    taken = {typing.get_origin(option) or option for option in options(hint)}
    if object in taken or Any in taken:
        return
    if not taken & {str, Literal} and not any(getattr(option, "__name__", "") == "Path" for option in taken):
        yield "text"
    if not taken & {int, float}:
        yield 3
        yield 0.5
    if taken & {int, float}:
        yield from (math.nan, math.inf, -math.inf, 2**64, -(2**63) - 1, 10**400)
    if int in taken and float not in taken:
        yield 0.5
    if bool not in taken:
        yield True
    if not taken & {list, tuple}:
        yield [1, "x"]
    yield datetime.date(2000, 1, 1)


@each_section
def test_any_value_is_taken_or_refused_by_name(section: str, kind: str, cls: Any) -> None:
    found = [
        (key, value, reason)
        for key in settings(cls)
        for value in (*NUMBERS, *OTHERS)
        if (reason := wrong(tables(section, kind, **{key: value}), f"{section}.{key}"))
    ]
    assert not found


@each_section
def test_what_cannot_fit_is_refused(section: str, kind: str, cls: Any) -> None:
    accepted = [
        (key, value)
        for key, hint in settings(cls).items()
        if f"{section}.{key}" not in TEXTS_OF_ANY_KIND
        for value in misfits(hint)
        if not refusal(tables(section, kind, **{key: value}))
    ]
    assert not accepted


@each_section
def test_a_misspelled_key_is_told_with_the_nearest_one(section: str, kind: str, cls: Any) -> None:
    for key in settings(cls):
        misspelled = f"{key}x"
        said = refusal(tables(section, kind, **{misspelled: 1}))
        assert said.startswith(f"unknown key {section}.{misspelled}."), said
        assert "Did you mean " in said
        assert key in said, "all keys are listed"
        assert "\n" not in said


@pytest.mark.parametrize(("section", "registry"), REGISTRIES.items(), ids=list(REGISTRIES))
def test_a_misspelled_kind_is_told_with_the_nearest_one(section: str, registry: dict[str, Any]) -> None:
    for kind in registry:
        said = refusal(tables(section, f"{kind}_x"))
        assert said.startswith(f"{section}.kind must be one of {', '.join(registry)}"), said
        assert "Did you mean " in said
        for value in (3, True, [], {}, math.nan):
            assert f"{section}.kind" in refusal(tables(section, "", kind=value))


@pytest.mark.parametrize("key", [*TOP, *BASE, "optimizer", "evaluation", "output", "reporters"])
def test_the_top_level(key: str) -> None:
    assert not [(value, said) for value in (*NUMBERS, *OTHERS) if (said := wrong(BASE | {key: value}, key))]
    if key != "reporters":
        assert not [value for value in misfits(TOP.get(key, dict)) if not refusal(BASE | {key: value})]
    said = refusal(BASE | {f"{key}x": 1})
    assert said.startswith(f"unknown key {key}x. Did you mean ")
    assert all(name in said for name in (*TOP, *BASE, "reporters"))


SCHEDULED = [
    (section, kind, key)
    for section, kind, cls in SECTIONS
    for key, hint in settings(cls).items()
    if any(getattr(option, "__name__", "") == "Schedule" for option in options(hint))
]
FITTING = {  # a schedule of each kind that a setting takes
    "constant": {"value": 0.5},
    "linear": {"start": 0.5, "end": 0.25, "generations": 10},
    "exponential": {"start": 0.5, "decay": 0.5},
    "cosine": {"start": 0.5, "generations": 10},
    "piecewise": {"values": [0.5, 0.25], "boundaries": [5]},
    "plateau": {"start": 0.5, "factor": 0.5, "patience": 3},
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules(kind: str) -> None:
    fitting, cls = FITTING[kind], SCHEDULES[kind]

    def scheduled(section: str, of: str, key: str, **values: Any) -> dict[str, Any]:
        return tables(section, of, **{key: {"kind": kind} | fitting | values})

    assert SCHEDULED
    for section, of, key in SCHEDULED:
        path = f"{section}.{key}"
        assert wrong(scheduled(section, of, key), path) == ""
        said = refusal(scheduled(section, of, key, no_such_key=1))
        assert said.startswith(f"unknown key {path}.no_such_key.")
        assert f"{path}.kind" in refusal(tables(section, of, **{key: {"kind": f"{kind}_x"}}))
    section, of, key = "algorithm", "openai_es", "sigma"
    assert refusal(scheduled(section, of, key)) == ""
    for name, hint in settings(cls).items():
        for value in (*NUMBERS, *OTHERS):
            assert wrong(scheduled(section, of, key, **{name: value}), "algorithm.sigma") == ""
        for value in misfits(hint):
            assert refusal(scheduled(section, of, key, **{name: value})), (name, value)


@pytest.mark.parametrize("kind", [kind for kind, cls in ALGORITHMS.items() if "shaping" in settings(cls)])
def test_shapings(kind: str) -> None:
    path = "algorithm.shaping"
    for value in (*NUMBERS, *OTHERS):
        assert wrong(tables("algorithm", kind, shaping=value), path) == ""
        if not isinstance(value, dict):
            assert path in refusal(tables("algorithm", kind, shaping=value))
    for name in SHAPINGS:
        assert "Did you mean " in refusal(tables("algorithm", kind, shaping=f"{name}x"))
    for name, cls in WRAPPERS.items():
        for key in (field.name for field in dataclasses.fields(cls)):
            for value in (*NUMBERS, *OTHERS):
                assert wrong(tables("algorithm", kind, shaping={"kind": name, key: value}), path) == ""
        assert f"unknown key {path}.no_such_key" in refusal(
            tables("algorithm", kind, shaping={"kind": name, "no_such_key": 1})
        )


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for kind in ("mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, kind, None)
        with pytest.raises(UserError, match=rf"pip install 'fastes\[{kind}\]'") as raised:
            config.trainer(BASE | {"reporters": [kind]})
        assert "\n" not in str(raised.value)


def test_tables_where_there_are_none() -> None:
    for key in BASE:
        for value in (3, "x", [], [{}]):
            with pytest.raises(ConfigError, match=rf"^{key} must be a table, \[{key}\], not "):
                config.trainer(BASE | {key: value})


ONLY_IN_PYTHON = {"optimizer", "shaping"}  # which take objects too


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_wrong_types_in_python(kind: str) -> None:
    cls: Any = ALGORITHMS[kind]
    for key, hint in settings(cls).items():
        taken = set(options(hint))
        if key in ONLY_IN_PYTHON or not taken & {int, float, bool, str}:
            continue
        for value in ([1], *(["text"] if str not in taken else []), *([0.5] if taken == {int} else [])):
            with pytest.raises(ValueError, match=rf"algorithm\.{key} must be ") as raised:
                cls(**{key: value})
            assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"lr must be a number or a schedule, not '0\.1'"):
        OPTIMIZERS["adam"](lr="0.1")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"lrx": 1}, r"^\[optimizer\.lrx\]: torch\.optim\.RAdam has no setting 'lrx'\. Did you mean 'lr'\?"),
        ({"lr": "x"}, r"^optimizer\.lr must be a number or a schedule such as"),
        ({"lr": -1.0}, r"^optimizer\.lr must not be negative"),
        ({"betas": [0.9, 2.0], "eps": 1e-8}, r"^\[optimizer\.betas\]: .* 2\.0"),
        ({"betas": 3}, r"^\[optimizer\.betas\]: torch\.optim\.RAdam cannot be made: "),
        ({"weight_decay": "x"}, r"^\[optimizer\.weight_decay\]: torch\.optim\.RAdam cannot be made: "),
        ({"eps": math.inf}, r"^optimizer\.eps must be a finite number, not inf"),
        ({"kind": "torch.optim.RAdamm"}, r"^\[optimizer\]: .* Did you mean 'torch\.optim\.RAdam'\?"),
        ({"kind": "torch.optm.RAdam"}, r"^\[optimizer\]: .* cannot be imported"),
        ({"kind": "torch.nn.Linear"}, r"^\[optimizer\]: .* no class of optimizers"),
    ],
)
def test_optimizers_of_pytorch(table: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as raised:
        config.trainer(BASE | {"optimizer": {"kind": "torch.optim.RAdam"} | table})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ({"kind": "mlpx"}, r"\.kind must be one of mlp, .* not 'mlpx'\. Did you mean 'mlp'\?"),
        ({"kind": "teams"}, r"\.kind must be one of mlp, .* not 'teams'"),
        ({"hiddn": [3]}, r"unknown key .*\.hiddn\. Did you mean 'hidden'\?"),
        ({"kind": "recurrent", "hidden": ["x"]}, r"\.hidden\[0\] must be a whole number, not 'x'"),
        (3, r" must be .*a table.*, not 3"),
        ("mlp", r" must be a table such as \[policy\], or 'module:callable', not 'mlp'"),
    ],
)
def test_policies_of_teams(each: Any, expected: str) -> None:
    for table, path in (({"each": each}, "policy.each"), ({"of": {"red": each}}, "policy.of.red")):
        with pytest.raises(ConfigError, match=expected) as raised:
            config.trainer(BASE | {"policy": {"kind": "teams"} | table})
        assert path in str(raised.value)
        assert "\n" not in str(raised.value)


RUNS_ON_A_FUNCTION = [kind for kind in ALGORITHMS if kind not in ("novelty", "esac", "multi_agent", "self_play")]


@pytest.mark.parametrize(
    ("section", "kind"),
    [*(("algorithm", kind) for kind in RUNS_ON_A_FUNCTION), *(("optimizer", kind) for kind in OPTIMIZERS)],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # in norms of theta of 1e30
def test_what_is_accepted_trains_or_says_why_not(section: str, kind: str) -> None:
    small: dict[str, Any] = {"ga": {"parents": 2}, "random_search": {}}
    algorithm: dict[str, Any] = {"kind": kind if section == "algorithm" else "openai_es", "population": 8}
    if kind in small:
        algorithm |= {"candidates": 2, "re_evaluations": 1, "initial": "policy"} | small[kind]
    run = {
        "problem": {"kind": "function", "dim": 3},
        "executor": {"kind": "inline"},
        "generations": 2,
        "algorithm": algorithm,
    }
    given = {
        key: hint for key, hint in settings(REGISTRIES[section][kind]).items() if {int, float} & set(options(hint))
    }
    finished = 0
    for key, hint in given.items():
        for value in (-1, 0, 1, 2, 1000) if float not in options(hint) else (0.0, 0.5, -0.5, 1e300, 1e30, 1e-300):
            table = run.get(section, {"kind": kind}) | {key: value}
            said = ""
            try:
                config.trainer(run | {section: table}).run()
                finished += 1
            except FastesError as error:
                said = str(error)
            assert "\n" not in said
    assert finished > len(given), "at least one value of each on average"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"sigma": 0.2}, "unknown key sigma. Did you mean 'algorithm.sigma'?"),
        ({"lr": 0.2}, "unknown key lr. Did you mean 'algorithm.lr' or 'optimizer.lr'?"),
        ({"sed": 2}, "unknown key sed. Did you mean 'seed'? The keys of a configuration are"),
    ],
)
def test_a_key_outside_its_table(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        config.trainer({"problem": {"kind": "function"}} | tables)


def test_an_argument_that_a_policy_does_not_take() -> None:
    tables = {"problem": {"env": "CartPole-v1"}, "policy": {"kind": "specimens:Linear", "action_sise": 3}}
    with pytest.raises(FastesError, match=r"^unknown key policy\.action_sise\. Did you mean 'action_size'"):
        config.trainer(tables | {"executor": {"kind": "inline"}}).run()
