"""fastes.policies.normalised: the same module behind the normalisation of what it sees."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from fastes.policies import Interface, Policy, Recurrent
from fastes.policies.normalised import Normalised, NormalisedRecurrent, normalised
from fastes.policies.population import batched

MEAN, SCALE = np.array([1.0, -2.0, 1e6], np.float32), np.array([0.5, 10.0, 1e4], np.float32)


def observations(shape: tuple[int, ...] = (3,)) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(0, 3, (200, *shape)) + np.resize(MEAN, shape)).astype(np.float32)


@pytest.mark.parametrize("clip", [0.0, 5.0, 0.1])
def test_bits(clip: float) -> None:
    """NumPy's differences, products and clipping, which are those of a session."""
    module = normalised(nn.Identity(), MEAN, SCALE, clip)
    expected = (observations() - MEAN) * SCALE
    if clip:
        expected = np.clip(expected, -np.float32(clip), np.float32(clip))
    found = module(torch.from_numpy(observations())).numpy()
    assert found.dtype == np.float32
    assert found.tobytes() == expected.tobytes()


def test_what_is_not_finite_stays_so() -> None:
    module = normalised(nn.Identity(), MEAN, SCALE, 5.0)
    found = module(torch.tensor([[float("nan"), float("inf"), -float("inf")]]))[0].tolist()
    assert np.isnan(found[0])
    assert found[1:] == [5.0, -5.0]


def test_images() -> None:
    mean, scale = (np.resize(x, (2, 3, 4)) for x in (MEAN, SCALE))
    module = normalised(nn.Flatten(), mean, scale)
    expected = ((observations((2, 3, 4)) - mean) * scale).reshape(200, -1)
    assert module(torch.from_numpy(observations((2, 3, 4)))).numpy().tobytes() == expected.tobytes()


def test_its_parameters_are_the_modules_and_its_buffers_travel() -> None:
    inner = nn.Linear(3, 2)
    module = normalised(inner, MEAN, SCALE, 5.0)
    assert [id(p) for p in module.parameters()] == [id(p) for p in inner.parameters()]
    assert list(module.state_dict()) == ["mean", "scale", "clip", "module.weight", "module.bias"]
    other = normalised(nn.Linear(3, 2), np.zeros(3, np.float32), np.ones(3, np.float32), 5.0)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer))
    seen = torch.from_numpy(observations())
    assert torch.equal(module(seen), other(seen))


def test_what_it_was_made_from_is_not_shared() -> None:
    mean = MEAN.copy()
    module = normalised(nn.Identity(), mean, SCALE)
    mean[:] = 0
    assert module.mean.tolist() == MEAN.tolist()


def test_a_recurrent_module_keeps_its_state() -> None:
    torch.manual_seed(0)
    inner = Recurrent((4,))(Interface((3,), 2))
    module = normalised(inner, MEAN, SCALE, 5.0)
    assert isinstance(module, NormalisedRecurrent)
    state, inner_state = module.initial_state(), inner.initial_state()
    assert torch.equal(state[0], inner_state[0])
    for one in observations()[:5]:
        shown = np.clip((one - MEAN) * SCALE, np.float32(-5), np.float32(5))
        found, state = module(torch.from_numpy(one[np.newaxis]), state)
        expected, inner_state = inner(torch.from_numpy(shown[np.newaxis]), inner_state)
        assert torch.equal(found, expected)
    assert type(normalised(nn.Identity(), MEAN, SCALE)) is Normalised
    assert not hasattr(normalised(nn.Identity(), MEAN, SCALE), "initial_state")


def test_it_is_evaluated_as_a_policy_of_many() -> None:
    torch.manual_seed(0)
    module = normalised(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), MEAN * 0, SCALE * 0 + 2, 5.0)
    policy = Policy(module)
    forward = batched(policy, 3, 2, (3,))
    assert forward.path in ("native", "baddbmm", "vmap")
    thetas = np.random.default_rng(1).normal(size=(3, policy.dim)).astype(np.float32)
    forward.load_(thetas)
    seen = np.random.default_rng(2).normal(size=(3, 2, 3)).astype(np.float32)
    found = forward(seen)
    for member in range(3):
        policy.load_(thetas[member])
        with torch.no_grad():
            expected = module(torch.from_numpy(seen[member])).numpy()
        np.testing.assert_allclose(found[member], expected, rtol=1e-5, atol=1e-6)
