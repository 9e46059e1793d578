"""conformance.processes: what they write, how they end, and that whatever stays behind is noticed."""

from __future__ import annotations

import contextlib
import mmap
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conformance.processes import SHARED_MEMORY, Processes

PYTHON = ("-ISuc",)

SLEEP = "import time; print('asleep'); time.sleep(60)"

# A parent whose child stays, in a session of its own, when the parent is gone.
DAEMON = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-ISuc", sys.argv[1]], start_new_session=True)
print("child", child.pid)
"""

LISTEN = """
import socket, time
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1])
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread, no descriptor, no child."""
    threads, descriptors = threading.active_count(), psutil.Process().num_fds()
    children = psutil.Process().children()  # Python's own servers, if anything was spawned before
    yield
    assert (threading.active_count(), psutil.Process().num_fds()) == (threads, descriptors)
    assert psutil.Process().children() == children


@pytest.fixture
def processes(tmp_path: Path, nothing_left: None) -> Iterator[Processes]:
    with Processes(tmp_path) as processes:
        yield processes


def test_fastes(processes: Processes) -> None:
    process = processes.fastes("train", "--help")
    assert process.wait() == 0
    assert process.out.startswith("usage: fastes train")
    assert process.err == ""


def test_surroundings(processes: Processes, tmp_path: Path) -> None:
    process = processes.python("-c", "import os, clock; print(os.getcwd(), os.environ['OF_MINE'])", OF_MINE="yes")
    assert process.wait() == 0, process.err
    assert process.out == f"{tmp_path} yes\n"


def test_much_output_on_both_streams(processes: Processes) -> None:
    """Far more than pipes hold, while nobody reads on purpose."""
    process = processes.python(
        *PYTHON, "import sys\nfor _ in range(3000): print('o' * 99); print('e' * 99, file=sys.stderr)"
    )
    assert process.wait() == 0
    assert process.out == ("o" * 99 + "\n") * 3000
    assert process.err == ("e" * 99 + "\n") * 3000


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_wait_for(processes: Processes, stream: str) -> None:
    process = processes.python(*PYTHON, f"import sys, time; print('port 5', file=sys.{stream}); time.sleep(60)")
    assert process.wait_for(r"port (\d+)")[1] == "5"
    assert not process.ended
    with pytest.raises(TimeoutError, match=r"(?s)no 'port 6' within 0\.01 s.*port 5"):
        process.wait_for("port 6", timeout_s=0.01)
    with pytest.raises(TimeoutError, match=r"not ended within 0\.01 s: process \d+ .*status None"):
        process.wait(0.01)


def test_wait_for_what_never_comes(processes: Processes) -> None:
    process = processes.python(*PYTHON, "raise SystemExit('what a pity')")
    with pytest.raises(AssertionError, match=r"(?s)no 'port' .*status 1.*what a pity"):
        process.wait_for("port")


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("kill", -signal.SIGKILL),
        ("kill_group", -signal.SIGKILL),
        ("terminate", -signal.SIGTERM),
        ("interrupt", -signal.SIGINT),
    ],
)
def test_ends(processes: Processes, act: str, status: int) -> None:
    code = f"import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); {SLEEP}"
    process = processes.python(*PYTHON, code)
    process.wait_for("asleep")
    getattr(process, act)()
    assert process.wait() == status
    assert process.ended
    getattr(process, act)()  # of one that is dead: nothing


def test_stop_and_resume(processes: Processes) -> None:
    process = processes.python(*PYTHON, "while True: print('tick')")
    process.wait_for("tick")
    for _ in range(2):
        process.stop()
        assert psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
        process.resume()
        assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED
    process.stop()
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process.stop()
    process.resume()


def test_groups_end_together(processes: Processes) -> None:
    process = processes.python(*PYTHON, DAEMON.replace(", start_new_session=True", "") + SLEEP, SLEEP)
    child = psutil.Process(int(process.wait_for(r"child (\d+)")[1]))
    process.wait_for("(?s)asleep.*asleep")
    assert {process.pid, child.pid} == {each.pid for each in processes.alive()}
    process.kill_group()
    assert process.wait() == -signal.SIGKILL  # and then its output ends, which the child holds as well
    assert processes.alive() == []


def test_those_that_forgot_to_end_are_no_fault(tmp_path: Path) -> None:
    with Processes(tmp_path) as processes:
        process = processes.python(*PYTHON, SLEEP)
        stopped = processes.python(*PYTHON, SLEEP)
        stopped.stop()
    assert (process.wait(), stopped.wait()) == (-9, -9)


def test_a_grandchild_is_left(tmp_path: Path) -> None:
    processes = Processes(tmp_path, grace_s=0.1).__enter__()
    process = processes.python(*PYTHON, DAEMON, LISTEN)
    grandchild = psutil.Process(int(process.wait_for(r"child (\d+)")[1]))
    port = process.wait_for(r"port (\d+)")[1]
    assert process.wait(output_s=0.0) == 0  # the grandchild holds it open
    assert [each.pid for each in processes.alive()] == [grandchild.pid]
    message = rf"(?s)^left behind: process {grandchild.pid} \(.*\), listening on 127\.0\.0\.1:{port}$"
    with pytest.raises(AssertionError, match=message):
        processes.__exit__(None, None, None)
    assert processes.alive() == []


def test_a_grandchild_may_take_a_moment(tmp_path: Path) -> None:
    """It ends when its pipe does, which is after its parent."""
    parent = DAEMON.replace("start_new_session=True", "stdin=subprocess.PIPE") + SLEEP
    with Processes(tmp_path) as processes:
        processes.python(*PYTHON, parent, "import sys; print('up'); sys.stdin.read()").wait_for("up")
        assert len(processes.alive()) == 2
    assert processes.alive() == []


@pytest.mark.parametrize("mapped", [False, True])
def test_shared_memory_is_left(tmp_path: Path, mapped: bool) -> None:
    """By somebody who is gone, or by this process."""
    path = SHARED_MEMORY / f"test-{uuid.uuid4()}"
    with contextlib.ExitStack() as stack:
        processes = Processes(tmp_path).__enter__()
        file = stack.enter_context(path.open("wb+"))
        stack.callback(path.unlink)
        file.truncate(10)
        if mapped:
            stack.enter_context(mmap.mmap(file.fileno(), 10))
        file.close()
        with pytest.raises(AssertionError, match=f"^left behind: {path}$"):
            processes.__exit__(None, None, None)
    processes.__exit__(None, None, None)


@pytest.mark.parametrize("held", ["memory = mmap.mmap(file.fileno(), 10); file.close()", "pass"])
def test_shared_memory_of_others(tmp_path: Path, held: str) -> None:
    """A segment that appears meanwhile, but is mapped or open in a process that we did not start."""
    path = SHARED_MEMORY / f"test-{uuid.uuid4()}"
    code = f"import mmap; file = open({str(path)!r}, 'wb+'); file.truncate(10); {held}; {SLEEP}"
    with Processes(tmp_path) as others:
        with Processes(tmp_path):
            others.python(*PYTHON, code).wait_for("asleep")
        path.unlink()


def test_a_port_is_left(tmp_path: Path) -> None:
    processes = Processes(tmp_path).__enter__()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(AssertionError, match=f"^left behind: port 127.0.0.1:{port} of this process$"):
            processes.__exit__(None, None, None)
    processes.__exit__(None, None, None)


def test_the_tests_own_failure_comes_first(tmp_path: Path) -> None:
    def fail() -> None:
        with Processes(tmp_path, grace_s=0.05) as processes:
            processes.python(*PYTHON, DAEMON, SLEEP).wait_for("asleep")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    assert caught.value.__notes__[0].startswith("left behind: process ")
