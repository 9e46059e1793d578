"""What the documents show runs as it is written: every block of code of every page, in order, in one folder a page.

Python is executed; a block with `title="FILE"` is a file that later blocks can use. TOML with a title is a run of two
generations, other TOML a fragment from which a run is built. In a shell's lines, fastes' commands run where they
need nothing but this process and a moment; the real parser reads the others, and their configuration is built.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from pages import LANGUAGES, ROOT, Block, Command, blocks, commands, indented, pages

import fastes
from fastes import cli, config, worker
from fastes.algorithms import ALGORITHMS, OpenAIES
from fastes.commands import train as train_command
from fastes.executors import Inline, Local
from fastes.gridsearch.axes import split
from fastes.gridsearch.plan import read_grid
from fastes.run_settings import Evaluation

FOREIGN = ("cd", "dieharder", "docker", "openssl", "sbatch", "scp", "source", "tensorboard")
"""Programs of others, which no test knows more of."""

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
INPUTS = ("config", "resume", "run", "runs", "journal", "grid")
"""Options of commands that name what has to be there."""

NEEDS_MORE = {"top": "a coordinator", "worker": "a coordinator", "bench": "minutes"}
SMALLER = [('device="cuda"', 'device="cpu"'), ("10_000_000", "10_000"), ("1_000_000", "100_000")]


@pytest.fixture
def page_folder(in_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the examples in it, where runs have two generations of few members and short episodes."""
    (in_directory / "examples").symlink_to(ROOT / "examples")
    monkeypatch.syspath_prepend(in_directory)
    checked = fastes.Trainer.__post_init__

    def shortened(self: fastes.Trainer) -> None:
        self.generations = min(self.generations, 2 if self.resume is None else 3)
        self.evaluation = Evaluation(every=0, episodes=2)
        if isinstance(self.executor, Local):
            self.executor = Inline()
        if isinstance(self.algorithm, OpenAIES):
            self.algorithm = dataclasses.replace(self.algorithm, population=max(16, 2 * self.algorithm.groups))
        if hasattr(self.problem, "max_steps"):
            self.problem = dataclasses.replace(self.problem, max_steps=10)
        checked(self)

    monkeypatch.setattr(fastes.Trainer, "__post_init__", shortened)
    before = set(sys.modules)
    yield in_directory
    for name in set(sys.modules) - before:
        if str(in_directory) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_runs(page: Path, page_folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    shell = " ".join(block.code for block in blocks(page) if block.language == "sh").split()
    for block in blocks(page):
        where = f"{page.relative_to(ROOT)}, line {block.line}"
        assert block.language in LANGUAGES, f"{where}: {block.language!r} is not one of {LANGUAGES}"
        if block.title and block.language in ("python", "toml"):
            (page_folder / block.title).parent.mkdir(exist_ok=True)
            (page_folder / block.title).write_text(block.code, encoding="utf-8")
        try:
            if block.language == "python":
                run_python(block, names, where)
            elif block.language == "toml":
                run_toml(block, later=block.title in shell)
            elif block.language == "sh":
                for command in commands(block.code):
                    run_command(command, page_folder, run=block.is_run)
        except Exception as error:
            raise AssertionError(f"{where}: {type(error).__name__}: {error}") from error


def run_python(block: Block, names: dict[str, Any], where: str) -> None:
    code = block.code
    for text, smaller in SMALLER if not torch.cuda.is_available() else SMALLER[1:]:
        code = code.replace(text, smaller)
    compiled = compile(code, where, "exec")
    if block.is_run:
        exec(compiled, {"__name__": "__main__"} if block.title else names)


def run_toml(block: Block, *, later: bool) -> None:
    """later: whether a command of the page trains it."""
    tables = tomllib.loads(block.code)
    if not block.is_run or later:
        return
    if block.title:
        tables.pop("output", None)
        trainer = config.trainer(first_run(tables))
        assert trainer.run().progress.evaluations == trainer.algorithm.members * trainer.generations
    else:
        config.trainer(first_run({"policy": {}} | tables))


def first_run(tables: dict[str, Any]) -> dict[str, Any]:
    """Of a grid the tables of its first run, else the tables."""
    if "grid" not in tables and not split(tables)[1]:
        return tables
    first = read_grid(tables).runs()[0].tables
    return {key: value for key, value in first.items() if key != "output"}


def run_command(command: Command, folder: Path, *, run: bool) -> None:
    if command.program == "fastes":
        run_fastes(command, folder, run=run)
    elif command.program == "fastes.worker":
        parsed(worker.parser(), command.words)
    elif command.program == "python":
        check_script(command.words, folder)
    elif command.program == "pip":
        for extras in re.findall(r"fastes\[([\w,]+)\]", " ".join(command.words)):
            assert set(extras.split(",")) <= set(EXTRAS), f"pyproject.toml has no extra {extras}"
    elif command.program == "make":
        targets = {word for word in command.words if "=" not in word}
        assert targets <= TARGETS, f"the Makefile has no target {targets - TARGETS}"
    else:
        assert command.program in FOREIGN, f"{command.program} is neither ours nor known as another's"
        for word in command.words:
            assert not word.startswith(("examples/", "docs/", "benchmarks/")) or (ROOT / word).exists(), word


def run_fastes(command: Command, folder: Path, *, run: bool) -> None:
    options = parsed(cli._parser(), command.words)
    kind = command.words[0]
    given = [getattr(options, name, None) for name in INPUTS]
    named = [path for value in given for path in (value if isinstance(value, list) else [value]) if path is not None]
    missing = [path for path in named if not (folder / path).exists()]
    assert all(Path(path).name.partition(".")[0].isupper() for path in missing), f"{missing} are not on the page"
    elsewhere = command.wrapped or kind in NEEDS_MORE or getattr(options, "render", False)
    if kind == "train":
        tables = {} if options.config is None else {"policy": {}}
        if options.config not in (None, *missing):
            tables = config.read_tables(options.config)
        if options.config is not None:
            made = config.trainer(train_command.configured(tables, options))
            elsewhere |= not isinstance(made.executor, Inline) or made.device != "cpu"
    if kind == "grid" and not missing:
        plan = read_grid(options.grid, lambda tables: train_command.configured(tables, options))
        plan.runs()
        elsewhere |= plan.settings.jobs != 1 or plan.tables["executor"]["kind"] != "inline"
    if kind == "info" or (run and named and not missing and not elsewhere):
        assert cli.main(shortened_words(command.words)) == 0


def shortened_words(words: list[str]) -> list[str]:
    """The same for a run of two generations and an evaluation of a moment."""
    small = {"--generation": "1", "--episodes": "2"}
    return [small.get(before, word) for before, word in zip(["", *words], words, strict=False)]


def parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    try:
        return parser.parse_args(words)
    except SystemExit:
        raise AssertionError(f"{parser.prog} does not take {' '.join(words)}") from None


def check_script(words: list[str], folder: Path) -> None:
    """A script is there, and knows the options that it is given."""
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None, words[1]
        return
    path = next(path for path in (ROOT / words[0], folder / words[0]) if path.exists())
    text = path.read_text(encoding="utf-8")
    more = [inner.read_text(encoding="utf-8") for inner in path.parent.glob("on_*/*.py")]
    for word in words[1:]:
        option = word.partition("=")[0]
        if option.startswith("--"):
            assert any(f'"{option}"' in source for source in [text, *more]), f"{words[0]} has no option {option}"
        else:
            is_ours = word.startswith("examples/") and not Path(word).stem.isupper()
            assert not is_ours or (ROOT / word).exists(), f"{word} is not there"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_or_table_hides_where_no_test_looks(page: Path) -> None:
    hidden = re.compile(r"(\w+=\S+ )*(fastes|python|pip|make|mpirun|srun) |\[\w+\]$")
    assert [line for line in indented(page) if hidden.match(line)] == []


def test_blocks_that_are_not_run_say_why() -> None:
    left_out = {f"{page.name}:{block.line}": block for page in pages() for block in blocks(page) if block.reason}
    assert [where for where, block in left_out.items() if len(block.reason) < 15] == []
    assert len(left_out) < 20, sorted(left_out)


def test_the_first_example_trains(in_directory: Path) -> None:
    script = in_directory / "first.py"
    first = next(block for block in blocks(ROOT / "README.md") if block.language == "python")
    code, changed = re.subn("generations=25", "generations=2", first.code)  # the rest takes a minute
    assert changed == 1
    script.write_text(code, encoding="utf-8")
    run = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, check=True)
    assert re.search(r"^[\d.]+ [0-9a-f]{32}$", run.stdout, re.MULTILINE)
    assert (in_directory / "cartpole.pt").stat().st_size > 0


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_scripts_run(script: Path) -> None:
    runpy.run_path(str(script), run_name="__main__")


@pytest.mark.parametrize("recipe", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_run(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand, but with a generation of few members, and short episodes; of a grid the first."""
    tables = dict(read_grid(recipe).runs()[0].tables) if recipe.stem.endswith("_grid") else config.read_tables(recipe)
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
    if "kind" not in tables["algorithm"]:  # openai_es
        small.append("algorithm.population=16")
    tables = config.with_settings(tables, small) | {"executor": {"kind": "inline"}}
    tables.pop("output", None)
    trainer = config.trainer(tables)
    result = trainer.run()
    assert (result.status, result.progress.evaluations) == ("finished", trainer.algorithm.members)


def test_every_link_leads_somewhere() -> None:
    for document in pages():
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_public_module_has_its_place_in_the_reference() -> None:
    shown = {
        module
        for page in (ROOT / "docs/api").glob("*.md")
        for module in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    modules = {name for name in fastes.__all__ if importlib.util.find_spec(f"fastes.{name}") is not None}
    assert {f"fastes.{name}" for name in modules} - shown == set()
    assert "fastes" in shown  # and with it all other names
    for name in shown - {"fastes"}:  # modules, and functions of the same name as theirs
        module, _, last = name.rpartition(".")
        assert getattr(importlib.import_module(module), last, None) or importlib.util.find_spec(name), name


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_every_algorithm_has_its_page_and_settings(kind: str) -> None:
    page = (ROOT / "docs/algorithms" / f"{kind}.md").read_text(encoding="utf-8")
    assert f"[`{kind}`](algorithms/{kind}.md)" in (ROOT / "docs/algorithms.md").read_text(encoding="utf-8")
    settings: Any = ALGORITHMS[kind]
    fields = {field.name for field in dataclasses.fields(settings) if field.init} - {"optimizer"}
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs/configuration.md").read_text(encoding="utf-8")))
    assert fields - named == set()
    assert fields - set(re.findall(r"`(\w+)`", page)) == set()
    assert (ROOT / "docs/algorithms" / f"{kind}.png").is_file()
    assert f"]({kind}.png)" in page
