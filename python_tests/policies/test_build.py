"""fastes.policies.build: a module, settings, a class, a factory or a name become a policy; or an error says why not."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import specimens
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies import MLP, Interface, Vector, build

INTERFACE = Interface((2, 3), 4)


@pytest.mark.parametrize(
    "spec",
    [
        specimens.Linear,
        "specimens:Linear",
        lambda observation_size, action_size: specimens.Linear(observation_size, action_size, 1.0),
        lambda interface: specimens.Linear(interface.observation_size, interface.action_size),
        lambda: specimens.Linear(6, 4),
        functools.partial(specimens.Linear, gain=2.0),
        specimens.Linear(6, 4),
    ],
)
def test_all_ways_to_name_one(spec: object) -> None:
    policy = build(spec, INTERFACE, 1)
    assert isinstance(policy.module, specimens.Linear)
    assert policy.dim == 6 * 4 + 4
    assert policy.module(torch.zeros(1, 2, 3)).shape == (1, 4)


def test_arguments_are_passed_on() -> None:
    assert build("specimens:Linear", INTERFACE, 1, {"gain": 3.0}).module.gain == 3.0
    assert build(specimens.Linear, INTERFACE, 1, {"action_size": 9}).dim == 6 * 9 + 9


def test_the_seed_decides_and_the_users_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    same = [build(specimens.Linear, INTERFACE, seed).theta() for seed in (1, 1, 2, 2**64 - 1)]
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(same[0], same[1])
    assert len({theta.tobytes() for theta in same}) == 3


def test_a_module_is_copied_and_keeps_its_parameters() -> None:
    module = specimens.Linear(6, 4)
    module.train()
    policy = build(module, INTERFACE, 1)
    np.testing.assert_array_equal(policy.theta()[:24], module.layer.weight.detach().numpy().ravel())
    policy.load_(np.zeros(policy.dim, np.float32))
    assert module.layer.weight.any()
    assert module.training


def test_mlp() -> None:
    policy = build(MLP((5, 3), "relu", bias=False), INTERFACE, 1)
    assert policy.dim == 6 * 5 + 5 * 3 + 3 * 4
    kinds = [type(layer) for layer in policy.module]
    assert kinds == [nn.Flatten, nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert build(MLP(()), INTERFACE, 1).dim == 6 * 4 + 4
    assert build(MLP(), INTERFACE, 1).module(torch.zeros(1, 2, 3)).shape == (1, 4)


@pytest.mark.parametrize("activation", ["tanh", "relu", "elu", "silu", "gelu", "identity"])
def test_activations_are_torchs(activation: str) -> None:
    policy = build(MLP((1,), activation, bias=False), Interface((1,), 1), 1)
    policy.load_(np.ones(2, np.float32))
    expected = {"identity": lambda x: x, "tanh": torch.tanh}.get(activation) or getattr(nn.functional, activation)
    x = torch.linspace(-2, 2, 9)[:, None]
    assert torch.equal(policy.module(x), expected(x))


def test_vector() -> None:
    np.testing.assert_array_equal(build(Vector(0.5), Interface((0,), 7), 1).theta(), np.full(7, 0.5, np.float32))


def broken() -> nn.Module:
    raise OSError("weights.pt is gone")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere:Policy", ["nowhere", "PYTHONPATH"]),
        ("specimens:Nowhere", ["Nowhere"]),
        ("specimens", ["'specimens'", "module:callable"]),
        (":f", ["module:callable"]),
        ("specimens:", ["module:callable"]),
        ("specimens:CASES.x", ["CASES"]),
        ("specimens:SPHERE", ["seed"]),
        ("builtins:int", ["int"]),
        (3, ["3"]),
        (broken, ["broken", "OSError", "weights.pt is gone"]),
        (specimens.no_module, ["list", "torch.nn.Module"]),
        (lambda height: nn.Linear(height, 1), ["height", "observation_size"]),
        (MLP((4, 0)), ["hidden", "(4, 0)"]),
        (MLP(activation="tan"), ["activation", "'tan'", "tanh"]),
    ],
)
def test_what_cannot_be_built(spec: object, words: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        build(spec, INTERFACE, 1)
    for word in words:
        assert word in str(caught.value)


def test_a_module_that_fails_while_it_is_imported(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "half_written.py").write_text("def policy(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PolicyError, match=r"half_written.*SyntaxError"):
        build("half_written:policy", INTERFACE, 1)


def test_an_mlp_needs_something_to_see() -> None:
    with pytest.raises(PolicyError, match=r"shows a policy nothing"):
        build(MLP(), Interface((0,), 3), 1)


def test_a_last_layer_that_begins_at_zero() -> None:
    interface = Interface((3,), 2)
    module = build(MLP((4,), init="zeros"), interface, 1).module
    assert torch.equal(module(torch.rand(5, 3)), torch.zeros(5, 2))
    plain = build(MLP((4,)), interface, 1).module
    assert torch.equal(module[1].weight, plain[1].weight)  # what comes before is as ever
    with pytest.raises(PolicyError, match="init must be 'torch' or 'zeros', not 'ones'"):
        build(MLP((4,), init="ones"), interface, 1)  # type: ignore[arg-type]
