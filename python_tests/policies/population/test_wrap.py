"""fastes.policies.wrap: modules that keep a state inside play many episodes side by side."""

from __future__ import annotations

import copy
import pickle
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies import Policy
from fastes.policies.population import batched, tolerance
from fastes.policies.wrap import Wrapped, wrap

MEMBERS, BATCH, STEPS = 3, 2, 5


class Old(nn.Module):
    """The older style: reset() begins an episode, forward changes what is inside."""

    def __init__(self) -> None:
        super().__init__()
        self.core, self.head = nn.GRUCell(4, 3), nn.Linear(3, 2)
        self.gain = torch.tensor([2.0])
        self.reset()

    def reset(self) -> None:
        self.hidden = torch.zeros(1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.hidden = self.core(x, self.hidden)
        return self.head(self.hidden) * self.gain


class FromNone(Old):
    """Nothing is there before the first step; the layer is one of torch's sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.LSTM(4, 3)

    def reset(self) -> None:
        self.hidden = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs, self.hidden = self.core(x.unsqueeze(0), self.hidden)
        return self.head(outputs[0])


class InPlace(Old):
    """Changed in place, by reset() too, and in a submodule."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Old()
        self.head = nn.Linear(4, 4)

    def reset(self) -> None:
        if not hasattr(self, "trace"):
            self.trace = torch.zeros(1, 4)
        self.trace.zero_()
        if hasattr(self, "inner"):
            self.inner.reset()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.trace *= 0.5
        self.trace += self.head(x)
        return self.inner(self.trace)


class InBuffer(Old):
    """A buffer holds the state."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.core, self.head = nn.GRUCell(4, 3), nn.Linear(3, 2)
        self.register_buffer("hidden", torch.ones(1, 3))
        self.register_buffer("gain", torch.tensor([2.0]))

    def reset(self) -> None:
        self.hidden.fill_(-1.0)


class Frames(Old):
    """The last observations in a deque."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(12, 2)

    def reset(self) -> None:
        self.frames = deque([torch.zeros(1, 4)] * 3, maxlen=3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.frames.append(x)
        return self.head(torch.cat(list(self.frames), 1))


class Counts(Old):
    """A plain number."""

    def reset(self) -> None:
        super().reset()
        self.time = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.time += 1
        return super().forward(x) + self.time


class InNumPy(Old):
    """An array."""

    def reset(self) -> None:
        self.sum = np.zeros(2, np.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sum += self.head(x[:, :3])[0].numpy()
        return torch.from_numpy(self.sum.copy()[np.newaxis])


KINDS: list[tuple[type[nn.Module], str]] = [
    (Old, "vmap"),
    (FromNone, "vmap"),
    (InPlace, "vmap"),
    (InBuffer, "vmap"),
    (Frames, "vmap"),
    (Counts, "one_by_one"),
    (InNumPy, "one_by_one"),
]


def some(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def finished_at() -> np.ndarray:
    return np.random.default_rng(2).random((STEPS, MEMBERS, BATCH)) < 0.3


def by_definition(kind: type[nn.Module], thetas: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """The module as its author meant it: reset() at the start of each episode."""
    torch.manual_seed(0)
    policy = Policy(kind())
    outputs = []
    with torch.inference_mode():
        for member in range(MEMBERS):
            policy.load_(thetas[member])
            for row in range(BATCH):
                policy.module.reset()
                for step in range(STEPS):
                    seen = torch.from_numpy(observations[step, member, row][np.newaxis])
                    outputs.append(policy.module(seen)[0].numpy().copy())
                    if finished_at()[step, member, row]:
                        policy.module.reset()
    return np.array(outputs).reshape(MEMBERS, BATCH, STEPS, -1).transpose(2, 0, 1, 3)


@pytest.mark.parametrize(("kind", "expected"), KINDS)
@pytest.mark.parametrize("path", ["auto", "one_by_one"])
@pytest.mark.filterwarnings("ignore:the policy")
def test_episodes_side_by_side(kind: type[nn.Module], expected: str, path: str) -> None:
    torch.manual_seed(0)
    policy = Policy(wrap(kind()))
    forward = batched(policy, MEMBERS, BATCH, (4,), path)
    assert forward.path == (expected if path == "auto" else path)
    thetas = policy.theta() + np.float32(0.3) * some(MEMBERS, policy.dim)
    observations = some(STEPS, MEMBERS, BATCH, 4, seed=1)
    forward.load_(thetas)
    allowed = tolerance(policy)
    answers = by_definition(kind, thetas, observations)
    for seen, finished, answer in zip(observations, finished_at(), answers, strict=True):
        np.testing.assert_allclose(forward(seen), answer, rtol=allowed, atol=allowed)
        forward.reset_(finished)


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_the_module_keeps_its_own_state_and_states_do_not_change(kind: type[nn.Module]) -> None:
    wrapped = wrap(kind().eval())
    x = torch.from_numpy(some(1, 4))
    with torch.inference_mode():
        start = wrapped.initial_state()
        kept = copy.deepcopy(start)
        first, after = wrapped(x, start)
        second, _ = wrapped(x, after)
        again, _ = wrapped(x, start)
    assert str(start) == str(kept)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_what_is_carried() -> None:
    assert set(wrap(Old()).initial_state()) == {"hidden", "gain"}
    assert set(wrap(Old(), ("hidden",)).initial_state()) == {"hidden"}
    assert set(wrap(InPlace()).initial_state()) == {"trace", "gain", "inner.hidden", "inner.gain"}
    assert wrap(InBuffer()).initial_state()["hidden"].tolist() == [[-1.0] * 3]


def test_names_are_those_that_are_needed() -> None:
    policy = Policy(wrap(InPlace(), ("trace", "inner.hidden")))
    forward = batched(policy, 2, 1, (4,))
    forward.load_(some(2, policy.dim))
    x = some(2, 1, 4)
    first, second = forward(x), forward(x)
    assert (first != second).all()
    forward.reset_()
    np.testing.assert_array_equal(forward(x), first)


def test_a_wrapped_policy_travels() -> None:
    policy = Policy(wrap(Old()))
    there = pickle.loads(pickle.dumps(policy))
    assert isinstance(there.module, Wrapped)
    np.testing.assert_array_equal(there.theta(), policy.theta())
    assert there.module.initial_state()["hidden"].tolist() == [[0.0] * 3]


def test_what_cannot_be_wrapped() -> None:
    with pytest.raises(PolicyError, match=r"Linear has no method reset\(\)"):
        wrap(nn.Linear(2, 2))
    with pytest.raises(PolicyError, match=r"Old has no memory, inner\.hidden after reset"):
        wrap(Old(), ("hidden", "memory", "inner.hidden"))


def test_a_state_left_out_is_noticed() -> None:
    with pytest.raises(PolicyError, match="Wrapped gave another output when it was called again"):
        batched(Policy(Unlisted.wrapped()), 2, 1, (4,))


class Unlisted(Old):
    """Part of the state where wrap cannot see it."""

    def __init__(self) -> None:
        super().__init__()
        self.box = [object(), 0]

    @classmethod
    def wrapped(cls) -> nn.Module:
        return wrap(cls())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.box[1] += 1
        return super().forward(x) + self.box[1]
