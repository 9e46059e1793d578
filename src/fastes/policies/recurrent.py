"""Recurrent policies: cells of GRU, LSTM or plain RNN, then a linear layer.

A policy with a state has `forward(observation, state) -> (action, state)` and `initial_state() -> state`, where a state
is tensors in tuples, lists or dicts. `initial_state` gives that of one episode: tensors of shape [1, ...], as for a
batch of one. forward changes neither observation nor state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import nn

from fastes.policies.interface import Factory, Interface

State: TypeAlias = tuple[torch.Tensor | tuple[torch.Tensor, torch.Tensor], ...]
"""Of each cell its hidden state, float32 [batch, hidden]; of an LSTM cell, hidden state and memory."""

_CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "rnn": nn.RNNCell}


@dataclass(frozen=True, slots=True)
class Recurrent(Factory):
    """hidden: widths of the cells, each fed by the one before; cell: their kind; bias: whether layers have one.

    Layers are initialised as torch does. Observations are flattened; states start at zero.
    """

    hidden: tuple[int, ...] = (64,)
    cell: Literal["gru", "lstm", "rnn"] = "gru"
    bias: bool = True

    def __post_init__(self) -> None:
        """A list of widths will do."""
        object.__setattr__(self, "hidden", tuple(self.hidden))

    def __call__(self, interface: Interface) -> RecurrentPolicy:
        """See `Factory`."""
        if not self.hidden or not all(width > 0 for width in self.hidden):
            raise ValueError(f"recurrent: hidden must be one width above 0 or more, not {self.hidden}.")
        if self.cell not in _CELLS:
            raise ValueError(f"recurrent: cell must be one of {', '.join(_CELLS)}, not {self.cell!r}.")
        if interface.action_size == 0:
            raise ValueError(
                "recurrent: this environment does not tell how many outputs it needs: set problem.action_size, or "
                "action_size in its class."
            )
        if interface.observation_size == 0:
            raise ValueError(
                "recurrent: this problem shows a policy nothing. Leave [policy] out, or take kind 'vector'."
            )
        return RecurrentPolicy(interface.observation_size, self.hidden, interface.action_size, self.cell, self.bias)


class RecurrentPolicy(nn.Module):
    """cells: one after another, fed with the flattened observation; head: the last hidden state to the action."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], outputs: int, cell: str, bias: bool = True) -> None:
        """cell: one of gru, lstm, rnn."""
        super().__init__()
        kind = _CELLS[cell]
        widths = (inputs, *hidden)
        self.cells = nn.ModuleList([kind(widths[i], hidden[i], bias=bias) for i in range(len(hidden))])
        self.head = nn.Linear(hidden[-1], outputs, bias=bias)

    def initial_state(self) -> State:
        """Zeros, float32 [1, hidden] for each cell; pairs of them for LSTM."""
        like = self.head.weight
        zeros = [like.new_zeros(1, cell.hidden_size) for cell in self.cells if isinstance(cell, nn.RNNCellBase)]
        return tuple((zero, zero.clone()) if isinstance(self.cells[0], nn.LSTMCell) else zero for zero in zeros)

    def forward(self, observation: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """observation: float32 [batch, ...]; gives the action, float32 [batch, outputs], and the next state."""
        values, states = observation.flatten(1), []
        for cell, before in zip(self.cells, state, strict=True):
            after = cell(values, before)
            states.append(after)
            values = after[0] if isinstance(after, tuple) else after
        return self.head(values), tuple(states)
