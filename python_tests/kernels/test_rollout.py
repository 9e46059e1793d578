"""Mlp.play: arrays and numbers that do not fit. What it computes is in python_tests/envs/test_play.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastes.envs import NATIVE
from fastes.kernels.mlp import Mlp
from fastes.kernels.rollout import EpisodeArrays
from fastes.types import AnyArray, Float32Array

MLP = Mlp([(4, 2, 0, 8, "identity")], 10)


def arrays(n: int = 6) -> EpisodeArrays:
    kernels = NATIVE["CartPole-v1"].kernels()
    lanes, work = kernels.scratch()
    return EpisodeArrays(
        step_at=kernels.step_at,
        lanes=lanes.size,
        work=work.size,
        max_steps=9,
        state=np.zeros((n, 4)),
        active=np.ones(n, np.bool_),
        steps=np.zeros(n, np.uint32),
        observations=np.zeros((n, 4), np.float32),
        rewards=np.zeros(n),
        terminated=np.zeros(n, np.bool_),
        truncated=np.zeros(n, np.bool_),
        returns=np.zeros(n),
        low=None,
        high=None,
    )


def packed(members: int = 3) -> Float32Array:
    found = MLP.packed(members)
    MLP.pack(np.zeros((members, 10), np.float32), found)
    return found


def read_only(array: AnyArray) -> AnyArray:
    array.flags.writeable = False
    return array


def test_the_arrays_of_an_environment() -> None:
    episodes = arrays()
    assert MLP.play(packed(), episodes) == 6 * 9
    assert episodes.steps.tolist() == [9] * 6
    assert episodes.returns.tolist() == [9.0] * 6
    assert not episodes.active.any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step_at": 0}, "step must be the address of a function, not 0"),
        ({"max_steps": 0}, "max_steps must be at least 1, not 0"),
        ({"state": np.zeros(6)}, r"state must have 2 dimensions, not shape \(6,\)"),
        ({"state": np.zeros((6, 4), np.float32)}, r"state must be float64 of shape \(6, 4\), not float32 of shape"),
        ({"state": np.zeros((7, 4))}, "must be a multiple of the members in packed, not 7 for 3"),
        ({"active": np.ones(5, np.bool_)}, r"active must be bool of shape \(6,\), not bool of shape \(5,\)"),
        ({"active": np.ones(6, np.uint8)}, "active must be bool"),
        ({"steps": np.zeros(6, np.int32)}, "steps must be uint32"),
        ({"observations": np.zeros((6, 4), np.float32)[:, ::-1]}, "observations must be C-contiguous"),
        ({"returns": read_only(np.zeros(6))}, "returns is read-only"),
        ({"rewards": np.zeros(6).astype(">f8")}, "rewards must be float64"),
        ({"low": np.zeros(2, np.float32)}, "low and high belong together"),
        ({"low": np.zeros(1, np.float32), "high": np.zeros(1, np.float32)}, r"low must be float32 of shape \(2,\)"),
    ],
)
def test_arrays_that_do_not_fit(changed: dict[str, Any], message: str) -> None:
    episodes = replace(arrays(), **changed)
    with pytest.raises(ValueError, match=message):
        MLP.play(packed(), episodes)
    assert not episodes.steps.any()


def test_weights_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="packed must be what pack gives: of "):
        MLP.play(np.zeros((3, 10), np.float32), arrays())
    with pytest.raises(TypeError, match="packed must be float32, not float64"):
        MLP.play(packed().astype(np.float64), arrays())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not 6 for 0 members"):
        MLP.play(packed(0), arrays())
