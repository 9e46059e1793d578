"""What the default run compares, and the floors that are asked of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastes import kernels
from fastes.bench import comparisons, peers, suite
from fastes.bench.comparisons import Comparison
from fastes.bench.contender import Contender, Size, settings
from fastes.bench.rounds import interleaved

TINY = Size(rows=8, dim=256, table=4096, small_table=512)


@pytest.fixture(autouse=True)
def _no_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PEERS", ())


def floors(rows: list[Comparison]) -> dict[tuple[str, str], float | None]:
    keys = [(row.what, row.baseline.name if row.baseline else "") for row in rows]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, (row.at_least for row in rows), strict=True))


def kinds(isa: str) -> dict[tuple[str, str], float | None]:
    stated = {"rademacher": 5.0, "normal8": 4.0}
    return {(f"weighted_sum {isa} {kind}", isa): stated[kind] for kind in kernels.KINDS if kind != "normal"}


def test_floors_are_as_stated() -> None:
    with settings("scalar", 1):
        rows = suite.default(TINY, TINY)
    assert floors(rows) == kinds("scalar") | {
        ("weighted_sum scalar", "torch.randn loop"): 8.0,
        ("weighted_sum scalar", "torch matrix product"): None,
        ("weighted_sum scalar", "torch, noise in memory"): None,
        ("weighted_sum scalar", "noise table, np.dot"): 1.5,
        ("weighted_sum scalar", "noise table, in place"): None,
        ("weighted_sum scalar", "small table, np.dot"): None,
        ("weighted_sum scalar", "small table, in place"): None,
        ("weighted_sum scalar", "Philox only"): 0.5,
        ("weighted_sum avx2", "torch.randn loop"): 3.0,
        ("weighted_sum scalar, 2 threads", "scalar"): 1.9,
        ("perturb scalar", "torch.randn loop"): 5.0,
        ("adam_step 8 x 256", "weighted_sum, torch step"): None,
        ("generation 8 x 256", ""): None,
    }
    not_here = {row.what: row.not_here for row in rows if row.at_least}
    asked_of_avx512 = ["weighted_sum scalar", "perturb scalar", *(what for what, _ in kinds("scalar"))]
    assert [not_here[what] for what in asked_of_avx512] == ["AVX-512 only"] * len(asked_of_avx512)
    assert bool(not_here["weighted_sum avx2"]) == ("avx2" not in kernels.info()["isas_usable"])


@pytest.mark.skipif("avx2" not in kernels.info()["isas_usable"], reason="needs AVX2")
def test_avx2_appears_once_where_it_is_the_best() -> None:
    with settings("avx2", 1):
        rows = suite.default(TINY, TINY)
    first = rows[0]
    assert (first.what, first.at_least, first.not_here) == ("weighted_sum avx2", 3.0, "")
    floors(rows)  # no row twice


@pytest.mark.parametrize(
    ("isa", "asked"), [("avx512", True), ("avx512vbmi", True), ("avx2", False), ("scalar", False), ("neon", False)]
)
def test_floors_for_avx512_hold_for_its_extensions(isa: str, asked: bool) -> None:
    assert suite.is_avx512(isa) is asked


def test_generations_of_peers_have_floors(monkeypatch: pytest.MonkeyPatch) -> None:
    def contenders(work: str, size: Size) -> dict[str, Contender]:
        other = Contender(f"{work} {size}", "other", lambda: None, lambda _: True)
        at_all = {"jax": replace(other, name="JAX")}
        if work != "generation":
            return at_all
        return at_all | {name: replace(other, name=name) for name in ("evosax", "evotorch")}

    monkeypatch.setattr(peers, "contenders", contenders)
    found = floors(suite.default(TINY, TINY))
    isa = kernels.info()["isa"]
    assert found[f"weighted_sum {isa}", "JAX"] is None
    assert found[f"perturb {isa}", "JAX"] is None
    generations = {against: floor for (what, against), floor in found.items() if what == "generation 8 x 256"}
    assert generations == {"JAX": None, "evosax": 10.0, "evotorch": 18.0}


def test_two_threads_are_not_asked_of_one_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_threads(processors: set[int]) -> Comparison:
        monkeypatch.setattr("os.sched_getaffinity", lambda _: processors)
        return next(row for row in suite.default(TINY, TINY) if row.what.endswith("2 threads"))

    assert two_threads({3}).not_here == "one processor"
    assert two_threads({3}).contender is None
    pair = two_threads({3, 4})
    assert (pair.contender.threads, pair.baseline.threads, pair.not_here) == (2, 1, "")


def test_default_comparisons_run() -> None:
    rows = suite.default(TINY, TINY)
    contenders = comparisons.contenders(rows)
    assert len(set(contenders)) == len(contenders)
    count = iter(range(10**6))
    times = interleaved(contenders, rounds=1, clock=lambda: float(next(count)))
    for outcome in (row.outcome(times) for row in rows):
        assert outcome.ratio is None or outcome.ratio == 1.0
