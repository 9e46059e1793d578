"""TorchOptimizer: the steps of PyTorch's classes to the bit, states that go through checkpoints, refusals."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.ways import WAYS, at, over_tcp, undisturbed
from specimens import SPHERE, changed, run

from fastes import checkpoint, cli, config, kernels
from fastes.algorithms import MultiAgent, NoveltyES, OpenAIES, State
from fastes.errors import ConfigError
from fastes.executors.tcp.allow import Allowed
from fastes.executors.tcp.refusals import ProtocolError
from fastes.messages import Evaluations
from fastes.optim import Adam, OnDevice, OptimizerState, TorchOptimizer
from fastes.optim.torch_class import optimizer_class
from fastes.schedules import Exponential

SHAPES = [(3, 4), (3,), (2, 3), (2,)]
TENSORS = [(0, 3, 4), (12, 3), (15, 2, 3), (21, 2)]
DIM = 23
LOOKAHEAD: dict[str, Any] = {"k": 3, "alpha": 0.6, "optimizer": {"kind": "torch.optim.AdamW", "betas": [0.8, 0.9]}}


class Halving(torch.optim.Optimizer):
    """Steps of lr, halved each time: it changes its group's lr, counts in an attribute, keeps two last directions."""

    def __init__(self, params: Any, lr: float = 0.5, hidden: bool = False) -> None:
        super().__init__(params, {"lr": lr})
        self.steps, self.hidden = 0, hidden
        self._secret = 1.0  # which nobody looks at

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.steps += 1
        self._secret *= 0.9
        for group in self.param_groups:
            for p in group["params"]:
                past = self.state[p].setdefault("past", [])
                past.append(p.grad.clone())
                del past[:-2]
                p.sub_(sum(past), alpha=group["lr"] * (self._secret if self.hidden else 1.0))
            group["lr"] /= 2


def directions(steps: int, dim: int = DIM) -> list[np.ndarray]:
    return [kernels.normal(dim, seed=5, generation=step) for step in range(steps)]


def ours(optimizer: TorchOptimizer, steps: int, tensors: Any = TENSORS) -> tuple[np.ndarray, OptimizerState]:
    theta, state = kernels.normal(DIM, seed=4), optimizer.init(DIM, tensors)
    for direction in directions(steps):
        theta, state = optimizer.apply(theta, state, direction)
    return theta, state


def as_in_torch(make: Any, steps: int) -> np.ndarray:
    """A user's loop over tensors: gradients are minus the uphill directions."""
    parts = torch.from_numpy(kernels.normal(DIM, seed=4)).split([12, 3, 6, 2])
    params = [torch.nn.Parameter(p.reshape(s).clone()) for p, s in zip(parts, SHAPES, strict=True)]
    optimizer = make(params)
    for direction in directions(steps):
        for p, part in zip(params, torch.from_numpy(-direction).split([12, 3, 6, 2]), strict=True):
            p.grad = part.reshape(p.shape).clone()
        optimizer.step()
    return np.concatenate([p.detach().numpy().reshape(-1) for p in params])


class TestTheSameAsTorch:
    @pytest.mark.parametrize(
        ("name", "settings"),
        [
            ("SGD", {"lr": 0.1}),
            ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
            ("Adam", {}),
            ("Adam", {"lr": 0.03, "amsgrad": True}),
            ("AdamW", {"lr": 0.03}),
            ("NAdam", {"lr": 0.03}),
            ("RAdam", {"lr": 0.03, "decoupled_weight_decay": True, "weight_decay": 0.1}),
            ("Adamax", {}),
            ("Adadelta", {}),
            ("Adagrad", {"lr": 0.1}),
            ("Adafactor", {}),
            ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5}),
            ("Rprop", {}),
            ("ASGD", {"lr": 0.1, "t0": 3}),
        ],
    )
    def test_torch_optim(self, name: str, settings: dict[str, Any]) -> None:
        cls: Any = getattr(torch.optim, name)
        optimizer = TorchOptimizer(f"torch.optim.{name}", **settings)
        expected = as_in_torch(lambda params: cls(params, **settings, foreach=False), 15)
        np.testing.assert_array_equal(ours(optimizer, 15)[0], expected)

    @pytest.mark.parametrize(
        ("name", "settings"),
        [
            ("AdaBelief", {"lr": 0.03, "rectify": True}),
            ("NovoGrad", {}),
            ("RAdam", {"lr": 0.03}),
            ("Nero", {}),
            ("Ranger", {"lr": 0.03, "k": 4}),
            ("Ranger21", {"num_iterations": 20}),
            ("Lamb", {"lr": 0.03}),
            ("LARS", {"lr": 0.03}),
            ("Prodigy", {}),
            ("DAdaptAdam", {}),
            ("ScheduleFreeAdamW", {"lr": 0.03}),
            ("MADGRAD", {}),
            ("AdaShift", {"keep_num": 3}),
            ("Shampoo", {"lr": 0.03}),
            ("SOAP", {"lr": 0.03}),
        ],
    )
    def test_pytorch_optimizer(self, name: str, settings: dict[str, Any]) -> None:
        package = pytest.importorskip("pytorch_optimizer")
        optimizer = TorchOptimizer(f"pytorch_optimizer.{name}", **settings)
        expected = as_in_torch(lambda params: getattr(package, name)(params, **settings, foreach=False), 15)
        np.testing.assert_array_equal(ours(optimizer, 15)[0], expected)

    def test_one_that_wraps_another(self) -> None:
        package = pytest.importorskip("pytorch_optimizer")

        def make(params: Any) -> Any:
            inner = torch.optim.AdamW(params, lr=0.02, betas=(0.8, 0.9), foreach=False)
            return package.Lookahead(inner, k=3, alpha=0.6)

        theta, state = ours(TorchOptimizer("pytorch_optimizer.Lookahead", lr=0.02, **LOOKAHEAD), 15)
        np.testing.assert_array_equal(theta, as_in_torch(make, 15))
        assert state.arrays["inner.optimizer.state.0.exp_avg"].shape == (3, 4)
        _, state = ours(TorchOptimizer("pytorch_optimizer.Lookahead", lr=0.02, **LOOKAHEAD), 14)
        assert state.arrays["inner.optimizer.number:group.0.counter"] == 2

    def test_lists_and_attributes(self) -> None:
        theta, state = ours(TorchOptimizer(Halving), 4)
        np.testing.assert_array_equal(theta, as_in_torch(Halving, 4))
        assert state.arrays["number:own.steps"] == 4
        assert state.arrays["number:own.steps"].dtype == np.int64
        assert state.arrays["number:group.0.lr"] == 0.5 / 16
        assert state.arrays["list:state.1.past"].tolist() == [2, -1]

    def test_uphill(self) -> None:
        theta, _ = TorchOptimizer("torch.optim.SGD", lr=0.5).apply(
            np.zeros(2, np.float32), TorchOptimizer("torch.optim.SGD", lr=0.5).init(2), np.array([1, -2], np.float32)
        )
        assert theta.tolist() == [0.5, -1.0]

    def test_what_weight_decay_is(self) -> None:
        """Of torch's Adam it is our l2, of its AdamW our weight_decay."""
        theta, gradient = np.ones(3, np.float32), np.full(3, 0.5, np.float32)
        for name, ours_ in (("Adam", Adam(lr=0.1, l2=0.2)), ("AdamW", Adam(lr=0.1, weight_decay=0.2))):
            torchs = TorchOptimizer(f"torch.optim.{name}", lr=0.1, weight_decay=0.2)
            stepped, _ = torchs.apply(theta, torchs.init(3), gradient)
            np.testing.assert_allclose(stepped, ours_.apply(theta, ours_.init(3), gradient)[0], rtol=1e-6)

    def test_without_shapes_theta_is_one_tensor(self) -> None:
        """A LAMB of one tensor has one trust ratio; of several it has one for each."""
        pytest.importorskip("pytorch_optimizer")
        lamb = TorchOptimizer("pytorch_optimizer.Lamb", lr=0.03)
        (whole, state), (parts, _) = ours(lamb, 3, ()), ours(lamb, 3)
        assert state.arrays["layout"].tolist() == [1, 0, DIM]
        assert np.abs(whole - parts).max() > 1e-3

    def test_what_lies_in_no_tensor(self) -> None:
        state = Adam().init(9), TorchOptimizer("torch.optim.Adam").init(9, [(2, 2, 2), (7, 1)])
        assert state[1].arrays["layout"].tolist() == [1, 0, 2, 2, 2, 2, 2, 1, 6, 1, 1, 7, 1, 1, 8, 1]

    def test_step_is_apply_of_the_sum(self) -> None:
        optimizer = TorchOptimizer("torch.optim.RAdam", lr=0.1)
        theta, state = np.ones(5000, np.float32), optimizer.init(5000)
        weights, rows = np.linspace(-1, 1, 9, dtype=np.float32), np.arange(9, dtype=np.uint32)
        for kind in ("normal", "rademacher"):
            stepped, after = optimizer.step(theta, state, weights, rows, seed=3, generation=2, kind=kind, stream=1)
            gradient = kernels.weighted_sum(weights, rows, 5000, seed=3, generation=2, kind=kind, stream=1)
            applied, again = optimizer.apply(theta, state, gradient)
            np.testing.assert_array_equal(stepped, applied)
            assert digest(after) == digest(again)

    def test_it_changes_nothing_that_it_was_given(self) -> None:
        optimizer = TorchOptimizer("torch.optim.Adam", lr=0.1, weight_decay=0.1)
        theta, state = ours(optimizer, 2)
        gradient, before = directions(3)[2], (theta.copy(), digest(state))
        threads, drawn = torch.get_num_threads(), torch.get_rng_state()
        optimizer.apply(theta, state, gradient)
        assert (theta == before[0]).all()
        assert digest(state) == before[1]
        assert (gradient == directions(3)[2]).all()
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), drawn)

    def test_threads_do_not_matter(self) -> None:
        optimizer = TorchOptimizer("torch.optim.Adafactor", lr=0.1)
        theta, gradient = kernels.normal(400_000, seed=1), kernels.normal(400_000, seed=2)
        state, before, results = optimizer.init(400_000, [(0, 1000, 400)]), torch.get_num_threads(), set()
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.add(optimizer.apply(theta, state, gradient)[0].tobytes())
        torch.set_num_threads(before)
        assert len(results) == 1


def digest(state: OptimizerState) -> str:
    return State(0, 0, np.zeros(1, np.float32), state).digest()


class TestStates:
    @pytest.mark.parametrize(
        "optimizer",
        [
            TorchOptimizer("torch.optim.Adam", lr=0.1),
            TorchOptimizer("torch.optim.SGD", lr=0.1),
            TorchOptimizer(Halving),
        ],
        ids=["adam", "sgd", "halving"],
    )
    def test_through_a_checkpoint(self, optimizer: TorchOptimizer, tmp_path: Path) -> None:
        es = OpenAIES(population=8, optimizer=optimizer)
        state = es.init(np.ones(DIM, np.float32), seed=1, tensors=TENSORS)
        for end in (1, 4):
            while state.generation < end:
                state, _ = es.tell(state, Evaluations(state.generation, fitness(es, state)))
            path = checkpoint.save(tmp_path, checkpoint.Checkpoint(end, state.arrays(), state.scalars()))
            kept = checkpoint.load(path)
            back = es.restore(kept.arrays, kept.meta)
            assert back.digest() == state.digest()
            assert {k: v.shape for k, v in back.arrays().items()} == {k: v.shape for k, v in state.arrays().items()}
            evaluations = Evaluations(state.generation, fitness(es, state))
            assert es.tell(back, evaluations)[0].digest() == es.tell(state, evaluations)[0].digest()

    def test_agents_that_have_stepped_and_others(self) -> None:
        """Novelty search keeps a state for each agent; one whose turn did not come yet has no moments."""
        es = NoveltyES(population=8, agents=3, k=2, optimizer=TorchOptimizer("torch.optim.Adam", lr=0.1))
        state = es.init(np.ones(DIM, np.float32), seed=1, tensors=TENSORS)
        for _ in range(6):
            generation = es.ask(state)
            behaviours = np.arange(2 * len(generation), dtype=np.float32).reshape(-1, 2)
            values = -np.square(generation.materialize()).sum(axis=1)
            state, _ = es.tell(state, Evaluations(state.generation, values, behaviours=behaviours))
            assert es.restore(state.arrays(), state.scalars()).digest() == state.digest()

    def test_a_schedule_of_lr_and_of_a_setting(self) -> None:
        lr, decay = Exponential(start=0.5, decay=0.5), Exponential(start=0.4, decay=0.25)
        optimizer = TorchOptimizer("torch.optim.SGD", lr=lr, weight_decay=decay)
        es = OpenAIES(population=8, sigma=0.1, optimizer=optimizer)
        state = es.init(np.ones(DIM, np.float32), seed=1)
        for generation in range(3):
            before = state
            state, metrics = es.tell(before, Evaluations(generation, fitness(es, before)))
            fixed = TorchOptimizer("torch.optim.SGD", lr=0.5**generation / 2, weight_decay=0.4 * 0.25**generation)
            plain = OpenAIES(population=8, sigma=0.1, optimizer=fixed)
            expected, _ = plain.tell(before, Evaluations(generation, fitness(es, before)))
            assert state.digest() == expected.digest()
            assert metrics["lr"] == 0.5**generation / 2
            assert metrics["weight_decay"] == 0.4 * 0.25**generation


def fitness(es: OpenAIES, state: State) -> np.ndarray:
    values: np.ndarray = -np.square(es.ask(state).materialize()).sum(axis=1)
    return values


class TestRefusals:
    @pytest.mark.parametrize(
        ("kind", "settings", "says"),
        [
            ("torch.optim.Radam", {}, r"there is no such class\. Did you mean 'torch\.optim\.RAdam'\?"),
            ("torch.optim:Adm", {}, r"Did you mean 'torch\.optim\.Adam"),
            ("torch.nn.Linear", {}, "it is no class of optimizers of PyTorch"),
            ("no_such_module.Adam", {}, "No module named 'no_such_module'"),
            ("torch.optim.LBFGS", {}, "evaluates a loss again and again"),
            ("torch.optim.SparseAdam", {}, "takes sparse gradients only"),
            ("torch.optim.Adam", {"weigth_decay": 1}, "has no setting 'weigth_decay'. Did you mean 'weight_decay'"),
            ("torch.optim.Adam", {"maximize": True}, "has no setting 'maximize'"),
            ("torch.optim.Adam", {"betas": [2.0, 0.9]}, r"cannot be made: Invalid beta parameter at index 0: 2\.0\."),
            ("torch.optim.Adam", {"lr": -1.0}, "lr must not be negative"),
            ("pytorch_optimizer.AdaBelief", {"beta": [0.9, 0.9]}, "has no setting 'beta'. Did you mean 'betas'"),
            ("pytorch_optimizer.Lookahead", {"k": 3}, "wraps another optimizer: name it as optimizer = "),
            (
                "pytorch_optimizer.Lookahead",
                {"optimizer": {"kind": "torch.optim.Adam", "beta": 1}},
                "torch.optim.Adam has no setting 'beta'",
            ),
        ],
    )
    def test_when_it_is_made(self, kind: str, settings: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=says):
            TorchOptimizer(kind, **settings)

    def test_when_it_is_tried(self) -> None:
        with pytest.raises(ValueError, match=r"requires closure"):
            TorchOptimizer("pytorch_optimizer.AliG").init(DIM, TENSORS)
        with pytest.raises(ValueError, match=r"Muon only supports 2D parameters"):
            TorchOptimizer("torch.optim.Muon").init(DIM, TENSORS)
        assert TorchOptimizer("torch.optim.Muon").init(12, [(0, 3, 4)]).scalars == {"steps": 0.0}
        with pytest.raises(ValueError, match="goes on in another way when it is made anew between steps"):
            TorchOptimizer(Halving, hidden=True).init(DIM, TENSORS)

    def test_a_class_without_a_name(self) -> None:
        with pytest.raises(ValueError, match="define the class at the top of a module"):
            TorchOptimizer(type("Local", (Halving,), {}))

    def test_several_agents(self) -> None:
        problem, teams = SimpleNamespace(behaviour="team_returns"), SimpleNamespace(teams=("a", "b"))
        algorithm: Any = MultiAgent(population=8, optimizer=TorchOptimizer("torch.optim.Adam"))
        with pytest.raises(ConfigError, match="steps each team's part of theta by itself, which optimizers of PyTorch"):
            algorithm.check(problem, SimpleNamespace(module=teams), teams)

    def test_a_package_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        optimizer_class.cache_clear()
        monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
        with pytest.raises(ValueError, match=r"pip install 'fastes\[optimizers\]'"):
            TorchOptimizer("pytorch_optimizer.Tiger")


class TestConfigurations:
    def test_there_and_back(self) -> None:
        table = {"kind": "pytorch_optimizer.Lookahead", "lr": 0.02} | LOOKAHEAD
        pytest.importorskip("pytorch_optimizer")
        made = config.algorithm({"optimizer": table}).optimizer
        assert made == TorchOptimizer("pytorch_optimizer.Lookahead", lr=0.02, **LOOKAHEAD)
        scheduled = {"kind": "exponential", "start": 0.1, "decay": 0.5, "floor": 0.0}
        tables = changed(SPHERE, optimizer={"kind": "torch.optim.SGD", "lr": scheduled, "weight_decay": scheduled})
        assert config.trainer(tables).config()["optimizer"] == tables["optimizer"]

    def test_a_class_of_the_users(self) -> None:
        made = config.algorithm({"optimizer": {"kind": "torch.optim:SGD", "lr": 1}}).optimizer
        assert made == TorchOptimizer("torch.optim:SGD", lr=1.0)
        assert TorchOptimizer(torch.optim.SGD).kind == "torch.optim.SGD"

    @pytest.mark.parametrize(
        ("table", "says"),
        [
            ({"kind": "torch.optim.Adm"}, r"^\[optimizer\]: .* Did you mean 'torch.optim.Adam'\?$"),
            ({"kind": "torch.optim.Adam", "lr": "fast"}, "optimizer.lr must be a number"),
            ({"kind": "torch.optim.Adam", "beta": 1}, r"^\[optimizer\.beta\]: torch.optim.Adam has no setting 'beta'"),
            ({"kind": "radam"}, r"or a class of PyTorch such as 'torch\.optim\.RAdam'"),
        ],
    )
    def test_one_line_of_what_is_wrong(self, table: dict[str, Any], says: str) -> None:
        with pytest.raises(ConfigError, match=says) as error:
            config.algorithm({"optimizer": table})
        assert "\n" not in str(error.value)

    def test_what_a_worker_may_import(self) -> None:
        tables = {"optimizer": {"kind": "pytorch_optimizer.Lookahead"} | LOOKAHEAD}
        with pytest.raises(ProtocolError, match="--allow pytorch_optimizer"):
            Allowed.of(()).check(tables)
        found = Allowed.of(["pytorch_optimizer"]).check(tables)
        assert [str(reference) for reference in found] == ["pytorch_optimizer:Lookahead", "torch.optim:AdamW"]


RUN = changed(
    SPHERE,
    generations=4,
    problem={"dim": 300},
    optimizer={"kind": "torch.optim.RAdam", "lr": {"kind": "exponential", "start": 0.3, "decay": 0.9}},
)


@pytest.fixture(scope="module")
def expected() -> str:
    return undisturbed(RUN)


@pytest.mark.parametrize(
    "way",
    [
        "local, 2 processes",
        "2 threads",
        "interrupted",
        "checkpoint and journal cut off",
    ],
)
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_same_digest(way: str, expected: str, tmp_path: Path) -> None:
    assert WAYS[way](RUN, tmp_path) == expected


@pytest.mark.usefixtures("no_leftover_processes")
def test_workers_that_are_sent_what_they_evaluate(expected: str, tmp_path: Path) -> None:
    assert over_tcp(1)(RUN, tmp_path) == expected


def test_a_journal_does_not_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(at(RUN, tmp_path))
    assert cli.main(["replay", str(tmp_path / "run")]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "follow from steps of PyTorch's optimizers, which depend on the processor" in told


def test_on_a_device() -> None:
    """The direction is made there, the step taken here."""
    algorithm = config.algorithm(RUN)
    assert algorithm.optimizer is not None
    spread = algorithm.with_optimizer(OnDevice(algorithm.optimizer, torch.device("cpu")))
    state, evaluations = algorithm.init(np.ones(7, np.float32), 3), Evaluations(0, np.arange(16, dtype=np.float32))
    assert spread.tell(state, evaluations)[0].digest() == algorithm.tell(state, evaluations)[0].digest()
