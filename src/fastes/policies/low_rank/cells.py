"""nn.RNNCell, nn.GRUCell and nn.LSTMCell: two products each."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fastes.policies.low_rank.members import Members
from fastes.policies.low_rank.products import affine


class RecurrentCell:
    """W_ih x + b_ih and W_hh h + b_hh of each member, then the equations of population.cells."""

    def __init__(self, layer: nn.RNNCell | nn.GRUCell | nn.LSTMCell, members: Members) -> None:
        self._layer, self._members = layer, members

    def __call__(self, input: torch.Tensor, hx: Any = None) -> Any:
        """Forward. input: [rows, inputs]; hx: [rows, hidden], a pair of them for an LSTM; zeros without."""
        from fastes.policies.population.cells import gru, lstm, plain

        layer, members = self._layer, self._members
        x = members.spread(input, layer)
        if hx is None:
            zeros = x.new_zeros(len(x), layer.hidden_size)
            hx = (zeros, zeros) if isinstance(layer, nn.LSTMCell) else zeros
        hidden = hx[0] if isinstance(layer, nn.LSTMCell) else hx
        given = affine(members, x, layer.weight_ih, layer.bias_ih)
        kept = affine(members, members.spread(hidden, layer), layer.weight_hh, layer.bias_hh)
        if isinstance(layer, nn.LSTMCell):
            return lstm(given.add_(kept), hx[1])
        if isinstance(layer, nn.GRUCell):
            return gru(given, kept, hidden)
        return plain(layer.nonlinearity, given.add_(kept))
