"""conformance.warm: what is forked is a process like any other."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conformance import warm
from conformance.processes import Processes

MODULE = """
import os, sys, time
def main(arguments):
    print(os.getcwd(), os.environ["OF_MINE"], *arguments, flush=True)
    print("to errors", len(os.environ), file=sys.stderr)
    if arguments[0] == "wait": time.sleep(60)
    if arguments[0] == "raise": raise KeyError("a bug")
    return int(arguments[0])
"""

OWNER = """
import sys, pathlib
from conformance import warm
forked = warm.interpreter().fork("fastes.worker", ["127.0.0.1:1"], pathlib.Path("."), {})
print(forked.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    (tmp_path / "of_this_test.py").write_text(MODULE)
    return "of_this_test"


def test_what_it_was_given(tmp_path: Path, module: str) -> None:
    out, err, status = [], [], []
    for number in range(3):
        forked = warm.interpreter().fork(module, [str(number), "more"], tmp_path, {"OF_MINE": "yes"})
        status.append(forked.wait(30))
        with forked.stdout, forked.stderr:
            out.append(forked.stdout.read())
            err.append(forked.stderr.read())
    assert status == [0, 1, 2]
    assert out == [f"{tmp_path} yes {number} more\n" for number in range(3)]
    assert err == ["to errors 1\n"] * 3


def test_an_exception(tmp_path: Path, module: str) -> None:
    with Processes(tmp_path) as processes:
        forked = processes.fork(module, "raise", OF_MINE="1")
        assert forked.wait() == 1
        assert forked.err.endswith("KeyError: 'a bug'\n")


def test_signals_and_the_session(tmp_path: Path, module: str) -> None:
    """It leads a session; who kills the group kills it; and Processes finds it, though it has no environment."""
    with Processes(tmp_path) as processes:
        first, second = (processes.fork(module, "wait", OF_MINE="1") for _ in range(2))
        for forked in (first, second):
            forked.wait_for("wait")
            assert os.getsid(forked.pid) == os.getpgid(forked.pid) == forked.pid
        assert {process.pid for process in processes.alive()} == {first.pid, second.pid}
        second.stop()
        assert psutil.Process(second.pid).status() == psutil.STATUS_STOPPED
        second.resume()
        second.terminate()
        assert second.wait() == -signal.SIGTERM
        second.terminate()  # does nothing
        first.kill_group()
        assert first.wait() == -signal.SIGKILL
        assert processes.alive() == []


def test_workers_differ(tmp_path: Path) -> None:
    """In what a coordinator tells processes apart by, though they have it from the same interpreter."""
    (tmp_path / "who.py").write_text(
        "from fastes.executors.tcp.fingerprint import identity\n"
        "def main(arguments):\n    print(identity(1).process.hex())\n    return 0\n"
    )
    with Processes(tmp_path) as processes:
        forked = [processes.fork("who") for _ in range(2)]
        assert [process.wait() for process in forked] == [0, 0]
        assert len({process.out for process in forked}) == 2


def test_it_ends_with_its_owner(tmp_path: Path) -> None:
    """With all that it has forked, however its owner ends."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        forked = psutil.Process(int(owner.stdout.readline()))
        interpreter = forked.parent()
        assert interpreter is not None
        assert interpreter.pid != owner.pid
        owner.kill()
    for process in (forked, interpreter):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.wait(30)
    assert not forked.is_running()
    assert not interpreter.is_running()
