"""`fastes bench rollouts`: games, players and their judge, at tiny sizes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from fastes import bench
from fastes.bench import record
from fastes.bench.comparisons import Comparison
from fastes.bench.contender import settings
from fastes.bench.peers import loaded
from fastes.bench.rollouts import game as games
from fastes.bench.rollouts import peers, suite, sweeps
from fastes.bench.rollouts.balancing import balancing
from fastes.bench.rollouts.game import Game, Played, Player, expected, player
from fastes.bench.rollouts.ours import fastes
from fastes.errors import StorageError
from fastes.policies import MLP, Recurrent

TINY = replace(suite.CARTPOLE, members=6, limit=40)
FALLING = replace(suite.MIXED, members=12, limit=120)
TINY_GRU = replace(suite.GRU, members=6, limit=40)
INSTALLED = [peer for peer in peers.PEERS if isinstance(loaded(peers.__name__, peer), ModuleType)]


@pytest.fixture
def no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", ())


@pytest.mark.parametrize("policy", [MLP((8, 8)), MLP((64, 64)), MLP((256, 256)), MLP((16,)), Recurrent((64,))], ids=str)
def test_the_pole_stays_up_for_500_steps(policy: MLP | Recurrent) -> None:
    game = replace(suite.CARTPOLE, policy=policy, members=2)
    assert expected(game).returns.tolist() == [500.0] * 2
    assert game.steps == 1000


def test_members_differ_and_are_mirrored() -> None:
    members = TINY.generation().materialize()
    center = balancing(TINY.built())
    assert members.shape == (6, 4 * 64 + 64 + 64 * 64 + 64 + 2 * 64 + 2)
    np.testing.assert_allclose(members[0::2] + members[1::2], np.broadcast_to(2 * center, (3, len(center))), atol=1e-6)
    assert np.std(members[0::2] - center) == pytest.approx(0.02, rel=0.05)
    assert np.array_equal(replace(TINY, members=1).generation().materialize()[0], members[0])


def test_episodes_of_mixed_lengths_are_counted() -> None:
    all_of_them = expected(FALLING)
    assert all_of_them.members == list(range(12))
    assert min(all_of_them.returns) < 30 < 120 == max(all_of_them.returns)
    assert FALLING.steps == all_of_them.steps == int(all_of_them.returns.sum())


def test_a_few_are_made_to_play_where_none_falls() -> None:
    game = replace(TINY, members=100, limit=3)
    assert expected(game).members == [0, 13, 26, 39, 52, 65, 78, 91, 99]
    assert game.steps == 300


@pytest.mark.parametrize("game", [TINY, FALLING, TINY_GRU], ids=lambda game: game.title)
@pytest.mark.parametrize("native", [True, False])
def test_ours_play_rightly(game: Game, native: bool) -> None:
    ours = fastes(game, native=native)
    with settings(ours.isa, 1):
        first, second = ours.work(), ours.work()
    assert ours.right(first)
    assert np.array_equal(first.returns, second.returns)
    assert (first.steps, ours.steps, ours.ours) == (game.steps, game.steps, True)
    assert np.array_equal(np.asarray(first.returns)[expected(game).members], expected(game).returns)


def shifted(played: Played, returns: object = None, steps: int = 0) -> Played:
    return Played(played.returns if returns is None else returns, played.steps + steps)


def test_a_wrong_answer_is_known() -> None:
    judge = fastes(TINY, native=True).right
    good = Played(np.full(6, 40.0), 240)
    assert judge(good)
    assert not judge(shifted(good, steps=1))
    assert not judge(shifted(good, steps=-1))
    assert not judge(shifted(good, np.full(5, 48.0)))  # one member too few
    assert not judge(shifted(good, np.array([41.0, 39.0, 40, 40, 40, 40])))
    assert not judge(shifted(good, np.array([np.nan, 40.0, 40, 40, 40, 40])))


def test_a_wrong_answer_of_mixed_lengths_is_known() -> None:
    judge = player(FALLING, "someone", lambda: Played(None, 0), agree=0.9).right
    returns, steps = expected(FALLING).returns, FALLING.steps
    assert judge(Played(returns, steps))
    one, two = returns.copy(), returns.copy()
    one[:1] += 1
    two[:2] += 1
    assert judge(Played(one, steps + 1))  # 11 of 12 agree
    assert not judge(Played(two, steps + 2))
    assert not judge(Played(one, steps))  # a step that nobody counted
    assert not judge(Played(returns + 1, steps + 12))
    lenient = player(FALLING, "someone", lambda: Played(None, 0), agree=0.0).right
    off = round(0.01 * steps) + 1
    far = returns.copy()
    far[0] += off
    assert not lenient(Played(far, steps + off))


def test_returns_need_not_be_steps() -> None:
    game = replace(TINY, counts=False, close=1e-2)
    judge = player(game, "someone", lambda: Played(None, 0)).right
    assert judge(Played(np.full(6, 40.4), 240))
    assert not judge(Played(np.full(6, 40.5), 240))


def test_continuous_actions_are_clipped() -> None:
    class Env:
        action_space = type("Space", (), {"low": np.float32(-1), "high": np.float32(1)})

    assert games._action(Env, np.array([-3.0, 0.5, 3.0])).tolist() == [-1.0, 0.5, 1.0]


def floors(rows: list[Comparison]) -> dict[tuple[str, str], float | None]:
    keys = [(row.what, row.baseline.name if row.baseline else "") for row in rows]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, (row.at_least for row in rows), strict=True))


@pytest.fixture
def fake_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    def players(game: Game) -> list[Player]:
        names = (
            [suite.GYMNE, suite.SCAN, suite.WHILE] if game.title in ("CartPole", "CartPole mixed") else [suite.GYMNE]
        )
        return [player(game, name, lambda: Played(None, 0)) for name in names]

    monkeypatch.setattr(peers, "players", players)


@pytest.mark.usefixtures("fake_peers")
def test_floors_are_as_stated() -> None:
    rows = suite.default()
    found = {key: floor for key, floor in floors(rows).items() if not key[0].startswith("HalfCheetah")}
    assert found == {
        ("CartPole, native", suite.GYMNE): 25.0,
        ("CartPole, native", suite.SCAN): 1.0,
        ("CartPole, native", suite.WHILE): 1.0,
        ("CartPole, gym.make", suite.GYMNE): 4.0,
        ("CartPole mixed, native", suite.GYMNE): 25.0,
        ("CartPole mixed, native", suite.SCAN): 1.0,
        ("CartPole mixed, native", suite.WHILE): 1.0,
        ("CartPole GRU, native", suite.GYMNE): 8.0,
        ("CartPole GRU, gym.make", suite.GYMNE): None,
    }
    of_gymne = [row.baseline for row in rows if row.what.startswith("CartPole, ") and row.at_least in (25.0, 4.0)]
    assert len(of_gymne) == 2
    assert of_gymne[0] is of_gymne[1]  # measured once
    assert {row.contender.game.members for row in rows if row.contender} == {256}


@pytest.mark.usefixtures("fake_peers")
def test_half_cheetah_is_not_asked_for_without_mujoco(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "find_spec", lambda _: None)
    row = suite.default()[-1]
    assert (row.what, row.contender, row.at_least, row.not_here) == ("HalfCheetah, gym.make", None, 2.0, "no MuJoCo")


@pytest.mark.usefixtures("no_peers")
def test_ours_stand_alone_where_no_peer_is_installed() -> None:
    rows = suite.default([suite.Row(TINY, True, {suite.GYMNE: 25.0})])
    assert floors(rows) == {("CartPole, native", ""): None}
    assert peers.missing() == ""


def test_what_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", ("no_such_peer",))
    reason = "No module named 'fastes.bench.rollouts.peers.no_such_peer'"
    assert peers.missing() == f"Without rows for no_such_peer ({reason}): pip install 'fastes[peers]'."
    assert peers.players(TINY) == []


class Clock:
    """Seconds that pass only while somebody plays."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def player(self, name: str, cost_s: float, isa: str | None = None) -> Player:
        def work() -> Played:
            self.now_s += cost_s
            return Played(np.full(6, 40.0), 240)

        return player(TINY, name, work, isa=isa)


@pytest.mark.parametrize(("at_least", "status"), [(19.9, 0), (20.1, 1)])
def test_a_run_gives_rates_a_file_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at_least: float, status: int
) -> None:
    clock, path = Clock(), tmp_path / "rollouts.json"
    row = Comparison("CartPole, native", clock.player("native", 1e-3, "scalar"), clock.player("others", 0.02), at_least)
    assert bench.run_rollouts(check=True, json_path=path, comparisons=[row], rounds=2, clock=clock) == status
    printed = capsys.readouterr().out
    cells = next(line for line in printed.splitlines() if line.strip().startswith("CartPole, native")).split()
    assert cells[:9] == ["CartPole,", "native", "others", "240", "240.0", "12.0", "20.00", "(20.00", "to"]
    assert ("Missed: CartPole, native against others" in printed) == bool(status)
    figures = json.loads(path.read_text())
    measured = {m["name"]: (m["steps"], m["normals"], m["ours"]) for m in figures["measurements"]}
    assert measured == {"CartPole x 6: native": (240, 0, True), "CartPole x 6: others": (240, 0, False)}
    assert [row["met"] for row in figures["rows"]] == [not status]


def test_no_run_is_begun_for_a_file_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "none" / "rollouts.json"
    with pytest.raises(StorageError, match="is not a directory"):
        bench.run_rollouts(check=False, json_path=path)
    with pytest.raises(StorageError, match="is not a directory"):
        bench.run_rollout_scaling(json_path=path)


@pytest.mark.usefixtures("no_peers")
def test_sweeps_of_members_and_widths(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {sweep.axis: list(sweep.values) for sweep in sweeps.default()}
    assert values == {
        "members": [1, 4, 16, 64, 256, 1024, 4096],
        "width": [8, 16, 32, 64, 128, 256],
        "gru members": [1, 16, 256, 4096],
    }
    clock, path = Clock(), tmp_path / "scaling.json"
    shortened = [replace(sweep, values=sweep.values[:1]) for sweep in sweeps.default()]
    for sweep in shortened:
        for contender in sweep.contenders(sweep.values[0]):
            assert contender.right(contender.work()), contender
    of_clock = replace(shortened[0], contenders=lambda _: [clock.player("native", 1e-3, "scalar")])
    monkeypatch.setattr(sweeps, "default", lambda: [of_clock])
    assert bench.run_rollout_scaling(json_path=path, rounds=2, clock=clock) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["native", "4,167"] in rows  # 1 ms for 240 steps
    measured = json.loads(path.read_text())["measurements"]
    assert [(m["axis"], m["value"], m["steps"]) for m in measured] == [("members", 1, 240)]


def test_versions_name_the_simulators() -> None:
    assert "gymnasium" in record.versions()


@pytest.mark.skipif(not INSTALLED, reason="no peer is installed")
@pytest.mark.filterwarnings("default")  # the peers' own
@pytest.mark.parametrize("game", [TINY, FALLING, TINY_GRU], ids=lambda game: game.title)
def test_installed_peers_play_rightly(game: Game) -> None:
    found = peers.players(game)
    names = {
        "evotorch": [suite.GYMNE, "EvoTorch VecGymNE"],
        "gymnax": [] if game is TINY_GRU else [suite.SCAN, suite.WHILE],
    }
    assert [one.name for one in found] == [name for peer in INSTALLED for name in names[peer]]
    for one in found:
        with settings(one.isa, one.threads):
            first, second = one.work(), one.work()
        assert one.right(first)
        assert np.array_equal(np.asarray(first.returns), np.asarray(second.returns))
        assert (one.ours, one.steps) == (False, game.steps)


def test_playing_leaves_torch_as_it_was() -> None:
    before = torch.get_rng_state()
    expected(replace(TINY, limit=2))
    assert torch.equal(torch.get_rng_state(), before)
