"""Recurrent cells of all members at once: two batched matrix products each, states [members, batch, hidden]."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

Weights = list[torch.Tensor | None]


class Cell(ABC):
    """A cell with the hidden state of all episodes.

    weights: of W_ih [members, gates * hidden, inputs], W_hh [members, gates * hidden, hidden], and the biases b_ih and
    b_hh [members, gates * hidden], or None twice. Gates stand in torch's order.
    """

    def __init__(self, layer: nn.RNNCellBase, weights: Weights, batch: int) -> None:
        """States are zero at the start."""
        of_inputs, of_hidden, input_bias, hidden_bias = weights
        assert of_inputs is not None
        assert of_hidden is not None
        self._of_inputs, self._of_hidden = of_inputs.transpose(1, 2), of_hidden.transpose(1, 2)
        self._input_bias = None if input_bias is None else input_bias.unsqueeze(1)
        self._hidden_bias = None if hidden_bias is None else hidden_bias.unsqueeze(1)
        self._size = layer.hidden_size
        self._hidden = torch.zeros(len(of_inputs), batch, self._size, device=of_inputs.device)

    def reset_(self, finished: torch.Tensor) -> None:
        """Zeros the states where finished, bool [members, batch, 1]."""
        self._hidden.masked_fill_(finished, 0.0)

    @abstractmethod
    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """One step: [members, batch, inputs] to the new hidden state [members, batch, hidden]."""

    def _from_inputs(self, inputs: torch.Tensor) -> torch.Tensor:
        return _product(inputs, self._of_inputs, self._input_bias)

    def _from_hidden(self) -> torch.Tensor:
        return _product(self._hidden, self._of_hidden, self._hidden_bias)


class Plain(Cell):
    """A plain cell; the layer names the nonlinearity."""

    def __init__(self, layer: nn.RNNCellBase, weights: Weights, batch: int) -> None:
        """layer: nn.RNNCell."""
        super().__init__(layer, weights, batch)
        assert isinstance(layer, nn.RNNCell)
        self._nonlinearity = layer.nonlinearity

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `Cell`."""
        self._hidden = plain(self._nonlinearity, self._from_inputs(inputs) + self._from_hidden())
        return self._hidden


class GRU(Cell):
    """Gated recurrent unit."""

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `Cell`."""
        self._hidden = gru(self._from_inputs(inputs), self._from_hidden(), self._hidden)
        return self._hidden


class LSTM(Cell):
    """Long short-term memory."""

    def __init__(self, layer: nn.RNNCellBase, weights: Weights, batch: int) -> None:
        """Both states are zero at the start."""
        super().__init__(layer, weights, batch)
        self._memory = torch.zeros_like(self._hidden)

    def reset_(self, finished: torch.Tensor) -> None:
        """See `Cell`."""
        super().reset_(finished)
        self._memory.masked_fill_(finished, 0.0)

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """See `Cell`."""
        self._hidden, self._memory = lstm(self._from_inputs(inputs) + self._from_hidden(), self._memory)
        return self._hidden


CELLS: dict[type[nn.Module], type[Cell]] = {nn.RNNCell: Plain, nn.GRUCell: GRU, nn.LSTMCell: LSTM}


def _product(values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return torch.bmm(values, weight) if bias is None else torch.baddbmm(bias, values, weight)


def plain(nonlinearity: str, gates: torch.Tensor) -> torch.Tensor:
    """H' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu in its place (Elman 1990); gates: the argument."""
    return torch.relu(gates) if nonlinearity == "relu" else torch.tanh(gates)


def gru(given: torch.Tensor, kept: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Gated recurrent unit (Cho et al. 2014), the reset gate after the product as in torch.

    r, z = sigmoid(W_ih x + b_ih + W_hh h + b_hh); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h' = n + z (h - n).
    given: W_ih x + b_ih, kept: W_hh h + b_hh, both [..., 3 hidden].
    """
    size = hidden.shape[-1]
    gates = torch.sigmoid(given[..., : 2 * size] + kept[..., : 2 * size])
    reset, update = gates[..., :size], gates[..., size:]
    new = torch.tanh(torch.addcmul(given[..., 2 * size :], reset, kept[..., 2 * size :]))
    return torch.addcmul(new, update, hidden - new)


def lstm(gates: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000): h' and c'.

    i, f, g, o = gates [..., 4 hidden] = W_ih x + b_ih + W_hh h + b_hh; c' = sigmoid(f) c + sigmoid(i) tanh(g);
    h' = sigmoid(o) tanh(c').
    """
    size = memory.shape[-1]
    passing = torch.sigmoid(gates[..., : 2 * size])
    new = torch.tanh(gates[..., 2 * size : 3 * size])
    memory = torch.addcmul(passing[..., :size] * new, passing[..., size:], memory)
    return torch.sigmoid(gates[..., 3 * size :]) * torch.tanh(memory), memory
