"""Coming over from older systems: their configurations as ours, and what they are made of, under the names it had.

es_pytorch, uber, portable_es: `translate(config)` of each; formats: whose a file is, and what it says; translation: the
tables that come of it, and what could not be the same; modules, optimizers, schedules, environments: what a translated
configuration names by import path; manager: `ESManager`, for scripts of portable-es. docs/migration.md is the page.
"""

from __future__ import annotations

from fastes.compat.formats import SYSTEMS, read, recognised
from fastes.compat.translation import Translation

__all__ = ["SYSTEMS", "Translation", "read", "recognised"]
