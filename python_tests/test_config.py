"""fastes.config: a file says what the arguments say, and whatever it cannot say is refused by name."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import specimens
import tomli_w
from specimens import CARTPOLE, RASTRIGIN, SPHERE, Tables, changed

from fastes import config
from fastes.algorithms import ALGORITHMS, OpenAIES
from fastes.errors import ConfigError
from fastes.executors import EXECUTORS, Inline, Local
from fastes.optim import OPTIMIZERS, SGD, Adam, AdamW
from fastes.policies import MLP, POLICIES, Vector
from fastes.problems import PROBLEMS, Function, Gym, Problem
from fastes.run_settings import Evaluation, Output
from fastes.trainer import Trainer

GYM: Tables = {"problem": {"kind": "gym"}, "policy": {"kind": "mlp"}}


def errors(tables: Tables) -> str:
    with pytest.raises(ConfigError) as caught:
        config.trainer(tables)
    message = str(caught.value)
    assert message.endswith((".", "?"))
    return message


@pytest.mark.parametrize(
    "trainer",
    [
        Trainer(problem=Function(), executor=Local()),
        Trainer(
            problem=Gym("CartPole-v1", {"render_mode": "rgb_array"}, episodes=2, max_steps=9, common_seeds=False),
            policy=MLP((3,), "relu", bias=False),
            algorithm=OpenAIES(8, 0.3, AdamW(0.1, (0.5, 0.75), 1e-3, 0.1, 0.2), nan_fitness="worst"),
            generations=7,
            seed=2**64 - 1,
            executor=Local(3, "spawn", 2),
            evaluation=Evaluation(0, 3),
            output=Output(Path("a b/c"), 4, 5, False),
            unit_size=2,
        ),
        Trainer(problem=Function("ackley", 3, 0.1), algorithm=OpenAIES(optimizer=SGD(momentum=0.5)), executor=Inline()),
        Trainer(problem=Gym(), policy="specimens:Linear", policy_arguments={"gain": 2.0}, executor=Inline()),
        Trainer(problem=Gym(), policy=MLP(()), executor=Inline()),
    ],
)
def test_what_a_run_writes_loads_into_an_equal_one(trainer: Trainer) -> None:
    text = tomli_w.dumps(trainer.config())
    assert config.trainer(tomllib.loads(text)) == trainer


@pytest.mark.parametrize("tables", [SPHERE, RASTRIGIN, CARTPOLE, GYM])
def test_resolved_twice_is_resolved_once(tables: Tables) -> None:
    resolved = config.trainer(tables).config()
    assert config.trainer(resolved).config() == resolved


REQUIRED = {"torch_loss": {"data": "specimens:blobs"}, "completions": {"task": "tiny_language:Repeat"}}


def test_every_setting_of_every_kind_can_be_written() -> None:
    """Nothing in a registry has a field that a file cannot hold, unless it may be left out."""
    for registry, where in ((PROBLEMS, "problem"), (POLICIES, "policy"), (EXECUTORS, "executor")):
        for kind, cls in registry.items():
            tables = changed(GYM) | {where: {"kind": kind} | REQUIRED.get(kind, {})}
            resolved = config.trainer(tables).config()[where]
            written = {field.name for field in dataclasses.fields(cls) if field.default is not None}
            assert set(resolved) == {"kind", *written, *REQUIRED.get(kind, {})}
    for kind in OPTIMIZERS:
        assert config.algorithm({"optimizer": {"kind": kind}}).optimizer == OPTIMIZERS[kind]()
    for kind, cls in ALGORITHMS.items():
        assert config.algorithm({"algorithm": {"kind": kind}}) == cls()


def test_lists_are_tuples_and_whole_numbers_are_numbers() -> None:
    tables = changed(
        GYM,
        policy={"kind": "mlp", "hidden": [3, 4]},
        algorithm={"sigma": 1},
        optimizer={"kind": "adam", "lr": 1, "betas": [0, 0.5]},
    )
    trainer = config.trainer(tables)
    assert trainer.policy == MLP((3, 4))
    assert MLP([3, 4]) == MLP((3, 4))
    assert Adam(betas=[0.9, 0.99]) == Adam(betas=(0.9, 0.99))
    assert trainer.algorithm == OpenAIES(sigma=1.0, optimizer=Adam(1.0, (0.0, 0.5)))


UNKNOWN = [
    ("genrations", 3, "generations"),
    ("problm", {}, "problem"),
    ("output.dri", "x", "dir"),
    ("problem.enviroment", "x", "env"),
    ("problem.episode", 3, "episodes"),
    ("problem.env_arg", {}, "env_args"),
    ("policy.hiden", [3], "hidden"),
    ("policy.activations", "tanh", "activation"),
    ("algorithm.populaton", 8, "population"),
    ("algorithm.sgima", 0.1, "sigma"),
    ("algorithm.lr", 0.1, None),
    ("algorithm.optimizer", "adam", None),
    ("optimizer.learning_rate", 0.1, None),
    ("optimizer.weightdecay", 0.1, "weight_decay"),
    ("optimizer.momentum", 0.1, None),
    ("executor.worker", 2, "workers"),
    ("executor.max_death", 2, "max_deaths"),
    ("evaluation.evry", 2, "every"),
    ("output.checkpoints_every", 2, "checkpoint_every"),
]


@pytest.mark.parametrize(("path", "value", "nearest"), UNKNOWN)
def test_unknown_keys(path: str, value: Any, nearest: str | None) -> None:
    tables = changed(GYM, output={"dir": "x"})
    table, _, key = path.rpartition(".")
    (tables.setdefault(table, {}) if table else tables)[key] = value
    message = errors(tables)
    assert message.startswith(f"unknown key {path}.")
    assert (f"Did you mean {nearest!r}?" in message) if nearest else ("Did you mean" not in message)
    place = rf"\[{table}\]( of kind \w+)?" if table else "a configuration"
    assert re.search(rf"The keys of {place} are \w+, ", message)


ILL_TYPED = [
    ("seed", "one", "a whole number"),
    ("seed", 1.0, "a whole number"),
    ("seed", True, "a whole number"),
    ("generations", [3], "a whole number"),
    ("unit_size", 0.5, "a whole number"),
    ("problem.env", 3, "text"),
    ("problem.env_args", [1], "a table"),
    ("problem.episodes", 1.5, "a whole number"),
    ("problem.common_seeds", 1, "true or false"),
    ("policy.hidden", 64, "a list of values, each a whole number"),
    ("policy.hidden", [64, "64"], "policy.hidden[1] must be a whole number"),
    ("policy.activation", "tahn", "Did you mean 'tanh'?"),
    ("policy.activation", ["tanh"], "one of 'tanh'"),
    ("policy.bias", "no", "true or false"),
    ("algorithm.population", 8.0, "a whole number"),
    ("algorithm.sigma", "0.1", "a number"),
    ("algorithm.sigma", False, "a number"),
    ("algorithm.nan_fitness", "worse", "Did you mean 'worst'?"),
    ("optimizer.betas", [0.9], "a list of 2 values, each a number"),
    ("optimizer.betas", [0.9, "x"], "optimizer.betas[1] must be a number"),
    ("executor.workers", "two", "a whole number"),
    ("executor.start_method", "frok", "Did you mean 'fork'?"),
    ("evaluation.every", None, "a whole number"),
    ("output.dir", 3, "a path"),
    ("output.tensorboard", "yes", "true or false"),
]


@pytest.mark.parametrize(("path", "value", "wanted"), ILL_TYPED)
def test_ill_typed_values(path: str, value: Any, wanted: str) -> None:
    tables = changed(GYM, output={"dir": "x"})
    table, _, key = path.rpartition(".")
    (tables.setdefault(table, {}) if table else tables)[key] = value
    message = errors(tables)
    assert message.startswith(path)
    assert wanted in message


@pytest.mark.parametrize("name", ["problem", "policy", "algorithm", "optimizer", "executor", "evaluation", "output"])
@pytest.mark.parametrize("value", ["mlp", 3, ["x"]])
def test_a_table_is_a_table(name: str, value: Any) -> None:
    tables = changed(GYM)
    tables[name] = value
    assert errors(tables) == f"{name} must be a table, [{name}], not {value!r}."


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("problem", "gmy", ["Did you mean 'gym'?", "gym, atari, envpool, function", "module:callable"]),
        ("policy", "mpl", ["Did you mean 'mlp'?", "module:callable"]),
        ("algorithm", "openaies", ["Did you mean 'openai_es'?"]),
        ("optimizer", "admw", ["Did you mean 'adamw'?"]),
        ("executor", "udp", ["inline, local"]),
        ("executor", ["local"], ["['local']"]),
        ("problem", {}, ["{}"]),
        ("policy", 3, ["3"]),
        ("optimizer", True, ["True"]),
    ],
)
def test_unknown_kinds(name: str, kind: Any, words: list[str]) -> None:
    message = errors(changed(GYM, **{name: {"kind": kind}}))
    assert message.startswith(f"{name}.kind must be one of ")
    for word in words:
        assert word in message


def test_settings_from_the_command_line() -> None:
    tables = config.with_settings(
        GYM,
        ["seed=3", "algorithm.sigma = 0.25", "policy.hidden=[8, 8]", "problem.env=Acrobot-v1", "output.dir=a=b"],
    )
    assert tables == {
        "seed": 3,
        "problem": {"kind": "gym", "env": "Acrobot-v1"},
        "policy": {"kind": "mlp", "hidden": [8, 8]},
        "algorithm": {"sigma": 0.25},
        "output": {"dir": "a=b"},
    }
    assert "seed" not in GYM
    assert "env" not in GYM["problem"]
    assert config.with_settings(GYM, ["problem.env_args.gravity=3"])["problem"]["env_args"] == {"gravity": 3}
    quoted = config.with_settings(GYM, ['output.dir="x"', "problem.common_seeds=false"])
    assert quoted["output"] == {"dir": "x"}
    assert quoted["problem"]["common_seeds"] is False


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("seed", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("seed.x=3", "seed is a value, not a table"),
        ("problem.env.x=3", "env is a value, not a table"),
        ("output=here", "output must be a table"),
        ("sede=3", "unknown key sede. Did you mean 'seed'?"),
        (".sigma=3", "unknown key"),
    ],
)
def test_settings_that_make_no_sense(setting: str, match: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.with_settings({"seed": 1, "problem": {"env": "x"}}, [setting])
    assert match in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read: No such file"):
        config.read_tables(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.read_tables(tmp_path)
    for content in (b"seed = ", b"\xff\xfe", b"seed = 1\nseed = 2", b"\x00"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.toml is not valid TOML"):
            config.read_tables(tmp_path / "bad.toml")


def make_problem(dim: int = 3) -> Problem:
    return Function("sphere", dim)


def test_a_problem_from_a_factory_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specimens, "make_problem", make_problem, raising=False)
    tables = {"problem": {"kind": "specimens:make_problem", "dim": 7}}
    trainer = config.trainer(tables)
    assert trainer.problem == Function("sphere", 7)
    assert trainer.config()["problem"] == tables["problem"]
    assert config.trainer(trainer.config()) == trainer
    assert errors({"problem": {"kind": "specimens:make_problem", "dmi": 7}}).startswith("[problem]: ")
    message = errors(changed(GYM, problem={"kind": "specimens:Linear", "observation_size": 1, "action_size": 1}))
    assert "gave a Linear, not a fastes Problem" in message
    assert "nowhere" in errors(changed(GYM, problem={"kind": "nowhere:f"}))


def test_an_empty_configuration_wants_a_policy() -> None:
    assert "needs a policy" in errors({})
    assert config.trainer({"policy": {}}).policy == MLP()
    assert config.trainer({"problem": {"kind": "function"}}).policy == Vector(1.0)
