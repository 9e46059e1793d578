"""Other libraries at the same work: their contenders where they are installed, a line of advice where they are not."""

from __future__ import annotations

import os
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from fastes.bench import peers
from fastes.bench.contender import Contender, Size, settings
from fastes.bench.peers.climb import LR, SIGMA, Generation, climbs

TINY = Size(rows=8, dim=1024)
INSTALLED = [peer for peer in peers.PEERS if isinstance(peers.loaded(peers.__name__, peer), ModuleType)]
WORK = {"jax": ["weighted_sum", "perturb", "generation"], "evosax": ["generation"], "evotorch": ["generation"]}


@pytest.fixture
def step() -> Generation:
    """A step as it should be."""
    random = np.random.default_rng(0)
    before, epsilon = random.standard_normal(512), random.standard_normal((4, 512))
    move = np.where(random.random(512) < 0.5, LR, -LR)
    move[0] = LR
    members = np.concatenate([before + SIGMA * epsilon, before - SIGMA * epsilon])
    return Generation(before, before + move, before, SIGMA, members, slice(4))


def test_a_step_that_climbs_is_right(step: Generation) -> None:
    assert climbs(step)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda step: {"after": step.before},  # stays
        lambda step: {"after": 2 * step.before - step.after},  # goes down
        lambda step: {"after": step.after + 5 * LR * (np.arange(512) == 7)},  # too far
        lambda step: {"after": step.after * np.nan},
        lambda step: {"sigma": 1.3 * SIGMA},
        lambda step: {"members": np.tile(step.before, (8, 1))},  # no noise at all
        lambda step: {"center": step.before + SIGMA},
    ],
)
def test_a_step_is_wrong(step: Generation, wrong: object) -> None:
    assert not climbs(replace(step, **wrong(step)))


def test_what_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", ("no_such_peer",))
    reason = "No module named 'fastes.bench.peers.no_such_peer'"
    assert peers.missing() == f"Without rows for no_such_peer ({reason}): pip install 'fastes[peers]'."
    assert peers.contenders("generation", TINY) == {}


def test_nothing_is_missing_from_a_full_house(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", ())
    assert peers.missing() == ""


@pytest.mark.skipif(not INSTALLED, reason="no peer is installed")
@pytest.mark.filterwarnings("default")  # the peers' own
@pytest.mark.parametrize("work", ["weighted_sum", "perturb", "generation"])
def test_installed_peers_answer_rightly(work: str) -> None:
    found = peers.contenders(work, TINY)
    assert list(found) == [peer for peer in INSTALLED if work in WORK[peer]]
    for contender in found.values():
        assert_answers(contender)


def assert_answers(contender: Contender) -> None:
    with settings(contender.isa, contender.threads):
        first, second = contender.work(), contender.work()
        assert contender.right(first)
        assert contender.right(second)
        assert not contender.ours
        if not isinstance(first, Generation):
            assert not contender.right(1.5 * np.asarray(first))
            assert not np.array_equal(first, second)  # new noise each time


@pytest.mark.skipif("jax" not in INSTALLED, reason="JAX is not installed")
def test_jax_leaves_the_processors_as_they_were() -> None:
    peers.contenders("weighted_sum", TINY)
    for thread in os.listdir("/proc/self/task"):
        assert os.sched_getaffinity(int(thread)) == os.sched_getaffinity(0)
