"""A policy for each team, together one module."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies import MLP, Interface, Recurrent, Team, Teams, build, parts_of, team_policies
from fastes.policies.population import batched
from fastes.policies.teams import RecurrentTeamsPolicy, TeamsPolicy, together

RED, BLUE = Team("red", 2, (3,), 2), Team("blue", 1, (2, 2), 5)
BOTH = Interface((10,), 9, (RED, BLUE))


def test_theta_is_that_of_the_teams() -> None:
    policy = build(Teams(each=MLP((4,)), of={"blue": {"hidden": []}}), BOTH, 3)
    assert parts_of(policy) == (3 * 4 + 4 + 4 * 2 + 2, 26 + 4 * 5 + 5)
    assert policy.dim == 51
    red = torch.cat([parameter.flatten() for parameter in policy.module.policies[0].parameters()])
    np.testing.assert_array_equal(policy.theta()[:26], red.detach().numpy())
    assert parts_of(build(MLP((4,)), BOTH, 3)) == ()


def test_each_team_is_drawn_by_itself() -> None:
    one = Team("one", 1, (3,), 2)
    theta = build(Teams(each={"hidden": [4]}), Interface((6,), 4, (one, one)), 3).theta()
    first, second = np.split(theta, 2)
    assert not np.intersect1d(first, second).size


def test_an_agent_sees_what_is_its_own() -> None:
    policy = build(Teams(each={"kind": "mlp", "hidden": [4]}), BOTH, 3)
    red, blue = policy.module.policies
    seen = torch.linspace(-2, 2, 20).reshape(2, 10)
    with torch.inference_mode():
        outputs = policy.module(seen)
        assert outputs.shape == (2, 9)
        for row in range(2):
            torch.testing.assert_close(outputs[row, :2], red(seen[row, :3][None])[0])
            torch.testing.assert_close(outputs[row, 2:4], red(seen[row, 3:6][None])[0])
            torch.testing.assert_close(outputs[row, 4:], blue(seen[row, 6:].reshape(1, 2, 2))[0])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_each_agent_has_a_state_of_its_own(cell: Any) -> None:
    policy = build(Teams(each={"hidden": [4]}, of={"red": Recurrent((3,), cell)}), BOTH, 3)
    red = policy.module.policies[0]
    forward = batched(policy, 2, 3, (10,))
    assert forward.path == "vmap"
    forward.load_(np.stack([policy.theta(), policy.theta()]))
    seen = np.random.default_rng(1).normal(size=(4, 2, 3, 10)).astype(np.float32)
    states = [red.initial_state() for _ in range(2)]
    for step in seen:
        outputs = forward(step)
        for agent in range(2):
            given = torch.tensor(step[1, 2, 3 * agent : 3 * agent + 3])[None]
            with torch.inference_mode():
                expected, states[agent] = red(given, states[agent])
            np.testing.assert_allclose(outputs[1, 2, 2 * agent : 2 * agent + 2], expected[0], rtol=1e-5, atol=1e-6)


def test_teams_without_a_state_need_none() -> None:
    policies = [nn.Linear(3, 2), nn.Sequential(nn.Flatten(), nn.Linear(4, 5))]
    assert type(together(policies, (RED, BLUE))) is TeamsPolicy
    made = together([Recurrent((3,))(RED.interface), policies[1]], (RED, BLUE))
    assert type(made) is RecurrentTeamsPolicy
    state, nothing = made.initial_state()
    assert state[0].shape == (2, 3)
    assert nothing == ()


def test_the_policies_of_teams() -> None:
    module = build(Teams(each=MLP((4,))), BOTH, 3).module
    found = team_policies(module)
    assert list(found) == ["red", "blue"]
    found["red"][1].weight.data.zero_()
    assert module.policies[0][1].weight.abs().min() > 0
    with pytest.raises(PolicyError, match="a Linear is no policy of teams"):
        team_policies(nn.Linear(2, 2))


def test_modules_classes_and_paths() -> None:
    shared = nn.Linear(3, 2)
    for each in (shared, {"kind": "torch.nn:Linear", "in_features": 3, "out_features": 2}, lambda: nn.Linear(3, 2)):
        policy = build(Teams(each=each, of={"blue": MLP(())}), BOTH, 3)
        assert policy.module.policies[0].weight.shape == (2, 3)
    alike = Interface((6,), 4, (Team("a", 1, (3,), 2), Team("b", 1, (3,), 2)))
    policy = build(Teams(each=shared), alike, 3)
    assert parts_of(policy) == (8, 16)  # each team has a copy


def test_settings_become_tables() -> None:
    linear = {"kind": "mlp", "hidden": (), "activation": "tanh", "bias": False}
    rest = {"init": "torch", "init_std": 0.0, "output": "identity"}
    made = Teams(each=MLP((), bias=False), of={"blue": nn.Linear})
    assert made == Teams(each=linear | rest, of={"blue": nn.Linear})


def test_teams_that_share_a_module() -> None:
    shared = nn.Linear(3, 2)
    same = together([shared, shared], (Team("a", 1, (3,), 2), Team("b", 1, (3,), 2)))
    with pytest.raises(PolicyError, match="the policy of team b has no parameters of its own to optimise"):
        parts_of(build(same, Interface((6,), 4), 3))


def test_problems_without_teams() -> None:
    with pytest.raises(PolicyError, match="teams: this problem has no teams; take the policy of one agent"):
        build(Teams(), Interface((3,), 2), 1)
