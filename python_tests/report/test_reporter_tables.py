"""`reporters` in a configuration: what is made of it, what is kept of it, and what is said of mistakes."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from report.noting import NOTED, Noting

import fastes
from fastes import config
from fastes.cli import main
from fastes.errors import ConfigError, UserError
from fastes.report import REPORTERS, CSVReporter, Reporter, WandbReporter

TABLES = {
    "generations": 2,
    "problem": {"kind": "function", "dim": 4},
    "algorithm": {"population": 4},
    "executor": {"kind": "inline"},
}
HERE = "report.noting"
PAGE = Path(__file__).parents[2] / "docs" / "reports.md"


def made(entries: Any) -> list[Reporter]:
    return list(config.trainer(TABLES | {"reporters": entries}).reporters)


def test_names_and_tables() -> None:
    wandb = {"kind": "wandb", "mode": "disabled", "project": "x", "tags": ["a", "b"]}
    found = made(["csv", wandb, f"{HERE}:Noting", {"kind": f"{HERE}:Noting", "name": "n"}])
    assert [type(each).__name__ for each in found] == ["CSVReporter", "WandbReporter", "Noting", "Noting"]
    assert found[1].project == "x"  # type: ignore[attr-defined]
    assert found[1].tags == ("a", "b")  # type: ignore[attr-defined]
    assert [each.name for each in found[2:]] == ["plain", "n"]  # type: ignore[attr-defined]
    assert made([]) == []
    assert [type(each) for each in made("csv")] == [CSVReporter], "one alone needs no list"


def test_those_of_the_caller_stay() -> None:
    mine = Reporter()
    found = config.trainer(TABLES | {"reporters": ["csv"]}, reporters=[mine]).reporters
    assert found[0] is mine
    assert len(found) == 2


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["tensorbord"], r"reporters\[0\]\.kind must be one of .*module:callable.* Did you mean 'tensorboard'\?"),
        ([{"project": "x"}], r"reporters\[0\]\.kind must be one of"),
        (["csv", 3], r"reporters\[1\] must be a name such as 'mlflow', or a table with a kind, not 3"),
        (3, r"reporters must be a list such as .*, not 3"),
        ([{"kind": "wandb", "projekt": "x"}], r"unknown key reporters\[0\]\.projekt\. Did you mean 'project'\?"),
        ([{"kind": "wandb", "project": 3}], r"reporters\[0\]\.project must be text, not 3"),
        ([{"kind": "wandb", "mode": "on"}], r"reporters\[0\]\.mode must be one of 'online', 'offline', 'disabled'"),
        ([{"kind": "csv", "path": "x"}], r"unknown key reporters\[0\]\.path\. .* has no other keys"),
        ([f"{HERE}:Missing"], "Missing"),
        (["no_such_module:Reporter"], "no_such_module"),
        ([f"{HERE}:no_reporter"], r"reporters\[0\]\.kind = .* gave a str, not a fastes Reporter"),
        ([{"kind": f"{HERE}:broken", "argument": 1}], r"\[reporters\[0\]\]: .* raised ValueError: no 1 please\.$"),
    ],
)
def test_mistakes(entries: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as raised:
        made(entries)
    assert "\n" not in str(raised.value)


def test_a_missing_package_ends_the_run_before_it_begins(in_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"MLflow need the package mlflow: pip install 'fastes\[mlflow\]'"):
        made(["mlflow"])
    assert list(in_directory.iterdir()) == []


def test_a_run_keeps_its_reporters_when_it_goes_on(in_directory: Path) -> None:
    text = 'reporters = ["%s:Noting", { kind = "%s:Noting", name = "n" }]\n[problem]\nkind = "function"\ndim = 4\n'
    Path("a.toml").write_text(text % (HERE, HERE))
    quick = [*("--set", "algorithm.population=4"), *("--set", "executor.kind=inline"), "--set=output.tensorboard=false"]
    NOTED.clear()
    assert main(["train", "a.toml", *quick, "--set", "generations=1"]) == 0
    assert main(["train", "--resume", "runs/a", "--set", "generations=2"]) == 0
    assert NOTED == [("plain", 1), ("n", 1), ("plain", 2), ("n", 2)]
    changed = f'reporters=["{HERE}:Noting"]'
    assert main(["train", "--resume", "runs/a", "--set", "generations=3", "--set", changed]) == 0
    assert NOTED[4:] == [("plain", 3)], "reporters may change: they are no part of what fixes a run"
    assert config.read_tables(Path("runs/a/config.toml"))["reporters"] == [f"{HERE}:Noting"]


def test_reporters_made_in_python_are_named_as_far_as_they_can_be(tmp_path: Path) -> None:
    fastes.train(
        fastes.problems.Function("sphere", dim=4),
        algorithm=fastes.algorithms.OpenAIES(population=4),
        generations=1,
        executor="inline",
        output=fastes.Output(tmp_path / "a", tensorboard=False),
        reporters=[Noting(), WandbReporter(mode="disabled", project="x"), CSVReporter()],
    )
    tables = config.read_tables(tmp_path / "a" / "config.toml")
    assert [(each["kind"], each.get("project")) for each in tables["reporters"]] == [("wandb", "x"), ("csv", None)]
    again = config.trainer(tables)
    assert [type(each) for each in again._reporters()] == [WandbReporter, CSVReporter], "not two for one file"


def test_every_reporter_is_documented() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for kind in REPORTERS:
        assert f'"{kind}"' in page


def test_the_example_of_the_page(
    in_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(in_directory)  # as for a command that is run there
    page = PAGE.read_text(encoding="utf-8")
    code = re.findall(r"```python\n(from .*?)```", page, re.DOTALL)
    assert len(code) == 1
    (in_directory / "my_module_of_the_page.py").write_text(code[0])
    runpy.run_path("my_module_of_the_page.py", run_name="__main__")
    assert re.fullmatch(r"10 -\d+\.\d+\n20 -\d+\.\d+\n", capsys.readouterr().out)
    (named,) = made([{"kind": "my_module_of_the_page:Printer", "every": 10}])
    assert named.every == 10  # type: ignore[attr-defined]
