"""fastes.cli: help, statuses, what commands print; what they refuse is in test_bad_input.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import specimens
from safetensors.numpy import load_file
from specimens import CARTPOLE, OnCall, Tables, changed, run, write_config

from fastes import cli, config
from fastes.result import Result

TINY: Tables = {
    "generations": 3,
    "problem": {"kind": "function", "dim": 10},
    "algorithm": {"population": 4},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 0, "episodes": 1},
    "output": {"dir": "run", "tensorboard": False},
}

COMMANDS = ["train", "grid", "worker", "top", "evaluate", "replay", "plot", "report", "info", "bench"]


def call(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_pages(command: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(*([command] if command else []), "--help")
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: fastes {command or ''}".rstrip())
    for word in [command] if command else COMMANDS:
        assert word in out


@pytest.mark.parametrize("command", ["train", "grid", "worker", "top"])
def test_help_at_80_columns(command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option with what it is for, beside it or below."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        call(command, "--help")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 80
    options = [number for number, line in enumerate(lines) if re.match(r"  (--|HOST:PORT|CONFIG)", line)]
    assert len(options) >= 5
    for number in options:
        beside = re.match(r"  \S.*\S {2,}\S", lines[number])
        assert beside or re.match(r" {10,}\S", lines[number + 1]), lines[number]


@pytest.mark.parametrize("arguments", [[], ["trian"], ["train", "--no-such"], ["replay"], ["evaluate", "--episodes=x"]])
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        call(*arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: fastes")


def test_info_with_an_unknown_route(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTES_CUDA_ROUTE", "opencl")
    assert call("info") == 2
    assert capsys.readouterr().err.startswith("fastes: FASTES_CUDA_ROUTE must be extension or nvrtc, not 'opencl'")


def test_train_evaluate_replay(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files and directories with spaces in their names, and another current directory."""
    (in_directory / "my configs").mkdir()
    write_config(in_directory / "my configs" / "a run.toml", changed(TINY, output={"dir": "my runs/a run"}))
    assert call("train", "my configs/a run.toml", "--set", "generations=2", "--set", "algorithm.sigma=0.2") == 0
    out = capsys.readouterr().out
    assert "finished after 2 generations" in out
    digest = run(changed(TINY, generations=2, algorithm={"sigma": 0.2}, output={"dir": "other"})).digest
    assert digest in out
    assert config.read_tables(Path("my runs/a run/config.toml"))["algorithm"]["sigma"] == 0.2
    assert call("replay", "my runs/a run/journal.bin", "--out", "theta.safetensors") == 0
    assert capsys.readouterr().out == f"generation 2: digest {digest}\n"
    theta = load_file("theta.safetensors")["theta"]
    assert call("evaluate", "my runs/a run", "--episodes", 3) == 0
    value = -float((theta.astype("f8") ** 2).sum())
    assert capsys.readouterr().out.startswith(f"1 episode: mean {value:.4g}")


def test_the_directory_without_output(in_directory: Path) -> None:
    write_config(in_directory / "my run.toml", {key: value for key, value in TINY.items() if key != "output"})
    assert call("train", "my run.toml", "--set", "output.tensorboard=false") == 0
    assert call("train", "my run.toml", "--set", "output.tensorboard=false") == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["my run", "my run-2"]


@pytest.mark.parametrize(
    ("executor", "given", "wanted"),
    [
        ({"kind": "local", "workers": 1}, "inline", {"kind": "inline"}),
        (
            {"kind": "local", "workers": 1},
            "local",
            {"kind": "local", "workers": 1, "start_method": "auto", "max_deaths": 3, "watchdog_s": 0.0},
        ),
        (None, "inline", {"kind": "inline"}),
    ],
)
def test_the_executor_by_option(
    executor: dict[str, Any] | None, given: str, wanted: dict[str, Any], in_directory: Path
) -> None:
    tables = {key: value for key, value in TINY.items() if key != "executor"}
    write_config(in_directory / "run.toml", tables if executor is None else tables | {"executor": executor})
    assert call("train", "run.toml", "--executor", given) == 0
    assert config.read_tables(Path("run/config.toml"))["executor"] == wanted


@pytest.mark.parametrize(
    ("table", "options", "wanted"),
    [
        (None, ["--listen", "127.0.0.1:0"], {"kind": "tcp", "listen": "127.0.0.1:0"}),
        ({"kind": "local", "workers": 2}, ["--listen", "[::1]:7"], {"kind": "tcp", "listen": "[::1]:7"}),
        (
            {"kind": "tcp", "listen": "127.0.0.1:1", "min_workers": 3},
            ["--token-file", "a token", "--metrics-port", "9000"],
            {"kind": "tcp", "listen": "127.0.0.1:1", "min_workers": 3, "token_file": "a token", "metrics_port": 9000},
        ),
        ({"kind": "inline"}, ["--executor", "tcp"], {"kind": "tcp"}),
        (
            {"kind": "local", "workers": 2},
            ["--set", "executor.tls_cert=a.pem", "--listen", "127.0.0.1:0"],
            {"kind": "tcp", "listen": "127.0.0.1:0", "tls_cert": "a.pem"},
        ),
    ],
)
def test_workers_elsewhere_by_option(
    table: dict[str, Any] | None,
    options: list[str],
    wanted: dict[str, Any],
    in_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """--listen means tcp."""
    tables = {key: value for key, value in TINY.items() if key != "executor"}
    write_config(in_directory / "run.toml", tables if table is None else tables | {"executor": table})
    given: list[Tables] = []

    class EnoughError(Exception):
        pass

    def trainer(tables: Tables, **_: object) -> None:
        given.append(tables)
        raise EnoughError

    monkeypatch.setattr(config, "trainer", trainer)
    with pytest.raises(EnoughError):
        call("train", "run.toml", *options)
    assert given[0]["executor"] == wanted


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--token-file", "secret"], "--token-file is for executor tcp, not inline: give --listen HOST:PORT as well."),
        (["--metrics-port", "9000"], "--metrics-port is for executor tcp, not inline"),
        (["--listen", "127.0.0.1:0", "--executor", "local"], "--listen is for executor tcp, not local"),
        (["--listen", "nowhere"], "executor.listen must be HOST:PORT such as 127.0.0.1:5555, not 'nowhere'"),
        (["--listen", "127.0.0.1:0", "--metrics-port", "-1"], "executor.metrics_port must be a port, or 0 for none"),
    ],
)
def test_options_of_workers_elsewhere_that_do_not_fit(
    options: list[str], told: str, in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_config(in_directory / "run.toml", TINY)
    assert call("train", "run.toml", *options) == 2
    assert told in capsys.readouterr().err
    assert not Path("run").exists()


def test_resume_goes_on_to_more_generations(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(in_directory / "run.toml", TINY)
    assert call("train", "run.toml") == 0
    assert call("train", "--resume", "run", "--set", "generations=5") == 0
    assert run(changed(TINY, generations=5, output={"dir": "other"})).digest in capsys.readouterr().out
    assert call("train", "--resume", "run") == 0
    assert "finished after 5 generations" in capsys.readouterr().out


def test_interrupted_is_status_130(
    in_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(in_directory / "run.toml", changed(TINY, problem={"function": "specimens:sphere"}))
    monkeypatch.setattr(specimens, "before_sphere", OnCall(6, lambda: signal.raise_signal(signal.SIGINT)))
    assert call("train", "run.toml") == 130
    out = capsys.readouterr().out
    assert "interrupted after 2 generations" in out
    assert "Continue with: fastes train --resume run" in out
    monkeypatch.setattr(specimens, "before_sphere", specimens.nothing)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(specimens, "before_sphere", OnCall(2, twice))
    assert call("train", "--resume", "run") == 130
    assert "stopped at once" in capsys.readouterr().err
    monkeypatch.setattr(specimens, "before_sphere", OnCall(2, twice))
    with pytest.raises(KeyboardInterrupt):
        call("train", "--resume", "run", "--debug")
    monkeypatch.setattr(specimens, "before_sphere", specimens.nothing)
    capsys.readouterr()
    assert call("train", "--resume", "run") == 0
    assert run(changed(TINY, output={"dir": "other"})).digest in capsys.readouterr().out


def test_the_hint_can_be_pasted(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the directory's name has spaces or a quote."""
    tables = changed(TINY, problem={"function": "specimens:sphere"}, output={"dir": "my 'own' run"})
    write_config(in_directory / "run.toml", tables)
    specimens.before_sphere, before = (
        OnCall(6, lambda: signal.raise_signal(signal.SIGINT)),
        specimens.before_sphere,
    )
    try:
        assert call("train", "run.toml") == 130
    finally:
        specimens.before_sphere = before
    hint = re.search(r"Continue with: (fastes train .*)", capsys.readouterr().out)
    assert hint is not None
    split = subprocess.run(
        ["bash", "-c", f"fastes() {{ printf '%s\\n' \"$@\"; }}; {hint[1]}"], capture_output=True, text=True, check=True
    )
    assert split.stdout.splitlines() == ["train", "--resume", "my 'own' run"]


def test_modules_beside_the_current_directory_are_found(tmp_path: Path) -> None:
    """By the installed command, whose first place on the path is that of the script."""
    (tmp_path / "mine.py").write_text("def f(x):\n    return -float(abs(x).sum())\n")
    write_config(tmp_path / "run.toml", changed(TINY, problem={"function": "mine:f"}, executor={"kind": "local"}))
    command = Path(sys.executable).with_name("fastes")
    done = subprocess.run([command, "train", "run.toml"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_policy_is_evaluated_on_fresh_episodes(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result: Result = run(changed(CARTPOLE, generations=1, output={"dir": "run"}))
    assert call("evaluate", "run", "--episodes", 5) == 0
    first = capsys.readouterr().out
    assert first.startswith("5 episodes: mean ")
    assert call("evaluate", result.directory, "--episodes", 5) == 0
    assert capsys.readouterr().out == first
    assert call("evaluate", "run", "--episodes", 5, "--seed", 2**64 - 1) == 0
    assert capsys.readouterr().out != first
    assert call("evaluate", "run", "--episodes", 1) == 0
    assert capsys.readouterr().out.startswith("1 episode")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode(tmp_path: Path, encoding: str) -> None:
    write_config(tmp_path / "run.toml", TINY)
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for arguments in (["train", "run.toml"], ["evaluate", "run"]):
        done = subprocess.run(
            [sys.executable, "-m", "fastes.cli", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_left(tmp_path: Path) -> None:
    """`fastes info | head -1` ends without a traceback."""
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m fastes.cli info | head -c 1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr


def test_evaluate_names_what_is_missing(in_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", "nowhere") == 2
    told = "fastes: there is no run in nowhere: name the directory of one, such as runs/cartpole.\n"
    assert capsys.readouterr().err == told
