"""fastes.policies.virtual_batch_norm and atari_cnn: NumPy as the measure, over a population and baked in."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from fastes.errors import PolicyError, ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation, mirrored_rows, mirrored_signs
from fastes.policies import Interface, Policy, build
from fastes.policies.atari_cnn import AtariCNN
from fastes.policies.population import Forward, batched, tolerance
from fastes.policies.virtual_batch_norm import VirtualBatchNorm
from fastes.problems import Function, Gym
from fastes.problems.reference_batch import reference_batch, with_reference

MEMBERS, BATCH, SIZE, SHAPE = 3, 2, 10, (2, 9, 8)


def some(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.5, 1.5, size=shape).astype(np.float32)


def network(affine: bool = True) -> nn.Module:
    """A convolution, a linear layer, and normalisation behind each."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2),
        nn.BatchNorm2d(3, eps=1e-3, affine=affine),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 4 * 3, 5),
        nn.BatchNorm1d(5, affine=affine),
        nn.Tanh(),
        nn.Linear(5, 2),
    )
    for name, parameter in module.named_parameters():
        if name.startswith(("1.", "5.")):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return module


REFERENCE = some(SIZE, *SHAPE, seed=1)


def virtual(module: nn.Module | None = None) -> VirtualBatchNorm:
    return VirtualBatchNorm(network() if module is None else module, torch.from_numpy(REFERENCE)).eval()


def by_definition(parameters: dict[str, np.ndarray], observations: np.ndarray) -> np.ndarray:
    """The network in NumPy, float64; statistics from the reference batch: [n, 2, 9, 8] to [n, 2]."""

    def of(name: str) -> np.ndarray:
        return parameters[name].astype(np.float64)

    def convolved(values: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(values, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
        return np.einsum("nchwij,ocij->nohw", windows, of("0.weight")) + of("0.bias")[:, None, None]

    def normalised(values: np.ndarray, seen: np.ndarray, layer: str, eps: float) -> np.ndarray:
        axes = (0, *range(2, seen.ndim))
        shape = (-1, *[1] * (seen.ndim - 2))
        mean, variance = seen.mean(axes).reshape(shape), seen.var(axes).reshape(shape)
        gamma, beta = of(f"{layer}.weight").reshape(shape), of(f"{layer}.bias").reshape(shape)
        return gamma * (values - mean) / np.sqrt(variance + eps) + beta

    def linear(values: np.ndarray, layer: str) -> np.ndarray:
        return values @ of(f"{layer}.weight").T + of(f"{layer}.bias")

    values, seen = convolved(observations.astype(np.float64)), convolved(REFERENCE.astype(np.float64))
    values, seen = (np.maximum(normalised(x, seen, "1", 1e-3), 0) for x in (values, seen))
    values, seen = (linear(x.reshape(len(x), -1), "4") for x in (values, seen))
    values = np.tanh(normalised(values, seen, "5", 1e-5))
    return linear(values, "7")


def parameters_of(module: VirtualBatchNorm) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy().copy() for name, tensor in module.module.named_parameters()}


def test_one_module_is_the_definition() -> None:
    module, observations = virtual(), some(6, *SHAPE)
    expected = by_definition(parameters_of(module), observations)
    with torch.no_grad():
        state = module.initial_state()
        assert [(tuple(mean.shape), tuple(variance.shape)) for mean, variance in state] == [
            ((1, 3),) * 2,
            ((1, 5),) * 2,
        ]
        together, after = module(torch.from_numpy(observations), state)
        alone = torch.cat([module(torch.from_numpy(observations[i : i + 1]), state)[0] for i in range(6)])
    np.testing.assert_allclose(together, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(alone, expected, rtol=1e-5, atol=1e-5)
    assert after is state


def population(path: str, batch: int = BATCH, members: int = MEMBERS) -> tuple[Forward, Policy]:
    policy = Policy(virtual())
    forward = batched(policy, members, batch, SHAPE, path)
    thetas = policy.theta() + np.float32(0.2) * some(MEMBERS, policy.dim, seed=2)
    forward.load_(thetas[:members])
    return forward, policy


@pytest.mark.parametrize("path", ["auto", "vmap", "one_by_one"])
def test_a_population_is_the_definition_for_each_member(path: str) -> None:
    """Each member with the statistics of its own parameters, through episodes that end."""
    forward, policy = population(path)
    assert forward.path == {"auto": "vmap"}.get(path, path)
    observations = some(4, MEMBERS, BATCH, *SHAPE, seed=3)
    thetas = policy.theta() + np.float32(0.2) * some(MEMBERS, policy.dim, seed=2)
    finished = np.array([[True, False], [False, False], [False, True]])
    for seen in observations:
        outputs = forward(seen)
        forward.reset_(finished)
        for member in range(MEMBERS):
            named = {
                entry.name.removeprefix("module."): thetas[member, entry.offset :][: entry.size].reshape(entry.shape)
                for entry in policy.layout.entries
            }
            expected = by_definition(named, seen[member])
            allowed = tolerance(policy)
            np.testing.assert_allclose(outputs[member], expected, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("path", ["vmap", "one_by_one"])
def test_a_row_depends_on_its_member_and_observation_only(path: str) -> None:
    forward, policy = population(path)
    observations = some(MEMBERS, BATCH, *SHAPE, seed=3)
    before = forward(observations)
    others = some(MEMBERS, BATCH, *SHAPE, seed=4) * 100
    others[1, 0] = observations[1, 0]
    thetas = some(MEMBERS, policy.dim, seed=5)
    thetas[1] = policy.theta() + np.float32(0.2) * some(MEMBERS, policy.dim, seed=2)[1]
    forward.load_(thetas)
    after = forward(others)
    np.testing.assert_array_equal(after[1, 0], before[1, 0])
    assert not np.array_equal(after[0], before[0])


def test_loading_other_parameters_makes_other_statistics() -> None:
    forward, policy = population("vmap")
    observations = some(MEMBERS, BATCH, *SHAPE, seed=3)
    first = forward(observations)
    thetas = policy.theta() + np.float32(0.2) * some(MEMBERS, policy.dim, seed=2)
    forward.load_(thetas[::-1].copy())
    swapped = forward(observations[::-1].copy())
    np.testing.assert_allclose(swapped[::-1], first, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_baked_is_torchs_batch_norm_and_gives_the_same(affine: bool) -> None:
    module = VirtualBatchNorm(network(affine), torch.from_numpy(REFERENCE)).eval()
    baked = module.baked()
    kinds = [type(layer) for layer in baked]
    assert kinds == [type(layer) for layer in network()]
    assert not hasattr(baked, "initial_state")
    observations = torch.from_numpy(some(6, *SHAPE))
    with torch.no_grad():
        expected, _ = module(observations, module.initial_state())
        np.testing.assert_allclose(baked(observations), expected, rtol=1e-5, atol=1e-6)
        baked[0].weight.zero_()  # a copy
        np.testing.assert_array_equal(module(observations, module.initial_state())[0], expected)
    assert torch.export.export(module.baked(), (observations,)).module()(observations).shape == (6, 2)


def test_of_a_policy_with_parameters_put_in_and_through_files() -> None:
    """What `Policy.export` gives, saved and loaded, and baked."""
    policy = Policy(virtual())
    theta = some(policy.dim, seed=6)
    exported = policy.export(theta)
    file = io.BytesIO()
    torch.save(exported, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    sent = pickle.loads(pickle.dumps(policy))
    sent.load_(theta)
    observations = torch.from_numpy(some(4, *SHAPE))
    with torch.no_grad():
        expected = exported(observations, exported.initial_state())[0]
        for module in (loaded, sent.module):
            np.testing.assert_array_equal(module(observations, module.initial_state())[0], expected)
        np.testing.assert_allclose(loaded.baked()(observations), expected, rtol=1e-4, atol=1e-5)


def test_the_users_module_is_left_alone() -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    wrapped = virtual(module)
    wrapped.initial_state()
    assert [type(layer) for layer in module][1] is nn.BatchNorm2d
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert {name for name, _ in wrapped.named_parameters()} == {
        f"module.{name}" for name, _ in module.named_parameters()
    }
    assert [name for name, _ in wrapped.named_buffers()] == ["reference"]


class Twice(nn.Module):
    """One normalisation layer, in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        self.again = self.norm

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.again(self.second(self.norm(self.first(observation))))


def test_a_layer_called_twice_has_two_statistics() -> None:
    reference = some(SIZE, 4, seed=1)
    module = VirtualBatchNorm(Twice(), torch.from_numpy(reference)).eval()
    assert module.module.again is module.module.norm
    with torch.no_grad():
        output, _ = module(torch.from_numpy(reference), module.initial_state())
    np.testing.assert_allclose(output.mean(0), np.zeros(4), atol=1e-5)  # normalised by its own statistics each time
    np.testing.assert_allclose(output.var(0, unbiased=False), np.ones(4), rtol=1e-3)
    with pytest.raises(PolicyError, match="several times"):
        module.baked()


def test_a_module_that_is_a_layer_itself() -> None:
    reference = torch.from_numpy(some(SIZE, 4))
    module = VirtualBatchNorm(nn.BatchNorm1d(4), reference)
    with torch.no_grad():
        output, _ = module(reference, module.initial_state())
        np.testing.assert_allclose(
            output, torch.nn.functional.batch_norm(reference, None, None, training=True), atol=1e-5
        )
        np.testing.assert_allclose(module.baked()(reference), output, atol=1e-5)


def test_what_it_refuses() -> None:
    reference = torch.from_numpy(REFERENCE)
    with pytest.raises(PolicyError, match=r"Sequential has no nn\.BatchNorm layers"):
        VirtualBatchNorm(nn.Sequential(nn.Linear(2, 2)), reference)
    with pytest.raises(PolicyError, match="VirtualBatchNorm has a state of its own"):
        VirtualBatchNorm(virtual(), reference)
    with pytest.raises(PolicyError, match=r"n at least 2, not \(1, 2, 9, 8\)"):
        VirtualBatchNorm(network(), reference[:1])
    empty = VirtualBatchNorm(network(), torch.zeros_like(reference))
    assert not empty.has_reference
    for call in (empty.initial_state, empty.baked, lambda: batched(Policy(empty), 2, 1, SHAPE)):
        with pytest.raises(PolicyError, match="no reference batch yet"):
            call()
    with pytest.raises(PolicyError, match=r"\(10, 2, 9, 8\) that is not all zeros, not \(9, 2, 9, 8\)"):
        empty.take_reference_(REFERENCE[1:])
    with pytest.raises(PolicyError, match=r"not \(10, 2, 9, 8\) of zeros"):
        empty.take_reference_(np.zeros_like(REFERENCE))
    empty.take_reference_(REFERENCE)
    assert empty.has_reference
    np.testing.assert_array_equal(empty.reference, REFERENCE)


@pytest.mark.parametrize(("network_name", "parameters"), [("mnih2013", 677_686), ("mnih2015", 1_687_206)])
def test_atari_networks(network_name: str, parameters: int) -> None:
    """Sizes of the papers for (4, 84, 84) and six actions; layers that BatchNorm stands behind have two more each."""
    interface = Interface((4, 84, 84), 6)
    plain = build(AtariCNN(network_name, scale=255.0), interface, 1)
    assert plain.dim == parameters
    normalised = build(AtariCNN(network_name, reference=4), interface, 1)
    features = {"mnih2013": 16 + 32 + 256, "mnih2015": 32 + 64 + 64 + 512}[network_name]
    assert normalised.dim == parameters + 2 * features
    observations = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 4, 84, 84)).astype(np.float32))
    normalised.module.take_reference_(observations)
    with torch.no_grad():
        assert plain.module(observations).shape == (4, 6)
        np.testing.assert_allclose(plain.module[1:](observations / 255.0), plain.module(observations))
        assert normalised.module(observations, normalised.module.initial_state())[0].shape == (4, 6)


@pytest.mark.parametrize(
    ("settings", "shape", "words"),
    [
        ({}, (84, 84), "(frames, height, width), not (84, 84)"),
        ({}, (84, 84, 4), "too small"),
        ({}, (4, 20, 84), "too small"),
        ({"reference": 1}, (4, 84, 84), "at least 2 observations, or 0, not 1"),
        ({"network": "mnih"}, (4, 84, 84), "mnih2013, mnih2015, not 'mnih'"),
        ({"scale": 0.0}, (4, 84, 84), "above 0, not 0.0"),
    ],
)
def test_atari_settings(settings: dict[str, object], shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(PolicyError) as caught:
        build(AtariCNN(**settings), Interface(shape, 6), 1)
    assert words in str(caught.value)


def test_a_reference_batch_is_what_a_random_policy_sees() -> None:
    native = reference_batch(Gym("CartPole-v1"), 50, 7)
    assert native.shape == (50, 4)
    assert native.dtype == np.float32
    np.testing.assert_array_equal(native, reference_batch(Gym("CartPole-v1", native=False), 50, 7))
    np.testing.assert_array_equal(native[:20], reference_batch(Gym("CartPole-v1"), 20, 7))
    assert not np.array_equal(native, reference_batch(Gym("CartPole-v1"), 50, 8))
    assert len(np.unique(native, axis=0)) == 50
    assert np.abs(native).max(axis=0)[2] < 0.4  # radians: an episode ends at 0.21
    assert native.std(axis=0)[3] > 0.3  # and a random policy does let the pole fall
    pendulum = reference_batch(Gym("Pendulum-v1", action="tanh"), 30, 7)
    np.testing.assert_allclose(pendulum[:, 0] ** 2 + pendulum[:, 1] ** 2, np.ones(30), rtol=1e-5)


def small(observation_size: int, action_size: int) -> nn.Module:
    layers = nn.Sequential(nn.Linear(observation_size, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, action_size))
    return VirtualBatchNorm(layers, torch.zeros(16, observation_size))


def test_a_policy_is_given_its_reference_batch_and_plays() -> None:
    """Members of a unit as each of them plays when it is baked and alone."""
    problem = Gym("CartPole-v1", max_steps=60)
    policy = with_reference(problem, build(small, problem.interface(), 1), 7)
    policy.load_(policy.theta())  # a policy puts its buffers back when it loads
    np.testing.assert_array_equal(policy.module.reference, reference_batch(problem, 16, 7))
    assert with_reference(problem, policy, 8) is policy
    unit = Generation(1, 0, policy.theta(), mirrored_rows(6), np.float32(0.5) * mirrored_signs(6))
    fitness = Evaluator(problem, policy).evaluate(unit).fitness
    alone = []
    for i in range(6):
        baked = Policy(policy.export(unit.member(i)).baked())
        still = Generation(1, 0, baked.theta(), np.zeros(1, np.uint32), np.zeros(1, np.float32))
        alone.append(Evaluator(problem, baked).evaluate(still).fitness[0])
    assert fitness.tolist() == alone
    assert len(set(alone)) > 2


def test_where_no_reference_batch_can_be_had() -> None:
    empty = build(small, Interface((4,), 2), 1)
    with pytest.raises(ProblemError, match="Function has no episodes"):
        with_reference(Function(dim=3), empty, 1)
    with pytest.raises(ProblemError, match=r"obs_norm .* leave one of them out"):
        with_reference(Gym("CartPole-v1", obs_norm=True), empty, 1)
    clipped = reference_batch(Gym("CartPole-v1", obs_clip=0.1), 20, 7)
    np.testing.assert_array_equal(clipped, reference_batch(Gym("CartPole-v1"), 20, 7).clip(-0.1, 0.1))
