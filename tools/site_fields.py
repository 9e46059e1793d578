"""What the reference shows: whatever has a docstring, and every public name of a module, described or not."""

from __future__ import annotations

from typing import Any

import griffe

_CALLED_BY_PYTHON = ("__post_init__", "__slots__")


class Fields(griffe.Extension):
    """Fields of a class without a docstring of their own are in its signature already, and left out below it."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Once all of a package is read."""
        _prepare(pkg)


def _prepare(parent: griffe.Module | griffe.Class) -> None:
    for name in _CALLED_BY_PYTHON:
        parent.members.pop(name, None)
    for member in parent.members.values():
        if member.is_alias:
            continue
        if isinstance(parent, griffe.Module) and member.docstring is None:
            member.docstring = griffe.Docstring(" ", parent=member)
        if isinstance(member, (griffe.Module, griffe.Class)):
            _prepare(member)
