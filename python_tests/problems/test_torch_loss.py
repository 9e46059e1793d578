"""fastes.problems.torch_loss: losses are torch's, batches are their seeds', and no member sees another."""

from __future__ import annotations

import math
import multiprocessing
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from fastes import kernels
from fastes.algorithms import OpenAIES
from fastes.errors import PolicyError, ProblemError
from fastes.evaluator import Evaluator
from fastes.messages import UnitResult, in_member_order
from fastes.noise import Generation, environment_seeds, mirrored_rows, mirrored_signs
from fastes.optim import Adam
from fastes.policies import MLP, Interface, PolicySpec, build
from fastes.problems.base import Outcome, Play
from fastes.problems.losses import LOSSES
from fastes.problems.pulse import IDLE, NOBODY
from fastes.problems.torch_data import Batches, drawn_samples, opened
from fastes.problems.torch_loss import Minus, TorchLoss
from fastes.training import train

SAMPLES, CLASSES = 40, 3


def some(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


INPUTS = torch.from_numpy(some(SAMPLES, 2, 4))
LABELS = torch.from_numpy(np.random.default_rng(1).integers(0, CLASSES, SAMPLES))
NUMBERS = torch.from_numpy(some(SAMPLES, CLASSES, seed=2))
SHARES = NUMBERS.sigmoid()
TARGETS = {"cross_entropy": LABELS, "accuracy": LABELS, "binary_cross_entropy": SHARES}
BY_TORCH = {
    "cross_entropy": functional.cross_entropy,
    "accuracy": lambda outputs, targets: -(outputs.argmax(1) == targets).double().mean(),
    "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
    "mse": functional.mse_loss,
    "l1": functional.l1_loss,
    "smooth_l1": functional.smooth_l1_loss,
}


def unit(dim: int, members: int = 6, theta: np.ndarray | None = None) -> Generation:
    centre = np.zeros(dim, np.float32) if theta is None else theta
    return Generation(1, 2, centre, mirrored_rows(members), np.float32(0.7) * mirrored_signs(members))


def played(
    problem: TorchLoss, spec: PolicySpec | None = None, members: int = 6, episodes: int = 1, **changes: Any
) -> Outcome:
    policy = build(spec or MLP((5,)), problem.interface(), 3)
    seeds = environment_seeds(1, 2, 0, members, episodes, common=problem.common_seeds)
    play = Play(seeds, np.arange(members, dtype=np.uint32), **changes)
    return problem.open().evaluate(policy, unit(policy.dim, members), play)


def by_hand(problem: TorchLoss, loss: Any, data: Any, spec: PolicySpec | None = None, members: int = 6) -> np.ndarray:
    """Returns, module after module: float64 [members]."""
    policy = build(spec or MLP((5,)), problem.interface(), 3)
    seeds = environment_seeds(1, 2, 0, members, 1, common=problem.common_seeds)[:, 0]
    values = []
    for i in range(members):
        batch = torch.from_numpy(drawn_samples(int(seeds[i]), problem.batch_size or SAMPLES, SAMPLES))
        policy.load_(unit(policy.dim, members).member(i))
        with torch.no_grad():
            values.append(-float(loss(policy.module(data[0][batch].float()), data[1][batch])))
    return np.array(values)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("common", [True, False])
def test_losses_are_torchs(name: str, common: bool) -> None:
    data = (INPUTS, TARGETS.get(name, NUMBERS))
    problem = TorchLoss(data, loss=name, batch_size=16, common_seeds=common)
    outcome = played(problem)
    np.testing.assert_allclose(outcome.returns[:, 0], by_hand(problem, BY_TORCH[name], data), rtol=1e-5, atol=1e-6)
    assert outcome.returns.dtype == np.float64
    assert outcome.steps.tolist() == [16] * 6
    assert outcome.steps.dtype == np.uint32
    assert len(np.unique(outcome.returns)) > 2


def weighted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Not a mean over samples."""
    outputs.clamp_(-1, 1)  # what it does to its arguments is its own affair
    return (outputs - targets.float().mul_(2.0).unsqueeze(1)).pow(2).sum(1).max()


def step(module: nn.Module, batch: Any) -> torch.Tensor:
    inputs, targets = batch
    return weighted(module(inputs.mul_(1.0)), targets)


@pytest.mark.parametrize("settings", [{"loss": weighted}, {"loss": f"{__name__}:weighted"}, {"objective": step}])
@pytest.mark.parametrize("common", [True, False])
def test_callables_are_called_for_each_member(settings: dict[str, Any], common: bool) -> None:
    problem = TorchLoss((INPUTS, LABELS), batch_size=16, common_seeds=common, **settings)
    expected = by_hand(problem, weighted, (INPUTS, LABELS.clone()))
    np.testing.assert_allclose(played(problem).returns[:, 0], expected, rtol=1e-5)


def test_an_objective_without_data_draws_what_it_needs() -> None:
    seen: list[list[float]] = []

    def objective(module: nn.Module, generator: torch.Generator) -> float:
        at = torch.rand(4, 1, generator=generator).requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(module(at).sum(), at)
        seen.append(at.flatten().tolist())
        return float((slope - 1).square().mean())

    problem = TorchLoss(objective=objective)
    assert problem.interface() == Interface((0,), 0)
    outcome = played(problem, nn.Linear(1, 1), members=4)
    assert [one == seen[0] for one in seen] == [True] * 4
    weights = unit(2, 4).materialize()[:, 0].astype(np.float64)
    np.testing.assert_allclose(outcome.returns[:, 0], -((weights - 1) ** 2), rtol=1e-6)
    assert outcome.steps.tolist() == [1] * 4


@pytest.mark.parametrize("chunk", [1, 5, 6, 16, 99])
@pytest.mark.parametrize("name", ["cross_entropy", "callable"])
def test_chunks_change_nothing(chunk: int, name: str) -> None:
    """16 samples in chunks of 1, 4 (5 at most), 6 (the last padded), 16."""
    loss = functional.cross_entropy if name == "callable" else name
    whole = played(TorchLoss((INPUTS, LABELS), loss=loss, batch_size=16))
    parts = played(TorchLoss((INPUTS, LABELS), loss=loss, batch_size=16, chunk_size=chunk))
    np.testing.assert_allclose(parts.returns, whole.returns, rtol=1e-5)
    assert parts.steps.tolist() == whole.steps.tolist()


def test_episodes_are_batches_of_their_own() -> None:
    problem = TorchLoss((INPUTS, LABELS), batch_size=8)
    three = played(problem, episodes=3)
    assert three.returns.shape == (6, 3)
    assert three.steps.tolist() == [24] * 6
    np.testing.assert_array_equal(three.returns[:, :1], played(problem).returns)
    assert len(np.unique(three.returns[0])) == 3


@pytest.mark.parametrize("loss", ["cross_entropy", functional.cross_entropy])
@pytest.mark.parametrize("common", [True, False])
def test_a_member_sees_no_other(loss: Any, common: bool) -> None:
    """What the others hold does not matter, nor who was evaluated before."""
    problem = TorchLoss((INPUTS, LABELS), loss=loss, batch_size=16, common_seeds=common)
    policy = build(MLP((5,)), problem.interface(), 3)
    one, other = unit(policy.dim), unit(policy.dim)
    other.rows[2:], other.scales[2:] = 100 + other.rows[2:], np.float32(1e30)
    seeds = environment_seeds(1, 2, 0, 6, 1, common=common)
    play = Play(seeds, np.zeros(6, np.uint32))
    session = problem.open()
    first = session.evaluate(policy, one, play).returns
    changed = session.evaluate(policy, other, play).returns
    np.testing.assert_array_equal(changed[:2], first[:2])
    assert not np.array_equal(changed[2:], first[2:])
    np.testing.assert_array_equal(problem.open().evaluate(policy, one, play).returns, first)


@pytest.mark.parametrize("name", [*LOSSES, "callable", "objective"])
def test_a_loss_that_is_not_a_number_stays_so(name: str) -> None:
    data = (INPUTS, TARGETS.get(name, LABELS if name in ("callable", "objective") else NUMBERS))
    settings: dict[str, Any] = {"loss": name}
    if name == "callable":
        settings = {"loss": functional.cross_entropy}
    elif name == "objective":
        settings = {"objective": lambda module, batch: functional.cross_entropy(module(batch[0]), batch[1])}
    problem = TorchLoss(data, batch_size=8, **settings)
    policy = build(MLP((5,)), problem.interface(), 3)
    members = unit(policy.dim, 4, np.full(policy.dim, 0.1, np.float32))
    members.scales[1] = np.nan
    play = Play(np.full((4, 1), 9, np.uint32), np.zeros(4, np.uint32))
    assert np.isnan(problem.open().evaluate(policy, members, play).returns[:, 0]).tolist() == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("objective", [None, step])
def test_who_is_left_out_and_the_watchdog(objective: Any) -> None:
    problem = TorchLoss((INPUTS, LABELS), batch_size=8, objective=objective)
    pulses: list[int] = []
    outcome = played(problem, left_out={0: "it hung", 3: "it hung too"}, pulse=pulses.append)
    full = played(problem)
    kept = [1, 2, 4, 5]
    np.testing.assert_array_equal(outcome.returns[kept], full.returns[kept])
    assert np.isnan(outcome.returns[[0, 3]]).all()
    assert outcome.failures == {0: "it hung", 3: "it hung too"}
    assert outcome.steps.tolist() == [0, 8, 8, 0, 8, 8]
    assert pulses == ([NOBODY, IDLE] if objective is None else kept)


# --- data ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size"), [(1, 1), (3, 7), (4, 7), (7, 7), (64, 1000), (900, 1000), (128, 2**32 - 1)])
def test_a_batch_is_drawn_by_the_documented_equation(count: int, size: int) -> None:
    """The equation in whole numbers of Python."""
    seed = 12345
    few = min(count, size - count)
    chosen: list[int] = []
    block = 0
    while len(chosen) < few:
        words = kernels.philox4x32(np.array([block, 7, 0, 0], np.uint32), seed).tolist()
        for high, low in (words[:2], words[2:]):
            sample = (high << 32 | low) * size >> 64
            if sample not in chosen and len(chosen) < few:
                chosen.append(sample)
        block += 1
    expected = sorted(chosen if few == count else set(range(size)) - set(chosen))
    drawn = drawn_samples(seed, count, size)
    assert drawn.dtype == np.int64
    assert drawn.tolist() == expected


def test_every_set_of_samples_is_equally_likely() -> None:
    """20,000 draws of 3 out of 6: 20 sets, chi-square below the 0.999 quantile of 19 degrees of freedom, 43.8."""
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(20_000):
        drawn = tuple(drawn_samples(seed, 3, 6).tolist())
        counts[drawn] = counts.get(drawn, 0) + 1
    assert len(counts) == 20
    assert sum((count - 1000) ** 2 / 1000 for count in counts.values()) < 43.8


class Items(Dataset[Any]):
    """Samples in a dict or a pair; noise from torch's generator on top."""

    def __init__(self, classes: tuple[str, ...] = (), as_dict: bool = False, noise: float = 0.0) -> None:
        if classes:
            self.classes = classes
        self.as_dict, self.noise, self.reads = as_dict, noise, 0

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, number: int) -> Any:
        if not 0 <= number < SAMPLES:
            raise IndexError(number)
        self.reads += 1
        image, label = INPUTS[number] + self.noise * torch.randn(2, 4), int(LABELS[number])
        return {"image": image, "label": label} if self.as_dict else (image, label)


def arrays() -> Any:
    return INPUTS.numpy(), LABELS.numpy()


def test_kinds_of_data_give_the_same() -> None:
    expected = played(TorchLoss((INPUTS, LABELS), batch_size=16)).returns
    read_only = INPUTS.numpy().copy()
    read_only.flags.writeable = False
    for data, settings in (
        (arrays(), {}),
        ([read_only, LABELS.to(torch.uint8)], {}),
        (TensorDataset(INPUTS, LABELS), {}),
        ((np.flip(INPUTS.numpy()[:, ::-1].astype(np.float64), 1), LABELS), {}),
        (arrays, {}),
        (Items(("a", "b", "c")), {}),
        (Items(), {"outputs": CLASSES}),
    ):
        problem = TorchLoss(data, batch_size=16, **settings)
        assert problem.interface() == Interface((2, 4), CLASSES)
        np.testing.assert_array_equal(played(problem).returns, expected)


def test_data_and_loss_by_name(in_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import numpy as np\ndef data():\n    return np.ones((9, 2)), np.zeros((9, 1))\n"
    (in_directory / "of_the_user.py").write_text(text + "def loss(outputs, targets):\n    return outputs.mean() + 5\n")
    monkeypatch.syspath_prepend(str(in_directory))
    problem = TorchLoss("of_the_user:data", loss="of_the_user:loss", batch_size=4)
    assert problem.interface() == Interface((2,), 1)
    returns = played(problem, nn.Linear(2, 1)).returns[:, 0]
    np.testing.assert_allclose(returns, -5 - unit(3).materialize().astype(np.float64).sum(axis=1), rtol=1e-5)


def test_items_in_dicts_for_an_objective() -> None:
    def objective(module: nn.Module, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(module(batch["image"]), batch["label"])

    spec = build(MLP((5,)), Interface((2, 4), CLASSES), 3).module
    problem = TorchLoss(Items(as_dict=True), objective=objective, batch_size=16)
    expected = played(TorchLoss((INPUTS, LABELS), batch_size=16), spec)
    np.testing.assert_allclose(played(problem, spec).returns, expected.returns, rtol=1e-5)


def test_a_dataset_is_read_once_a_seed_and_may_draw() -> None:
    data = Items(noise=0.5)
    batches = Batches(opened(data), 8)
    before = torch.get_rng_state()
    first = batches.of([3, 3, 5])
    assert list(first) == [3, 5]
    assert data.reads == 16
    assert batches.of([3])[3] is first[3]
    assert data.reads == 16
    assert torch.equal(torch.get_rng_state(), before)
    again = Batches(opened(Items(noise=0.5)), 8).of([3])[3]
    assert torch.equal(again[0], first[3][0])
    assert not torch.equal(again[0], INPUTS[drawn_samples(3, 8, SAMPLES)])


def test_all_of_the_data_is_one_batch() -> None:
    """Whatever the seeds are: one episode is enough."""
    problem = TorchLoss((INPUTS, LABELS), batch_size=0)
    outcome = played(problem, episodes=5)
    assert outcome.returns.shape == (6, 1)
    np.testing.assert_array_equal(outcome.returns, played(TorchLoss((INPUTS, LABELS), batch_size=SAMPLES)).returns)
    expected = by_hand(problem, functional.cross_entropy, (INPUTS, LABELS))
    np.testing.assert_allclose(outcome.returns[:, 0], expected, rtol=1e-5)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter([])


def broken() -> Any:
    raise OSError("disk")


class Torn(Items):
    def __getitem__(self, number: int) -> Any:
        raise OSError("sector")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, ["problem.data is missing"]),
        ({"data": (INPUTS, LABELS), "batch_size": 41}, ["41", "40 samples", "0 for all"]),
        ({"data": (INPUTS[:0], LABELS[:0])}, ["samples, not 0"]),
        ({"data": ()}, ["samples, not 0"]),
        ({"data": (INPUTS, LABELS[1:])}, ["[40, 39]"]),
        ({"data": (np.array(["a"]), np.array(["b"]))}, ["problem.data", "Give numbers"]),
        ({"data": Stream()}, ["Stream", "__len__"]),
        ({"data": Items()}, ["problem.outputs is missing"]),
        ({"data": (INPUTS,)}, ["pairs", "1 of them"]),
        ({"data": Items(as_dict=True)}, ["pairs", "a dict"]),
        ({"data": broken}, ["OSError: disk"]),
        ({"data": "nowhere:data"}, ["cannot be imported"]),
        ({"data": lambda: 3}, ["not a int"]),
        ({"data": Torn(("a",))}, ["OSError", "sector"]),
        ({"data": (INPUTS, LABELS), "loss": "cross_entropi"}, ["cross_entropy, ", "'cross_entropi'"]),
        ({"data": (INPUTS, LABELS), "metric": "f1"}, ["problem.metric", "'f1'"]),
        ({"data": (INPUTS, LABELS), "batch_size": -1}, ["batch_size", "-1"]),
        ({"data": (INPUTS, LABELS), "chunk_size": -1}, ["chunk_size", "-1"]),
        ({"data": (INPUTS, LABELS), "forward": "fast"}, ["vmap", "'fast'"]),
        ({"data": (INPUTS, LABELS), "loss": lambda o, t: o}, ["shape (8, 3)", "take its mean"]),
        ({"data": (INPUTS, LABELS), "loss": lambda o, t: None}, ["TypeError", "member 0 of generation 2"]),
        ({"data": (INPUTS, LABELS), "objective": lambda m, b: 1 / 0}, ["ZeroDivisionError", "member 0 of"]),
        ({"data": (INPUTS, LABELS), "loss": "nowhere:loss"}, ["cannot be imported"]),
        ({"data": (INPUTS, LABELS), "outputs": 2}, ["IndexError", "members 0 to 5 of generation 2"]),
        ({"data": (INPUTS, NUMBERS), "loss": "mse", "outputs": 1}, ["shape (1,)", "shape (3,)"]),
    ],
)
def test_messages(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises((ProblemError, PolicyError)) as caught:
        played(TorchLoss(**({"batch_size": 8} | settings)))
    for word in words:
        assert word in str(caught.value)


# --- the centre ------------------------------------------------------------------------------------------------------


def centre(problem: TorchLoss, episodes: int = 3) -> np.ndarray:
    policy = build(MLP((5,)), problem.interface(), 3)
    outcome: Any = Evaluator(problem, policy).evaluate_center(policy.theta(), 1, 0, episodes)
    return np.asarray(getattr(outcome, "returns", outcome)).reshape(1, -1)


def right(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    return float((outputs.argmax(1) == targets).double().mean())


def test_the_centre_is_evaluated_on_the_test_set() -> None:
    data, test = (INPUTS[:30], LABELS[:30]), (INPUTS[30:], LABELS[30:])
    policy = build(MLP((5,)), Interface((2, 4), CLASSES), 3)
    with torch.no_grad():
        outputs = policy.module(test[0])
    loss, share = -float(functional.cross_entropy(outputs, test[1])), right(outputs, test[1])
    assert 0 < share < 1
    for settings, expected in (
        ({}, loss),
        ({"metric": "accuracy"}, share),
        ({"metric": right}, share),
        ({"metric": "cross_entropy", "loss": "accuracy"}, loss),
        ({"objective": lambda module, batch: functional.cross_entropy(module(batch[0]), batch[1])}, loss),
        ({"objective": step, "metric": "accuracy"}, share),
    ):
        problem = TorchLoss(data, batch_size=8, test_data=test, outputs=CLASSES, **settings)
        np.testing.assert_allclose(centre(problem), [[expected]], rtol=1e-5)


def test_without_a_test_set_it_is_evaluated_on_batches() -> None:
    problem = TorchLoss((INPUTS, LABELS), batch_size=8)
    assert problem.for_evaluation() is problem
    assert centre(problem).shape == (1, 3)
    by_metric = centre(TorchLoss((INPUTS, LABELS), batch_size=8, metric="accuracy"))
    assert set((8 * by_metric).round(6).ravel() % 1) == {0.0}
    assert (by_metric >= 0).all()


def test_minus() -> None:
    assert Minus(right)(torch.eye(3), torch.tensor([0, 1, 0])) == pytest.approx(-2 / 3)


# --- as a whole ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [(INPUTS, LABELS), TensorDataset(INPUTS, LABELS), arrays()])
def test_tensors_travel_to_workers_by_value(data: Any) -> None:
    problem = TorchLoss(data, batch_size=8, test_data=data)
    sent = pickle.loads(multiprocessing.reduction.ForkingPickler.dumps(problem))
    assert all(isinstance(array, np.ndarray) for array in (*sent.data, *sent.test_data))
    np.testing.assert_array_equal(played(sent).returns, played(problem).returns)


def test_it_learns() -> None:
    """Three arcs of the plane, 15 % of the samples unseen; evolution in one process, 60 generations of 64 members."""
    drawn = np.random.default_rng(0)
    labels = drawn.integers(0, 3, 400)
    turn = 2 * math.pi * labels / 3 + drawn.uniform(0, 1.6, 400)
    radius = 1 + 0.15 * drawn.normal(size=400)
    inputs = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1).astype(np.float32)
    data, test = (inputs[:340], labels[:340]), (inputs[340:], labels[340:])
    problem = TorchLoss(data, batch_size=64, test_data=test, metric="accuracy")
    policy = build(MLP((16,)), problem.interface(), 1)
    algorithm = OpenAIES(population=64, sigma=0.1, optimizer=Adam(lr=0.05))
    state = algorithm.init(policy.theta(), 1)
    evaluator = Evaluator(problem, policy)
    before: Any = evaluator.evaluate_center(state.theta, 1, 0, 1)
    for _ in range(60):
        generation = algorithm.ask(state)
        results: list[UnitResult] = [evaluator.evaluate(part) for part in evaluator.units(generation)]
        state, _ = algorithm.tell(state, in_member_order(results, generation.index, len(generation)))
    after: Any = evaluator.evaluate_center(state.theta, 1, 60, 1)
    assert np.asarray(getattr(before, "returns", before)).item() < 0.6
    assert np.asarray(getattr(after, "returns", after)).item() >= 0.95


class Words(nn.Module):
    """Classes of short texts."""

    def __init__(self, action_size: int) -> None:
        super().__init__()
        self.ids, self.last = nn.Embedding(20, 16), nn.Linear(16, action_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.last(self.ids(tokens).mean(1))


@pytest.mark.parametrize("noise", ["normal", "low_rank"])
def test_inputs_that_are_ids(noise: str) -> None:
    """An embedding looks them up; as numbers it could not."""
    tokens = torch.randint(20, (60, 5), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    targets = (tokens == 3).any(1).long()
    forward = "low_rank" if noise == "low_rank" else "auto"
    problem = TorchLoss((tokens, targets), batch_size=60, forward=forward, input_dtype="int64")
    algorithm = OpenAIES(64, 0.1, Adam(lr=0.1), noise=noise)
    result = train(problem, Words, algorithm, generations=30, seed=1, executor="inline", reporters=[])
    assert result.evaluation_mean is not None
    assert result.evaluation_mean > -0.2  # the cross entropy of the share of ones is 0.5


def test_settings_that_do_not_go_together() -> None:
    data = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ProblemError, match=r"problem.input_dtype must be 'float32' or 'int64', not 'int8'"):
        TorchLoss(data, batch_size=2, input_dtype="int8")  # type: ignore[arg-type]
    with pytest.raises(ProblemError, match=r"problem.forward = 'low_rank' is for a loss: an objective calls"):
        TorchLoss(data, batch_size=2, objective=lambda module, batch: 0.0, forward="low_rank")
