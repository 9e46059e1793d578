"""What was probably meant by a word that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(word: Any, known: Iterable[Any]) -> str:
    """A sentence, with a blank before it, that asks for the nearest of the known words; empty where none is near."""
    choices = [str(choice) for choice in known]
    beginnings = [choice for choice in choices if str(word).startswith(choice)]  # such as env of environment
    near = difflib.get_close_matches(str(word), choices, n=1) or beginnings
    return f" Did you mean {near[0]!r}?" if near else ""
