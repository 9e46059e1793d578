"""Figures without a window. The only importer of matplotlib."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastes.errors import ConfigError, StorageError
from fastes.plots.style import OF_RUNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    __all__ = ["Axes", "Figure", "check_ending", "legend_entry", "new_figure", "png", "save", "styled", "svg"]

_DPI = 150
_ENDINGS = (".png", ".svg")


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Within, figures are made and written as `style` has it. Raises ConfigError without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError("plots need matplotlib: pip install 'fastes[plots]'.") from error
    with mpl.rc_context(rc=OF_RUNS):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty one, in inches, to be made and written `styled`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def legend_entry(**look: Any) -> Line2D:
    """A line that stands for others in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def check_ending(path: Path) -> None:
    """Raises ConfigError unless a figure can be written to such a file."""
    if path.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"a plot is a file .png or .svg, not {path.suffix or 'one without an ending'}: {path}.")


def save(figure: Figure, path: Path, dpi: int = _DPI) -> None:
    """Writes a figure as PNG, of so many dots an inch, or SVG, by the file's ending. Raises ConfigError for another,
    StorageError if it cannot be written.
    """
    check_ending(path)
    data = png(figure, dpi) if path.suffix.lower() == ".png" else svg(figure).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise StorageError(f"the plot cannot be written to {path}: {error.strerror}. Choose another file.") from error


def png(figure: Figure, dpi: int = _DPI) -> bytes:
    """The figure as a PNG."""
    return _rendered(figure, format="png", dpi=dpi)


def svg(figure: Figure) -> str:
    """The figure as an SVG, the same text for the same figure."""
    return _rendered(figure, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": "fastes"}).decode()


def _rendered(figure: Figure, **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, **options)
    return file.getvalue()
