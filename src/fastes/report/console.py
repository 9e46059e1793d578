"""Progress in the terminal: a live display where there is one, plain lines where output goes to a file."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fastes.report.base import GenerationReport, Reporter, RunInfo, RunSummary
from fastes.types import Metrics

_LIVE_INTERVAL_S = 0.1
_LINE_INTERVAL_S = 1.0
_SPARKLINE_WIDTH = 56
_LEVELS = "▁▂▃▄▅▆▇█"
_STATUS_STYLES = {"finished": "green", "interrupted": "yellow", "failed": "red"}
_CELL_WIDTH = 14
_GAP = 2
_TREND = "trend"
_ROUTINE = frozenset(f"executor/{name}" for name in ("bytes_sent", "bytes_received", "accepted", "assigned"))
_RATE, _WORKERS = "rate/evaluations", "executor/workers"
_LINE_METRICS = {
    "fitness/mean": "fitness",
    "fitness/max": "max",
    "evaluation/mean": "evaluation",
    _RATE: "evaluations/s",
    _WORKERS: "workers",
}


class ConsoleReporter(Reporter):
    """Shows a run on `console` (standard output by default); `clock` counts seconds.

    The display is drawn when a generation ends, at most ten times a second, and by no thread of its own, so
    that executors may fork. Where the output is no terminal it is a line a second at most, and always one for
    the last generation.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console()
        self._clock = clock
        self._live: Live | None = None
        self._info: RunInfo | None = None
        self._started_s = 0.0
        self._drawn_s = -math.inf
        self._drawn_generation = 0
        self._generation = 0
        self._metrics: Metrics = {}  # the latest value of each, in the order of first appearance
        self._measured: dict[str, int] = {}  # the generation of that value
        self._history: list[float] = []  # fitness/mean of each generation

    def start(self, info: RunInfo) -> None:
        self._info = info
        self._generation = self._drawn_generation = info.start_generation
        self._started_s = self._clock()
        self._print(Text(info.title, style="bold"))
        resumed = f", resumed after generation {info.start_generation:,}" if info.start_generation else ""
        self._print(f"population {info.population:,}, {info.dim:,} parameters{resumed}")
        if info.directory is not None:
            self._print(f"run directory {info.directory}")
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(self._display(info), console=self._console, auto_refresh=False)
            self._live.start(refresh=True)

    def write(self, report: GenerationReport) -> None:
        if not self._history:  # whatever was started between start() and the first generation is no part of its time
            self._started_s = self._clock() - report.seconds
        self._generation = report.generation
        self._metrics |= report.metrics
        self._measured |= dict.fromkeys(report.metrics, report.generation)
        self._history.append(report.metrics.get("fitness/mean", math.nan))
        if self._clock() - self._drawn_s >= (_LINE_INTERVAL_S if self._live is None else _LIVE_INTERVAL_S):
            self._draw()

    def message(self, text: str) -> None:
        self._print(text)

    def close(self, summary: RunSummary | None) -> None:
        if self._generation > self._drawn_generation:
            self._draw()
        if self._live is not None:
            self._live.stop()
            self._live = None
        if summary is not None:
            self._conclude(summary)

    def _draw(self) -> None:
        assert self._info is not None, "start() comes before write()"
        if self._live is None:
            self._print(self._line(self._info))
        else:
            self._live.update(self._display(self._info), refresh=True)
        self._drawn_s = self._clock()
        self._drawn_generation = self._generation

    def _display(self, info: RunInfo) -> RenderableType:
        """Progress, and how fast; then the metrics, a row for each group."""
        head = _head(f"generation {self._generation:,}/{info.generations:,}", self._pace(info), self._console.width)
        bar = Table.grid(expand=True)  # a bar on its own ends without a line break
        bar.add_row(
            ProgressBar(
                total=max(info.generations, 1),
                completed=self._generation,
                complete_style="cyan",
                finished_style="green",
            )
        )
        groups: dict[str, list[str]] = {}
        for name, value in self._metrics.items():
            if _is_shown(name, value):
                groups.setdefault(name.partition("/")[0], []).append(name)
        table = Table.grid(padding=(0, _GAP, 0, 0))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(no_wrap=True)
        width = self._console.width - _GAP - max(map(len, [*groups, _TREND]))
        for group, names in groups.items():
            table.add_row(group, Text("\n".join(in_columns(self._cells(names), width))))
        if sparkline := self._sparkline(width):
            table.add_row(_TREND, Text(sparkline, style="green"))
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in head), bar, table)

    def _pace(self, info: RunInfo) -> list[str]:
        """How fast, on how many workers, how long."""
        told = []
        if (rate := self._metrics.get(_RATE)) is not None:
            told.append(f"{number(rate)} evaluations/s")
        if (workers := self._metrics.get(_WORKERS)) is not None:
            told.append(f"{workers:,.0f} worker{'' if workers == 1 else 's'}")
        return [*told, self._times(info)]

    def _cells(self, names: Sequence[str]) -> list[str]:
        """Metrics of a group; their generation behind those that are not of the last."""
        cells = []
        for name, following in itertools.zip_longest(names, names[1:]):
            unit = "/s" if name.startswith("rate/") else ""
            cells.append(f"{name.partition('/')[2]} {number(self._metrics[name])}{unit}".lstrip())
            measured = self._measured[name]
            if measured != self._generation and (following is None or self._measured[following] != measured):
                cells.append(f"(generation {measured:,})")
        return cells

    def _line(self, info: RunInfo) -> str:
        """Progress and what was measured since the line before."""
        values = [
            f"{label} {number(self._metrics[name])}"
            for name, label in _LINE_METRICS.items()
            if self._measured.get(name, 0) > self._drawn_generation
        ]
        return f"[{self._generation}/{info.generations}] " + "  ".join([*values, self._times(info)])

    def _times(self, info: RunInfo) -> str:
        """Elapsed, and remaining at the pace of this session."""
        elapsed_s = self._clock() - self._started_s
        done, left = self._generation - info.start_generation, info.generations - self._generation
        if done == 0 or left <= 0:
            return duration(elapsed_s)
        return f"{duration(elapsed_s)} < {duration(elapsed_s / done * left)} left"

    def _sparkline(self, width: int) -> str:
        return "" if self._console.options.ascii_only else sparkline(self._history, min(width, _SPARKLINE_WIDTH))

    def _conclude(self, summary: RunSummary) -> None:
        rows = [
            ("status", f"{summary.status} after {summary.generations:,} generations"),
            ("evaluation", self._evaluation(summary)),
            ("evaluations", f"{summary.evaluations:,}"),
            ("steps", f"{summary.steps:,}"),
            ("time", duration(summary.seconds)),
            ("digest", summary.digest),
        ]
        if summary.policy_path is not None:
            rows.append(("policy", str(summary.policy_path)))
        if self._console.is_terminal:
            table = Table.grid(padding=(0, 2))
            table.add_column(style="cyan", no_wrap=True)
            table.add_column(overflow="fold")
            for name, value in rows:
                table.add_row(name, Text(value))
            style = _STATUS_STYLES.get(summary.status, "none")
            self._console.print(Panel(table, box=box.ROUNDED, border_style=style, expand=False))
        else:
            for name, value in rows:
                self._print(f"{name:<11}  {value}")
        if summary.resume_hint is not None:
            # Outside the panel and never wrapped by us: it is there to be copied.
            self._print(f"Continue with: {summary.resume_hint}")

    def _evaluation(self, summary: RunSummary) -> str:
        if summary.evaluation_mean is None or summary.evaluation_std is None:
            return "none of the final policy: it was interrupted" if summary.status == "interrupted" else "none"
        sign = "+-" if self._console.options.ascii_only else "±"
        mean, std = number(summary.evaluation_mean), number(summary.evaluation_std)
        plural = "" if summary.evaluation_episodes == 1 else "s"
        return f"{mean} {sign} {std} (standard deviation) over {summary.evaluation_episodes} episode{plural}"

    def _print(self, text: str | Text) -> None:
        """A line as it is: brackets are no markup, and long lines are left to the terminal."""
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def sparkline(values: Sequence[float], width: int) -> str:
    """The finite `values` as at most `width` bars; where there are more, neighbours are averaged."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    columns = min(width, len(finite))
    edges = [len(finite) * column // columns for column in range(columns + 1)]
    means = [math.fsum(finite[start:end]) / (end - start) for start, end in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    scale = (len(_LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(_LEVELS[round((mean - low) * scale)] for mean in means)


def _head(progress: str, pace: Sequence[str], width: int) -> list[str]:
    """Progress at the left and pace at the right of one line, or as many lines as it takes."""
    right = (" " * _GAP).join(pace)
    if len(progress) + _GAP + len(right) <= width:
        return [progress + right.rjust(width - len(progress))]
    lines = [progress]
    for part in pace:
        longer = lines[-1] + " " * _GAP + part
        lines = [*lines[:-1], longer] if len(longer) <= width else [*lines, part]
    return lines


def in_columns(cells: Sequence[str], width: int) -> list[str]:
    """Lines of at most `width` characters, if no cell is longer; cells begin at multiples of `_CELL_WIDTH`."""
    lines = [""]
    for cell in cells:
        start = -(-(len(lines[-1]) + 1) // _CELL_WIDTH) * _CELL_WIDTH
        if not lines[-1]:
            lines[-1] = cell
        elif start + len(cell) <= width:
            lines[-1] = lines[-1].ljust(start) + cell
        else:
            lines.append(cell)
    return lines


def _is_shown(name: str, value: float) -> bool:
    """In the table. Of counters of workers elsewhere only those are that tell of trouble: `fastes top` shows all."""
    if name in (_RATE, _WORKERS):
        return False
    return not name.startswith("executor/") or (value != 0 and name not in _ROUTINE)


def number(value: float) -> str:
    """Short and readable: whole numbers and large ones with separators, others with four digits."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.3e}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Hours, minutes, seconds."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"
