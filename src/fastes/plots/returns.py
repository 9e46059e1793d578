"""How the returns of a policy's episodes are distributed, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastes.plots.canvas import new_figure
from fastes.plots.style import COLOURS, INK
from fastes.types import Float64Array

if TYPE_CHECKING:
    from fastes.plots.canvas import Figure


def figure_of_returns(returns: Float64Array) -> Figure:
    """A histogram with the mean and the median. returns: float64 [E], at least one of them finite. To be called
    `styled`.
    """
    finite = returns[np.isfinite(returns)]
    figure = new_figure(4.9, 3.1)
    axes = figure.add_subplot()
    wide = finite.min() < finite.max()
    edges = np.histogram_bin_edges(finite, bins="auto") if wide else np.array([finite[0] - 0.5, finite[0] + 0.5])
    if not 4 <= len(edges) <= 31 and wide:
        edges = np.linspace(finite.min(), finite.max(), 4 if len(edges) < 4 else 31)
    if not wide:
        axes.set_xticks([float(finite[0])])
    axes.hist(finite, bins=edges.tolist(), color=COLOURS[0], alpha=0.8, rwidth=0.92)
    axes.axvline(float(finite.mean()), color=INK, linewidth=1.4, label=f"mean {finite.mean():.4g}")
    axes.axvline(
        float(np.median(finite)), color=INK, linewidth=1.4, linestyle=":", label=f"median {np.median(finite):.4g}"
    )
    axes.set_title(f"returns of {len(finite)} episodes")
    axes.set(xlabel="return", ylabel="episodes")
    axes.locator_params(axis="y", integer=True)
    figure.legend(loc="outside upper right", ncols=2, fontsize=9, borderaxespad=0.2)
    return figure
