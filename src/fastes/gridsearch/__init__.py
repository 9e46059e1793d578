"""Grids: a run's configuration in which any value may be several, and every combination of them trained.

Not called `grid`, because that is the function: `fastes.grid`.
"""

from fastes.gridsearch.result import CellResult, GridResult, read_result
from fastes.gridsearch.search import grid
from fastes.gridsearch.settings import GridSettings

__all__ = ["CellResult", "GridResult", "GridSettings", "grid", "read_result"]
