"""fastes.policies.flat: a module is theta and theta is a module, whatever the module is made of."""

from __future__ import annotations

import io
import pickle
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.noise import Generation
from fastes.policies import Policy
from fastes.saved_policy import load_weights, save_policy


class Tied(nn.Module):
    """A decoder that uses its encoder's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4, bias=False)
        self.decoder = nn.Linear(4, 4, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


class Mixed(nn.Module):
    """Every dtype, a frozen parameter, an integer one and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.f32 = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.f64 = nn.Parameter(torch.tensor([[1 / 3]], dtype=torch.float64))
        self.f16 = nn.Parameter(torch.tensor([0.5, 0.25], dtype=torch.float16))
        self.b16 = nn.Parameter(torch.tensor([3.0], dtype=torch.bfloat16))
        self.frozen = nn.Parameter(torch.tensor([9.0]), requires_grad=False)
        self.whole = nn.Parameter(torch.tensor([7]), requires_grad=False)
        self.register_buffer("buffer", torch.tensor([5.0]))


def normalised() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.5), nn.Linear(5, 2))
    module.train()
    module(torch.randn(64, 3) * 4 + 1)  # running statistics of something
    return module


def test_layout() -> None:
    policy = Policy(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)))
    entries = [(e.name, e.shape, e.dtype, e.offset, e.size) for e in policy.layout.entries]
    assert entries == [
        ("0.weight", (5, 3), "float32", 0, 15),
        ("0.bias", (5,), "float32", 15, 5),
        ("2.weight", (2, 5), "float32", 20, 10),
        ("2.bias", (2,), "float32", 30, 2),
    ]
    assert policy.dim == policy.layout.dim == 32


def test_theta_is_the_parameters_in_order() -> None:
    module = nn.Linear(3, 2)
    expected = torch.cat([p.detach().reshape(-1) for p in module.parameters()]).numpy()
    theta = Policy(module).theta()
    assert theta.dtype == np.float32
    np.testing.assert_array_equal(theta, expected)
    theta[:] = 0
    np.testing.assert_array_equal(Policy(module).theta(), expected)


def test_round_trip_and_forward() -> None:
    policy = Policy(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)))
    theta = np.random.default_rng(0).normal(size=policy.dim).astype(np.float32)
    policy.load_(theta)
    np.testing.assert_array_equal(policy.theta(), theta)
    x = np.array([[0.1, -0.2, 0.3]], np.float32)
    hidden = np.tanh(x @ theta[:15].reshape(5, 3).T + theta[15:20])
    expected = hidden @ theta[20:30].reshape(2, 5).T + theta[30:]
    np.testing.assert_allclose(policy.module(torch.from_numpy(x)).detach().numpy(), expected, atol=1e-6)


def test_loading_takes_a_theta_that_may_not_be_written() -> None:
    policy = Policy(nn.Linear(2, 1))
    theta = np.array([1, 2, 3], np.float32)
    theta.flags.writeable = False
    policy.load_(theta)
    assert policy.theta().tolist() == [1, 2, 3]


def test_tied_weights_are_one_entry() -> None:
    policy = Policy(Tied())
    assert policy.dim == 16
    policy.load_(np.eye(4, dtype=np.float32).reshape(-1) * 2)
    np.testing.assert_array_equal(policy.module(torch.ones(1, 4)).detach().numpy(), np.full((1, 4), 4.0))
    exported = policy.export(np.eye(4, dtype=np.float32).reshape(-1) * 3)
    assert exported.decoder.weight is exported.encoder.weight
    assert exported(torch.ones(1, 4)).tolist() == [[9.0] * 4]


def test_dtypes_and_what_is_not_optimised() -> None:
    policy = Policy(Mixed())
    assert [e.name for e in policy.layout.entries] == ["f32", "f64", "f16", "b16"]
    np.testing.assert_array_equal(policy.theta(), np.array([1, 2, 1 / 3, 0.5, 0.25, 3], np.float32))
    policy.load_(np.array([0.1, 0.2, 0.3, 0.4, 1e-9, 1.01], np.float32))
    module = policy.module
    assert module.f32.tolist() == [np.float32(0.1), np.float32(0.2)]
    assert module.f64.dtype == torch.float64
    assert module.f64.item() == float(np.float32(0.3))
    assert module.f16.tolist() == [float(np.float16(0.4)), 0.0]
    assert module.b16.item() == 1.0078125
    assert (module.frozen.item(), module.whole.item(), module.buffer.item()) == (9.0, 7, 5.0)


def test_theta_keeps_what_a_half_cannot() -> None:
    """Rounding is of the module, not of theta: small updates must not be lost."""
    policy = Policy(Mixed())
    theta = np.array([0, 0, 0, 0.4, 1e-9, 1.01], np.float32)
    policy.load_(theta)
    np.testing.assert_array_equal(policy.theta(), theta)


def test_buffers_are_kept_and_modules_evaluate() -> None:
    module = normalised()
    mean = module[1].running_mean.clone()
    assert mean.abs().max() > 0.1
    policy = Policy(module)
    assert policy.dim == 15 + 5 + 10 + 12
    x = torch.randn(1, 3)
    first = policy.module(x)
    assert torch.equal(policy.module(x), first)  # neither dropout nor new statistics
    policy.load_(np.zeros(policy.dim, np.float32))
    assert torch.equal(policy.module[1].running_mean, mean)
    assert torch.equal(policy.export(policy.theta())[1].running_mean, mean)


def test_buffers_are_saved(tmp_path: Path) -> None:
    policy = Policy(normalised())
    module = policy.export(policy.theta())
    config = {"seed": 1, "problem": {}, "policy": {}}
    path = save_policy(tmp_path, module, config, "digest")
    saved = safetensors.torch.load_file(path)
    assert torch.equal(saved["1.running_mean"], module[1].running_mean)
    assert saved["1.num_batches_tracked"].item() == 1
    loaded = load_weights(nn.Sequential(*[type_of(layer) for layer in module]), tmp_path)
    x = torch.randn(7, 3)
    assert torch.equal(loaded(x), module(x))
    assert not loaded.training


def type_of(layer: nn.Module) -> nn.Module:
    sizes = {nn.Linear: lambda m: nn.Linear(m.in_features, m.out_features), nn.BatchNorm1d: lambda m: nn.BatchNorm1d(5)}
    return sizes.get(type(layer), lambda m: type(m)())(layer)


def test_tied_weights_are_saved_once_and_loaded(tmp_path: Path) -> None:
    module = Policy(Tied()).export(np.arange(16, dtype=np.float32))
    path = save_policy(tmp_path, module, {"seed": 1, "problem": {}, "policy": {}}, "digest")
    assert len(safetensors.torch.load_file(path)) == 1
    loaded = load_weights(Tied(), tmp_path)
    assert torch.equal(loaded.decoder.weight, module.encoder.weight)


def test_exports_are_independent() -> None:
    policy = Policy(nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)))
    zeros, ones = np.zeros(policy.dim, np.float32), np.ones(policy.dim, np.float32)
    first, second = policy.export(zeros), policy.export(ones)
    policy.load_(ones * 7)
    for module, value in ((first, 0.0), (second, 1.0)):
        for parameter in module.parameters():
            assert (parameter == value).all()
            assert parameter.is_contiguous()
            assert parameter.untyped_storage().nbytes() == parameter.numel() * 4  # torch.save writes no more than it


def test_exports_can_be_saved_exported_and_trained_on() -> None:
    module = Policy(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))).export(np.full(26, 0.1, np.float32))
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    x = torch.ones(1, 3)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), module(x))
    program = torch.export.export(module, (x,))
    assert torch.allclose(program.module()(x), module(x))
    module(x).sum().backward()
    assert module[0].weight.grad is not None


@pytest.mark.parametrize("pickler", [pickle.dumps, ForkingPickler.dumps])
def test_a_policy_travels(pickler: object) -> None:
    """With a module that batches statistics, ties weights or mixes dtypes; theta is bound anew."""
    for module in (normalised(), Tied(), Mixed()):
        policy = Policy(module)
        there = pickle.loads(pickler(policy))
        assert there.layout == policy.layout
        np.testing.assert_array_equal(there.theta(), policy.theta())
        assert {k: v.tolist() for k, v in there.module.state_dict().items()} == {
            k: v.tolist() for k, v in policy.module.state_dict().items()
        }
        there.load_(np.zeros(policy.dim, np.float32))
        assert not next(iter(there.module.parameters())).any()
        assert policy.theta().any()


def test_nothing_to_optimise() -> None:
    for module in (nn.Tanh(), nn.Linear(2, 2).requires_grad_(False), nn.ParameterList([torch.empty(0)])):
        with pytest.raises(PolicyError, match="has no parameters to optimise"):
            Policy(module)


def test_a_lazy_module_has_to_be_used_first() -> None:
    with pytest.raises(PolicyError, match="LazyLinear has a parameter weight without a shape"):
        Policy(nn.LazyLinear(3))


def test_recurrent_modules_see_theta() -> None:
    policy = Policy(nn.GRU(2, 3, batch_first=True))
    policy.load_(np.zeros(policy.dim, np.float32))
    assert not policy.module(torch.ones(1, 4, 2))[0].any()
    policy.load_(np.ones(policy.dim, np.float32))
    assert policy.module(torch.ones(1, 4, 2))[0].all()


def test_a_member_is_put_in_tensor_by_tensor() -> None:
    """Rounded once to each dtype, from the master copy: nothing drifts, however many members come and go."""
    policy = Policy(Mixed())
    theta = policy.theta() + np.float32(0.1)
    unit = Generation(3, 2, theta, np.arange(50, dtype=np.uint32), np.full(50, 0.3, np.float32))
    for i in range(len(unit)):
        policy.load_member_(unit, i)
        made = {name: tensor.clone() for name, tensor in policy.module.state_dict().items()}
        expected = Policy(Mixed())
        expected.load_(unit.member(i))
        for name, tensor in expected.module.state_dict().items():
            assert torch.equal(made[name], tensor), name
    policy.load_member_(unit.without([7]), 7)
    assert policy.module.f32.detach().numpy().tobytes() == theta[:2].tobytes()


def test_theta_is_on_the_cpu_whatever_the_default_device() -> None:
    module = nn.Linear(2, 3).to(torch.bfloat16)
    with torch.device("meta"):
        policy = Policy(module)
    assert policy._flat.device.type == "cpu"
    assert policy.tensors == [(0, 3, 2), (6, 3)]
