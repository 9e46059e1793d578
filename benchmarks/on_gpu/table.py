"""A run for a person to read. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

LINES_OF_OUTPUT = 25  # of a build that failed; the file has more
UNITS = {
    "normals": (1e-9, "G/s"),
    "words": (1e-9, "G/s"),
    "bytes": (1e-9, "GB/s"),
    "operations": (1e-12, "T/s"),
    "steps": (1e-6, "M/s"),
    "tokens": (1e-3, "k/s"),
    "parameters": (1e-9, "G/s"),
}


def duration(seconds: float) -> str:
    """In microseconds or milliseconds, four digits."""
    return f"{1e6 * seconds:.2f} us" if seconds < 1e-3 else f"{1e3 * seconds:.3f} ms"


def rate(figures: dict[str, Any]) -> str:
    """The rate in the unit of its table, nothing where there is none."""
    if "rate" not in figures:
        return ""
    scale, unit = UNITS[figures["unit"]]
    return f"{scale * figures['rate']:.1f} {unit}"


def verdict(figures: dict[str, Any]) -> str:
    """Whether a floor is held, and which."""
    if "holds" not in figures:
        return ""
    least, unit = figures["at_least"], ""
    if "rate" in figures:
        scale, unit = UNITS[figures["unit"]]
        least, unit = least * scale, f" {unit}"
    return f"{'ok' if figures['holds'] else 'MISSED'} (floor {least:g}{unit})"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a table, the first column to the left and all others but the last to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        middle = (cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True))
        yield "  ".join([row[0].ljust(widths[0]), *middle, row[-1]]).rstrip()


def lines(record: dict[str, Any]) -> Iterator[str]:
    """The whole table."""
    card, tests = record["card"], record["tests"]
    if card:
        yield (
            f"{card['name']}, compute capability {card['compute_capability']}, {card['multiprocessors']} "
            f"multiprocessors, {card['memory_bytes'] / 2**30:.0f} GiB, driver for CUDA {card['driver_cuda']}"
        )
    yield ", ".join(f"{name} {version}" for name, version in record["tools"].items())
    if clocks := record["clocks"]:
        yield "; ".join(f"{when}: {', '.join(f'{k} {v}' for k, v in at.items())}" for when, at in clocks.items())
    yield ""
    yield from aligned(
        [(p["name"], f"{p['seconds']:.1f} s", f"of {p['limit_s']:.0f} s", p["status"]) for p in record["phases"]]
    )
    for attempt in record["build"].get("attempts", []):
        if attempt["output"]:
            yield f"build {attempt['name']}: {attempt['outcome']}"
            yield from (f"    {line}" for line in attempt["output"].splitlines()[-LINES_OF_OUTPUT:])
    if tests:
        yield ""
        yield f"CUDA tests: {tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped"
        yield from (f"  not collected: {name}: {why}" for name, why in tests["not_collected"].items())
    for tool, result in record["sanitizer"].items():
        yield f"{tool}: {result['outcome']}, {result.get('errors', 'no')} errors"
    if record["measurements"]:
        yield ""
        heading = ("measurement", "median", "minimum", "quartiles", "rate", "")
        yield from aligned([heading, *(measured(figures) for figures in record["measurements"])])
    if record["ratios"]:
        yield ""
        yield from aligned([("times as fast", "median", "least to most", ""), *(compared(r) for r in record["ratios"])])
    yield from routes(record["routes"])
    for title, found in (("error", record["errors"]), ("skipped", record["skipped"])):
        yield from (f"{title}: {one['name']}: {(one.get('detail') or one['reason']).splitlines()[-1]}" for one in found)
    yield ""
    yield from (f"NOT WELL: {failure}" for failure in record["failures"])
    yield "all is well" if not record["failures"] else f"{len(record['failures'])} things are not as they should be"


def measured(figures: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table of measurements. A call of a graph counts as the calls in it."""
    calls = figures.get("calls", 1)
    low, high = figures["quartiles"]
    name = figures["name"] + (f" ({figures['route']})" if "route" in figures else "")
    name += f" ({figures['peak_bytes'] / 2**30:.2f} GiB at its peak)" if "peak_bytes" in figures else ""
    times = duration(figures["median"] / calls), duration(figures["minimum"] / calls)
    spread = f"{duration(low / calls)} .. {duration(high / calls)}"
    return (name, *times, spread, rate(figures), verdict(figures))


def compared(figures: dict[str, Any]) -> tuple[str, ...]:
    """A row of the table of ratios."""
    extremes = f"{min(figures['rounds']):.3g} .. {max(figures['rounds']):.3g}"
    return f"{figures['what']} against {figures['against']}", f"{figures['median']:.3g}", extremes, verdict(figures)


def routes(found: dict[str, Any]) -> Iterator[str]:
    """What the two routes have in common and how they differ."""
    if not found.get("answers"):
        return
    yield ""
    equal = sum(answers["equal"] for answers in found["answers"].values())
    yield f"answers of both routes: {equal} of {len(found['answers'])} equal"
    for name, ratio in found["nvrtc_seconds_over_extension"].items():
        yield f"  NVRTC takes {ratio:.3f} times as long: {name}"
