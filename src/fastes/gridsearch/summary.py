"""A grid's result as a table in the terminal, as summary.csv, and its best cell as best.toml."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence

import tomli_w
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from fastes.errors import StorageError
from fastes.gridsearch.result import CellResult, GridResult
from fastes.report.console import duration, number
from fastes.storage import write_text

_MOST_ROWS = 40
_WIDE = 400  # of what goes into a file
_COLUMNS = ("seeds", "mean", "IQM", "95 %", "time", "status")
_EXPENDABLE = ("time", "mean", "seeds", "status", "95 %")  # where there is no room, these first
_STYLES = {"finished": "green", "failed": "red", "pruned": "dim", "left": "dim"}


def print_summary(result: GridResult, console: Console | None = None) -> None:
    """The table, best first, and where the rest is."""
    console = console or Console()
    shown = result.cells[:_MOST_ROWS]
    if console.is_terminal:
        console.print(_fitting(result, shown, console))
    else:
        _line(console, f"\n{_as_text(result, shown, _WIDE)}\n")  # nobody wraps what goes into a file
    if len(shown) < len(result.cells):
        left = len(result.cells) - len(shown)
        _line(console, f"and {left} more cells, in {result.directory / 'summary.csv'}")
    if result.best is not None:
        _line(console, f"Train the best again: fastes train {result.directory / 'best.toml'}")


def table_text(result: GridResult) -> str:
    """The table as text, all cells, as wide as the terminal."""
    return _as_text(result, result.cells, max(shutil.get_terminal_size().columns, 80))


def write_summary(result: GridResult) -> None:
    """Writes summary.csv, and best.toml if there is a best. Raises StorageError."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    measured = ("seeds", "finished", "mean", "iqm", "low_95", "high_95", "seconds", "status")
    axes = list(result.cells[0].values) if result.cells else []
    rows.writerow([*axes, *measured])
    for cell in result.cells:
        low, high = cell.interval or ("", "")
        middle = ["" if value is None else value for value in (cell.mean, cell.iqm)]
        counts = [len(cell.runs), len(cell.scores)]
        rows.writerow([*cell.values.values(), *counts, *middle, low, high, round(cell.seconds, 3), cell.status])
    write_text(result.directory / "summary.csv", text.getvalue())
    if result.best is not None:
        write_text(result.directory / "best.toml", best_toml(result))


def best_toml(result: GridResult) -> str:
    """The best cell's configuration, and in comments where it comes from. It writes to a directory of its own."""
    best = result.best
    if best is None:
        raise StorageError("no run of the grid is finished.")
    tables = result.config()
    tables["output"] = tables.get("output", {}) | {"dir": str(result.directory / "best")}
    chosen = ", ".join(f"{name} = {value}" for name, value in best.shown.items()) or "the only cell"
    over = f"over {len(best.scores)} seeds{_interval(best, ' (95 %: ', ')')}"
    head = [
        f"# The best of {len(result.cells)} cells of {result.directory}: {chosen}.",
        f"# Interquartile mean {_number(best.iqm)} {over}.",
    ]
    return "\n".join([*head, "", tomli_w.dumps(tables)])


def _table(result: GridResult, cells: Sequence[CellResult], left_out: Sequence[str] = ()) -> Table:
    """left_out: headers of columns that are not there."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for name in result.names:
        table.add_column(name, overflow="fold", style="cyan")
    for name in _COLUMNS:
        if name not in left_out:
            text = name in ("95 %", "status")
            style = "bold" if name == "IQM" else None
            table.add_column(name, justify="left" if text else "right", no_wrap=name != "status", style=style)
    for cell in cells:
        columns = {
            "seeds": Text(_seeds(cell)),
            "mean": Text(_number(cell.mean)),
            "IQM": Text(_number(cell.iqm)),
            "95 %": Text(_interval(cell)),
            "time": Text(_time(cell.seconds)),
            "status": Text(cell.status, style=_STYLES.get(cell.status, "yellow")),
        }
        shown = [column for name, column in columns.items() if name not in left_out]
        table.add_row(*map(Text, cell.shown.values()), *shown)
    return table


def _fitting(result: GridResult, cells: Sequence[CellResult], console: Console) -> Table:
    """The table with as many columns as the terminal has room for."""
    unlimited = console.options.update(max_width=_WIDE)
    for count in range(len(_EXPENDABLE) + 1):
        table = _table(result, cells, _EXPENDABLE[:count])
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            break
    return table


def _seeds(cell: CellResult) -> str:
    done, of = len(cell.scores), len(cell.runs)
    return str(of) if done == of else f"{done}/{of}"


def _as_text(result: GridResult, cells: Sequence[CellResult], width: int) -> str:
    """Without colours, and blanks at the ends of lines."""
    file = io.StringIO()
    Console(file=file, width=width).print(_table(result, cells))
    lines = [line.rstrip() for line in file.getvalue().splitlines()]
    return "\n".join(line for line in lines if line)


def _interval(cell: CellResult, before: str = "", after: str = "") -> str:
    if cell.interval is None:
        return "" if before else "-"
    low, high = cell.interval
    return f"{before}{number(low)} to {number(high)}{after}"


def _time(seconds: float) -> str:
    if not seconds:
        return "-"
    return f"{seconds:.3g} s" if seconds < 60 else duration(seconds)


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
