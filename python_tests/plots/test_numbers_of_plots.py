"""What plots are drawn from: thinned curves, groups of seeds, means, intervals and quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_folders import written

from fastes.aggregate import bootstrap_interval, mean
from fastes.errors import ConfigError
from fastes.plots.curves import QUANTILES, along, evaluation_curve, fitness_quantiles, mean_curve
from fastes.plots.groups import Group, grouped
from fastes.plots.panels import panels_of
from fastes.plots.thinning import averaged, thinned, thinned_band
from fastes.run_record import read_run


def group(folder: Path, *columns: dict[str, Sequence[Any]], fitness: Any = None) -> Group:
    """Runs of seeds 1, 2, ..."""
    for seed, some in enumerate(columns, 1):
        rows = None if fitness is None else fitness[seed - 1]
        written(folder / f"seed-{seed}", some, config={"seed": seed}, fitness=rows)
    (made,) = grouped([read_run(folder / f"seed-{seed}") for seed in range(1, len(columns) + 1)])
    return made


# --- thinning --------------------------------------------------------------------------------------------------------


def test_thinning_keeps_every_extreme() -> None:
    x = np.arange(50_000.0)
    y = np.sin(x / 900)
    y[31_234], y[7], y[49_999] = 40.0, -9.0, 5.0
    thin_x, thin_y = thinned(x, y, most=500)
    assert len(thin_x) <= 1000
    assert np.all(np.diff(thin_x) >= 0)
    np.testing.assert_array_equal(thin_y, y[thin_x.astype(int)])
    assert {(31_234.0, 40.0), (7.0, -9.0), (49_999.0, 5.0)} <= set(zip(thin_x.tolist(), thin_y.tolist(), strict=True))


def test_a_few_points_stay_as_they_are() -> None:
    x, y = np.arange(20.0), np.arange(20.0)
    assert thinned(x, y, most=10)[0] is x
    assert thinned_band(x, y, y, most=10)[0] is x


def test_gaps_stay_gaps() -> None:
    y = np.ones(1000)
    y[200:400] = np.nan
    y[405] = np.nan
    thin_x, thin_y = thinned(np.arange(1000.0), y, most=100)
    np.testing.assert_array_equal(np.isnan(thin_y), (thin_x >= 200) & (thin_x < 400))


def test_means_of_stretches() -> None:
    y = np.array([1.0, 3.0, np.nan, 7.0, np.nan, np.nan, 8.0])
    x, means = averaged(np.arange(7.0), y, most=4)
    np.testing.assert_array_equal(x, [0.5, 2.5, 4.5, 6])
    np.testing.assert_array_equal(means, [2, 7, np.nan, 8])


def test_a_thinned_band_covers_the_whole_one() -> None:
    x = np.arange(1003.0)
    low, high = np.cos(x) - 2, np.cos(x * 3) + 2
    low[700:720] = high[700:720] = np.nan
    thin_x, least, greatest = thinned_band(x, low, high, most=100)
    assert len(thin_x) <= 100
    assert (thin_x[0], thin_x[-1]) == (0.0, 1002.0)
    for i in range(len(thin_x) - 1):
        part = slice(11 * i, 11 * (i + 1))
        if np.isfinite(low[part]).any():
            assert (least[i], greatest[i]) == (np.nanmin(low[part]), np.nanmax(high[part]))
    assert np.isnan(least).sum() == 1


# --- groups ----------------------------------------------------------------------------------------------------------


def test_seeds_are_one_group_and_settings_its_name(tmp_path: Path) -> None:
    for sigma in (0.1, 0.2):
        for seed in (1, 2):
            tables = {
                "seed": seed,
                "algorithm": {"sigma": sigma},
                "executor": {"kind": "local" if seed == 2 else "inline"},
            }
            written(tmp_path / f"{sigma}" / f"{seed}", {"sigma": [sigma]}, config=tables)
    records = [read_run(tmp_path / f"{sigma}" / f"{seed}") for seed in (1, 2) for sigma in (0.1, 0.2)]
    groups = grouped(records)
    assert [made.label for made in groups] == ["sigma 0.1 (2 seeds)", "sigma 0.2 (2 seeds)"]
    assert [[record.seed for record in made.records] for made in groups] == [[1, 2], [1, 2]]


def test_names_of_directories_where_settings_are_many(tmp_path: Path) -> None:
    other = {"algorithm": {"sigma": 0.3, "population": 10}, "problem": {"dim": 7, "start": 2.0}}
    paths = [written(tmp_path / f"small-seed{i}", {"sigma": [0.1]}, config={"seed": i}) for i in (1, 12)]
    paths += [written(tmp_path / "large", {"sigma": [0.1]}, config=other)]
    assert [made.label for made in grouped([read_run(path) for path in paths])] == ["small (2 seeds)", "large"]


def test_the_same_run_twice_is_two_groups(tmp_path: Path) -> None:
    paths = [written(tmp_path / folder / "run", {"sigma": [0.1]}) for folder in ("monday", "tuesday")]
    assert [made.label for made in grouped([read_run(path) for path in paths])] == ["monday/run", "tuesday/run"]


# --- curves ----------------------------------------------------------------------------------------------------------


def test_axes(tmp_path: Path) -> None:
    columns = {"seconds": [2.0, 0.5], "rate/evaluations": [4.0, 16.0], "steps/total": [70.0, 150.0]}
    record = read_run(written(tmp_path / "run", columns))
    wanted = {"generations": [1, 2], "evaluations": [8, 16], "steps": [70, 150], "seconds": [2, 2.5]}
    assert {axis: along(record, axis).tolist() for axis in wanted} == wanted


def test_fitness_is_a_mean_with_the_worst_and_the_best_of_all_seeds(tmp_path: Path) -> None:
    made = group(
        tmp_path,
        {"fitness/mean": [1.0, 2.0, 3.0], "fitness/min": [0.0, 1.0, 2.0], "fitness/max": [2.0, 3.0, 9.0]},
        {"fitness/mean": [3.0, 6.0], "fitness/min": [-1.0, 5.0], "fitness/max": [4.0, 7.0]},
    )
    curve = mean_curve(made, "fitness/mean", "generations", edges=("fitness/min", "fitness/max"))
    assert curve is not None
    ((x, low, high),) = curve.bands
    assert (curve.x.tolist(), curve.y.tolist()) == ([1, 2], [2, 4])  # as far as both have come
    assert (x.tolist(), low.tolist(), high.tolist()) == ([1, 2], [-1, 1], [4, 7])


def test_where_seeds_are_at_different_places_values_are_interpolated(tmp_path: Path) -> None:
    made = group(
        tmp_path,
        {"steps/total": [10.0, 20.0, 30.0], "sigma": [1.0, 2.0, 3.0]},
        {"steps/total": [20.0, 40.0, 60.0], "sigma": [2.0, 4.0, 6.0]},
    )
    curve = mean_curve(made, "sigma", "steps")
    assert curve is not None
    assert (curve.x[0], curve.x[-1]) == (20.0, 30.0)
    np.testing.assert_allclose(curve.y, curve.x / 10)


def test_evaluations_of_seeds_have_the_bootstrap_interval(tmp_path: Path) -> None:
    scores = [[1.0, 10.0], [2.0, 30.0], [6.0, 20.0]]
    made = group(tmp_path, *({"evaluation/mean": [first, None, last]} for first, last in scores))
    curve = evaluation_curve(made, "generations")
    assert curve is not None
    assert (curve.x.tolist(), curve.y.tolist()) == ([1, 3], [3, 20])
    ((_, low, high),) = curve.bands
    for i in range(2):
        assert (low[i], high[i]) == bootstrap_interval([[row[i] for row in scores]], mean)
    assert [y.tolist() for _, y in curve.singles] == scores


def test_evaluations_of_one_run_have_the_deviation_of_episodes(tmp_path: Path) -> None:
    made = group(tmp_path, {"evaluation/mean": [None, 5.0, None], "evaluation/std": [None, 2.0, None]})
    curve = evaluation_curve(made, "generations")
    assert curve is not None
    assert (curve.x.tolist(), curve.y.tolist()) == ([2], [5])
    assert [edge.tolist() for edge in curve.bands[0]] == [[2], [3], [7]]
    assert evaluation_curve(group(tmp_path / "none", {"sigma": [1.0]}), "generations") is None


def test_quantiles_are_those_of_finite_fitness(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).normal(size=(3, 31)).astype(np.float32)
    rows[1, :4] = [np.inf, -np.inf, np.nan, np.inf]
    rows[2, :] = np.nan
    made = group(tmp_path, {"sigma": [0.1, 0.1, 0.1]}, fitness=[rows])
    curve = fitness_quantiles(made, "generations")
    assert curve is not None
    wide, narrow = curve.bands
    found = np.stack([wide[1], narrow[1], curve.y, narrow[2], wide[2]])
    for i, finite in ((0, rows[0]), (1, rows[1, 4:])):
        np.testing.assert_allclose(found[:, i], np.quantile(finite.astype(np.float64), QUANTILES), rtol=1e-12)
    assert np.isnan(found[:, 2]).all()


def test_a_journal_that_is_a_generation_ahead(tmp_path: Path) -> None:
    """As that of a run that goes on: what metrics do not tell of yet is left out."""
    made = group(tmp_path, {"sigma": [0.1, 0.1]}, fitness=[[[1.0, 2.0], [2.0, 4.0], [9.0, 9.0]]])
    curve = fitness_quantiles(made, "generations")
    assert curve is not None
    assert (curve.x.tolist(), curve.y.tolist()) == ([1, 2], [1.5, 3])


# --- panels ----------------------------------------------------------------------------------------------------------


def test_panels_of_what_there_is(tmp_path: Path) -> None:
    """What never changes but sigma, and what there is not, has none; -inf alone is nothing."""
    columns = {
        "fitness/mean": [1.0, 2.0],
        "fitness/min": [0.0, 1.0],
        "fitness/max": [2.0, 3.0],
        "sigma": [0.1, 0.1],
        "lr": [1.0, 0.5],
        "l2": [0.005, 0.005],
        "best": [float("-inf"), float("-inf")],
        "theta/norm": [3.0, 4.0],
        "update/norm": [1.0, 100.0],
        "rate/steps": [9.0, 9.0],
        "rate/evaluations": [9.0, 9.0],
    }
    made = group(tmp_path, columns, fitness=[[[1.0, 2.0], [2.0, 4.0]]])
    panels = {panel.name: panel for panel in panels_of([made], metrics=["theta/norm"])}
    assert list(panels) == ["fitness", "sigma", "lr", "update", "rate", "theta/norm", "distribution-0"]
    both = panels_of([made], only=["distribution", "lr"])
    assert [panel.name for panel in both] == ["lr", "distribution-0"]
    assert panels["rate"].title == "evaluations a second"
    assert [panel.log for panel in panels.values()] == [False, False, False, True, False, False, False]
    assert panels["sigma"].limits == (0.0, pytest.approx(0.15))
    assert "from 1 to 2" in panels["fitness"].summary()


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    made = group(tmp_path, {"sigma": [0.1]})
    with pytest.raises(ConfigError, match=r"no run has a metric 'moon': there are generation, seconds, sigma\."):
        panels_of([made], metrics=["moon"])
    with pytest.raises(ConfigError, match="plots are against generations, evaluations, steps, seconds, not 'phase'"):
        panels_of([made], "phase")
    with pytest.raises(ConfigError, match="there is nothing to draw against steps"):
        panels_of([made], "steps")
