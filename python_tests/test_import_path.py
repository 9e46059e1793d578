"""fastes.import_path: what a configuration may name, for everything that it names by an import path."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastes.import_path import imported, module_and_name
from fastes.optim.torch_class import optimizer_class
from fastes.schedules import Custom

ODD = ("my-mod:f", "mod:", ":f", "mod:f()", "mod..x:f", "mod:f-g", "f")


def test_module_and_name() -> None:
    assert module_and_name("a.b:c.d") == ("a.b", "c.d")
    assert module_and_name("a.b.c") == ("a.b", "c")


@pytest.mark.parametrize("path", ODD)
def test_what_is_no_path_is_not_imported(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker decides by identifiers what it allows: Python would import the file all the same."""
    (tmp_path / "my-mod.py").write_text("raise SystemExit('it ran')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for imports in (module_and_name, Custom, optimizer_class, lambda text: imported(text, ValueError)):
        with pytest.raises(ValueError, match=r"is not of the form 'module:callable'"):
            imports(path)


def test_a_module_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it raises is told in a line, of a schedule too."""
    (tmp_path / "raises_at_import.py").write_text("raise RuntimeError('no licence')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for imports in (Custom, lambda text: imported(text, ValueError)):
        with pytest.raises(ValueError, match=r"cannot be imported: RuntimeError: no licence\."):
            imports("raises_at_import:f")
