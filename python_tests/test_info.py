"""`fastes info`: the installation, extras by the package's own metadata, and kernels that are wrong."""

from __future__ import annotations

import json
import platform
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from fastes import __version__, cli, kernels
from fastes.commands import info

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """By name, what the metadata says is installed; a test may change it."""
    versions = {"numpy": "2.0.1", "torch": "2.4.0+cpu", "gymnasium": "1.4.0"}
    requires = {
        "fastes": [
            "numpy>=1.26",
            "nowhere; sys_platform == 'none'",
            *(f"number{i}; extra == 'many'" for i in range(40)),
            "torch>=2.4",
            "optuna>=4; extra == 'optuna'",
            "gymnasium[mujoco]; extra == 'mujoco'",
            "glfw; sys_platform == 'none' and extra == 'mujoco'",
            "fastes[mujoco]; extra == 'all'",
            "fastes[optuna]; extra == 'all'",
            "away[more]; extra == 'away'",
        ],
        "gymnasium": ["numpy", "mujoco>=3; extra == 'mujoco'", "box2d; extra == 'box2d'"],
    }

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    def required(name: str) -> list[str] | None:
        version(name) if name != "fastes" else None
        return requires.get(name)

    monkeypatch.setattr(info.metadata, "version", version)
    monkeypatch.setattr(info.metadata, "requires", required)
    monkeypatch.setattr(info, "provided_extras", lambda: ["optuna", "mujoco", "all", "away", "many"])
    return versions


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """By what stands first in a line, the rest of it."""
    lines = capsys.readouterr().out.splitlines()
    return {name: rest for name, _, rest in (re.sub(" +", " ", line).partition(" ") for line in lines)}


def test_what_is_here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert cli.main(["info"]) == 0
    lines = said(capsys)
    assert lines["fastes"] == __version__
    assert lines["python"] == f"{platform.python_version()}, {platform.system()} on {platform.machine()}"
    assert lines["isa"] == kernels.info()["isa"]
    assert lines["isas_built"] == ", ".join(kernels.info()["isas_built"])
    assert lines["threads"] == str(kernels.num_threads())
    assert lines["noise_spec"] == "1"
    assert lines["self_test"] == info.SELF_TEST
    assert f"numpy {metadata.version('numpy')}" in lines["requires"]
    assert f"torch {metadata.version('torch')}" in lines["requires"]
    assert lines["self-test"] == f"passed on {', '.join(kernels.info()['isas_usable'])}"
    assert {key: lines[key] for key, _ in kernels.cuda_report().lines()} == dict(kernels.cuda_report().lines())


def test_every_extra_of_the_project_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "--json"]) == 0
    extras = json.loads(capsys.readouterr().out)["extras"]
    assert {name.replace("-", "_") for name in extras} == set(PROJECT["optional-dependencies"])
    assert set(extras["optuna"]) == {"optuna"}


def test_json_is_for_programs(capsys: pytest.CaptureFixture[str], installed: dict[str, str]) -> None:
    assert cli.main(["info", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fastes"] == __version__
    assert found["requires"] == {"numpy": "2.0.1", "torch": "2.4.0+cpu"}
    assert found["kernels"] == kernels.info()
    assert found["extras"]["all"] == {"gymnasium": "1.4.0", "mujoco": None, "optuna": None}
    usable = dict.fromkeys(kernels.info()["isas_usable"], info.SELF_TEST)
    assert found["self_tests"] == {"expected": info.SELF_TEST, "found": usable, "passed": True}
    assert found["cuda"]["driver"] == kernels.cuda_report().driver


def test_extras_are_read_through_those_of_others(
    installed: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    cli.main(["info"])
    lines = said(capsys)
    assert lines["requires"] == "numpy 2.0.1, torch 2.4.0+cpu"
    assert lines["optuna"] == "not installed: pip install 'fastes[optuna]'"
    assert lines["mujoco"] == "gymnasium 1.4.0; not mujoco: pip install 'fastes[mujoco]'"
    assert lines["all"] == "gymnasium 1.4.0; not mujoco, optuna: pip install 'fastes[all]'"
    assert lines["many"] == "not installed: pip install 'fastes[many]'"
    assert lines["away"] == "not installed: pip install 'fastes[away]'"
    del installed["torch"]
    installed |= {"optuna": "5.0.0", "mujoco": "3.12.0"} | {f"number{i}": "1" for i in range(40)}
    cli.main(["info"])
    lines = said(capsys)
    assert lines["all"] == "gymnasium 1.4.0, mujoco 3.12.0, optuna 5.0.0"
    assert lines["many"] == "40 of 40 packages"
    assert lines["requires"] == "numpy 2.0.1; not torch: pip install 'fastes'"


def test_kernels_that_are_wrong_are_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = kernels.info()["isa"]
    right = kernels.self_test
    monkeypatch.setattr(kernels, "self_test", lambda: "0" * 32 if kernels.info()["isa"] == "scalar" else right())
    assert cli.main(["info"]) == 1
    out = capsys.readouterr().out
    assert f"FAILED on scalar: {'0' * 32} instead of {info.SELF_TEST}" in re.sub(r"\s+", " ", out)
    assert "FASTES_ISA" in out
    assert "passed" not in out
    assert kernels.info()["isa"] == before
    assert cli.main(["info", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["self_tests"]["passed"] is False


@pytest.mark.parametrize("columns", [50, 100])
def test_lines_are_as_wide_as_the_terminal(
    columns: int, installed: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    cli.main(["info"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > columns] == []
    assert sum("pip install 'fastes[" in line for line in lines) >= 4  # commands stay in one piece
    assert (f"{'':{info.COLUMN}}pip install 'fastes[all]'" in lines) == (columns == 50)
