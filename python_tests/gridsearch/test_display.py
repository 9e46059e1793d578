"""How a grid that runs is shown, at a terminal and elsewhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from fastes.gridsearch.cells import Cell, Run
from fastes.gridsearch.directory import Outcome
from fastes.gridsearch.display import GridDisplay
from fastes.gridsearch.result import CellResult, GridResult
from fastes.gridsearch.source import Step
from fastes.gridsearch.summary import print_summary


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(name: str) -> Run:
    return Run(Cell({}, {}), 1, name, Path(name), {})


def test_lines_where_there_is_no_terminal() -> None:
    file, clock = io.StringIO(), Clock()
    display = GridDisplay(Console(file=file, width=40), clock)
    display.start(1, 3)
    display.message(None, "Listening on [127.0.0.1]:5555, with a line that is longer than the terminal is wide.")
    display.began(run("a"), 2)
    display.message(run("a"), "2 of 4 workers idle")
    display.message(run("b"), "2 of 4 workers idle")
    clock.now = 10.0
    display.stepped(run("a"), Step(1, 4, {"fitness/mean": 1.5}))
    clock.now = 40.0
    display.ended(run("a"), Outcome("finished", 12.25, 40.0), 2)
    display.began(run("b"), 1)
    display.stepped(run("b"), Step(3, 4, {}))  # gone on with after generation 2
    clock.now = 50.0
    display.ended(run("b"), Outcome("failed", error="no mass."), 1)
    display.began(run("c"), 0)
    clock.now = 60.0
    display.ended(run("c"), Outcome("finished", None), 0)
    display.close()
    assert file.getvalue().splitlines() == [
        "Listening on [127.0.0.1]:5555, with a line that is longer than the terminal is wide.",
        "a: 2 of 4 workers idle",
        "[2/4] a: 12.25  0:00:40, 0:01:20 left",
        "[3/4] b: failed: no mass.  0:00:10, 0:00:33 left",
        "[4/4] c: no finite score  0:00:10",
    ]


@pytest.mark.parametrize("width", [60, 100])
def test_at_a_terminal(width: int) -> None:
    file, clock = io.StringIO(), Clock()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, _environ={"TERM": "xterm"})
    display = GridDisplay(console, clock)
    display.start(2, 3)
    display.began(run("sigma=0.05,seed=1"), 2)
    display.began(run("sigma=0.05,seed=2"), 1)
    display.stepped(run("sigma=0.05,seed=1"), Step(1, 10, {"fitness/mean": 1.5}))
    clock.now = 5.0
    display.stepped(run("sigma=0.05,seed=1"), Step(5, 10, {"fitness/mean": 1.5, "evaluation/mean": 3.25}))
    last = file.getvalue().rpartition("\x1b[2K")[2].splitlines()
    assert last[0].startswith("2 of 5 runs done, 2 running, 1 left ")
    assert last[0].rstrip().endswith("0:00:05, 0:00:25 left")
    assert set(last[1]) <= set("━╸╺ ")
    assert last[2].split() == ["sigma=0.05,seed=1", "5/10", "evaluation", "3.25"]
    assert last[3].split() == ["sigma=0.05,seed=2", "begins"]
    assert max(map(len, last)) <= width
    display.close()


def cell(sigma: float, *scores: float, status: str = "finished") -> CellResult:
    runs = {seed: Outcome("finished", score, 2.5) for seed, score in enumerate(scores)}
    runs |= {len(scores): Outcome(status, None)} if status != "finished" else {}  # type: ignore[arg-type]
    return CellResult({"algorithm.sigma": sigma}, {"sigma": f"{sigma:g}"}, runs, {})


RESULT = GridResult(
    Path("runs/g"),
    (cell(0.1, 500.0, 470.5, 123456.0), cell(0.05, 1.0, status="pruned"), cell(7.5, status="left")),
    ("sigma",),
)


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (90, ["sigma", "seeds", "mean", "IQM", "95 %", "time", "status"]),
        (58, ["sigma", "seeds", "IQM", "95 %", "status"]),
        (30, ["sigma", "IQM"]),
    ],
)
def test_the_table_has_what_there_is_room_for(width: int, columns: list[str]) -> None:
    file = io.StringIO()
    print_summary(RESULT, Console(file=file, width=width, force_terminal=True, color_system=None))
    lines = [line.rstrip() for line in file.getvalue().splitlines() if line.strip()]
    assert lines[0].replace("95 %", "95%").split() == [name.replace(" ", "") for name in columns]
    assert max(map(len, lines[:5])) <= width
    assert [line.split()[0] for line in lines[2:5]] == ["0.1", "0.05", "7.5"]
    if "status" in columns:
        assert [line.split()[-1] for line in lines[2:5]] == ["finished", "pruned", "left"]
    assert lines[-1] == "Train the best again: fastes train runs/g/best.toml"


def test_a_table_in_a_file() -> None:
    file = io.StringIO()
    print_summary(RESULT, Console(file=file, width=30))
    lines = file.getvalue().splitlines()
    assert lines[1].split() == ["sigma", "seeds", "mean", "IQM", "95", "%", "time", "status"]
    assert lines[3].split()[:4] == ["0.1", "3", "41,476", "20,988"]
    assert lines[4].split() == ["0.05", "1/2", "1", "1", "-", "2.5", "s", "1", "pruned"]
    assert all(line == line.rstrip() for line in lines)


def test_many_cells() -> None:
    file = io.StringIO()
    many = GridResult(Path("runs/g"), tuple(cell(float(i), -float(i)) for i in range(100)), ("sigma",))
    print_summary(many, Console(file=file))
    assert "and 60 more cells, in runs/g/summary.csv" in file.getvalue()
    assert len(str(many).splitlines()) == 102
