"""Which path is taken where noise is of low rank, and where the device is not this machine's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from specimens import CARTPOLE, changed, run

from fastes.errors import PolicyError
from fastes.noise import Generation, Perturbation
from fastes.policies import MLP, Interface, Policy, PolicySpec, Recurrent, build
from fastes.policies.population import Forward, batched, choose


def policy_of(spec: PolicySpec | None = None, *, low_rank: bool = True) -> Policy:
    policy = build(spec or MLP(hidden=(16, 16)), Interface((4,), 2), 1)
    policy.low_rank = low_rank
    return policy


@pytest.fixture
def _all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "LARGE", 100)


@pytest.mark.usefixtures("_all_are_large")
def test_large_policies_are_not_made() -> None:
    forward = batched(policy_of(), 6, 2, (4,))
    assert (forward.path, forward.reason) == ("low_rank", "")
    assert batched(policy_of(low_rank=False), 6, 2, (4,)).path == "native"


def test_small_ones_are() -> None:
    assert batched(policy_of(), 6, 2, (4,)).path == "native"
    assert batched(policy_of(), 6, 2, (4,), "low_rank").path == "low_rank"


@pytest.mark.usefixtures("_all_are_large")
def test_a_policy_with_a_state_is_made() -> None:
    with pytest.warns(
        RuntimeWarning, match=r"RecurrentPolicy are made, 1,\d+ parameters each, though .* low_rank: epi"
    ):
        forward = batched(policy_of(Recurrent((16,))), 6, 2, (4,))
    assert forward.path == "baddbmm"
    assert forward.reason.startswith("low_rank: episodes have a state of their own; native: ")
    with pytest.raises(PolicyError, match=r"by low_rank: episodes have a state of their own. Use 'auto'"):
        batched(policy_of(Recurrent((16,))), 6, 2, (4,), "low_rank")


def test_the_policy_is_left_as_it_was() -> None:
    policy = policy_of()
    before = policy.theta()
    batched(policy, 6, 2, (4,), "low_rank")
    assert policy.theta().tobytes() == before.tobytes()


def test_members_are_those_that_would_be_made() -> None:
    policy = policy_of()
    noise = Perturbation.named("low_rank", 1, policy.tensors)
    scales = np.tile(np.array([0.2, -0.2], np.float32), 3)
    unit = Generation(5, 2, policy.theta() * 2, np.arange(6, dtype=np.uint32) // 2, scales, noise)
    observations = np.random.default_rng(1).normal(size=(6, 3, 4)).astype(np.float32)
    found = {}
    for path in ("low_rank", "vmap"):
        forward = batched(policy, 6, 3, (4,), path)
        forward.load_unit_(unit)
        found[path] = forward(observations)
        stepped = forward.step(torch.from_numpy(observations))
        assert stepped.numpy().tobytes() == found[path].tobytes()
        forward.load_unit_(replace(unit.part(0, 2), noise=noise).without([1]))
        np.testing.assert_allclose(forward(observations)[0], found[path][0], atol=1e-6)
    np.testing.assert_allclose(found["low_rank"], found["vmap"], atol=1e-5)


def test_a_path_for_every_device() -> None:
    policy = policy_of(low_rank=False)
    policy.portable = True
    forward = batched(policy, 6, 2, (4,))
    assert (forward.path, forward.reason) == ("baddbmm", "native: it is for the CPU")


@pytest.mark.usefixtures("_all_are_large")
@pytest.mark.parametrize(
    ("algorithm", "path"),
    [
        ({"kind": "openai_es", "noise": "low_rank"}, "low_rank"),
        ({"kind": "openai_es"}, "native"),
        ({"kind": "snes"}, "native"),
    ],
)
def test_a_run_says_which_noise_it_has(
    algorithm: dict[str, object], path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    original = choose._taken

    def noted(*arguments: Any) -> Forward:
        forward = original(*arguments)
        taken.append(forward.path)
        return forward

    monkeypatch.setattr(choose, "_taken", noted)
    tables = changed(CARTPOLE, policy={"hidden": [16, 16]}, algorithm=algorithm, generations=1, output={"dir": None})
    tables.pop("output")
    tables.pop("optimizer")
    run(tables)
    assert set(taken) == {path}
