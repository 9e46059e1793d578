"""`fastes grid` as it is typed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import specimens
from gridsearch.small import GRID, NAMES
from specimens import changed, write_config

from fastes import cli, config
from fastes.gridsearch.plan import read_grid

ROOT = Path(__file__).parents[2]
FASTES = Path(sys.executable).parent / "fastes"


@pytest.fixture(autouse=True)
def _here(in_directory: Path) -> None:
    """Everything is written below a directory of the test's own."""
    write_config(Path("g.toml"), GRID)


def call(*arguments: object) -> int:
    return cli.main(["grid", *map(str, arguments)])


def test_from_the_shell(tmp_path: Path) -> None:
    """The console script: trained, shown again, and the best trained as it stands."""

    def fastes(*arguments: str) -> str:
        done = subprocess.run([FASTES, *arguments], check=False, capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    if not FASTES.exists():
        pytest.skip("fastes is not installed as a script")
    out = fastes("grid", "g.toml", "--samples", "1", "--set", "seed=[4, 5]")
    lines = out.splitlines()
    assert re.fullmatch(r"\[1/2\] sigma=0.05,lr=0.1,seed=4: -\d.\d+  0:00:\d+.*", lines[0])
    assert lines[-1] == "Train the best again: fastes train runs/g/best.toml"
    best = tomllib.loads((tmp_path / "runs/g/best.toml").read_text())
    assert (best["seed"], best["algorithm"]["sigma"], best["optimizer"]["lr"]) == (4, 0.05, 0.1)
    out = fastes("train", "runs/g/best.toml")
    again = re.search(r"digest +(\w+)", out)
    assert again is not None
    assert again[1] in (tmp_path / "runs/g/sigma=0.05,lr=0.1,seed=4/result.json").read_text()


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """How far it is, without training; the files are written again."""
    assert call("g.toml", "--samples", 2) == 0
    shown = capsys.readouterr().out.partition("\n\n")[2]
    (Path("runs/g") / "summary.csv").unlink()
    for name in ("g.toml", "runs/g"):
        assert call(name, "--summary") == 0
        assert capsys.readouterr().out.strip() == shown.strip()
        assert (Path("runs/g") / "summary.csv").exists()
    shutil.rmtree(next(Path("runs/g").glob("sigma=*")))
    assert call("runs/g", "--summary") == 0
    assert "1 left" in capsys.readouterr().out


def test_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("g.toml", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [f"runs/g/{name}  left" for name in NAMES]
    assert not Path("runs").exists()


def test_options_reach_every_run() -> None:
    assert (
        call("g.toml", "--dir", "d", "--executor", "local", "--set", "executor.workers=1", "--set", "generations=1")
        == 0
    )
    tables = config.read_tables(Path("d") / NAMES[3] / "config.toml")
    assert tables["executor"]["kind"] == "local"
    assert tables["generations"] == 1
    assert tables["output"]["dir"] == f"d/{NAMES[3]}"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.toml"], "the configuration nowhere.toml cannot be read"),
        (["g.toml", "--set", "algorithm.sigma={rnage=[1,2]}"], "Did you mean 'range'?"),
        (["g.toml", "--jobs", "-1"], "grid.jobs must not be negative, not -1"),
        (["g.toml", "--jobs", "2", "--listen", "127.0.0.1:0"], "grid.jobs is for executors inline and local, not tcp"),
        (["g.toml", "--trials", "3"], "give --optuna as well"),
        (["g.toml", "--optuna"], "give --trials N"),
        (["g.toml", "--optuna", "--trials", "3", "--dry-run"], "Optuna chooses as it goes"),
        (["g.toml", "--summary"], "runs/g holds no grid"),
        (["."], ". holds no grid"),
    ],
)
def test_what_is_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("fastes: ")
    assert says in err
    assert err.count("\n") == 1


def test_status_of_a_grid_with_failures(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    tables = changed(GRID, problem={"function": "specimens:sphere"}, algorithm={"sigma": [0.1, 50.0]}) | {"seed": 1}
    monkeypatch.setattr(specimens, "before_sphere", lambda x: float("nan") if abs(x).max() > 20 else None)
    write_config(Path("g.toml"), tables)
    assert call("g.toml") == 1
    captured = capsys.readouterr()
    assert captured.out.count(": failed: ") == 2
    assert re.search(r"^ 50 +0.01 +0/1 +- +- +- +[-\d.s ]+failed$", captured.out, re.MULTILINE)
    assert captured.err == ""


def test_the_example() -> None:
    """examples/cartpole_grid.toml: hidden units by layers, over what CartPole's own file says."""
    plan = read_grid(ROOT / "examples" / "cartpole_grid.toml")
    runs = plan.runs()
    assert len(runs) == 18
    assert [run.name for run in runs[:4]] == [
        "hidden=8,seed=1",
        "hidden=8,seed=2",
        "hidden=8,seed=3",
        "hidden=8x8,seed=1",
    ]
    tables: dict[str, Any] = runs[4].tables
    assert tables["policy"] == {"kind": "mlp", "hidden": [8, 8], "activation": "tanh"}
    assert tables["algorithm"]["population"] == 256
    small = config.with_settings(tables, ["generations=1", "problem.max_steps=10", "evaluation.episodes=2"])
    del small["output"]
    assert config.trainer(small).run().status == "finished"
