"""A run whose updates are made on a GPU ends with the digest of the CPU's, given the same fitness."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from conformance.device import On, Simulated

from fastes import optim

pytest.importorskip("gymnasium")  # machines with a GPU may have been given what the kernels need only
pytest.importorskip("tomli_w")


@pytest.mark.parametrize("optimizer", [{"kind": "adamw"}, {"kind": "sgd", "momentum": 0.9}, {"kind": "clipup"}])
@pytest.mark.usefixtures("in_directory")
def test_a_run_whose_updates_are_made_on_a_gpu(
    optimizer: dict[str, Any], place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import specimens
    from specimens import CARTPOLE, changed

    tables = changed(CARTPOLE, generations=3, evaluation={"every": 0, "episodes": 1})
    tables["optimizer"] = optimizer
    wanted = specimens.run(tables)
    moving = On(place)
    for name in ("adam", "sgd", "clipup"):
        monkeypatch.setattr(sys.modules[f"{optim.__name__}.{name}"], "kernels", moving)
    found = specimens.run(changed(tables, output={"dir": "on a GPU"}))
    assert found.digest == wanted.digest
    if isinstance(place, Simulated):
        assert len(place.launcher.launched) >= 3
