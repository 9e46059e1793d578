"""Configurations and scripts of portable-es: field by field, its optimizers, and runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compat import portable_things
from conformance.ways import undisturbed

from fastes import cli, config, kernels
from fastes.compat import portable_es, read, recognised
from fastes.compat.manager import ESManager
from fastes.compat.modules import StackedGRU, portable
from fastes.compat.portable_es import DecayScheduler, ESWorker, GymWrapper, LookAhead, NovoGrad, StaticSchedule
from fastes.compat.schedules import cosine_with_restarts
from fastes.errors import ConfigError, PolicyError
from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.refusals import ProtocolError
from fastes.optim import TorchOptimizer

Tables = dict[str, Any]

SCRIPT = """
import torch
from portable_es import ESManager, ESWorker
from portable_es.optimizers import NovoGrad
from portable_es.compat import GymWrapper
from portable_es.scheduler import DecayScheduler

raise SystemExit("this program is read, not run")

def argmax_cast(action):
    return int(action.argmax())

class RNNClassifier(torch.nn.Module):
    pass

config = {
    "scheduler": DecayScheduler(ilr=0.03, lr_decay=0.99, isigma=0.1, sigma_decay=0.9),
    "optimizer": NovoGrad(), "popsize": 4, "antithetic": True, "reward_norm": "ranked", "epochs": 1, "device": "cpu",
    "pre_training_epochs": 0, "logdir": "one", "env_episodes": 2, "env_eval_every": 5,
    "model_class": RNNClassifier, "model_args": (2,), "model_kwargs": {"channels": 4, "hidden": 3, "layers": 2},
    "env_class": GymWrapper, "env_config": {"gym_name": "CartPole-v1", "castf": argmax_cast},
}
"""
CONFIG: Tables = {
    "scheduler": {"class": "StaticSchedule", "lr": 0.03, "sigma": 0.1},
    "optimizer": "portable_es.optimizers.Adam",
    "popsize": 4,
    "antithetic": True,
    "reward_norm": "stdmean",
    "epochs": 1,
    "device": "cpu",
    "pre_training_epochs": 0,
    "logdir": "two",
    "model_class": "compat.portable_things:Remembering",
    "model_args": [1],
    "model_kwargs": {"width": 4},
    "env_class": "compat.portable_things.Walk",
    "env_config": {"steps": 3},
    "env_episodes": 2,
    "env_eval_every": 1,
    "seed": 3,
}


def test_a_program_is_read(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    given = read(tmp_path / "train.py")
    assert recognised(given) == "portable_es"
    translation = portable_es.translate(given)
    assert translation.tables == {
        "seed": 42,
        "generations": 2,
        "device": "cpu",
        "problem": {"kind": "gym", "env": "CartPole-v1", "episodes": 2, "common_seeds": False},
        "policy": {"kind": "fastes.compat.modules:StackedGRU", "hidden": 3, "layers": 2},
        "algorithm": {
            "kind": "openai_es",
            "population": 8,
            "sigma": {"kind": "exponential", "start": 0.1, "decay": 0.9},
            "shaping": "centered_ranks",
        },
        "optimizer": {
            "kind": "fastes.compat.optimizers:NovoGrad",
            "lr": {"kind": "exponential", "start": 0.03, "decay": 0.99},
            "beta1": 0.9,
            "beta2": 0.5,
            "weight_decay": 0.002,
            "epsilon": 1e-8,
            "scale": {"kind": "exponential", "start": 0.8, "decay": 0.9},
        },
        "evaluation": {"every": 5},
        "output": {"dir": "runs/one"},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("config = {'popsize': 2 + x()}", "line 1: 2 . x.. cannot be read without running it"),
        ("config = {'optimizer': Mine()}", "line 1: train:Mine is none of portable-es' "),
        ("config = {'optimizer': Adam(beta3=1)}", "line 1: Adam takes beta1, beta2, epsilon, not"),
        ("cfgs = {}", "it assigns no dictionary to config at its top"),
        ("config = {", "never closed"),
    ],
)
def test_programs_that_cannot_be_read(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        read(tmp_path / "train.py")


def test_classes_by_name() -> None:
    translation = portable_es.translate(CONFIG)
    tables = translation.tables
    assert tables["problem"] == {
        "kind": "gym",
        "episodes": 2,
        "env": "fastes.compat.environments:PortableEnvironment",
        "env_args": {"env_class": "compat.portable_things:Walk", "steps": 3},
    }
    assert tables["policy"] == {
        "kind": "fastes.compat.modules:portable",
        "model": "compat.portable_things:Remembering",
        "args": [1],
        "kwargs": {"width": 4},
    }
    assert tables["algorithm"] == {"kind": "openai_es", "population": 8, "sigma": 0.1, "shaping": "z_score_max"}
    assert tables["optimizer"] == {
        "kind": "fastes.compat.optimizers:Adam",
        "lr": 0.03,
        "beta1": 0.99,
        "beta2": 0.999,
        "epsilon": 1e-8,
        "scale": pytest.approx(0.8),
    }
    as_classes = CONFIG | {"model_class": portable_things.Remembering, "env_class": portable_things.Walk}
    assert portable_es.translate(as_classes).tables == tables


def test_other_ways() -> None:
    changed = CONFIG | {
        "scheduler": StaticSchedule(0.03, 0.1),
        "optimizer": LookAhead(NovoGrad(), k=3),
        "env_class": GymWrapper,
        "env_config": {"gym_name": "CartPole-v1", "castf": portable_things.negative},
        "antithetic": False,
        "reward_norm": None,
    }
    tables = portable_es.translate(changed, model="fastes.compat.modules:StackedGRU").tables
    assert tables["algorithm"]["population"] == 4
    assert tables["algorithm"]["shaping"] == "identity"
    assert tables["problem"]["action"] == "compat.portable_things:negative"
    assert tables["policy"] == {"kind": "fastes.compat.modules:StackedGRU", "width": 4}
    assert tables["optimizer"]["kind"] == "fastes.compat.optimizers:LookAhead"
    assert tables["optimizer"]["optimizer"]["kind"] == "fastes.compat.optimizers:NovoGrad"
    assert "lr" not in tables["optimizer"]["optimizer"]
    decaying = portable_es.translate(changed | {"scheduler": DecayScheduler(0.03, 0.1)}).tables["optimizer"]
    assert decaying["lr"] == {"kind": "exponential", "start": 0.03, "decay": 0.9995}
    assert decaying["optimizer"]["scale"] == 0.4
    assert config.algorithm({"optimizer": decaying}).optimizer is not None
    optimizer = config.algorithm({"optimizer": tables["optimizer"]}).optimizer
    assert isinstance(optimizer, TorchOptimizer)
    assert optimizer.lr == 0.03


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("BasicSGD", {"kind": "sgd", "lr": 0.03 * 0.1 * 8}),
        ({"class": "SGD", "momentum": 0.5}, {"kind": "sgd", "lr": 0.5 * 0.03 * 0.1 * 8, "momentum": 0.5}),
    ],
)
def test_a_sum_over_members_is_longer_than_a_mean(optimizer: Any, expected: Tables) -> None:
    made = portable_es.translate(CONFIG | {"optimizer": optimizer}).tables["optimizer"]
    assert made == expected | {"lr": pytest.approx(expected["lr"])}
    decaying = CONFIG | {"optimizer": optimizer, "scheduler": DecayScheduler(0.03, 0.1, 0.9, 0.8)}
    lr = portable_es.translate(decaying).tables["optimizer"]["lr"]
    assert lr == {"kind": "exponential", "start": pytest.approx(expected["lr"]), "decay": pytest.approx(0.72)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pre_training_epochs": 3}, r"pre_training_epochs = 3 cannot be translated: no generations have the same"),
        ({"optimizer": "AdaScale"}, r"optimizer = AdaScale cannot be translated: it looks at each member's part"),
        ({"optimizer": "Mine"}, r"optimizer cannot be translated: Mine is none of portable-es' StaticSchedule"),
        ({"optimizer": {"class": "Adam", "beta": 1}}, r"optimizer cannot be translated: Adam takes beta1, beta2"),
        ({"optimizer": "DecayScheduler"}, r"optimizer cannot be translated: DecayScheduler needs ilr, isigma"),
        ({"scheduler": "Adam"}, r"scheduler = Adam is an optimizer"),
        ({"popsize": None}, r"popsize is missing"),
        ({"env_class": None}, r"env_class is missing"),
        ({"model_class": lambda: None}, r"has no name to import it by"),
    ],
)
def test_what_has_no_equal(changes: Tables, says: str) -> None:
    with pytest.raises(ConfigError, match=f"^portable_es: .*{says}"):
        portable_es.translate(CONFIG | changes)


def test_unknown_keys_are_told() -> None:
    assert (
        "pop_size is not known to the translation from portable_es, and left out. Did you mean popsize?"
        in portable_es.translate(CONFIG | {"pop_size": 3}).notes
    )


class TestOptimizers:
    """Two elements, followed by hand."""

    def steps(self, name: str, directions: list[list[float]], lr: float = 0.1, **settings: Any) -> np.ndarray:
        optimizer = TorchOptimizer(f"fastes.compat.optimizers:{name}", lr=lr, **settings)
        theta, state = np.array([1.0, -2.0], np.float32), optimizer.init(2)
        for direction in directions:
            theta, state = optimizer.apply(theta, state, np.array(direction, np.float32))
        return theta

    def test_adam_never_corrects_its_bias(self) -> None:
        d, m, v, theta = np.array([0.5, -0.25]), np.zeros(2), np.zeros(2), np.array([1.0, -2.0])
        for _ in range(3):
            m, v = 0.99 * m + 0.01 * 2 * d, 0.999 * v + 0.001 * (2 * d) ** 2
            theta += 0.1 * (m / 0.01) / (np.sqrt(v / 0.001) + 1e-8)
        np.testing.assert_allclose(self.steps("Adam", [d.tolist()] * 3, scale=2.0), theta, rtol=1e-5)

    def test_adabelief(self) -> None:
        m, s, theta = np.zeros(2), np.zeros(2), np.array([1.0, -2.0])
        for d in (np.array([0.5, -0.25]), np.array([-0.1, 0.2])):
            m = 0.9 * m + 0.1 * d
            s = 0.999 * s + 0.001 * (d - m) ** 2
            theta += 0.1 * (m / 0.1) / (np.sqrt((s + 1e-8) / 0.001) + 1e-8)
        np.testing.assert_allclose(self.steps("AdaBelief", [[0.5, -0.25], [-0.1, 0.2]]), theta, rtol=1e-5)

    def test_adamm(self) -> None:
        m, v, most, theta = np.zeros(2), np.full(2, 1e-7), np.full(2, 1e-7), np.array([1.0, -2.0])
        for d in (np.array([0.5, -0.25]), np.array([-0.1, 0.2])):
            m, v = 0.99 * m + 0.01 * d, 0.999 * v + 0.001 * d**2
            most = np.maximum(most, v)
            theta += 0.1 * m / np.sqrt(most)
        np.testing.assert_allclose(self.steps("AdaMM", [[0.5, -0.25], [-0.1, 0.2]]), theta, rtol=1e-5)

    def test_radam_is_torchs(self) -> None:
        directions = [kernels.normal(2, seed=1, generation=g).tolist() for g in range(12)]
        torchs = TorchOptimizer("torch.optim.RAdam", lr=0.1, betas=(0.9, 0.99))
        theta, state = np.array([1.0, -2.0], np.float32), torchs.init(2)
        for d in directions:
            theta, state = torchs.apply(theta, state, np.array(d, np.float32))
        # torch rectifies where rho > 5, portable-es where it is > 4
        np.testing.assert_allclose(self.steps("RAdam", directions, beta1=0.9, beta2=0.99), theta, rtol=0.2)
        np.testing.assert_allclose(
            self.steps("RAdam", directions[:3], beta1=0.9, beta2=0.99),
            np.array([1.0, -2.0]) + 0.1 * sum(corrected(directions[: n + 1]) for n in range(3)),
            rtol=1e-5,
        )

    def test_novograd(self) -> None:
        theta = np.array([1.0, -2.0])
        first, second = np.array([0.3, 0.4]), np.array([0.6, 0.0])
        v = 0.5 * 0.25 + 0.1 * 0.36
        m = 0.9 * (first / 0.5 - 0.002 * theta) + (second / math.sqrt(v) - 0.002 * theta)
        expected = theta + 0.1 * m
        np.testing.assert_allclose(self.steps("NovoGrad", [first.tolist()]), theta)
        np.testing.assert_allclose(self.steps("NovoGrad", [first.tolist(), second.tolist()]), expected, rtol=1e-5)

    def test_decoupled_weight_decay(self) -> None:
        sgd = {"kind": "torch.optim.SGD"}
        once = self.steps("DecoupledWeightDecay", [[1.0, 1.0]], optimizer=sgd, weight_decay=0.5)
        np.testing.assert_allclose(once, [1.1 - 0.5, -1.9 + 1.0], rtol=1e-6)
        by_lr = self.steps("DecoupledWeightDecay", [[1.0, 1.0]], optimizer=sgd, weight_decay=0.5, use_stepsize=True)
        np.testing.assert_allclose(by_lr, [1.1 - 0.05, -1.9 + 0.1], rtol=1e-6)

    def test_look_ahead(self) -> None:
        sgd = {"kind": "torch.optim.SGD"}
        np.testing.assert_allclose(
            self.steps("LookAhead", [[1.0, 0.0]] * 3, optimizer=sgd, k=2, alpha=0.5), [1.0 + 0.1 + 0.1, -2.0], rtol=1e-6
        )


def corrected(directions: list[list[float]]) -> np.ndarray:
    """The mean of directions by which RAdam goes while it does not rectify."""
    m = np.zeros(2)
    for d in directions:
        m = 0.9 * m + 0.1 * np.array(d)
    return m / (1 - 0.9 ** len(directions))


def test_the_cosine() -> None:
    numbers = [cosine_with_restarts(g, 0.0, 1.0, period=4, warmup=2) for g in range(10)]
    assert numbers[:2] == [1.0, 1.0]
    np.testing.assert_allclose(numbers[2:], [(1 + math.cos(math.pi / 8 * (g % 4))) / 2 for g in range(2, 10)])
    assert cosine_with_restarts(3, 0.5, 2.0, warmup=5, decay=0.5) == 0.25


class TestModels:
    def test_a_stack_is_the_same_as_torchs_gru(self) -> None:
        torch.manual_seed(1)
        ours, theirs = StackedGRU(4, 2, hidden=3, layers=2), torch.nn.GRU(4, 3, 2)
        for i, cell in enumerate(ours.cells):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(theirs, f"{name}_l{i}").data.copy_(getattr(cell, name))
        state, hidden = ours.initial_state(), torch.zeros(2, 1, 3)
        for step in range(3):
            x = torch.full((1, 4), 0.3 * step)
            out, state = ours(x, state)
            _, hidden = theirs(x.view(1, 1, 4), hidden)
            expected = torch.sigmoid(ours.classifier(hidden.view(1, -1)))
            torch.testing.assert_close(out, expected)

    def test_one_that_remembers(self) -> None:
        torch.manual_seed(1)
        wrapped, plain = portable("compat.portable_things:Remembering", [2]), portable_things.Remembering(2)
        plain.load_state_dict({k.removeprefix("module.inner."): v for k, v in wrapped.state_dict().items()})
        state: Any = wrapped.initial_state()
        plain.reset()
        for step in range(3):
            x = torch.full((4,), 0.3 * step)
            out, state = wrapped(x[None], state)
            torch.testing.assert_close(out, plain(x)[None])

    def test_what_is_no_module(self) -> None:
        with pytest.raises(PolicyError, match=r"made a Walk, not a torch\.nn\.Module"):
            portable("compat.portable_things:Walk")


class TestRuns:
    def test_a_script(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        manager = ESManager(CONFIG, executor="inline", reporters=[])
        manager.create_local_worker(ESWorker)
        assert "python -m fastes.worker" in manager.get_client_args()
        with pytest.raises(ConfigError, match="call run_once"):
            _ = manager.model
        while not manager.done:
            manager.run_once()
        manager.stop()
        assert manager.result is not None
        assert manager.result.status == "finished"
        assert isinstance(manager.model.model, torch.nn.Module)
        assert manager.result.digest == undisturbed(portable_es.translate(CONFIG).tables)

    def test_through_the_command_line(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path, out = tmp_path / "theirs.json", tmp_path / "ours.toml"
        path.write_text(json.dumps(CONFIG), encoding="utf-8")
        assert cli.main(["convert", str(path), "-o", str(out)]) == 0
        run = ["--executor", "inline", "--set", f"output.dir={tmp_path / 'run'}"]
        assert cli.main(["train", str(out), *run]) == 0
        assert "finished after 2 generations" in capsys.readouterr().out

    def test_the_recurrent_example(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
        out = tmp_path / "ours.toml"
        assert cli.main(["convert", str(tmp_path / "train.py"), "-o", str(out)]) == 0
        run = ["--executor", "inline", "--set", f"output.dir={tmp_path / 'run'}", "--set", "evaluation.episodes=1"]
        assert cli.main(["train", str(out), *run]) == 0
        assert "finished after 2 generations" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing.json"], "nothing.json cannot be read: No such file or directory"),
        (["list.json"], "holds a list, not a table of settings"),
        (["broken.json"], "broken.json cannot be read: Expecting"),
        (["odd.json"], "looks like no configuration of es_pytorch, uber, portable_es: name the system with --from"),
        (["odd.json", "--from", "evotorch"], "--from must be one of es_pytorch, uber, portable_es, not 'evotorch'"),
        (["odd.json", "--from", "uber", "--model", "a:b"], "--model is for configurations of portable_es, not of uber"),
    ],
)
def test_what_the_command_refuses(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("list", "[]"), ("broken", "{"), ("odd", '{"a": 1}')):
        Path(f"{name}.json").write_text(text, encoding="utf-8")
    assert cli.main(["convert", *arguments]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_what_workers_run_of_a_translation() -> None:
    """What is ours is allowed; what it is made of is the user's."""
    tables = portable_es.translate(CONFIG).tables
    with pytest.raises(ProtocolError, match=r"start the worker with --allow compat\.portable_things"):
        Allowed.of(()).check(tables)
    assert len(Allowed.of(["compat.portable_things"]).check(tables)) == 5
    with pytest.raises(ProtocolError, match=r"fastes\.compat\.formats"):
        Allowed.of(()).check({"policy": {"kind": "fastes.compat.formats:read"}})
