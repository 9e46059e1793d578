"""What `benchmarks/gpu.py` measures, on the CPU at small sizes: every contender runs, and every check can say no."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The modules of all groups, for which the CPU is the GPU, and a graph calls its work again."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from on_gpu import (
        arrays,
        calls,
        ceilings,
        environments,
        every_kernel,
        language,
        low_rank,
        measuring,
        members,
        routes,
        steps,
        sums,
        words,
    )

    def replaying(work: Callable[[], Any], calls: int) -> Callable[[], None]:
        def replay() -> None:
            for _ in range(calls):
                work()

        return replay

    monkeypatch.setattr(arrays, "DEVICE", "cpu")
    monkeypatch.setattr(calls, "graphed", replaying)
    monkeypatch.setattr(sums, "graphed", replaying)
    monkeypatch.setattr(environments, "graphed", replaying)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)

    def words_alone(rows: int, dim: int) -> Any:
        """The CPU's have no kernel that would leave a word of each thread."""
        return measuring.Contender("Philox only", lambda: None, amount=float(rows * dim), unit="words", ours=True)

    def approximate(rows: int, dim: int) -> Any:
        return measuring.Contender("approximate Box-Muller", lambda: None, amount=float(rows * dim), unit="normals")

    monkeypatch.setattr(words, "words", words_alone)
    monkeypatch.setattr(ceilings, "fast_sum", approximate)
    return SimpleNamespace(
        arrays=arrays,
        calls=calls,
        ceilings=ceilings,
        environments=environments,
        every_kernel=every_kernel,
        language=language,
        low_rank=low_rank,
        measuring=measuring,
        members=members,
        routes=routes,
        steps=steps,
        sums=sums,
    )


def ticking() -> Callable[[], float]:
    """A clock on which a second passes whenever it is read."""
    ticks = iter(range(10**9))
    return lambda: float(next(ticks))


def lines_of(on_gpu: Any, cases: Sequence[Any]) -> list[dict[str, Any]]:
    """What measuring leaves; a work counts as a second."""

    def timer(work: Callable[[], Any], calls: int) -> float:
        for _ in range(calls):
            work()
        return 1.0

    lines: list[dict[str, Any]] = []
    on_gpu.measuring.Measuring(timer, ticking(), math.inf, lines.append, rounds=2).run(cases)
    return lines


def small_cases(on_gpu: Any) -> Iterator[Any]:
    """One of every kind, small."""
    yield on_gpu.sums.by_kind(70, 4096)
    yield on_gpu.sums.by_kind(3, 10_019)
    yield on_gpu.sums.by_kind(3, 14_003)  # judged at places only
    yield on_gpu.sums.small(70, 481)
    yield on_gpu.sums.materialised(70, 20_000)
    for dtype in (torch.float32, torch.bfloat16):
        for mirrored in (True, False):
            yield on_gpu.members.population("normal", dtype, mirrored=mirrored, members=8, dim=16_384)
    yield on_gpu.members.population("rademacher", torch.float32, mirrored=True, members=8, dim=1000)
    for name in on_gpu.steps.SETTINGS:
        yield on_gpu.steps.fused(name, 20, 14_003)
    for rank in (1, 4):
        yield on_gpu.low_rank.perturb(rank, 6, 80)
        yield on_gpu.low_rank.weighted(rank, 6, 80)
        yield on_gpu.low_rank.low_rank_forward.forward(rank, 96, 8)
    yield on_gpu.low_rank.low_rank_forward.update(80, 6)
    yield from on_gpu.calls.small_call()
    yield from on_gpu.calls.generation(8, 2000)
    yield on_gpu.ceilings.memory(1 << 12)
    yield on_gpu.environments.cartpole(32)
    shape = on_gpu.language.Shape(members=8, sequences=1, tokens=3, width=64, layers=1, vocabulary=40)
    yield on_gpu.language.forward(shape, torch.float32)
    yield on_gpu.language.update(shape)


def test_every_contender_answers_rightly(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu.steps, "CHECKED_DIM", 10_003)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**30))
    cases = list(small_cases(on_gpu))
    lines = lines_of(on_gpu, cases)
    assert [line for line in lines if line["type"] in ("error", "skipped")] == []
    measured = {line["name"].partition(": ")[0] for line in lines if line["type"] == "measurement"}
    assert measured == {case.name for case in cases}
    assert sum(line["type"] == "ratio" for line in lines) == sum(len(case.ratios) for case in cases)


def test_all_floors_are_asked_of_some_case(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from on_gpu.figures import FLOORS

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**30))
    for quick in (True, False):
        groups = [group.cases(quick=quick) for group in (on_gpu.sums, on_gpu.members, on_gpu.low_rank)]
        asked = {ratio.floor for cases in groups for case in cases for ratio in case.ratios} - {""}
        assert asked | {"normal", "environment steps"} == set(FLOORS)
    made = on_gpu.sums.by_kind(3, 64).make()
    assert [contender.floor for contender in made if contender.floor] == ["normal"]


def test_the_largest_population_has_the_floor_of_environments(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu.environments, "POPULATIONS", (4, 8))
    for quick, names in ((True, ["8 members"]), (False, ["4 members", "8 members"])):
        cases = list(on_gpu.environments.cases(quick=quick))
        assert [case.name.partition(", ")[2] for case in cases] == names
        floors = [[contender.floor for contender in case.make()] for case in cases]
        assert floors == [["", "", ""]] * (len(cases) - 1) + [["environment steps", "", ""]]


def test_members_that_lose_the_pole_are_found(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of episodes that are over must not be counted, nor be cheap."""
    whole, forward, environment = on_gpu.environments.cartpole(16).make()
    assert whole.check(whole.work()) == ""
    assert whole.amount == 16 * on_gpu.environments.STEPS
    assert (forward.amount, environment.amount) == (16 * 33, 16 * 32)
    monkeypatch.setattr(on_gpu.environments, "BALANCING", (-0.6, -1.4, -2.2, -3.0))
    lost, wrong, _ = on_gpu.environments.cartpole(16).make()
    assert "so that most of a unit is idle" in lost.check(lost.work())
    assert lost.amount < 16 * on_gpu.environments.STEPS / 4
    assert "members push to the left" in wrong.check(wrong.work())


@pytest.mark.parametrize(("free", "rows"), [(139 << 30, 4096), (20 << 30, 512), (1 << 20, 64)])
def test_the_largest_size_that_fits(on_gpu: Any, free: int, rows: int) -> None:
    assert on_gpu.sums.largest_rows(free) == rows
    assert rows == 64 or 4 * rows * on_gpu.sums.MATERIALISED_DIM <= on_gpu.sums.MEMORY_SHARE * free


@pytest.mark.parametrize(
    ("free", "members", "fitting"), [(130 << 30, 1024, 64), (2 << 30, 1024, 4), (1, 1024, 1), (1 << 40, 24, 8)]
)
def test_as_many_weights_of_members_as_fit(on_gpu: Any, free: int, members: int, fitting: int) -> None:
    assert on_gpu.low_rank.low_rank_forward.dense_members(free, 8192, members) == fitting


def test_a_wrong_bit_of_a_layer_is_found(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**30, 2**30))
    applied = on_gpu.low_rank.low_rank_forward.forward(1, 96, 8).make()[1]
    assert applied.check(applied.work()) == ""
    answer = applied.work().clone()
    answer.view(torch.int16)[7, 95] ^= 1
    assert applied.check(answer).startswith("members 6 and 7: 1 of 192 elements differ")


@pytest.mark.parametrize("at", [0, 7_005, 14_002])
def test_a_wrong_bit_is_found(on_gpu: Any, at: int) -> None:
    one = on_gpu.sums.ours(3, 14_003, "normal")
    answer = one.work()
    assert one.check(answer) == ""
    answer.view(torch.int32)[at] ^= 1
    assert "1 of 4099 elements differ from the CPU's, first" in one.check(answer)


def test_an_element_that_was_left_out_is_found(on_gpu: Any) -> None:
    one = on_gpu.sums.ours(3, 20_003, "normal")
    answer = one.work()
    answer[5000] = math.nan
    assert one.check(answer) == "some elements were not written"


def test_a_wrong_member_is_found(on_gpu: Any) -> None:
    theta = on_gpu.arrays.theta(100)
    check = on_gpu.members.check_members(theta, 4, "normal", mirrored=True)
    out = on_gpu.arrays.poisoned(4, 100)
    answer = on_gpu.members.ours(4, 100, "normal", torch.float32, mirrored=True, out=out).work()
    assert check(answer) == ""
    assert "member 1 from element 0: " in check(answer[[0, 0, 2, 3]])


def test_every_kernel_is_called_and_compared(on_gpu: Any) -> None:
    digests = {}
    for call in on_gpu.every_kernel.calls():
        wrong, digests[call[0]] = on_gpu.every_kernel.compared(call)
        assert wrong == ""
    assert len(digests) == 1 + 2 + 3 * (2 + 2 * 3 + 2 * 2 + 2 * 2 + 3 * 2 + 2 * 3 + 2)
    assert len(set(digests.values())) == len(digests)

    def differs(on_gpu: bool) -> Sequence[Any]:
        return [torch.tensor([1.0, 2.0 if on_gpu else 3.0])]

    assert "1 of 2 elements differ" in on_gpu.every_kernel.wrong(("a", differs))


def test_a_route_leaves_its_answers(on_gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(on_gpu: bool) -> Sequence[Any]:
        raise RuntimeError("no kernel image")

    calls = [("a", lambda on_gpu: [torch.ones(3)]), ("b", broken)]
    monkeypatch.setattr(on_gpu.every_kernel, "calls", lambda: iter(calls))
    lines: list[dict[str, Any]] = []
    on_gpu.routes.answers("nvrtc", lines.append)
    assert [(line["type"], line["name"]) for line in lines] == [("answer", "a"), ("error", "b (nvrtc)")]
    assert lines[0]["route"] == "nvrtc"
    assert lines[1]["detail"].endswith("RuntimeError: no kernel image")


def test_the_host_s_clock_counts_calls(on_gpu: Any) -> None:
    calls: list[int] = []
    timer = on_gpu.measuring.host_timer(ticking(), wait=False, times=5)
    assert timer(lambda: calls.append(1), 4) == 1 / 20
    assert len(calls) == 20


def test_a_population_that_is_not_its_members_is_found(on_gpu: Any) -> None:
    language = on_gpu.language
    shape = language.Shape(members=8, sequences=1, tokens=3, width=64, layers=1, vocabulary=40)
    plain, low_rank = language.forward(shape, torch.float32).make()
    answer = low_rank.work()
    assert low_rank.check(answer) == plain.check(plain.work()) == ""
    assert "of a perturbation's effect from the dense member" in low_rank.check(plain.work())
    (update,) = language.update(shape).make()
    answer = update.work()
    assert update.check(answer) == ""
    answer[shape.vocabulary * shape.width :] += 1.0
    assert "the tensor at" in update.check(answer)
