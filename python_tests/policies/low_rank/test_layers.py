"""Every kind of layer, evaluated for all members at once, gives what the module gives with each member's parameters."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from policies.low_rank.units import unit_of
from torch import nn

from fastes.noise import Generation
from fastes.policies import LowRankPopulation, Policy
from fastes.policies.low_rank.norms import OverFeaturesOfOthers


def one_by_one(policy: Policy, unit: Generation, *inputs: torch.Tensor) -> torch.Tensor:
    """The module in float64 with each member's parameters, dense: [members * batch, ...]."""
    module = copy.deepcopy(policy.module).double()
    named = dict(module.named_parameters())
    tensors = [named[entry.name] for entry in policy.layout.entries]
    wide = [x.double() if x.is_floating_point() else x for x in inputs]
    found = []
    with torch.no_grad():
        for theta, *rows in zip(unit.materialize(), *(x.chunk(len(unit)) for x in wide), strict=True):
            nn.utils.vector_to_parameters(torch.from_numpy(theta).double(), tensors)
            output = module(*rows)
            found.append(output[0] if isinstance(output, tuple) else output)
    return torch.cat(found)


def assert_same(module: nn.Module, *inputs: torch.Tensor, **of_unit: Any) -> None:
    """To a tolerance of float32: 4e-6 of the largest output."""
    policy = Policy(module)
    unit = unit_of(policy, **of_unit)
    expected = one_by_one(policy, unit, *inputs)
    for factor_bytes in (0, 1 << 20):
        population = LowRankPopulation(policy, factor_bytes=factor_bytes)
        population.load_(unit)
        for _ in range(2):  # the second time nothing watches, and factors may be kept
            found = population(*inputs)
            found = found[0] if isinstance(found, tuple) else found
            assert found.dtype == torch.float32
            assert found.shape == expected.shape
            bound = 4e-6 * max(1.0, float(expected.abs().max()))
            np.testing.assert_allclose(found.double().numpy(), expected.numpy(), rtol=0, atol=bound)


class TransposedLinear(nn.Module):
    """As Hugging Face's transformers have it, where it is called Conv1D."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.nf = outputs
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.reshape(-1, x.shape[-1]) @ self.weight + self.bias).view(*x.shape[:-1], self.nf)


TransposedLinear.__name__ = "Conv1D"


class Scaled(nn.Module):
    """A normalisation of its own, as language models have them."""

    def __init__(self, width: int, shift: float = 0.0, **named: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width))
        self.shift = shift
        vars(self).update(named)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.shift + self.weight) * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Beside(nn.Module):
    """A layer, and a matrix of low rank that it has nothing to do with."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.other = nn.Linear(9, 9, bias=False)
        self.layer = layer

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        return self.layer(*args)  # type: ignore[no-any-return]


class Gated(Scaled):
    """One that takes something besides."""

    def forward(self, x: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(x if gate is None else x * gate)


def frozen(layer: nn.Module, name: str) -> nn.Module:
    getattr(layer, name).requires_grad_(False)
    return layer


def with_statistics(layer: Any) -> nn.Module:
    nn.init.normal_(layer.running_mean)
    nn.init.uniform_(layer.running_var, 0.5, 2.0)
    nn.init.normal_(layer.weight)
    return layer  # type: ignore[no-any-return]


LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(13, 17), (13,)),
    "linear of a sequence": (lambda: nn.Linear(13, 17), (5, 13)),
    "linear without bias": (lambda: nn.Linear(13, 17, bias=False), (13,)),
    "linear with a common bias": (lambda: frozen(nn.Linear(13, 17), "bias"), (13,)),
    "linear with a common weight": (lambda: frozen(nn.Linear(13, 17), "weight"), (13,)),
    "small linear": (lambda: nn.Linear(2, 3), (2,)),
    "small linear with a common bias": (lambda: frozen(nn.Linear(2, 3), "bias"), (2,)),
    "linear of one input": (lambda: nn.Linear(1, 30), (1,)),
    "transposed linear": (lambda: TransposedLinear(17, 13), (13,)),
    "transposed linear of a sequence": (lambda: TransposedLinear(17, 13), (4, 13)),
    "transposed linear with a common bias": (lambda: frozen(TransposedLinear(17, 13), "bias"), (13,)),
    "small transposed linear with a common bias": (lambda: frozen(TransposedLinear(2, 3), "bias"), (3,)),
    "small transposed linear": (lambda: TransposedLinear(2, 3), (3,)),
    "conv1d": (lambda: nn.Conv1d(5, 7, 3), (5, 11)),
    "conv1d, stride and padding": (lambda: nn.Conv1d(5, 7, 3, stride=2, padding=1, bias=False), (5, 11)),
    "conv2d": (lambda: nn.Conv2d(3, 8, 3), (3, 9, 7)),
    "conv2d, stride, padding, dilation": (
        lambda: nn.Conv2d(3, 8, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(2, 1)),
        (3, 9, 7),
    ),
    "conv2d, groups": (lambda: nn.Conv2d(6, 9, 3, groups=3), (6, 6, 5)),
    "conv2d, same, reflected": (lambda: nn.Conv2d(3, 8, 3, padding="same", padding_mode="reflect"), (3, 9, 7)),
    "conv2d, same": (lambda: nn.Conv2d(3, 8, 3, padding="same"), (3, 9, 7)),
    "conv2d of one pixel": (lambda: nn.Conv2d(9, 11, 1), (9, 4, 4)),
    "conv2d with a common bias": (lambda: frozen(nn.Conv2d(3, 8, 3), "bias"), (3, 9, 7)),
    "small conv2d": (lambda: nn.Conv2d(1, 2, (1, 2)), (1, 5, 4)),
    "small conv2d, groups and a common bias": (lambda: frozen(nn.Conv2d(4, 4, 2, groups=4), "bias"), (4, 5, 4)),
    "conv3d": (lambda: nn.Conv3d(2, 6, 2, padding=1), (2, 4, 3, 5)),
    "layer norm": (lambda: nn.LayerNorm(13), (4, 13)),
    "layer norm over two dimensions": (lambda: nn.LayerNorm((4, 13)), (4, 13)),
    "layer norm without bias": (lambda: nn.LayerNorm(13, bias=False), (13,)),
    "layer norm with a common weight": (lambda: frozen(nn.LayerNorm(13), "weight"), (13,)),
    "root mean square norm": (lambda: nn.RMSNorm(13), (4, 13)),
    "group norm": (lambda: nn.GroupNorm(2, 6), (6, 3, 3)),
    "batch norm": (lambda: with_statistics(nn.BatchNorm1d(6)), (6,)),
    "batch norm of images": (lambda: with_statistics(nn.BatchNorm2d(6)), (6, 3, 4)),
    "a norm of its own": (lambda: Scaled(13), (4, 13)),
    "a norm as in transformers": (lambda: Scaled(13, variance_epsilon=1e-6), (4, 13)),
    "a norm that only looks like it": (lambda: Scaled(13, shift=1.0, variance_epsilon=1e-6), (4, 13)),
    "prelu": (lambda: nn.PReLU(6), (6, 3)),
}


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, rank: int) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(1)
    for members, batch, mirrored in ((4, 3, True), (3, 1, False)):
        assert_same(Beside(make()), torch.randn(members * batch, *shape), rank=rank, members=members, mirrored=mirrored)


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("vocabulary", [3, 40])  # of full rank, and not
def test_embeddings(vocabulary: int, rank: int) -> None:
    torch.manual_seed(1)
    for members, batch, mirrored in ((6, 1, True), (4, 3, True), (3, 2, False)):
        ids = torch.randint(vocabulary, (members * batch, 5))
        for given in (ids, ids[:, 0], ids.view(members * batch, 5, 1)):
            assert_same(Beside(nn.Embedding(vocabulary, 9)), given, rank=rank, members=members, mirrored=mirrored)


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells(cell: type[nn.Module], rank: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(12, 11)
    assert_same(cell(11, 8), x, rank=rank, members=4)
    assert_same(_Twice(cell(11, 8)), x, rank=rank, members=4)
    assert_same(_Twice(cell(11, 8, bias=False)), x, rank=rank, members=4)


class _Twice(nn.Module):
    """Two steps of a cell."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = self.cell(x, self.cell(x))
        return state[1] if isinstance(state, tuple) else state


class _SelfAttention(nn.Module):
    def __init__(self, weights: bool, **settings: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True, **settings)
        self.weights = weights

    def forward(self, x: torch.Tensor, padded: torch.Tensor | None = None) -> torch.Tensor:
        causal = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        found, weights = self.attention(x, x, x, padded, self.weights, causal)
        return torch.cat([found, weights], -1) if self.weights else found


class _CrossAttention(nn.Module):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True, **settings)

    def forward(self, x: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return self.attention(x, memory, memory, need_weights=False)[0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("rank", [1, 4])
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_attention(bias: bool, weights: bool, rank: int) -> None:
    torch.manual_seed(1)
    x, padded = torch.randn(8, 5, 12), torch.zeros(8, 5, dtype=torch.bool)
    padded[::3, 3:] = True
    assert_same(_SelfAttention(weights, bias=bias), x, rank=rank, members=4)
    module = _SelfAttention(weights, bias=bias)
    assert_same(module, x, torch.zeros(8, 5).masked_fill_(padded, -torch.inf), rank=rank, members=4)


@pytest.mark.parametrize("rank", [1, 4])
def test_attention_to_something_else(rank: int) -> None:
    torch.manual_seed(1)
    x, memory = torch.randn(8, 5, 12), torch.randn(8, 7, 12)
    assert_same(_CrossAttention(), x, memory, rank=rank, members=4)
    memory = torch.randn(8, 7, 10)
    assert_same(_CrossAttention(kdim=10, vdim=10), x, memory, rank=rank, members=4)
    assert_same(_CrossAttention(kdim=10, vdim=10, bias=False), x, memory, rank=rank, members=4)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_transformer_of_torch(norm_first: bool) -> None:
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(12, 3, 30, dropout=0.0, batch_first=True, norm_first=norm_first)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.5)
    assert_same(encoder, torch.randn(6, 5, 12), rank=1, members=6)


def test_norms_of_transformers_are_told_apart() -> None:
    """Those with other equations go under vmap."""
    assert OverFeaturesOfOthers.fits(Scaled(13, variance_epsilon=1e-6))
    assert OverFeaturesOfOthers.fits(Scaled(13, variance_epsilon=1e-6).to(torch.bfloat16))
    assert not OverFeaturesOfOthers.fits(Scaled(13, shift=1.0, variance_epsilon=1e-6))
    assert not OverFeaturesOfOthers.fits(Scaled(13))
    assert not OverFeaturesOfOthers.fits(nn.LayerNorm(13))
    assert not OverFeaturesOfOthers.fits(Gated(13, variance_epsilon=1e-6))
