"""What users get wrong, from the command line: one paragraph that names it and the remedy, status 2, nothing lost."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import specimens
from specimens import OnCall, Tables, changed, run, write_config

from fastes import cli, journal
from fastes.errors import ConfigError, FastesError, PolicyError, ProblemError, StorageError

FUNCTION: Tables = {
    "generations": 5,
    "unit_size": 4,
    "problem": {"kind": "function", "function": "specimens:sphere", "dim": 40},
    "algorithm": {"population": 8},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 0, "episodes": 1},
    "output": {"dir": "run", "checkpoint_every": 2, "tensorboard": False},
}
CHAIN: Tables = changed(FUNCTION, policy={"kind": "mlp", "hidden": [4]}) | {
    "problem": {"kind": "gym", "env": "specimens:Chain"}
}


def paragraph(text: str) -> str:
    """What a user error prints: `text` is just one line, which is a sentence or more."""
    assert text.startswith("fastes: "), text
    assert text.endswith((".\n", "?\n")), text
    assert text.count("\n") == 1, text
    return text.removeprefix("fastes: ")


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The paragraph with which `fastes ARGUMENTS` ends, with status 2."""
    capsys.readouterr()
    assert cli.main([str(argument) for argument in arguments]) == 2
    return paragraph(capsys.readouterr().err)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of the run that must not be lost."""
    files = [*directory.glob("checkpoints/*.safetensors*"), directory / "journal.bin"]
    files = [path for path in files if path.suffix != ".tmp"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


ERRORS: dict[str, tuple[Tables, dict[str, Any], type[FastesError], list[str]]] = {
    "unknown environment": (
        CHAIN,
        {"problem": {"env": "CartPool-v1"}},
        ProblemError,
        ["CartPool", "pprint_registry"],
    ),
    "unknown version": (CHAIN, {"problem": {"env": "CartPole-v99"}}, ProblemError, ["CartPole-v99", "pprint_registry"]),
    "malformed environment": (CHAIN, {"problem": {"env": "Cart Pole!"}}, ProblemError, ["Cart Pole!"]),
    "environment with unknown arguments": (
        CHAIN,
        {"problem": {"env_args": {"gravity": 3}}},
        ProblemError,
        ["gravity", "specimens:Chain"],
    ),
    "environment module unknown": (CHAIN, {"problem": {"env": "nowhere:Env"}}, ProblemError, ["nowhere", "PYTHONPATH"]),
    "environment name unknown": (CHAIN, {"problem": {"env": "specimens:Chian"}}, ProblemError, ["Chian"]),
    "factory raises": (
        CHAIN,
        {"problem": {"env_args": {"raise_in": "factory"}}},
        ProblemError,
        ["OSError", "no display"],
    ),
    "factory gives something else": (
        CHAIN,
        {"problem": {"env": "specimens:no_module", "env_args": {"action_size": 1}}},
        ProblemError,
        ["specimens:no_module", "list", "gymnasium.Env"],
    ),
    "reset raises": (
        CHAIN,
        {"problem": {"env_args": {"raise_in": "reset"}}},
        ProblemError,
        ["simulator is gone", "member 0 of generation 0", "--debug"],
    ),
    "step raises": (
        CHAIN,
        {"problem": {"env_args": {"raise_in": "step"}}},
        ProblemError,
        ["no mass", "member 0 of generation 0", "--debug"],
    ),
    "reward is NaN": (
        CHAIN,
        {"problem": {"env_args": {"raise_in": "nan"}}},
        ProblemError,
        ["member 0 of generation 0", "gave the reward nan", "on_error"],
    ),
    "policy gives too much": (
        CHAIN,
        {"policy": {"kind": "specimens:too_wide", "hidden": None}},
        PolicyError,
        ["(3,)", "(2,)", "Discrete(2)", "2 outputs"],
    ),
    "policy raises": (
        CHAIN,
        {"policy": {"kind": "specimens:Raises", "hidden": None}},
        ProblemError,
        ["matrix is singular", "members 0 to 3 of generation 0"],
    ),
    "policy is no module": (
        CHAIN,
        {"policy": {"kind": "specimens:no_module", "hidden": None}},
        PolicyError,
        ["list", "torch.nn.Module"],
    ),
    "policy cannot be imported": (
        CHAIN,
        {"policy": {"kind": "specimens:Absent", "hidden": None}},
        PolicyError,
        ["specimens:Absent", "has no attribute 'Absent'"],
    ),
    "policy with a missing argument": (
        CHAIN,
        {"policy": {"kind": "specimens:Linear", "gian": 2.0, "hidden": None}},
        PolicyError,
        ["gian", "observation_size"],
    ),
    "no hidden width": (CHAIN, {"policy": {"hidden": [0]}}, PolicyError, ["hidden", "(0,)"]),
    "odd population": (FUNCTION, {"algorithm": {"population": 7}}, ConfigError, ["algorithm.population", "7", "even"]),
    "negative population": (FUNCTION, {"algorithm": {"population": -2}}, ConfigError, ["population", "-2"]),
    "sigma zero": (FUNCTION, {"algorithm": {"sigma": 0.0}}, ConfigError, ["sigma", "0.0"]),
    "sigma infinite": (FUNCTION, {"algorithm": {"sigma": float("inf")}}, ConfigError, ["sigma", "inf"]),
    "lr negative": (FUNCTION, {"optimizer": {"kind": "sgd", "lr": -1.0}}, ConfigError, ["lr", "-1.0"]),
    "lr NaN": (FUNCTION, {"optimizer": {"kind": "adam", "lr": float("nan")}}, ConfigError, ["lr", "nan"]),
    "lr infinite": (FUNCTION, {"optimizer": {"kind": "adam", "lr": float("inf")}}, ConfigError, ["lr", "inf"]),
    "beta of one": (FUNCTION, {"optimizer": {"kind": "adam", "betas": [0.9, 1.0]}}, ConfigError, ["betas", "1.0"]),
    "dim zero": (FUNCTION, {"problem": {"dim": 0}}, ProblemError, ["dim", "0"]),
    "function unknown": (FUNCTION, {"problem": {"function": "spere"}}, ProblemError, ["spere", "sphere"]),
    "function not importable": (FUNCTION, {"problem": {"function": "nowhere:f"}}, ProblemError, ["nowhere:f"]),
    "seed negative": (FUNCTION, {"seed": -1}, ConfigError, ["seed", "-1"]),
    "seed too large": (FUNCTION, {"seed": 2**64}, ConfigError, ["seed", str(2**64)]),
    "generations negative": (FUNCTION, {"generations": -1}, ConfigError, ["generations", "-1"]),
    "odd unit": (FUNCTION, {"unit_size": 3}, ConfigError, ["unit_size", "3"]),
    "no episodes": (CHAIN, {"problem": {"episodes": 0}}, ProblemError, ["episodes", "0"]),
    "negative workers": (FUNCTION, {"executor": {"kind": "local", "workers": -1}}, ConfigError, ["workers", "-1"]),
    "population beyond rows": (FUNCTION, {"algorithm": {"population": 2**50}}, ConfigError, ["population", "2^28"]),
    "dim beyond addresses": (FUNCTION, {"problem": {"dim": 2**50}}, ProblemError, ["dim", "2^34"]),
    "function with a policy table": (FUNCTION, {"policy": {"kind": "mlp"}}, PolicyError, ["vector", "[policy]"]),
}


@pytest.mark.filterwarnings("ignore:the policy Raises is evaluated one member after another")
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", ERRORS)
def test_the_paragraph(name: str, debug: bool, in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables, changes, error, words = ERRORS[name]
    write_config(in_directory / "run.toml", changed(tables, **changes))
    if debug:
        with pytest.raises(error):
            cli.main(["train", "run.toml", "--debug"])
        return
    message = fails(capsys, "train", "run.toml")
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", ["step raises", "policy gives too much", "reward is NaN", "function not importable"])
@pytest.mark.usefixtures("no_leftover_processes")
def test_the_paragraph_is_the_same_from_a_worker(
    name: str, in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables, changes, _, _ = ERRORS[name]
    write_config(in_directory / "run.toml", changed(tables, **changes))
    here, there = (fails(capsys, "train", "run.toml", "--executor", kind) for kind in ("inline", "local"))
    number = r"member \d+"  # all members fail; which is reported first depends on who was faster
    assert re.sub(number, "member", there) == re.sub(number, "member", here)


def test_a_traceback_from_a_worker_says_where(in_directory: Path) -> None:
    tables, changes, error, _ = ERRORS["step raises"]
    write_config(in_directory / "run.toml", changed(tables, **changes))
    with pytest.raises(error) as caught:
        cli.main(["train", "run.toml", "--debug", "--executor", "local"])
    assert 'raise ZeroDivisionError("no mass")' in "".join(caught.value.__notes__)


def test_errors_leave_no_run_directory_where_the_problem_cannot_be_opened(in_directory: Path) -> None:
    for name in ("unknown environment", "factory raises", "function not importable", "policy is no module"):
        tables, changes, _, _ = ERRORS[name]
        write_config(in_directory / "run.toml", changed(tables, **changes))
        assert cli.main(["train", "run.toml"]) == 2
    assert [path.name for path in in_directory.iterdir()] == ["run.toml"]


def test_a_real_process(tmp_path: Path, start_fastes: Any) -> None:
    write_config(tmp_path / "run.toml", changed(CHAIN, problem={"env": "CartPool-v1"}))
    quiet = start_fastes("train", "run.toml")
    loud = start_fastes("train", "run.toml", "--debug")
    out, err = quiet.communicate(timeout=60)
    assert (quiet.returncode, out) == (2, "")
    assert "CartPool" in paragraph(err)
    assert "Traceback (most recent call last)" in loud.communicate(timeout=60)[1]
    assert loud.returncode != 0


# --- fitness that is no number ---------------------------------------------------------------------------------------


def test_out_of_memory(in_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(*arguments: object) -> NoReturn:
        raise MemoryError("Unable to allocate 8.00 PiB")

    write_config(in_directory / "run.toml", FUNCTION)
    monkeypatch.setattr("fastes.noise.Generation.materialize", allocate)
    message = fails(capsys, "train", "run.toml")
    assert "8.00 PiB" in message
    assert "algorithm.population" in message
    with pytest.raises(MemoryError):
        cli.main(["train", "run.toml", "--debug"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300])
def test_the_member_is_named_and_the_run_goes_on_when_mended(
    value: float, in_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = changed(FUNCTION, output={"dir": "clean"})
    clean = run(tables)
    write_config(in_directory / "run.toml", FUNCTION)
    monkeypatch.setattr(specimens, "before_sphere", OnCall(3 * 8 + 6, lambda: value))
    message = fails(capsys, "train", "run.toml")
    assert "member 5 of generation 3" in message
    assert "1 of 8 members are not finite" in message
    assert len(journal.read(Path("run/journal.bin")).records) == 3
    monkeypatch.setattr(specimens, "before_sphere", specimens.nothing)
    assert cli.main(["train", "--resume", "run"]) == 0
    assert clean.digest in capsys.readouterr().out


@pytest.mark.parametrize("executor", ["inline", "local"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1e300])
def test_worst_fitness_instead(value: float, executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All reporters take it too."""
    tables = changed(
        FUNCTION,
        algorithm={"nan_fitness": "worst"},
        output={"dir": str(tmp_path / "run"), "tensorboard": True},
        evaluation={"every": 1, "episodes": 1},
        executor={"kind": executor},
    )
    monkeypatch.setattr(specimens, "before_sphere", lambda x: value if x[0] > 1 else None)
    result = run(tables)
    assert result.status == "finished"
    worst = journal.read(tmp_path / "run" / "journal.bin").records[0].fitness
    assert 0 < np.isfinite(worst).sum() < 8
    assert len((tmp_path / "run" / "metrics.csv").read_text().splitlines()) == 6


def test_worst_of_nothing_is_still_an_error(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(
        in_directory / "run.toml", changed(CHAIN, problem={"env_args": {"raise_in": "nan"}, "on_error": "worst"})
    )
    message = fails(capsys, "train", "run.toml")
    assert "no member of the generation could be evaluated. The environment of member 0 gave the reward nan." in message


# --- storage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["a file", "below a file", "/proc/fastes", "/dev/null/fastes", "x" * 300])
def test_a_directory_that_cannot_be_made(where: str, in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = {"a file": "run.toml", "below a file": "run.toml/run"}.get(where, where)
    write_config(in_directory / "run.toml", changed(FUNCTION, output={"dir": path}))
    before = (in_directory / "run.toml").read_bytes()
    message = fails(capsys, "train", "run.toml")
    assert path in message
    assert "output.dir" in message
    assert (in_directory / "run.toml").read_bytes() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become nobody")
def test_a_directory_that_one_may_not_write(tmp_path: Path) -> None:
    """The tests' own user may be root, who may write anywhere."""
    script = """
import os, sys
from fastes import cli
cli.main(["info"])  # imports while that is still allowed
import secrets, fastes.config, fastes.report, specimens
os.seteuid(65534)
sys.exit(cli.main(["train", "run.toml"]))
"""
    (tmp_path / "locked").mkdir(mode=0o700)
    (tmp_path / "closed").mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents):
        if parent != Path("/") and parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    for name in ("locked", "closed"):
        write_config(tmp_path / "run.toml", changed(FUNCTION, output={"dir": f"{name}/run"}))
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(Path(specimens.__file__).parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        message = paragraph(done.stderr)
        assert f"{name}/run" in message
        assert "Permission denied" in message


@pytest.mark.parametrize("failing", ["journal", "checkpoint", "policy.safetensors.tmp"])
def test_a_full_disk_loses_nothing(
    failing: str, in_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = run(changed(FUNCTION, output={"dir": "clean"}))
    write_config(in_directory / "run.toml", FUNCTION)
    before: dict[str, bytes] = {}
    real_write, real_fsync = os.write, os.fsync

    def target(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    def fill() -> NoReturn:
        before.update(before or contents(Path("run")))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(descriptor: int, data: Any) -> int:
        if failing in target(descriptor) and "run/journal.bin" in target(descriptor):
            records = os.fstat(descriptor).st_size
            if records > 300:
                fill()
        return real_write(descriptor, data)

    def fsync(descriptor: int) -> None:
        if failing == "checkpoint" and "run/checkpoints/generation-00000004" in target(descriptor):
            fill()
        real_fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        patch.setattr(os, "fsync", fsync)
        if failing.startswith("policy"):
            patch.setattr("safetensors.torch.save_model", lambda *arguments: fill())
        message = fails(capsys, "train", "run.toml")
    assert "No space left on device" in message
    assert "intact" in message
    assert before.items() <= contents(Path("run")).items()
    assert cli.main(["train", "--resume", "run"]) == 0
    assert clean.digest in capsys.readouterr().out


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a file system of the size given, or gives it another; skips where one may not."""
    path = tmp_path / "disk"
    path.mkdir()

    def of_size(size: str) -> Path:
        options = f"remount,size={size}" if path.is_mount() else f"size={size}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "fastes-test", path]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a file system here")
        return path

    yield of_size
    if path.is_mount():
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize(
    ("size", "changes", "words"),
    [
        (
            "400k",  # a checkpoint is a third of it
            {"problem": {"dim": 12_000}, "output": {"checkpoint_every": 1}},
            ["Cannot write the checkpoint", "generation-00000001.safetensors is intact"],
        ),
        (
            "60k",
            {"generations": 300, "problem": {"dim": 30}, "output": {"checkpoint_every": 1000}},
            ["Cannot write generation", "journal.bin", "What was written before it is intact"],
        ),
    ],
)
def test_a_disk_that_is_really_full(
    size: str,
    changes: dict[str, Any],
    words: list[str],
    tmp_path: Path,
    disk: Callable[[str], Path],
    start_fastes: Any,
) -> None:
    """Even where reporters fail first, one paragraph ends it; on a larger disk the run then ends as it should."""
    path = disk(size)
    tables = changed(FUNCTION, **changes)
    clean = run(changed(tables, output={"dir": str(tmp_path / "clean")}))
    write_config(tmp_path / "run.toml", changed(tables, output={"dir": str(path / "run"), "tensorboard": True}))
    process = start_fastes("train", "run.toml")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    *warnings, message = err.splitlines()
    for word in (*words, "No space left on device", "then resume the run."):
        assert word in paragraph(message + "\n")
    for warning in warnings:
        assert warning.startswith("fastes: warning: ")
        assert "No space left on device" in warning
    assert not list((path / "run").rglob("*.tmp"))
    disk("4m")
    resumed = start_fastes("train", "--resume", path / "run")
    out, err = resumed.communicate(timeout=60)
    assert (resumed.returncode, err) == (0, "")
    assert clean.digest in out


def test_a_disk_that_was_full_from_the_start(
    disk: Callable[[str], Path], in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing was run there, so that the same directory serves once there is space."""
    path = disk("4k")
    write_config(in_directory / "run.toml", changed(FUNCTION, output={"dir": str(path / "run")}))
    assert "There is no earlier checkpoint" in fails(capsys, "train", "run.toml")
    assert "No space left on device" in fails(capsys, "train", "--resume", path / "run")
    disk("4m")
    assert cli.main(["train", "--resume", str(path / "run")]) == 0
    assert run(changed(FUNCTION, output={"dir": "clean"})).digest in capsys.readouterr().out


# --- resuming --------------------------------------------------------------------------------------------------------


def test_resume_needs_a_run(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (in_directory / "empty").mkdir()
    for name in ("empty", "absent"):
        message = fails(capsys, "train", "--resume", name)
        assert f"{name}" in message
        assert "CONFIG.toml" in message
    assert "--resume" in fails(capsys, "train")


def test_resume_starts_a_run_that_was_not_yet(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(in_directory / "run.toml", FUNCTION)
    assert cli.main(["train", "run.toml", "--resume", "there"]) == 0
    assert run(changed(FUNCTION, output={"dir": "clean"})).digest in capsys.readouterr().out
    assert len(journal.read(Path("there/journal.bin")).records) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 5}, ["seed = 0", "seed = 5"]),
        ({"problem": {"dim": 41}}, ["dim = 40", "dim = 41"]),
        ({"algorithm": {"population": 16}}, ["population"]),
        ({"algorithm": {"sigma": 0.2}}, ["sigma", "0.1", "0.2"]),
        ({"optimizer": {"kind": "adam", "lr": 0.5}}, ["lr", "0.01", "0.5"]),
        ({"optimizer": {"kind": "sgd"}}, ["kind", "adam", "sgd"]),
    ],
)
def test_resume_with_other_settings(
    changes: dict[str, Any], words: list[str], in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(changed(FUNCTION, generations=3))
    before = contents(Path("run"))
    write_config(in_directory / "other.toml", changed(FUNCTION, **changes))
    message = fails(capsys, "train", "other.toml", "--resume", "run")
    for word in (*words, "start a new run"):
        assert word in message
    assert contents(Path("run")) == before


def test_resume_without_a_whole_checkpoint(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(FUNCTION)
    for path in Path("run/checkpoints").iterdir():
        os.truncate(path, 50)
    damaged = contents(Path("run"))
    assert "holds no whole checkpoint" in fails(capsys, "train", "--resume", "run")
    assert sorted(contents(Path("run")).values()) == sorted(damaged.values())  # under other names


def test_a_journal_that_belongs_to_another_run(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(changed(FUNCTION, generations=1))
    run(changed(FUNCTION, generations=5, seed=2, output={"dir": "other"}))
    shutil.copy("other/journal.bin", "run/journal.bin")
    assert "seed" in fails(capsys, "train", "--resume", "run")
    assert "does not replay" in fails(capsys, "replay", "run/journal.bin")


@pytest.mark.parametrize("generation", [-1, 6, 10**12])
def test_replay_of_a_generation_that_is_not_there(
    generation: int, in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(FUNCTION)
    message = fails(capsys, "replay", "run/journal.bin", "--generation", generation)
    assert f"generations 0 to 5, not {generation}" in message


def test_replay_without_its_files(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(FUNCTION)
    assert "absent.bin" in fails(capsys, "replay", "run/absent.bin")
    assert "not a readable journal" in fails(capsys, "replay", "run/config.toml")
    (in_directory / "a file").touch()
    message = fails(capsys, "replay", "run/journal.bin", "--out", "a file/theta.safetensors")
    assert "a file/theta.safetensors" in message
    os.truncate("run/checkpoints/generation-00000000.safetensors", 9)
    assert "generation-00000000" in fails(capsys, "replay", "run/journal.bin")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--episodes", "0"], ["episodes", "0"]),
        (["--seed", "-1"], ["seed", "-1"]),
        (["--seed", str(2**64)], ["seed", str(2**64)]),
    ],
)
def test_evaluate_with_numbers_out_of_range(
    arguments: list[str], words: list[str], in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(FUNCTION)
    message = fails(capsys, "evaluate", "run", *arguments)
    for word in words:
        assert word in message


def test_evaluate_what_is_no_run(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "absent" in fails(capsys, "evaluate", "absent")
    run(FUNCTION)
    Path("run/policy.safetensors").write_bytes(b"nothing")
    assert "policy.safetensors" in fails(capsys, "evaluate", "run")
    Path("run/policy.json").write_text("{")
    assert "policy.json" in fails(capsys, "evaluate", "run")


@pytest.mark.parametrize(
    ("variable", "value"), [("FASTES_ISA", "mmx"), ("FASTES_NUM_THREADS", "many"), ("FASTES_NUM_THREADS", "0")]
)
def test_environment_variables(variable: str, value: str, tmp_path: Path, start_fastes: Any) -> None:
    process = start_fastes("info", **{variable: value})
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert variable in paragraph(err)
    assert value in err


def test_what_the_api_raises_is_what_the_command_line_prints(
    in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = changed(CHAIN, problem={"env": "CartPool-v1"})
    with pytest.raises(ProblemError) as caught:
        run(tables)
    write_config(in_directory / "run.toml", tables)
    assert fails(capsys, "train", "run.toml") == f"{caught.value}\n"


def test_a_storage_error_names_its_cause() -> None:
    with pytest.raises(StorageError) as caught:
        run(changed(FUNCTION, output={"dir": "/proc/fastes"}))
    assert isinstance(caught.value.__cause__, OSError)
