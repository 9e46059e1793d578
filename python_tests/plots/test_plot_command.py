"""`fastes plot`: the pictures that it writes, and what it says where there is nothing to draw."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from run_folders import fastes, trained, written

from fastes import cli

SVG = "{http://www.w3.org/2000/svg}"


def call(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def colours(path: Path) -> int:
    """How many different ones are in a PNG."""
    picture = imread(path)
    return len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0))


def texts(path: Path) -> set[str]:
    return {"".join(element.itertext()).strip() for element in ET.parse(path).iter(f"{SVG}text")}


def identifiers(path: Path) -> set[str]:
    return {element.get("id", "") for element in ET.parse(path).iter()}


def test_the_console_script_writes_a_png_and_an_svg(tmp_path: Path) -> None:
    """In the run's directory unless told otherwise: six panels of 4.9 by 3.1 inches and a title, 150 dots an inch."""
    trained(tmp_path / "runs" / "a run")
    done = fastes("plot", "runs/a run", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "runs/a run/plot.png\n", "")
    picture = imread(tmp_path / "runs" / "a run" / "plot.png")
    assert picture.shape == (int(150 * (2 * 3.1 + 0.4)), int(150 * 3 * 4.9), 4)
    assert colours(tmp_path / "runs" / "a run" / "plot.png") > 50
    done = fastes("plot", "--landscape", "runs/a run", "--out", "new folder/way.svg", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "new folder/way.svg\n", "")
    assert {"sphere · openai_es", "fitness of members", "0", "5"} <= texts(tmp_path / "new folder" / "way.svg")


def test_an_svg_has_its_texts_and_series(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        trained(in_directory / "grid" / f"small-{seed}", seed=seed)
    trained(in_directory / "grid" / "large", algorithm={"sigma": 0.3})
    assert call("plot", "grid", "--out", "all.svg", "--x", "evaluations", "--metric", "theta/norm") == 0
    assert capsys.readouterr().out == "all.svg\n"
    told = texts(Path("all.svg"))
    assert {"sphere · openai_es", "sigma 0.1 (2 seeds)", "sigma 0.3", "evaluations of members"} <= told
    assert {"fitness", "evaluation of the centre", "sigma", "length of updates", "theta/norm"} <= told
    assert "distribution of fitness: sigma 0.1 (2 seeds)" in told
    found = identifiers(Path("all.svg"))
    for panel in ("fitness", "evaluation", "sigma", "update", "rate", "theta/norm"):
        assert {f"{panel}:0", f"{panel}:1"} <= found
    assert {"fitness:0:band-0", "distribution-0:0:band-1", "distribution-1:1"} <= found


def test_several_runs_are_drawn_here(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(in_directory / "a", {"fitness/mean": [1.0]})
    written(in_directory / "b", {"fitness/mean": [2.0, 3.0]}, config={"problem": {"dim": 7}})
    written(in_directory / "c", {}, fitness=[])
    assert call("plot", "a", "b", "c", "--dpi", "50", "--only", "fitness") == 0
    told = capsys.readouterr()
    assert told.out == "plot.png\n"
    assert told.err == "fastes: left out: the run in c has no metrics yet: wait until its first generation is done.\n"
    assert colours(Path("plot.png")) > 20
    assert imread("plot.png").shape[1] == 245  # 4.9 inches


def test_one_generation(in_directory: Path) -> None:
    columns = {
        "fitness/mean": [1.0],
        "fitness/min": [0.0],
        "fitness/max": [3.0],
        "evaluation/mean": [2.0],
        "sigma": [0.1],
    }
    written(in_directory / "run", columns, fitness=[[0.0, 1.0, 3.0]])
    assert call("plot", "run", "--out", "one.svg") == 0
    assert {"fitness:0", "fitness:0:band-0", "distribution-0:0:band-1"} <= identifiers(Path("one.svg"))


def test_missing_columns_and_numbers(in_directory: Path) -> None:
    """NaN, infinities, empty cells, a column of nothing; names that are no formula and no markup."""
    columns = {
        "fitness/mean": [float("nan"), 1.0, None, float("-inf")],
        "fitness/max": [None, 2.0, None, None],
        "evaluation/mean": [None, None, 3.0, None],
        "_hidden $x$ <b>": [1.0, 2.0, float("inf"), 4.0],
        "empty": [None, None, None, None],
    }
    written(in_directory / "run", columns, fitness=[[float("nan")] * 3, [1.0, 2.0, float("inf")]])
    assert call("plot", "run", "--out", "odd.svg") == 0
    assert {"fitness", "evaluation of the centre", "_hidden $x$ <b>", "distribution of fitness"} <= texts(
        Path("odd.svg")
    )
    assert "empty" not in texts(Path("odd.svg"))


def test_many_generations_are_few_points(in_directory: Path) -> None:
    """50,000 of them, and none of the extremes is lost."""
    count = 50_000
    mean = np.sin(np.arange(count) / 1000)
    mean[31_234] = 7.0
    columns = {"fitness/mean": mean.tolist(), "fitness/min": (mean - 1).tolist(), "fitness/max": (mean + 1).tolist()}
    written(in_directory / "run", columns)
    assert call("plot", "run", "--out", "long.svg") == 0
    (line,) = (element for element in ET.parse("long.svg").iter() if element.get("id") == "fitness:0:single-0")
    path = line.find(f"{SVG}path")
    assert path is not None
    points = path.get("d", "").split("L")
    assert 100 < len(points) <= 2000
    heights = sorted(float(point.split()[-1]) for point in points)
    assert heights[1] - heights[0] > 5 * (heights[2] - heights[1])  # the one that stands out
    (line,) = (element for element in ET.parse("long.svg").iter() if element.get("id") == "fitness:0")
    path = line.find(f"{SVG}path")
    assert path is not None
    assert 100 < len(path.get("d", "").split("L")) <= 250


def test_more_runs_than_colours(in_directory: Path) -> None:
    """The best are told apart, the others are grey."""
    for i in range(13):
        written(in_directory / f"run-{i}", {"fitness/mean": [0.0, float(i)]}, config={"problem": {"dim": i + 1}})
    assert call("plot", ".", "--out", "many.svg") == 0
    told = texts(Path("many.svg"))
    assert "3 others" in told
    assert {f"dim {i}" for i in range(1, 14)} & told == {f"dim {i}" for i in range(4, 14)}
    assert {f"fitness:{i}" for i in range(13)} <= identifiers(Path("many.svg"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no directory: name one that `fastes train` wrote, or a folder of such."),
        (["empty"], "empty holds no run: name one that `fastes train` wrote, or a folder of such."),
        (["fresh"], "the run in fresh has no metrics yet: wait until its first generation is done."),
        (["run", "--out", "plot.pdf"], "a plot is a file .png or .svg, not .pdf: plot.pdf."),
        (["run", "--out", "run"], "a plot is a file .png or .svg, not one without an ending: run."),
        (["run", "--out", "run/metrics.csv/plot.png"], "the plot cannot be written to run/metrics.csv/plot.png: "),
        (["run", "--metric", "moon"], "no run has a metric 'moon': there are generation, seconds, sigma."),
        (["run", "--dpi", "5"], "--dpi must be from 10 to 1000, not 5."),
        (["run", "--only", "moon"], "there is no panel 'moon' to draw of these runs, only sigma."),
        (["run", "--landscape"], "run has no journal from which theta could be made again."),
        (["run", "other", "--landscape"], "--landscape draws one run, not the 2 that were named."),
    ],
)
def test_errors_are_a_line(
    arguments: list[str], message: str, in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(in_directory / "run", {"sigma": [0.1]})
    written(in_directory / "other", {"sigma": [0.1]})
    written(in_directory / "fresh", {}, fitness=[])
    (in_directory / "empty").mkdir()
    assert call("plot", *arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"fastes: {message}")
    assert told.err.count("\n") == 1


def test_without_matplotlib(
    in_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written(in_directory / "run", {"sigma": [0.1]})
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert call("plot", "run") == 2
    assert capsys.readouterr().err == "fastes: plots need matplotlib: pip install 'fastes[plots]'.\n"


def test_an_unknown_axis(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call("plot", "run", "--x", "phase")
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err
