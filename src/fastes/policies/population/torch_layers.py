"""torch's recurrent layers in operations that vmap knows; it has no rule for gru, lstm, RNNs and their cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from fastes.policies.population.cells import gru, lstm, plain

_State = Any
"""A hidden state, or (hidden state, memory) of an LSTM."""


def recurrent_layers(module: nn.Module) -> list[tuple[nn.Module, Callable[..., Any]]]:
    """The recurrent layers of a module, and for each a forward of matrix products and pointwise operations."""
    found: list[tuple[nn.Module, Callable[..., Any]]] = []
    for part in module.modules():
        if type(part) in (nn.GRUCell, nn.LSTMCell, nn.RNNCell):
            found.append((part, partial(_cell, part)))
        elif type(part) in (nn.GRU, nn.LSTM, nn.RNN):
            found.append((part, partial(_sequence, part)))
    return found


@contextmanager
def put_in(layers: list[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Within, these layers have these forwards."""
    for layer, forward in layers:
        vars(layer)["forward"] = forward
    try:
        yield
    finally:
        for layer, _ in layers:
            vars(layer).pop("forward", None)


def _step(layer: Any, given: torch.Tensor, kept: torch.Tensor, state: _State) -> _State:
    """From W_ih x + b_ih, W_hh h + b_hh and the state to the next state."""
    if isinstance(layer, nn.GRU | nn.GRUCell):
        return gru(given, kept, state)
    if isinstance(layer, nn.LSTM | nn.LSTMCell):
        return lstm(given + kept, state[1])
    return plain(layer.nonlinearity, given + kept)


def _hidden(state: _State) -> torch.Tensor:
    return state[0] if isinstance(state, tuple) else state  # type: ignore[no-any-return]


def _zeros(layer: Any, device: torch.device, *shape: int) -> _State:
    zeros = torch.zeros(*shape, layer.hidden_size, device=device)
    return (zeros, zeros) if isinstance(layer, nn.LSTM | nn.LSTMCell) else zeros


def _cell(layer: Any, values: torch.Tensor, state: _State = None) -> _State:
    """Forward of nn.GRUCell, nn.LSTMCell and nn.RNNCell."""
    if state is None:
        state = _zeros(layer, values.device, *values.shape[:-1])
    given = linear(values, layer.weight_ih, layer.bias_ih)
    return _step(layer, given, linear(_hidden(state), layer.weight_hh, layer.bias_hh), state)


def _sequence(layer: Any, values: torch.Tensor, state: _State = None) -> tuple[torch.Tensor, _State]:
    """Forward of nn.GRU, nn.LSTM and nn.RNN: values [time, batch, inputs], [batch, time, inputs] or [time, inputs]."""
    if layer.bidirectional or layer.proj_size or not isinstance(values, torch.Tensor):
        raise NotImplementedError(f"{type(layer).__name__} is bidirectional, projected or given a packed sequence")
    time = 1 if values.dim() == 3 and layer.batch_first else 0
    if state is None:
        rows = (n for axis, n in enumerate(values.shape[:-1]) if axis != time)
        state = _zeros(layer, values.device, layer.num_layers, *rows)
    ends: list[_State] = []
    for index in range(layer.num_layers):
        of: dict[str, Any] = {
            name: getattr(layer, f"{name}_l{index}", None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        now = tuple(part[index] for part in state) if isinstance(state, tuple) else state[index]
        outputs = []
        for given in linear(values, of["weight_ih"], of["bias_ih"]).unbind(time):
            now = _step(layer, given, linear(_hidden(now), of["weight_hh"], of["bias_hh"]), now)
            outputs.append(_hidden(now))
        values = torch.stack(outputs, time)
        ends.append(now)
    if isinstance(state, tuple):
        return values, tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
    return values, torch.stack(ends)
