"""Recurrent policies over a population: states of all episodes, torch's own cells as the measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies import Interface, Policy, build
from fastes.policies.population import Forward, batched, tolerance
from fastes.policies.recurrent import Recurrent, RecurrentPolicy

MEMBERS, BATCH, STEPS = 4, 3, 6
SETTINGS = [
    Recurrent((16,), "gru"),
    Recurrent((16,), "lstm"),
    Recurrent((16,), "rnn"),
    Recurrent((8, 5), "gru", bias=False),
    Recurrent((8, 5), "lstm", bias=False),
    Recurrent((8, 5, 3), "rnn"),
]


class Learned(nn.Module):
    """A state at the start that is a parameter, in a dict; the time in it as a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.linspace(-1, 1, 5))
        self.mix, self.head = nn.Linear(6 + 5, 5), nn.Linear(5, 2)

    def initial_state(self) -> dict[str, torch.Tensor]:
        return {"h": self.first.unsqueeze(0), "t": torch.zeros(1, dtype=torch.int64)}

    def forward(
        self, observation: torch.Tensor, state: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        hidden = torch.tanh(self.mix(torch.cat([observation, state["h"]], 1)))
        return self.head(hidden) + state["t"].unsqueeze(1), {"h": hidden, "t": state["t"] + 1}


class Sequence(nn.Module):
    """One of torch's sequence layers, fed one observation at a time; its state is None at the start."""

    def __init__(self, kind: type[nn.RNNBase], **settings: object) -> None:
        super().__init__()
        self.core = kind(6, 7, **settings)
        self.head = nn.Linear(7, 2)

    def initial_state(self) -> None:
        return None

    def forward(self, observation: torch.Tensor, state: object) -> tuple[torch.Tensor, object]:
        outputs, state = self.core(observation.unsqueeze(1 if self.core.batch_first else 0), state)
        return self.head(outputs.flatten(0, 1)), state


class Cells(nn.Module):
    """torch's cells in a module of the user's own; bare rows instead of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.LSTMCell(6, 4), nn.GRUCell(4, 3), nn.RNNCell(3, 2, nonlinearity="relu")

    def initial_state(self) -> list[object]:
        return [None, torch.zeros(3), None]

    def forward(self, observation: torch.Tensor, state: list[object]) -> tuple[torch.Tensor, list[object]]:
        hidden, memory = self.a(observation[0], state[0])
        state = [(hidden, memory), self.b(hidden, state[1])]
        state.append(self.c(state[1], None))
        return state[2].unsqueeze(0), [state[0], state[1], None]


class Counts(nn.Module):
    """A plain number in the state, which cannot be batched."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def initial_state(self) -> int:
        return 0

    def forward(self, observation: torch.Tensor, state: int) -> tuple[torch.Tensor, int]:
        return self.layer(observation) * state, state + 1


MODULES = {
    "learned": Learned,
    "gru": lambda: Sequence(nn.GRU),
    "gru_deep": lambda: Sequence(nn.GRU, num_layers=2, batch_first=True, bias=False),
    "lstm": lambda: Sequence(nn.LSTM, num_layers=2),
    "lstm_first": lambda: Sequence(nn.LSTM, batch_first=True),
    "rnn": lambda: Sequence(nn.RNN, nonlinearity="relu"),
    "cells": Cells,
}


def some(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def population(policy: Policy, path: str) -> tuple[Forward, np.ndarray]:
    forward = batched(policy, MEMBERS, BATCH, (6,), path)
    forward.load_(policy.theta() + np.float32(0.3) * some(MEMBERS, policy.dim))
    return forward, some(STEPS, MEMBERS, BATCH, 6, seed=1)


def finished_at() -> np.ndarray:
    """Which episodes end after each step: bool [STEPS, MEMBERS, BATCH]; never all of them or the same."""
    return np.random.default_rng(5).random((STEPS, MEMBERS, BATCH)) < 0.3


def by_definition(policy: Policy, thetas: np.ndarray, observations: np.ndarray) -> np.ndarray:
    """Member after member and episode after episode: float32 [STEPS, MEMBERS, BATCH, outputs]."""
    outputs = []
    with torch.inference_mode():
        for member in range(MEMBERS):
            policy.load_(thetas[member])
            for row in range(BATCH):
                state = policy.module.initial_state()
                for step in range(STEPS):
                    seen = torch.from_numpy(observations[step, member, row][np.newaxis])
                    output, state = policy.module(seen, state)
                    outputs.append(output[0].numpy().copy())
                    if finished_at()[step, member, row]:
                        state = policy.module.initial_state()
    return np.array(outputs).reshape(MEMBERS, BATCH, STEPS, -1).transpose(2, 0, 1, 3)


def played(forward: Forward, observations: np.ndarray) -> np.ndarray:
    outputs = []
    for seen, finished in zip(observations, finished_at(), strict=True):
        outputs.append(forward(seen))
        forward.reset_(finished)
    return np.array(outputs)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("path", ["auto", "vmap", "one_by_one"])
def test_cells_are_torchs(settings: Recurrent, path: str) -> None:
    """Through episodes that end at different steps."""
    policy = build(settings, Interface((6,), 2), 1)
    forward, observations = population(policy, path)
    assert forward.path == ("baddbmm" if path == "auto" else path)
    thetas, allowed = forward.thetas.copy(), tolerance(policy)
    found = played(forward, observations)
    np.testing.assert_allclose(found, by_definition(policy, thetas, observations), rtol=allowed, atol=allowed)
    forward.reset_()
    np.testing.assert_array_equal(played(forward, observations), found)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("path", ["auto", "one_by_one"])
def test_modules_of_users(name: str, path: str) -> None:
    torch.manual_seed(0)
    policy = Policy(MODULES[name]())
    attributes = {part: set(vars(part)) for part in policy.module.modules()}
    forward, observations = population(policy, path)
    assert forward.path == ("vmap" if path == "auto" else path)
    thetas, allowed = forward.thetas.copy(), tolerance(policy)
    found = played(forward, observations)
    np.testing.assert_allclose(found, by_definition(policy, thetas, observations), rtol=allowed, atol=allowed)
    assert {part: set(vars(part)) for part in policy.module.modules()} == attributes


@pytest.mark.parametrize(
    ("spec", "path"),
    [(settings, path) for settings in SETTINGS[:3] for path in ("baddbmm", "vmap", "one_by_one")]
    + [(module, "vmap") for module in MODULES.values()],
)
@pytest.mark.parametrize("value", [0.0, np.nan])
def test_neighbours_and_their_resets_do_not_change_a_bit(spec: object, path: str, value: float) -> None:
    policy = build(spec, Interface((6,), 2), 1)
    first, observations = population(policy, path)
    other, _ = population(policy, path)
    thetas = first.thetas.copy()
    thetas[[0, 2]] = value
    other.load_(thetas)
    finished = finished_at().copy()
    finished[:, [1, 3], 1] = False
    for seen, over in zip(observations, finished, strict=True):
        changed = seen.copy()
        changed[:, [0, 2]] = value
        np.testing.assert_array_equal(other(changed)[[1, 3], 1], first(seen)[[1, 3], 1])
        other.reset_(over)


def test_a_reset_starts_episodes_from_zero_and_leaves_others() -> None:
    """Known answers: a plain cell with weights 0 and 1 counts in relu."""
    module = RecurrentPolicy(1, (1,), 1, "rnn", bias=False)
    module.cells[0].nonlinearity = "relu"
    forward = batched(Policy(module), 2, 2, (1,))
    assert forward.path == "baddbmm"
    forward.load_(np.array([[1, 1, 1], [2, 1, -1]], np.float32))  # W_ih, W_hh, head
    ones = np.ones((2, 2, 1), np.float32)
    assert forward(ones)[..., 0].tolist() == [[1, 1], [-2, -2]]
    forward.reset_(np.array([[False, True], [False, False]]))
    assert forward(ones)[..., 0].tolist() == [[2, 1], [-4, -4]]
    forward.reset_(np.array([[False, False], [True, False]]))
    assert forward(ones)[..., 0].tolist() == [[3, 2], [-2, -6]]
    forward.load_(np.array([[1, 1, 1]], np.float32))
    assert forward(ones)[0, :, 0].tolist() == [1, 1]


@pytest.mark.filterwarnings("ignore:the policy")
def test_what_cannot_be_batched() -> None:
    forward, observations = population(Policy(Counts()), "auto")
    assert forward.path == "one_by_one"
    assert "vmap: its state changes from 1 to 2, and only tensors can be batched" in forward.reason
    outputs = played(forward, observations)
    policy = Policy(Counts())
    np.testing.assert_allclose(
        outputs, by_definition(policy, forward.thetas.copy(), observations), rtol=1e-5, atol=1e-5
    )


def test_initial_state() -> None:
    gru = build(Recurrent((4, 3)), Interface((2, 3), 5), 1).module
    assert [tuple(part.shape) for part in gru.initial_state()] == [(1, 4), (1, 3)]
    lstm = build(Recurrent((4,), "lstm"), Interface((2, 3), 5), 1).module
    ((hidden, memory),) = lstm.initial_state()
    assert (tuple(hidden.shape), tuple(memory.shape)) == ((1, 4), (1, 4))
    assert not hidden.any()
    assert not memory.any()
    action, state = lstm(torch.ones(1, 2, 3), lstm.initial_state())
    assert action.shape == (1, 5)
    assert state[0][0].any()


def test_dimensions() -> None:
    assert build(Recurrent((4,), "gru"), Interface((6,), 2), 1).dim == 3 * 4 * (6 + 4 + 2) + 4 * 2 + 2
    assert build(Recurrent([4, 3], "lstm", False), Interface((6,), 2), 1).dim == 16 * 10 + 12 * 7 + 6
    assert batched(build(Recurrent(), Interface((2, 3), 4), 1), 8, 1, (2, 3)).path == "baddbmm"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Recurrent(()), r"hidden must be one width above 0 or more, not \(\)"),
        (Recurrent((4, 0)), r"not \(4, 0\)"),
        (Recurrent(cell="mgu"), "cell must be one of gru, lstm, rnn, not 'mgu'"),
    ],
)
def test_settings_that_do_not_fit(settings: Recurrent, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        build(settings, Interface((6,), 2), 1)


def test_nothing_to_see() -> None:
    with pytest.raises(PolicyError, match="shows a policy nothing"):
        build(Recurrent(), Interface((0,), 2), 1)


def test_a_state_has_to_be_given_back() -> None:
    class Keeps(Counts):
        def forward(self, observation: torch.Tensor, state: int) -> torch.Tensor:
            return self.layer(observation)

    with pytest.raises(PolicyError, match=r"Keeps has initial_state\(\), so forward.* a pair .*not a Tensor"):
        batched(Policy(Keeps()), 2, 2, (6,))
