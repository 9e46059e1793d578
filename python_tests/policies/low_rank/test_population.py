"""A low-rank population: which units and modules it takes, what it leaves behind, and what it holds in memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from policies.low_rank.units import unit_of
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from fastes.errors import PolicyError
from fastes.noise import Perturbation
from fastes.policies import LowRankPopulation, Policy
from fastes.policies.population import BatchingError, Task, Traits
from fastes.policies.population.low_rank import LowRank


class Language(nn.Module):
    """Embeddings of ids and of places, a head tied to the first, and a linear layer between."""

    def __init__(self, places: Callable[[int], torch.Tensor] = torch.arange, vocabulary: int = 40) -> None:
        super().__init__()
        self.of_ids, self.of_places = nn.Embedding(vocabulary, 12), nn.Embedding(16, 12)
        self.between, self.norm = nn.Linear(12, 12), nn.LayerNorm(12)
        self.head = nn.Linear(12, vocabulary, bias=False)
        self.head.weight = self.of_ids.weight
        self.places = places

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.of_ids(ids) + self.of_places(self.places(ids.shape[1]))
        return self.head(self.norm(torch.relu(self.between(x))))  # type: ignore[no-any-return]


def members_of(policy: Policy, unit: Any, inputs: torch.Tensor) -> torch.Tensor:
    """What the module gives with each member's dense parameters."""
    outputs = []
    for theta, rows in zip(unit.materialize(), inputs.chunk(len(unit)), strict=True):
        with torch.no_grad():
            outputs.append(policy.export(theta)(rows))
    return torch.cat(outputs)


def close(found: torch.Tensor, expected: torch.Tensor, bound: float = 4e-6) -> None:
    largest = max(1.0, float(expected.abs().max()))
    np.testing.assert_allclose(found.double().numpy(), expected.double().numpy(), rtol=0, atol=bound * largest)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 5))


@pytest.mark.parametrize("tokens", [1, 5, 6, 12])  # 6 rows: as many, and twice as many, as places
@pytest.mark.parametrize("places", [torch.arange, lambda n: torch.arange(n)[None]])
def test_tied_weights_and_places_common_to_all_rows(places: Any, tokens: int) -> None:
    torch.manual_seed(1)
    policy = Policy(Language(places))
    unit = unit_of(policy, 2, 2)
    population = LowRankPopulation(policy)
    for length in (9, tokens):  # the first call, at another length, shows which ids are places
        ids = torch.randint(40, (6, length))
        expected = members_of(policy, unit, ids)
        population.load_(unit)
        close(population(ids), expected)


def test_ids_that_may_be_places_or_not_are_refused() -> None:
    policy = Policy(Language())
    population = LowRankPopulation(policy)
    population.load_(unit_of(policy, 1, 2))
    with pytest.raises(PolicyError, match=r"6 ids, made inside the module, for 6 rows.*unsqueeze\(0\)"):
        population(torch.zeros(6, 6, dtype=torch.long))
    population(torch.zeros(6, 5, dtype=torch.long))  # nothing is left of the error


def test_members_at_scale_0_are_the_centre() -> None:
    torch.manual_seed(1)
    policy, x = Policy(mlp()), torch.randn(8, 6)
    unit = unit_of(policy, 1, 4)
    with torch.no_grad():
        plain = policy.module(x)
    population = LowRankPopulation(policy)
    population.load_(unit.without([0, 1, 2, 3]))
    assert torch.equal(population(x), plain)
    population.load_(replace(unit, noise=Perturbation(), scales=np.zeros(4, np.float32)))  # as it is evaluated
    assert torch.equal(population(x), plain)
    population.load_(unit.without([1, 2]))
    found = population(x)
    close(found[2:6], plain[2:6])
    close(found, members_of(policy, unit.without([1, 2]), x))


def test_members_do_not_see_each_other() -> None:
    torch.manual_seed(1)
    policy = Policy(nn.Sequential(nn.Conv1d(4, 8, 3), nn.Flatten(), nn.LayerNorm(32), nn.Linear(32, 10)))
    unit = unit_of(policy, 2, 6)
    population = LowRankPopulation(policy)
    population.load_(unit)
    x = torch.randn(12, 4, 6)
    before = population(x)
    x[:4], x[6:] = torch.nan, torch.inf
    assert torch.equal(population(x)[4:6], before[4:6])


def test_kept_factors_change_no_bit_and_are_bounded() -> None:
    torch.manual_seed(1)
    policy, x = Policy(mlp()), torch.randn(8, 6)
    first, second = unit_of(policy, 1, 4), replace(unit_of(policy, 1, 4), index=9)
    outputs = []
    for factor_bytes in (0, 300, 1 << 20):  # none, those of the first layer, all
        population = LowRankPopulation(policy, factor_bytes=factor_bytes)
        outputs.append([])
        for unit in (first, second):
            population.load_(unit)
            outputs[-1] += [population(x), population(x)]
        assert population._members._kept_bytes <= factor_bytes
    for found in outputs[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found, outputs[0], strict=True))
    assert not torch.equal(outputs[0][0], outputs[0][2])


def test_rows_of_any_order_and_repetition() -> None:
    torch.manual_seed(1)
    policy, x = Policy(mlp()), torch.randn(12, 6)
    for rows in ([4, 4, 4, 9, 9, 9], [4, 4, 9, 9, 4, 4], [0, 1, 2, 2, 2, 0], [2**32 - 1] * 6):
        unit = replace(unit_of(policy, 1, 6), rows=np.array(rows, np.uint32))
        population = LowRankPopulation(policy)
        population.load_(unit)
        close(population(x), members_of(policy, unit, x))


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
def test_narrow_modules(dtype: torch.dtype, bound: float) -> None:
    torch.manual_seed(1)
    policy = Policy(Language().to(dtype))
    unit = unit_of(policy, 2, 4)
    ids = torch.randint(40, (8, 5))
    wide = Policy(Language())
    expected = members_of(wide, replace(unit, theta=policy.theta()), ids)
    population = LowRankPopulation(policy)
    population.load_(unit)
    found = population(ids)
    assert found.dtype == dtype
    close(found, expected, bound)


def test_a_bias_of_a_narrow_module_keeps_noise_that_its_dtype_would_lose() -> None:
    """1 + 0.001 epsilon is 1 in bfloat16 for epsilon from -1.9 to 3.9; where -1 is added, what is left is the noise."""
    layer = nn.Linear(9, 9)
    nn.init.constant_(layer.weight.requires_grad_(False), -1.0)
    nn.init.ones_(layer.bias)
    policy = Policy(nn.Sequential(layer, nn.Linear(9, 9)).to(torch.bfloat16))
    unit = unit_of(policy, 1, 4, sigma=0.001)
    population = LowRankPopulation(policy)
    population.load_(unit)
    with population.applied() as module:
        found = module[0](torch.eye(9, dtype=torch.bfloat16)[:1].expand(4, -1))  # type: ignore[index]
    np.testing.assert_allclose(found.float().numpy(), unit.materialize()[:, :9] - 1, rtol=2**-8, atol=1e-7)


def test_the_centre_is_that_of_the_unit_whatever_was_in_the_module() -> None:
    torch.manual_seed(1)
    policy, x = Policy(mlp()), torch.randn(8, 6)
    unit = unit_of(policy, 1, 4)
    population = LowRankPopulation(policy)
    population.load_(unit)
    expected = population(x)
    policy.load_member_(unit, 3)
    population.load_(unit)
    assert torch.equal(population(x), expected)
    unit.theta[:] += 1.0  # the next theta in the same memory
    population.load_(unit)
    assert not torch.equal(population(x), expected)


def test_applied_is_over_when_it_is_left() -> None:
    torch.manual_seed(1)
    policy, x = Policy(Language()), torch.randint(40, (4, 5))
    unit = unit_of(policy, 1, 4)
    population = LowRankPopulation(policy)
    with pytest.raises(ValueError, match=r"no members yet: call load_\(unit\) first"):
        population(x)
    population.load_(unit)
    with torch.no_grad():
        plain = policy.module(x)
    assert torch.backends.mha.get_fastpath_enabled()
    with population.applied() as module:
        assert not torch.backends.mha.get_fastpath_enabled()
        perturbed = module(x)
        with population.applied():
            assert torch.equal(module(x), perturbed)
        assert torch.equal(module(x), perturbed)
        with pytest.raises(ValueError, match="leave it first"):
            population.load_(unit)
    with pytest.raises(IndexError):
        population(x + 40)  # ids beyond the vocabulary
    assert torch.backends.mha.get_fastpath_enabled()
    assert not any("forward" in vars(part) for part in policy.module.modules())
    with torch.no_grad():
        assert torch.equal(policy.module(x), plain)


def test_units_that_it_does_not_take() -> None:
    policy = Policy(mlp())
    unit = unit_of(policy, 1, 4)
    population = LowRankPopulation(policy)
    with pytest.raises(PolicyError, match=r"not 'normal8' of full rank: set algorithm\.noise = 'low_rank'"):
        population.load_(replace(unit, noise=Perturbation("normal8")))
    one = policy.theta()
    with pytest.raises(ValueError, match=f"theta must have {policy.dim} elements, as the module, not 9"):
        population.load_(replace(unit, theta=np.zeros(9, np.float32)))
    for other in (
        {"centers": np.zeros(4, np.uint32), "theta": one[np.newaxis]},
        {"sigma": np.ones_like(one)},
        {"noise": replace(unit.noise, parts=((0, len(one), 300),))},
        {"noise": replace(unit.noise, stream=300)},
    ):
        with pytest.raises(PolicyError, match=r"made of one centre with one sigma.*problem\.forward = 'auto'"):
            population.load_(replace(unit, **other))


class Bypassed(nn.Module):
    """A head that reads the embedding's weight past its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(40, 12)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embedding(ids).to(self.embedding.weight.dtype)
        return functional.linear(x + self.embedding.weight.new_zeros(12), self.embedding.weight)


class OfItsOwn(nn.Module):
    """A parameter that no layer has."""

    def __init__(self, learned: bool = True) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, 6), requires_grad=learned)
        self.layer = nn.Linear(6, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x + self.start)  # type: ignore[no-any-return]


def test_parameters_that_members_would_share() -> None:
    policy = Policy(Bypassed())
    population = LowRankPopulation(policy)
    population.load_(unit_of(policy, 1, 4))
    with pytest.raises(PolicyError, match=r"linear was given embedding\.weight past its layer"):
        population(torch.zeros(4, 3, dtype=torch.long))
    with pytest.raises(PolicyError, match=r"the parameter layer\.start belongs to OfItsOwn.*requires_grad=False"):
        LowRankPopulation(_named(OfItsOwn()))
    with pytest.raises(PolicyError, match=r"the parameter weight_ih_l0 belongs to GRU"):
        LowRankPopulation(nn.GRU(4, 4))
    with pytest.raises(PolicyError, match="the parameter weight belongs to ConvTranspose2d"):
        LowRankPopulation(nn.ConvTranspose2d(4, 4, 3))
    with pytest.raises(PolicyError, match="leave max_norm out"):
        LowRankPopulation(nn.Embedding(9, 9, max_norm=1.0))
    with pytest.raises(PolicyError, match="batch_first=True"):
        LowRankPopulation(nn.TransformerEncoderLayer(8, 2, 8))
    torch.manual_seed(1)
    policy, x = Policy(OfItsOwn(learned=False)), torch.randn(8, 6)
    unit = unit_of(policy, 1, 4)
    population = LowRankPopulation(policy)
    population.load_(unit)
    close(population(x), members_of(policy, unit, x))


def _named(module: nn.Module) -> nn.Module:
    whole = nn.Sequential()
    whole.add_module("layer", module)
    return whole


class Turned(nn.Module):
    """A layer with the time in front."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.transpose(0, 1)).transpose(0, 1)  # type: ignore[no-any-return]


def test_inputs_that_members_cannot_share() -> None:
    policy = Policy(nn.Sequential(nn.Linear(6, 9), nn.Tanh()))
    population = LowRankPopulation(policy)
    population.load_(unit_of(policy, 1, 4))
    with pytest.raises(PolicyError, match="Sequential was called with 6 rows for 4 members"):
        population(torch.zeros(6, 6))
    turned = LowRankPopulation(Turned())
    turned.load_(unit_of(policy, 1, 4))
    with pytest.raises(PolicyError, match=r"shape \(4, 8, 6\) for 4 members of 2 rows.*batch_first=True"):
        turned(torch.zeros(8, 4, 6))  # 4 steps of 8 rows
    alone = LowRankPopulation(nn.Linear(6, 9))
    alone.load_(unit_of(policy, 1, 4))
    with pytest.raises(PolicyError, match=r"Linear was called with values of shape \(6, 6\) for 4 members"):
        alone(torch.zeros(6, 6))


class _Held(TorchDispatchMode):
    """The most bytes of storage, made within, that were alive at one time, and the largest of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = self.largest = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {one.untyped_storage()._cdata for one in args if isinstance(one, torch.Tensor)}
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else [found]:
            if isinstance(one, torch.Tensor):
                self._count(one.untyped_storage(), given)
        return found

    def _count(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in given or key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.most, self.largest = max(self.most, self.now), max(self.largest, size)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def test_memory_is_that_of_the_plain_forward_and_the_factors_of_one_layer() -> None:
    """64 members of 99,120 parameters: their stack would be 25 MB."""
    torch.manual_seed(1)
    layers = [part for _ in range(6) for part in (nn.Linear(120, 120), nn.Tanh())]
    policy = Policy(nn.Sequential(*layers, nn.Linear(120, 99)))
    unit, x = unit_of(policy, 1, 64), torch.randn(256, 120)
    plain, low_rank = _Held(), _Held()
    with torch.no_grad():
        with plain:
            policy.module(x)
        population = LowRankPopulation(policy)
        population.load_(unit)
        population(x)
        with low_rank:
            population(x)
    assert plain.most >= 256 * 120 * 4
    factors, biases = 32 * 240 * 4, 64 * 120 * 4
    assert low_rank.most - plain.most <= factors + biases + 16384  # and products with one factor, rows and scales
    assert low_rank.largest == plain.largest == 256 * 120 * 4


def forward(members: int, batch: int, module: nn.Module, traits: Traits = Traits()) -> LowRank:  # noqa: B008 (frozen)
    return LowRank(Task(Policy(module), members, batch, (6,), traits))


def test_the_forward_of_units() -> None:
    torch.manual_seed(1)
    module = mlp()
    path = forward(6, 3, module)
    policy = Policy(module)
    observations = np.random.default_rng(1).standard_normal((6, 3, 6)).astype(np.float32)
    for count in (6, 4, 1):
        unit = unit_of(policy, 1, 6).part(0, count)
        path.load_unit_(unit)
        found = path(observations)
        assert found.shape == (6, 3, 5)
        expected = members_of(policy, unit, torch.from_numpy(observations[:count]).flatten(0, 1))
        close(torch.from_numpy(found[:count]).flatten(0, 1), expected)
    with pytest.raises(ValueError, match="1 to 6 members, not 8"):
        path.load_unit_(unit_of(policy, 1, 8))
    with pytest.raises(ValueError, match="takes units, not parameters"):
        path.load_(np.zeros((6, policy.dim), np.float32))


@pytest.mark.parametrize(
    ("traits", "why"),
    [
        (Traits(stateful=True), "a state of their own"),
        (Traits(written=("mean",)), "a state of their own"),
        (Traits(random=True), "draws random numbers"),
        (Traits(attributes=("last",)), "assigns last"),
    ],
)
def test_modules_that_the_forward_does_not_take(traits: Traits, why: str) -> None:
    with pytest.raises(BatchingError, match=why):
        forward(2, 2, mlp(), traits)
    with pytest.raises(BatchingError, match="start belongs to OfItsOwn"):
        forward(2, 2, OfItsOwn())
