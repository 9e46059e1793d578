"""fastes.envs: whole episodes in compiled code give the bits of the lock-step loop in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from torch import nn

from fastes import kernels
from fastes.envs import NATIVE, Box, Episodes, Native
from fastes.kernels.mlp import Mlp, MlpLayer
from fastes.kernels.rollout import Sampling, Sight
from fastes.policies import Policy
from fastes.policies.population import batched
from fastes.policies.population.native import Native as NativeForward
from fastes.types import AnyArray, Float32Array

ALL = pytest.mark.parametrize("native", NATIVE.values(), ids=NATIVE)
ARRAYS = ("state", "observations", "rewards", "terminated", "truncated", "active", "steps", "returns")
MEMBERS = 9


@pytest.fixture(autouse=True)
def choices() -> Iterator[None]:
    """Puts the instruction set and the number of threads back."""
    before = kernels.info()
    yield
    kernels.select_isa(before["isa"])
    kernels.set_num_threads(before["threads"])


def perceptron(
    native: Native, hidden: int = 12, members: int = MEMBERS, scale: float = 1.0
) -> tuple[Mlp, Float32Array]:
    """Policies drawn at random, packed."""
    sizes = (
        native.observation_shape[0],
        hidden,
        native.actions.size if isinstance(native.actions, Box) else native.actions.n,
    )
    layers: list[MlpLayer] = []
    dim = 0
    for inputs, outputs, activation in zip(sizes, sizes[1:], ("tanh", "identity"), strict=False):
        layers.append((inputs, outputs, dim, dim + inputs * outputs, activation))
        dim += inputs * outputs + outputs
    mlp = Mlp(layers, dim)
    thetas = scale * np.random.default_rng(1).standard_normal((members, dim)).astype(np.float32)
    packed = mlp.packed(members)
    mlp.pack(thetas, packed)
    return mlp, packed


def played_in_python(
    episodes: Episodes, mlp: Mlp, packed: Float32Array, sight: Sight | None, sampling: Sampling | None
) -> int:
    """The definition of `Episodes.play`."""
    members, (n, size) = len(packed), episodes.observations.shape
    actions, taken = episodes.native.actions, 0
    while episodes.running:
        taken += episodes.running
        if sampling is not None:
            counted = (episodes.active & sampling.sampled)[:, None]
            wide = episodes.observations.astype(np.float64)
            sampling.totals[:] += np.where(counted, wide, 0.0)
            sampling.squares[:] += np.where(counted, wide * wide, 0.0)
        seen = episodes.observations
        if sight is not None and sight.mean is not None:
            seen = (seen - sight.mean) * sight.scale
        if sight is not None and sight.clip > 0:
            seen = np.clip(seen, np.float32(-sight.clip), np.float32(sight.clip))
        assert seen.dtype == np.float32
        outputs = mlp.forward(packed, seen.reshape(members, n // members, size)).reshape(n, -1)
        chosen: AnyArray = outputs.argmax(axis=1)
        if isinstance(actions, Box):
            chosen = np.clip(outputs, np.float32(actions.low), np.float32(actions.high))
        episodes.step(chosen)
    return taken


def started(native: Native, batch: int, members: int = MEMBERS) -> Episodes:
    """Episodes of which some have run a little and some are left out."""
    n = members * batch
    episodes = native.episodes(n, max_steps=90)
    episodes.reset(np.arange(n) + 7)
    shape = (n, native.actions.size) if isinstance(native.actions, Box) else (n,)
    for _ in range(2):
        episodes.step(np.ones(shape, np.float32 if isinstance(native.actions, Box) else np.int64))
    episodes.active[1::4] = False
    episodes.running = int(np.count_nonzero(episodes.active))
    episodes.max_steps = 80
    return episodes


def sampling_of(episodes: Episodes) -> Sampling:
    n, size = episodes.observations.shape
    totals, squares = (np.random.default_rng(k).random((n, size)) for k in (0, 1))
    return Sampling(np.arange(n) % 3 != 1, totals, squares)


def assert_same(left: Episodes, right: Episodes) -> None:
    for name in ARRAYS:
        ours, theirs = getattr(left, name), getattr(right, name)
        np.testing.assert_array_equal(ours, theirs, name)
        assert ours.tobytes() == theirs.tobytes(), name  # the signs of zeros too


@ALL
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("seen", ["plain", "clipped", "normalised", "both"])
def test_the_bits_of_the_loop_in_python(native: Native, batch: int, seen: str) -> None:
    size = native.observation_shape[0]
    mean, scale = np.linspace(-0.1, 0.2, size, dtype=np.float32), np.linspace(0.8, 3.0, size, dtype=np.float32)
    sight = {
        "plain": None,
        "clipped": Sight(clip=0.5),
        "normalised": Sight(mean, scale),
        "both": Sight(mean, scale, 0.75),
    }[seen]
    mlp, packed = perceptron(native)
    packed[4] = np.nan
    expected = started(native, batch)
    sums = sampling_of(expected)
    taken = played_in_python(expected, mlp, packed, sight, sums)
    for isa in kernels.info()["isas_usable"]:
        kernels.select_isa(isa)
        for threads in (1, 2, 7):
            kernels.set_num_threads(threads)
            episodes = started(native, batch)
            ours = sampling_of(episodes)
            assert episodes.play(mlp, packed, sight=sight, sampling=ours) == taken
            assert episodes.running == 0
            assert_same(episodes, expected)
            assert ours.totals.tobytes() == sums.totals.tobytes()
            assert ours.squares.tobytes() == sums.squares.tobytes()
    assert expected.steps[1] == 2  # left out


@pytest.mark.parametrize("hidden", [64, 200])
@pytest.mark.parametrize("batch", [1, 20])
def test_more_members_than_are_played_together(hidden: int, batch: int) -> None:
    """Episodes of 8 steps and of many: the places of those that end are taken by others."""
    native = NATIVE["CartPole-v1"]
    mlp, packed = perceptron(native, hidden, members=60 if batch == 1 else 12, scale=0.6)
    python, compiled = native.episodes(len(packed) * batch), native.episodes(len(packed) * batch)
    for episodes in (python, compiled):
        episodes.reset(np.arange(episodes.active.size))
    taken = played_in_python(python, mlp, packed, None, None)
    assert compiled.play(mlp, packed) == taken == python.steps.sum()
    assert_same(compiled, python)
    assert python.steps.min() < 12
    assert python.steps.max() > 40


def test_clipping_is_that_of_numpy() -> None:
    """Identity policies whose bias is the action: beyond the bounds, at them, zeros of either sign, not finite."""
    native = NATIVE["Pendulum-v1"]
    values = np.array(
        [-3, -2, -0.0, 0.0, 1.5, 2, 7, np.inf, -np.inf, np.nan, np.finfo(np.float32).tiny / 4], np.float32
    )
    mlp = Mlp([(3, 1, 1, 0, "identity")], 4)
    packed = mlp.packed(len(values))
    thetas = np.zeros((len(values), 4), np.float32)
    thetas[:, 0] = values
    mlp.pack(thetas, packed)
    python, compiled = native.episodes(len(values)), native.episodes(len(values))
    for episodes in (python, compiled):
        episodes.reset(np.arange(len(values)))
    played_in_python(python, mlp, packed, None, None)
    compiled.play(mlp, packed)
    for name in ("observations", "returns", "state"):
        np.testing.assert_array_equal(getattr(compiled, name), getattr(python, name))
    assert np.isnan(compiled.returns[9])


def test_nothing_to_play() -> None:
    native = NATIVE["CartPole-v1"]
    mlp, packed = perceptron(native)
    episodes = native.episodes(MEMBERS)
    assert episodes.play(mlp, packed) == 0
    episodes.reset(np.arange(MEMBERS))
    before = episodes.observations.copy()
    episodes.active[:] = False
    assert episodes.play(mlp, packed) == 0
    np.testing.assert_array_equal(episodes.observations, before)


def test_a_population_plays_what_its_forward_decides() -> None:
    module = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    forward = batched(Policy(module), 6, 2, (4,), "native")
    assert isinstance(forward, NativeForward)
    forward.load_(np.random.default_rng(3).standard_normal((6, forward.thetas.shape[1])).astype(np.float32))
    python, compiled = NATIVE["CartPole-v1"].episodes(12), NATIVE["CartPole-v1"].episodes(12)
    for episodes in (python, compiled):
        episodes.reset(np.arange(12))
    while python.running:
        python.step(forward(python.observations.reshape(6, 2, 4)).reshape(12, 2).argmax(axis=1))
    compiled.play(forward.mlp, forward.packed)
    assert_same(compiled, python)


def test_wrong_input() -> None:
    native = NATIVE["CartPole-v1"]
    mlp, packed = perceptron(native)
    episodes = native.episodes(MEMBERS + 1)
    with pytest.raises(ValueError, match="a multiple of the members in packed, not 10 for 9"):
        episodes.play(mlp, packed)
    with pytest.raises(ValueError, match=r"Acrobot-v1 takes policies of 3 outputs, not 2\."):
        NATIVE["Acrobot-v1"].episodes(MEMBERS).play(mlp, packed)
    car, weights = perceptron(NATIVE["MountainCar-v0"])
    with pytest.raises(
        ValueError, match=r"observations must be float32 of shape \(9, 2\), not float32 of shape \(9, 6\)"
    ):
        NATIVE["Acrobot-v1"].episodes(MEMBERS).play(car, weights)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sight": Sight(np.ones(4, np.float32))}, "mean and scale belong together"),
        ({"sight": Sight(np.ones(3, np.float32), np.ones(4, np.float32))}, r"mean must be float32 of shape \(4,\)"),
        ({"sight": Sight(np.ones(4, np.float32), np.ones(4))}, "scale must be float32"),  # type: ignore[arg-type]
        ({"sight": Sight(clip=-1.0)}, "clip must be 0 or above, not -1"),
        ({"sight": Sight(clip=float("nan"))}, "clip must be 0 or above, not nan"),
        ({"sampling": Sampling(np.ones(9, np.uint8), np.ones((9, 4)), np.ones((9, 4)))}, "sampled must be bool"),  # type: ignore[arg-type]
        ({"sampling": Sampling(np.ones(9, np.bool_), np.ones((9, 3)), np.ones((9, 4)))}, "totals must be float64 of"),
        ({"sampling": Sampling(np.ones(9, np.bool_), np.ones((9, 4)), np.ones((4, 9)).T)}, "squares must be C-contig"),
    ],
)
def test_wrong_sight_and_sampling(changed: dict[str, Any], message: str) -> None:
    native = NATIVE["CartPole-v1"]
    mlp, packed = perceptron(native)
    episodes = native.episodes(MEMBERS)
    episodes.reset(np.arange(MEMBERS))
    with pytest.raises(ValueError, match=message):
        episodes.play(mlp, packed, **changed)
    assert episodes.active.all()
    assert not episodes.steps.any()
