"""What the documents show runs as it is written."""

from __future__ import annotations

import dataclasses
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from fastes import config
from fastes.algorithms import ALGORITHMS

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_example_trains(in_directory: Path) -> None:
    script = in_directory / "first.py"
    code, changed = re.subn("generations=25", "generations=2", BLOCKS[0])  # the rest takes a minute
    assert changed == 1
    script.write_text(code, encoding="utf-8")
    run = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=True)
    assert re.search(r"^[\d.]+ [0-9a-f]{32}$", run.stdout, re.MULTILINE)
    assert (in_directory / "cartpole.pt").stat().st_size > 0


@pytest.mark.parametrize("code", BLOCKS[1:])
def test_the_other_examples_run(code: str) -> None:
    if not torch.cuda.is_available():
        code = code.replace('device="cuda"', 'device="cpu"')
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_scripts_run(script: Path) -> None:
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("recipe", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_run(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, but for the number of generations and episodes, and the length of these."""
    tables = config.read_tables(recipe)
    env = tables["problem"].get("env", "")
    if tables["problem"].get("kind") == "digits":
        pytest.importorskip("sklearn")
    if tables.get("algorithm", {}).get("kind") == "esac":
        pytest.importorskip("stable_baselines3")
    extras = {"Swimmer": "mujoco", "HalfCheetah": "mujoco", "LunarLander": "Box2D", "mpe2": "mpe2"}
    for needed, package in extras.items():
        if env.startswith(needed):
            pytest.importorskip(package)
    monkeypatch.syspath_prepend(ROOT)  # as for a command that is run there
    small = ["generations=1", "evaluation.episodes=2", *(["problem.max_steps=10"] if env else [])]
    tables = config.with_settings(tables, small) | {"executor": {"kind": "inline"}}
    tables.pop("output", None)
    trainer = config.trainer(tables)
    result = trainer.run()
    assert (result.status, result.progress.evaluations) == ("finished", trainer.algorithm.members)


def test_every_link_leads_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_every_algorithm_has_its_page_and_settings(kind: str) -> None:
    assert (ROOT / "docs/algorithms" / f"{kind}.md").is_file()
    assert f"[`{kind}`](algorithms/{kind}.md)" in (ROOT / "docs/algorithms.md").read_text(encoding="utf-8")
    settings: Any = ALGORITHMS[kind]
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs/configuration.md").read_text(encoding="utf-8")))
    assert {field.name for field in dataclasses.fields(settings) if field.init} - named - {"optimizer"} == set()
