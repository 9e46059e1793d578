"""fastes.policies.population: every path gives what the module gives for one observation at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import specimens
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies import MLP, Interface, Policy, build
from fastes.policies.population import PATHS, Forward, batched, choose, tolerance
from fastes.policies.population.baddbmm import POINTWISE

MEMBERS, BATCH = 5, 3


def mlp(activation: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 16), activation or nn.Tanh(), nn.Linear(16, 4))


def nested() -> nn.Module:
    body = nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.Dropout(0.5), nn.Identity(), nn.ELU(inplace=True))
    return nn.Sequential(nn.Flatten(), body, nn.Sequential(nn.Linear(9, 4, bias=False)))


def tied() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    module[3].weight = module[1].weight
    return module


def partly_frozen() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    module[1].weight.requires_grad_(False)
    module[2].weight.requires_grad_(False)
    module[3].requires_grad_(False)
    module[5].bias.requires_grad_(False)
    return module


def normalised() -> nn.Module:
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4))
    module[2].running_mean[:] = torch.linspace(-1, 1, 5)
    module[2].running_var[:] = torch.linspace(0.5, 4, 5)
    return module


class Half(nn.Module):
    """Parameters of three dtypes and a frozen integer one."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(6, 8)
        self.short = nn.Linear(8, 4).to(torch.bfloat16)
        self.fine = nn.Parameter(torch.ones(4, dtype=torch.float64))
        self.whole = nn.Parameter(torch.tensor([3]), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.short(self.wide(x.flatten(1)).to(torch.bfloat16)) * self.fine / self.whole


class Convolved(nn.Module):
    """Not a sequence, and of a shape that is no vector."""

    def __init__(self) -> None:
        super().__init__()
        self.filters, self.head = nn.Conv2d(2, 3, 2), nn.Linear(3 * 9, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.filters(x)).flatten(1))


class Mixes(specimens.Linear):
    """Episodes see each other, if they are given as one batch."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return super().forward(observation - observation.mean(0, keepdim=True) / 2)


class WritesInPlace(specimens.Linear):
    """A trace in a buffer, changed in place."""

    def __init__(self, observation_size: int, action_size: int) -> None:
        super().__init__(observation_size, action_size)
        self.register_buffer("trace", torch.ones(1, action_size))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        self.trace.mul_(0.5).add_(super().forward(observation))
        return self.trace


class Branches(specimens.Linear):
    """Control flow that depends on what it sees."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        output = super().forward(observation)
        return output if output.sum() > 0 else -2 * output


class Noisy(specimens.Linear):
    """Draws as it acts."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        output = super().forward(observation)
        return output + torch.randn_like(output)


class Caches(specimens.Linear):
    """Leaves what it computed in an attribute, which means nothing to the next call."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        self.features = super().forward(observation)
        return self.features


class Reuses(specimens.Linear):
    """Gives the same memory at every call."""

    def __init__(self, observation_size: int, action_size: int) -> None:
        super().__init__(observation_size, action_size)
        self.memory = torch.zeros(1, action_size)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return self.memory.copy_(super().forward(observation))


class Threads(specimens.Linear):
    """Tells how many threads torch uses."""

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return 0 * super().forward(observation) + torch.get_num_threads()


class Counts(specimens.Linear):
    """A state that nobody is told of."""

    seen = 0

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        self.seen = self.seen + 1
        return super().forward(observation) * self.seen


ZOO: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "mlp": (mlp, (2, 3), "native"),
    "nested": (nested, (6,), "baddbmm"),
    "tied": (tied, (6,), "native"),
    "partly_frozen": (partly_frozen, (6,), "baddbmm"),
    "one_layer": (lambda: nn.Linear(6, 1), (6,), "native"),
    "prelu": (lambda: mlp(nn.PReLU()), (6,), "vmap"),
    "normalised": (normalised, (6,), "vmap"),
    "half": (Half, (6,), "vmap"),
    "convolved": (Convolved, (2, 4, 4), "vmap"),
    "class": (lambda: specimens.Linear(6, 4), (6,), "vmap"),
    "mixes": (lambda: Mixes(6, 4), (6,), "vmap"),
    "binds_buffer": (lambda: specimens.Remembers(6, 4), (6,), "vmap"),
    "writes_buffer": (lambda: WritesInPlace(6, 4), (6,), "vmap"),
    "branches": (lambda: Branches(6, 4), (6,), "one_by_one"),
    "noisy": (lambda: Noisy(6, 4), (6,), "one_by_one"),
    "caches": (lambda: Caches(6, 4), (6,), "one_by_one"),
    "reuses": (lambda: Reuses(6, 4), (6,), "one_by_one"),
}
DENSE = [path for path in PATHS if path != "low_rank"]  # which take parameters; the other is tried in test_low_rank.py
CAN = [(name, path) for name, (_, _, first) in ZOO.items() for path in DENSE[DENSE.index(first) :]]


def policy_of(name: str) -> Policy:
    torch.manual_seed(1)
    return Policy(ZOO[name][0]())


def some(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def thetas_for(policy: Policy, members: int = MEMBERS) -> np.ndarray:
    return policy.theta() + np.float32(0.2) * some(members, policy.dim)


def loaded(name: str, path: str, members: int = MEMBERS, batch: int = BATCH) -> tuple[Forward, np.ndarray]:
    """A forward, and observations of three steps."""
    policy = policy_of(name)
    forward = batched(policy, members, batch, ZOO[name][1], path)
    forward.load_(thetas_for(policy, members), np.arange(members, dtype=np.uint32))
    return forward, some(3, members, batch, *ZOO[name][1], seed=1)


def by_definition(name: str) -> np.ndarray:
    """Each episode by itself, through `Policy`: float32 [steps, MEMBERS, BATCH, outputs]."""
    policy, shape = policy_of(name), ZOO[name][1]
    thetas, observations = thetas_for(policy), some(3, MEMBERS, BATCH, *shape, seed=1)
    outputs: dict[tuple[int, int, int], np.ndarray] = {}
    with torch.inference_mode():
        for member in range(MEMBERS):
            for row in range(BATCH):
                policy.load_(thetas[member])
                for step in range(3):
                    seen = torch.from_numpy(observations[step, member, row][np.newaxis])
                    outputs[step, member, row] = policy.module(seen)[0].float().numpy().copy()
    return np.array(list(outputs.values())).reshape(MEMBERS, BATCH, 3, -1).transpose(2, 0, 1, 3)


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, p in CAN if n != "noisy"])
def test_each_path_gives_what_the_definition_gives(name: str, path: str) -> None:
    forward, observations = loaded(name, path)
    assert forward.path == path
    allowed = tolerance(policy_of(name))
    for seen, expected in zip(observations, by_definition(name), strict=True):
        found = forward(seen)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=allowed, atol=allowed)


@pytest.mark.parametrize("name", ZOO)
def test_auto_takes_the_first_that_can(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "_warned", set())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        forward, _ = loaded(name, "auto")
        loaded(name, "auto")
    path = ZOO[name][2]
    assert forward.path == path
    assert [part.partition(":")[0] for part in forward.reason.split("; ") if part] == DENSE[: DENSE.index(path)]
    assert len(seen) == (path == "one_by_one")  # once for two
    if seen:
        assert type(policy_of(name).module).__name__ in str(seen[0].message)
        assert forward.reason in str(seen[0].message)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prelu", ["baddbmm: PReLU"]),
        ("class", ["baddbmm: Linear is not one"]),
        ("half", ["baddbmm: a parameter is torch.float64"]),
        ("branches", ["vmap: Branches raised RuntimeError", "data-dependent control flow"]),
        ("noisy", ["vmap: it draws random numbers"]),
        ("caches", ["vmap: forward assigns features"]),
    ],
)
@pytest.mark.filterwarnings("ignore:the policy")
def test_reasons(name: str, words: list[str]) -> None:
    for word in words:
        assert word in loaded(name, "auto")[0].reason


@pytest.mark.parametrize("activation", POINTWISE)
def test_pointwise_layers(activation: type[nn.Module]) -> None:
    module = activation(0.1, 0.5) if activation is nn.Threshold else activation()
    policy = Policy(mlp(module))
    forward = batched(policy, 2, 2, (6,), "baddbmm")
    thetas, x = thetas_for(policy, 2), some(2, 2, 6) * 3
    forward.load_(thetas)
    found = forward(x)
    for member in range(2):
        policy.load_(thetas[member])
        expected = policy.module(torch.from_numpy(x[member])).detach().numpy()
        np.testing.assert_allclose(found[member], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [MLP(), MLP((7,), "gelu"), MLP((), bias=False), MLP((8, 8, 8), "silu", False)])
def test_our_own_mlp_is_batched(settings: MLP) -> None:
    assert batched(build(settings, Interface((2, 3), 4), 1), 8, 2, (2, 3)).path == "native"


def test_gelu_of_both_forms() -> None:
    x, outputs = some(2, 1, 6), []
    for form in ("none", "tanh"):
        policy = Policy(nn.Sequential(nn.Linear(6, 1, bias=False), nn.GELU(approximate=form)))
        forward = batched(policy, 2, 1, (6,), "baddbmm")
        forward.load_(np.ones((2, 6), np.float32))
        value = torch.from_numpy(x.sum(-1, keepdims=True))
        outputs.append(forward(x))
        np.testing.assert_allclose(outputs[-1], nn.functional.gelu(value, approximate=form), atol=1e-6)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-5


@pytest.mark.parametrize(("name", "path"), CAN)
@pytest.mark.parametrize("value", [0.0, 1e30, np.inf, np.nan])
@pytest.mark.filterwarnings("ignore:the policy")
def test_neighbours_do_not_change_a_bit(name: str, path: str, value: float) -> None:
    """Of other members and of other episodes of the same member."""
    first, observations = loaded(name, path)
    other, _ = loaded(name, path)
    thetas, changed = first.thetas.copy(), observations.copy()
    thetas[[0, 2, 4]] = value
    changed[:, :, [0, 2]] = value
    other.load_(thetas, np.array([9, 1, 9, 3, 9], np.uint32))
    for alone, among in zip(observations, changed, strict=True):
        expected, found = first(alone), other(among)
        np.testing.assert_array_equal(found[[1, 3], 1], expected[[1, 3], 1])
        assert np.isfinite(found[[1, 3], 1]).all()


@pytest.mark.parametrize(("name", "path"), CAN)
def test_neither_threads_nor_the_callers_generator_matter(name: str, path: str) -> None:
    outputs, states, before = [], [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            torch.manual_seed(threads)
            start = torch.get_rng_state()
            forward, observations = loaded(name, path, 64, 2)
            torch.manual_seed(threads)
            outputs.append([forward(seen) for seen in observations])
            assert torch.get_num_threads() == threads
            assert not torch.is_inference_mode_enabled()
            states.append(torch.equal(torch.get_rng_state(), start))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert states == [True, True]


@pytest.mark.parametrize("path", ["vmap", "one_by_one"])
def test_one_thread_inside(path: str) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        forward = batched(Policy(Threads(6, 4)), 2, 1, (6,), path)
        forward.load_(np.zeros((2, 28), np.float32))
        assert (forward(some(2, 1, 6)) == 1).all()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "path"), CAN)
def test_a_shorter_unit_is_padded(name: str, path: str) -> None:
    full, observations = loaded(name, path)
    short, _ = loaded(name, path)
    short.load_(full.thetas[:2].copy(), np.arange(2, dtype=np.uint32))
    np.testing.assert_array_equal(short.thetas[2:], short.thetas[[0, 0, 0]])
    for seen in observations:
        found = short(seen)
        np.testing.assert_array_equal(found[:2], full(seen)[:2])
        assert found.shape[0] == MEMBERS


@pytest.mark.parametrize(("name", "path"), CAN)
def test_reset_is_of_the_finished_only(name: str, path: str) -> None:
    """And after a reset of all, or new parameters, everything is as in the beginning."""
    forward, observations = loaded(name, path)
    again, _ = loaded(name, path)
    finished = np.zeros((MEMBERS, BATCH), np.bool_)
    finished[1, 2] = finished[3] = True
    runs = [[run(seen) for seen in (observations[0], observations[1])] for run in (forward, again)]
    np.testing.assert_array_equal(*runs)
    again.reset_(finished)
    assert finished.sum() == 4  # untouched
    going_on, found = forward(observations[0]), again(observations[0])
    np.testing.assert_array_equal(found[~finished], going_on[~finished])
    if name == "noisy":
        assert (found[finished] != runs[0][0][finished]).all()  # new episode, further numbers
        forward.load_(forward.thetas, np.arange(MEMBERS, dtype=np.uint32))
    else:
        np.testing.assert_array_equal(found[finished], runs[0][0][finished])
        forward.reset_()
    np.testing.assert_array_equal(forward(observations[0]), runs[0][0])


def test_random_numbers_are_the_members_own() -> None:
    """The first episode draws as a member alone does; no two episodes draw the same."""
    forward, observations = loaded("noisy", "one_by_one")
    policy, thetas = policy_of("noisy"), forward.thetas.copy()
    found = np.array([forward(seen) for seen in observations])
    state = torch.get_rng_state()
    for member in range(MEMBERS):
        policy.load_(thetas[member])
        torch.manual_seed(member)
        for step in range(3):
            expected = policy.module(torch.from_numpy(observations[step, member, :1]))[0]
            np.testing.assert_allclose(found[step, member, 0], expected.detach(), rtol=1e-5, atol=1e-5)
    torch.set_rng_state(state)
    forward.load_(np.zeros_like(thetas), np.arange(MEMBERS, dtype=np.uint32))
    assert len(np.unique(np.array([forward(seen) for seen in observations]))) == 3 * MEMBERS * BATCH * 4


@pytest.mark.parametrize(("name", "path"), CAN)
def test_the_policy_is_left_as_it_was(name: str, path: str) -> None:
    policy = policy_of(name)
    theta = policy.theta()
    tensors = {key: (value.data_ptr(), value.clone()) for key, value in policy.module.named_parameters()}
    buffers = {key: value.clone() for key, value in policy.module.named_buffers()}
    attributes = {part: set(vars(part)) for part in policy.module.modules()}
    forward = batched(policy, MEMBERS, BATCH, ZOO[name][1], path)
    forward.load_(thetas_for(policy))
    output = forward(some(MEMBERS, BATCH, *ZOO[name][1]))
    output[:] = 0.0
    np.testing.assert_array_equal(policy.theta(), theta)
    for key, value in policy.module.named_parameters():
        assert value.data_ptr() == tensors[key][0]
        assert torch.equal(value, tensors[key][1])
        assert not value.is_inference()
        assert value.grad is None
    for key, value in policy.module.named_buffers():
        assert torch.equal(value, buffers[key])
        assert not value.is_inference()
    if name != "caches":
        assert {part: set(vars(part)) for part in policy.module.modules()} == attributes
    module = policy.export(theta)
    module(torch.zeros(1, *ZOO[name][1])).sum().backward()


@pytest.mark.parametrize(("name", "path"), [("mlp", path) for path in DENSE] + [("half", "vmap")])
def test_parameters_are_views(name: str, path: str) -> None:
    """What is written into thetas counts; load_ copies nothing then, and rounds what has to be."""
    forward, observations = loaded(name, path)
    expected, thetas = forward(observations[0]), forward.thetas.copy()
    held = forward._stacked
    for entry, tensor in zip(policy_of(name).layout.entries, held.tensors.values(), strict=True):
        if entry.dtype == "float32":
            assert tensor.data_ptr() == held.thetas.data_ptr() + 4 * entry.offset
    forward.thetas[:] = 0.0
    forward.load_(forward.thetas)
    assert not forward(observations[0]).any()
    forward.thetas[:] = thetas
    forward.load_(forward.thetas)
    np.testing.assert_array_equal(forward(observations[0]), expected)


@pytest.mark.parametrize("path", DENSE)
def test_observations_of_any_layout(path: str) -> None:
    forward, observations = loaded("mlp", path)
    expected = forward(observations[0])
    fixed = observations[0].copy()
    fixed.flags.writeable = False
    shifted = np.frombuffer(b"\0" * 4 + fixed.tobytes(), np.float32, offset=4).reshape(fixed.shape)
    for same in (fixed, shifted, np.asfortranarray(fixed), fixed.astype(np.float64)):
        np.testing.assert_array_equal(forward(same), expected)


@pytest.mark.parametrize("width", [16, 256, 2048])
def test_the_tolerance_is_wide_enough_and_not_too_wide(width: int) -> None:
    """Against float64, over networks of three widths."""
    policy = Policy(nn.Sequential(nn.Linear(width, width // 4), nn.Tanh(), nn.Linear(width // 4, 8)))
    thetas, x = thetas_for(policy, 4), some(4, 4, width)
    outputs = []
    for path in ("native", "baddbmm", "vmap", "one_by_one"):
        forward = batched(policy, 4, 4, (width,), path)
        forward.load_(thetas)
        outputs.append(forward(x))
    with torch.no_grad():
        policy.load_(thetas[0])
        exact = policy.module.double()(torch.from_numpy(x[0]).double()).numpy()
    worst = max((np.abs(found[0] - exact) / (1 + np.abs(exact))).max() for found in outputs)
    assert worst < tolerance(policy) / 4
    assert tolerance(policy) < 2e-4


def test_a_path_that_differs_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Off(choose.Baddbmm):
        path = "off"

        def _forward(self, observations: torch.Tensor) -> torch.Tensor:
            return super()._forward(observations) * (1 + 1e-4)

    class Narrow(choose.Baddbmm):
        path = "narrow"

        def _forward(self, observations: torch.Tensor) -> torch.Tensor:
            return super()._forward(observations)[..., :1]

    monkeypatch.setattr(choose, "PATHS", {"off": (Off,), "narrow": (Narrow,)} | PATHS)
    forward = batched(policy_of("mlp"), 2, 2, (6,))
    assert forward.path == "native"
    assert forward.reason.startswith("off: its outputs differ by ")
    assert "narrow: it gave outputs of shape [1], not [4]" in forward.reason


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("mlp", "fast", ["'fast'", "'auto'", "native, baddbmm, vmap, one_by_one"]),
        ("convolved", "baddbmm", ["Convolved", "baddbmm", "'auto'"]),
        ("branches", "vmap", ["Branches", "data-dependent"]),
    ],
)
def test_a_path_that_cannot(name: str, path: str, words: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        batched(policy_of(name), 2, 2, ZOO[name][1], path)
    for word in words:
        assert word in str(caught.value)


def test_a_hidden_state_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"Counts gave another output .*seen.*policies\.wrap"):
        batched(Policy(Counts(6, 4)), 2, 2, (6,))


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (lambda self, x: (self.layer(x), x), "gave a tuple for a batch of one"),
        (lambda self, x: self.layer(x)[0], r"gave shape \(4,\) for a batch of one"),
    ],
)
def test_what_is_no_action(forward: Callable[..., object], words: str) -> None:
    module = type("Odd", (specimens.Linear,), {"forward": forward})(6, 4)
    with pytest.raises(PolicyError, match=words):
        batched(Policy(module), 2, 2, (6,))


def test_a_module_that_drawn_numbers_make_raise() -> None:
    """It may still take real observations: nothing is assumed of it, and each row is called by itself."""

    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.min() < 0:
                raise ValueError("no such place")
            return self.table(x.long()).flatten(1)

    with pytest.warns(RuntimeWarning, match=r"Looks .* one member after another.*ValueError: no such place"):
        forward = batched(Policy(Looks()), 2, 2, (1,))
    forward.load_(np.arange(16, dtype=np.float32).reshape(2, 8))
    found = forward(np.array([[[0], [3]], [[1], [2]]], np.float32))
    assert found.tolist() == [[[0, 1], [6, 7]], [[10, 11], [12, 13]]]
    with pytest.raises(PolicyError, match="cannot be evaluated by vmap: called on drawn"):
        batched(Policy(Looks()), 2, 2, (1,), "vmap")


def test_wrong_arrays() -> None:
    forward, observations = loaded("mlp", "baddbmm")
    with pytest.raises(ValueError, match=r"\[5, 3, 2, 3\], not \[5, 3, 6\]"):
        forward(observations[0].reshape(5, 3, 6))
    for thetas in (
        np.zeros((6, 180), np.float32),
        np.zeros((0, 180), np.float32),
        np.zeros(180, np.float32),
        np.zeros((5, 179), np.float32),
    ):
        with pytest.raises(ValueError, match=r"\[1 to 5, 180\]"):
            forward.load_(thetas)
    with pytest.raises(ValueError, match=r"draws must have shape \[2\]"):
        forward.load_(np.zeros((2, 180), np.float32), np.zeros(5, np.uint32))
    for finished in (np.zeros((5, 2), np.bool_), np.zeros((5, 3), np.int8)):
        with pytest.raises(ValueError, match=r"finished must be bool \[5, 3\]"):
            forward.reset_(finished)
    with pytest.raises(ValueError, match="call load_ first"):
        batched(policy_of("mlp"), 5, 3, (2, 3))(observations[0])
    with pytest.raises(ValueError, match="members and batch must be at least 1"):
        batched(policy_of("mlp"), 0, 1, (6,))
