"""`fastes top`: what it draws, how it follows a run, and how it ends."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import ssl
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from executors.tcp.connections import EXAMPLES, TOKEN
from executors.tcp.coordinators import coordinator, log_of_its_own
from rich.console import Console

from fastes import cli, top
from fastes.errors import ExecutorError
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.wire import Status, WorkerRow

STATUS = msgspec.structs.replace(
    next(message for message in EXAMPLES if isinstance(message, Status)),
    members=4096,
    units=64,
    left=21,
    evaluations=70_976,
    rate=5123.4,
    seconds=133.2,
    sent=1_234_567_890,
    received=5_678_901,
    counters={"accepted": 1109, "requeued": 12, "duplicate": 3},
)
DONE = ProtocolError(Code.DONE, "the coordinator ended the connection: the run is done.", ours=False)
AWAY = ProtocolError(Code.AWAY, "the coordinator stops, and may come back.", ours=False)


def worker(number: int, state: str = "ready", units: int = 50) -> WorkerRow:
    """Of a cluster: 16 processes, 8 to a host."""
    name = f"gpu-node-{number // 8:04}.cluster.example.org/{12_000 + number}"
    return WorkerRow(name, state, "replay", 16, 32, units, 0.914, 100.0, 0.26, 110_000_000, 123_456)


def at(seconds: float, units: dict[str, int], run: str = "a") -> Status:
    """Units of 64 members."""
    rows = [WorkerRow(name, "ready", "replay", 1, 0, count, 0.5, 20.0, 0.0, 0, 0) for name, count in units.items()]
    return msgspec.structs.replace(STATUS, run=run, seconds=seconds, workers=rows)


def drawn(status: Status, *, width: int = 80, height: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    console.print(top.view(status, top.Rates().add(status), width=width, height=height))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def with_workers(*rows: WorkerRow) -> Status:
    return msgspec.structs.replace(STATUS, workers=list(rows))


def test_at_80_columns() -> None:
    lines = drawn(with_workers(worker(0), worker(9, "late", units=100)))
    assert [line.rstrip() for line in lines] == [
        "run          cartpole-1: 4,096 members, 3 parameters, theta by replay",
        "generation   7 of 25 done, 43 of 64 units of the next",
        "evaluations  70,976 in 0:02:13, 5,123/s",
        "results      requeued 12  duplicate 3  stale 0  desync 0  failed 0  refused 0",
        "bytes        1.23 GB sent, 5.68 MB received, 17474.2 an evaluation",
        "workers      2 (1 ready, 1 late), 32 processes",
        "",
        "worker                      state       procs evals/s busy leases   seen   bytes",
        "gpu-node-0001.clust../12009 late           16      64  91%     32  0.3 s  110 MB",
        "gpu-node-0000.clust../12000 ready          16      32  91%     32  0.3 s  110 MB",
    ]


def test_as_wide_as_it_is() -> None:
    """As for a pipe: every name in full, and a line for every worker."""
    lines = drawn(with_workers(*(worker(number) for number in range(300))), width=1000)
    assert len(lines) == 6 + 2 + 300
    assert re.sub(" +", " ", lines[8]) == "gpu-node-0000.cluster.example.org/12000 ready 16 32 91% 32 0.3 s 110 MB"


@pytest.mark.parametrize("height", [12, 24, 50])
def test_more_workers_than_lines(height: int) -> None:
    states = {3: "late", 7: "quarantined", 100: "joining", 20: "draining"}
    lines = drawn(with_workers(*(worker(number, states.get(number, "ready")) for number in range(300))), height=height)
    assert len(lines) == height
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[1] for line in lines[8:11]] == ["quarantined", "late", "draining"]
    shown = height - 9
    joining = ", 1 joining" if shown < 4 else ""
    assert lines[-1] == f"and {300 - shown} more: {300 - max(shown, 4)} ready{joining}"


def test_as_many_workers_as_lines() -> None:
    lines = drawn(with_workers(*(worker(number) for number in range(16))), height=24)
    assert len(lines) == 24
    assert lines[-1].startswith("gpu-node-0001.clust../12015 ready")


def test_before_anybody_has_come() -> None:
    status = msgspec.structs.replace(STATUS, workers=[], evaluations=0, sent=0, received=0, left=0, rate=0.0)
    lines = drawn(status, height=24)
    assert lines[1:3] == ["generation   7 of 25 done", "evaluations  0 in 0:02:13, 0/s"]
    assert lines[4:] == ["bytes        0 B sent, 0 B received", "workers      none"]


def test_as_many_as_a_status_holds() -> None:
    lines = drawn(with_workers(*(worker(number) for number in range(1000))), height=24)
    assert lines[5] == "workers      the first 1,000 (1,000 ready), 16,000 processes"


def test_no_worker_writes_to_the_terminal() -> None:
    row = msgspec.structs.replace(worker(0), name="\x1b[2J[red]host\n/1", state="\x07odd")
    text = "\n".join(drawn(msgspec.structs.replace(with_workers(row), run="\x1b]0;title\x07")))
    assert "?[2J[red]host /1 ?odd" in text
    assert "?]0;title?: 4,096" in text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (1e12, "1 TB"),
        (5e15, "5e+03 TB"),
    ],
)
def test_bytes(count: float, text: str) -> None:
    assert top._bytes(count) == text


def test_rates_are_of_the_last_ten_seconds() -> None:
    rates = top.Rates()
    assert rates.add(at(100.0, {"a": 20})) == {"a": 20 * 64 / 20.0}  # of its 20 seconds; there is nothing else yet
    assert rates.add(at(104.0, {"a": 25, "b": 10})) == {"a": 5 * 64 / 4.0, "b": 10 * 64 / 20.0}
    assert rates.add(at(104.0, {"a": 25, "b": 10})) == {"a": 5 * 64 / 4.0, "b": 10 * 64 / 20.0}  # shown once more
    assert rates.add(at(112.0, {"a": 30, "b": 16})) == {"a": 5 * 64 / 8.0, "b": 6 * 64 / 8.0}  # since 104


@pytest.mark.parametrize("later", [at(105.0, {"a": 4}), at(3.0, {"a": 30}), at(105.0, {"a": 30}, run="b")])
def test_rates_begin_anew(later: Status) -> None:
    """Of a worker that has come again, and of a coordinator that has, or is another."""
    rates = top.Rates()
    rates.add(at(100.0, {"a": 20}))
    assert rates.add(later) == {"a": later.workers[0].units * 64 / 20.0}


class Connections:
    """In place of `statuses`: each gives what it is told to, and ends with the exception that comes last."""

    def __init__(self, *connections: list[Status | BaseException | Callable[[], None]]) -> None:
        self.left = list(connections)

    def __call__(self, *_: object) -> AsyncGenerator[Status, None]:
        return self._statuses(self.left.pop(0))

    async def _statuses(self, told: list[Status | BaseException | Callable[[], None]]) -> AsyncGenerator[Status, None]:
        for what in told:
            if isinstance(what, Status):
                yield what
            elif isinstance(what, BaseException):
                raise what
            else:
                what()
                await asyncio.sleep(60)


def test_following_a_run_whose_coordinator_comes_and_goes() -> None:
    one, two = at(1.0, {}), at(2.0, {})
    watch = Connections(
        [ConnectionRefusedError()], [TimeoutError()], [one, two, AWAY], [OSError(113, "no route to host")], [one, DONE]
    )
    shown: list[tuple[Status | None, str]] = []

    async def follow() -> ProtocolError:
        return await top.follow(watch, lambda status, note: shown.append((status, note)), "no answer yet", pause_s=0)

    assert asyncio.run(follow()) is DONE
    assert shown == [
        (None, "no answer yet"),
        (None, "nobody listens there"),
        (None, "no answer in time"),
        (one, ""),
        (two, ""),
        (two, "the coordinator stops, and may come back"),
        (two, "no route to host"),
        (one, ""),
    ]
    assert watch.left == []


def test_a_certificate_that_is_not_trusted() -> None:
    watch = Connections([ssl.SSLCertVerificationError(1, "self-signed")])
    with pytest.raises(ExecutorError, match="--tls-ca does not vouch for"):
        asyncio.run(top.follow(watch, lambda *_: None, ""))


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    with log_of_its_own():
        yield


def call(*arguments: object) -> int:
    return cli.main(["top", *map(str, arguments)])


def test_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, of a coordinator as it is."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    with coordinator(tmp_path) as executor:
        assert call(executor.address, "--token-file", tmp_path / "secret") == 0
        monkeypatch.setenv("FASTES_TOKEN", TOKEN.secret.decode())
        assert call(executor.address, "--once") == 0
        out = capsys.readouterr().out.splitlines()
        assert len(out) == 12
        assert re.fullmatch(r"run          [0-9a-f]{16}: 24 members, 30 parameters, theta by replay", out[0])
        assert out[1::6] == ["generation   0 of 3 done"] * 2
        assert out[5::6] == ["workers      none"] * 2
        monkeypatch.setenv("FASTES_TOKEN", TOKEN.secret.decode()[::-1])
        assert call(executor.address) == 2
        assert "another token" in capsys.readouterr().err
    assert call(executor.address, "--once") == 2
    assert f"fastes: no coordinator at {executor.address}: nobody listens there. " in capsys.readouterr().err
    assert call("nowhere") == 2
    assert "must be HOST:PORT such as" in capsys.readouterr().err


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


SCREEN, BACK = "\x1b[?1049h", "\x1b[?1049l"


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("code", "status"), [(Code.DONE, 0), (Code.FAILED, 1)])
def test_live(code: Code, status: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a screen of its own; the last of it is left where it was called."""
    end = ProtocolError(code, "this is the end.", ours=False)
    monkeypatch.setattr(top, "statuses", Connections([with_workers(worker(0)), end]))
    assert call("127.0.0.1:5555") == status
    out = capsys.readouterr().out
    live, left = out.split(BACK)
    assert live.count(SCREEN) == 1
    assert "no answer from 127.0.0.1:5555 yet; trying again." in live
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", left)
    assert "gpu-node-0000.clust../12000 ready" in plain
    assert plain.endswith("this is the end.\n")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped(number: signal.Signals, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Quietly, and the terminal is as before."""
    monkeypatch.setattr(top, "statuses", Connections([STATUS, lambda: signal.raise_signal(number)]))
    assert call("127.0.0.1:5555") == 130
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.count(SCREEN) == captured.out.count(BACK) == 1


@pytest.mark.usefixtures("terminal")
def test_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = ProtocolError(Code.TOKEN, "the coordinator has another token.")
    monkeypatch.setattr(top, "statuses", Connections([refusal]))
    assert call("127.0.0.1:5555") == 2
    captured = capsys.readouterr()
    assert captured.err == "fastes: the coordinator has another token.\n"
    assert captured.out.count(SCREEN) == captured.out.count(BACK) == 1
