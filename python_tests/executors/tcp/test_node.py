"""What a worker answers for a unit whose result is more than travels."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from executors.tcp.connections import SETUP

from fastes.algorithms import OpenAIES
from fastes.evaluator import Evaluator
from fastes.executors.tcp import limits
from fastes.executors.tcp.node import Node, PoolSettings
from fastes.executors.tcp.snapshots import Snapshot
from fastes.executors.tcp.wire import Failed, Lease, Message, Result
from fastes.policies import MLP, build
from fastes.problems import Gym


def answered(most: int, monkeypatch: pytest.MonkeyPatch) -> Message:
    """To one lease, of two members with five steps of nine numbers each."""
    monkeypatch.setattr(limits, "TRANSITIONS", most)
    problem = Gym("Pendulum-v1", action="tanh", max_steps=5, transitions=True)
    policy = build(MLP((4,)), problem.interface(), 1)
    setup = msgspec.structs.replace(
        SETUP, members=4, unit_size=2, dim=policy.dim, observation=0, behaviour=0, transition=problem.transition_sizes
    )
    algorithm = OpenAIES(population=4)
    state = algorithm.init(policy.theta(), 3)
    with contextlib.closing(Node(setup, Evaluator(problem, policy, 2), algorithm, PoolSettings(1))) as node:
        node.restore(Snapshot(0, state.digest(), state.arrays(), state.scalars()))
        assert node.lease(Lease(0, 1)) == []
        (message,) = node.answers(node.pool.wait())
    return message


@pytest.mark.usefixtures("no_leftover_processes")
def test_steps_that_do_not_travel_are_a_failure_of_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    message = answered(359, monkeypatch)
    assert isinstance(message, Failed)
    assert (message.generation, message.unit, message.error) == (0, 1, "ProblemError")
    assert "the steps in it have 360 bytes, and at most 359 travel: lower unit_size" in message.text


@pytest.mark.usefixtures("no_leftover_processes")
def test_those_that_do_are_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    message = answered(360, monkeypatch)
    assert isinstance(message, Result)
    assert message.transitions is not None
    assert len(message.transitions) == 360
