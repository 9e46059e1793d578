"""`fastes top HOST:PORT`: how a run with workers on other machines goes on, in the terminal."""

from __future__ import annotations

import argparse
import asyncio
import signal
import ssl
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fastes.errors import ExecutorError
from fastes.executors.tcp.address import Address
from fastes.executors.tcp.auth import Token, read_token, token_of_environment
from fastes.executors.tcp.limits import NAME, WORKER_ROWS
from fastes.executors.tcp.refusals import Code, ProtocolError, in_a_line
from fastes.executors.tcp.tls import worker_side
from fastes.executors.tcp.watcher import statuses
from fastes.executors.tcp.wire import Status, WorkerRow
from fastes.report.console import duration, number

_PAUSE_S = 1.0  # between two tries to connect
_WINDOW_S = 10.0
_AS_WIDE_AS_IT_IS = 10_000  # where no terminal sets a limit
_TROUBLE = ("requeued", "duplicate", "stale", "desync", "failed", "refused")
_STYLES = {"quarantined": "red", "late": "yellow", "draining": "yellow", "joining": "cyan", "ready": "green"}
_COLUMNS = {"state": 11, "procs": 5, "evals/s": 7, "busy": 4, "leases": 6, "seen": 6, "bytes": 7}  # and their widths
_UNITS = ("B", "kB", "MB", "GB", "TB")
_GAP = 1
_SHORTEST_NAME = 12

Statuses = AsyncGenerator[Status, None]


def run(options: argparse.Namespace) -> int:
    """The view as the command line's options say: 0 when the run is done, 1 if it failed, 130 after Ctrl-C.

    Raises ExecutorError if the coordinator refuses to show it, or with `once` if there is none.
    """
    address = Address.parse(options.address, "the coordinator's address")
    token = token_of_environment() if options.token_file is None else read_token(options.token_file)
    tls = None if options.tls_ca is None else worker_side(options.tls_ca)

    def watch() -> Statuses:
        return statuses(address, token or Token.none(), tls)

    console = Console()
    try:
        if options.once or not console.is_terminal or console.is_dumb_terminal:
            return asyncio.run(_once(watch, console, str(address)))
        return asyncio.run(_live(watch, console, str(address)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


class Rates:
    """Evaluations a second of each worker, over the last ten seconds that were watched."""

    def __init__(self) -> None:
        self._run = ""
        self._seen: deque[tuple[float, dict[str, int]]] = deque()  # seconds of the coordinator, units by worker

    def add(self, status: Status) -> dict[str, float]:
        """By worker's name, now that this has come. One that was not there before: since it connected."""
        now = status.seconds
        if status.run != self._run or (self._seen and now < self._seen[-1][0]):  # another coordinator
            self._run = status.run
            self._seen.clear()
        while self._seen and now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        if not self._seen or now > self._seen[-1][0]:  # else it is shown again, because no other has come
            self._seen.append((now, {row.name: row.units for row in status.workers}))
        since, before = self._seen[0]
        members = status.members / max(status.units, 1)  # of a unit; the last may have fewer
        rates = {}
        for row in status.workers:
            units, seconds = row.units - before.get(row.name, row.units + 1), now - since
            if units < 0 or seconds <= 0:
                units, seconds = row.units, row.since_s
            rates[row.name] = units * members / max(seconds, 1e-3)
        return rates


def view(status: Status, rates: Mapping[str, float], *, width: int, height: int | None = None) -> RenderableType:
    """The run, and a table of its workers, those with trouble first. rates: see `Rates`; width, height: in characters,
    None for as many lines as there are workers.
    """
    head = _head(status)
    rows = sorted(status.workers, key=lambda row: list(_STYLES).index(row.state) if row.state in _STYLES else -1)
    shown = rows
    if height is not None and len(rows) > (room := max(height - len(head) - 2, 1)):
        shown = rows[: max(room - 1, 1)]
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), collapse_padding=True)
    longest = max(width - sum(_COLUMNS.values()) - _GAP * len(_COLUMNS), _SHORTEST_NAME)
    table.add_column("worker", no_wrap=True, max_width=longest)
    for name, least in _COLUMNS.items():
        table.add_column(name, no_wrap=True, min_width=least, justify="left" if name == "state" else "right")
    for row in shown:
        table.add_row(*_cells(row, rates.get(row.name, 0.0), longest))
    parts: list[RenderableType] = [*head, Text(), table] if rows else [*head]
    if rest := rows[len(shown) :]:
        parts.append(Text(f"and {len(rest):,} more: {_states(rest)}", style="dim"))
    return Group(*parts)


def _head(status: Status) -> list[Text]:
    """What concerns the run as a whole, a line for each subject."""
    workers = status.workers
    share = f", {(status.sent + status.received) / status.evaluations:.1f} an evaluation" if status.evaluations else ""
    left = f", {status.units - status.left:,} of {status.units:,} units of the next" if status.left else ""
    counted = [
        Text(f"{name} {status.counters.get(name, 0):,}", style="yellow" if status.counters.get(name) else "")
        for name in _TROUBLE
    ]
    first = "the first " if len(workers) == WORKER_ROWS else ""
    processes = sum(row.processes for row in workers)
    among = f"{first}{len(workers):,} ({_states(workers)}), {processes:,} process{'es' * (processes != 1)}"
    numbers = f"{status.members:,} members, {status.dim:,} parameters, theta by {in_a_line(status.sync, NAME)}"
    lines: dict[str, str | Text] = {
        "run": f"{in_a_line(status.run, NAME)}: {numbers}",
        "generation": f"{status.generation:,} of {status.generations:,} done{left}",
        "evaluations": f"{status.evaluations:,} in {duration(status.seconds)}, {number(status.rate)}/s",
        "results": Text("  ").join(counted),
        "bytes": f"{_bytes(status.sent)} sent, {_bytes(status.received)} received{share}",
        "workers": among if workers else "none",
    }
    return [
        Text.assemble((f"{name:<11}  ", "cyan"), line, no_wrap=True, overflow="ellipsis")
        for name, line in lines.items()
    ]


def _cells(row: WorkerRow, rate: float, longest: int) -> list[Text | str]:
    return [
        Text(_shortened(in_a_line(row.name, NAME), longest)),
        Text(in_a_line(row.state, NAME), style=_STYLES.get(row.state, "")),
        f"{row.processes:,}",
        number(rate),
        f"{row.busy:.0%}",
        f"{row.leases:,}",
        f"{row.seen_s:.1f} s",
        _bytes(row.sent + row.received),
    ]


def _states(rows: list[WorkerRow]) -> str:
    """Such as "30 ready, 2 late"."""
    return ", ".join(
        f"{count:,} {in_a_line(state, NAME)}" for state, count in Counter(row.state for row in rows).most_common()
    )


def _shortened(name: str, longest: int) -> str:
    """Of host/process, the beginning of the host, because what ends it is the same on all of a cluster."""
    if len(name) <= longest:
        return name
    host, slash, process = name.rpartition("/")
    end = (slash + process)[: longest // 2]
    return f"{host[: longest - len(end) - 2]}..{end}"


def _bytes(count: float) -> str:
    """Three digits and a unit."""
    unit = 0
    while count >= 999.5 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.3g} {_UNITS[unit]}"


async def _once(watch: Callable[[], Statuses], console: Console, address: str) -> int:
    """Prints how things are."""
    try:
        async with aclosing(watch()) as told:
            status = await anext(told)
    except ProtocolError as error:
        return _ended(error, console)
    except (OSError, TimeoutError) as error:
        raise ExecutorError(
            f"no coordinator at {address}: {_why(error)}. Its run prints where it listens, and so does connection.txt "
            "in the run's directory."
        ) from error
    width = console.width if console.is_terminal else _AS_WIDE_AS_IT_IS
    console.print(view(status, Rates().add(status), width=width), width=width)
    return 0


async def _live(watch: Callable[[], Statuses], console: Console, address: str) -> int:
    """Shows it on a screen of its own until the run is over, then leaves the last of it where it was called."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # or the screen would stay
    rates, last = Rates(), None

    with Live(console=console, screen=True, auto_refresh=False) as live:

        def show(status: Status | None, note: str) -> None:
            nonlocal last
            parts: list[RenderableType] = []
            if note:
                parts.append(Text(f"{note}; trying again.", style="yellow", no_wrap=True, overflow="ellipsis"))
            if status is not None:
                width, height = console.size
                last = view(status, rates.add(status), width=width, height=height - len(parts))
                parts.append(last)
            live.update(Group(*parts), refresh=True)

        ended = await follow(watch, show, f"no answer from {address} yet")
    if last is not None:
        console.print(last)
    return _ended(ended, console)


async def follow(
    watch: Callable[[], Statuses],
    show: Callable[[Status | None, str], None],
    note: str,
    pause_s: float = _PAUSE_S,
) -> ProtocolError:
    """Gives each Status to `show`, over as many connections as that takes, and comes back with how the run ended.

    watch: connects; show: also told, beside the last Status if there was any, what is wrong while there is none; note:
    what to show at first. Raises ExecutorError for a certificate that is not trusted.
    """
    status: Status | None = None
    while True:
        show(status, note)
        try:
            async with aclosing(watch()) as told:
                async for status in told:
                    show(status, "")
        except ProtocolError as error:
            if not error.retry:
                return error
            note = error.text.removesuffix(".")
        except ssl.SSLCertVerificationError as error:
            raise ExecutorError(f"it shows a certificate that --tls-ca does not vouch for: {error}") from error
        except (OSError, TimeoutError) as error:
            note = _why(error)
        await asyncio.sleep(pause_s)


def _ended(error: ProtocolError, console: Console) -> int:
    """How the run ended, as the exit status of a worker has it. Raises what is no end of a run."""
    if error.code not in (Code.DONE, Code.FAILED):
        raise error
    console.print(Text(error.text), soft_wrap=True)
    return 0 if error.code is Code.DONE else 1


def _why(error: OSError | TimeoutError) -> str:
    """Why there is no connection."""
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    return error.strerror or str(error) or "no answer in time"
