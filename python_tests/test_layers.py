"""The rules of who imports what that import-linter, which sees Python files only, cannot check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[1] / "src" / "fastes"
ONLY_IMPORTERS = {  # module: the files or folders that alone may import it
    "_core": ["kernels"],
    "_cuda": ["kernels/launchers.py"],
    "cupy": ["kernels/nvrtc.py"],
    "evosax": ["bench/peers/evosax.py"],
    "evotorch": ["bench/peers/evotorch.py", "bench/rollouts/peers/evotorch.py"],
    "msgspec": ["executors/tcp"],
    "gymnax": ["bench/rollouts/peers/gymnax.py"],
    "gymnasium": ["problems/gym_environments.py", "envs/plain.py", "algorithms/esac/learner.py"],
    "matplotlib": ["plots/canvas.py"],
    "jax": ["bench/peers", "bench/rollouts/peers/gymnax.py"],
    "optax": ["bench/peers/evosax.py"],
    "mlflow": ["report/mlflow.py"],
    "optuna": ["gridsearch/study.py"],
    "prometheus_client": ["executors/tcp/prometheus.py"],
    "scipy": ["archive/tree.py"],
    "rich": ["report/console.py", "top.py", "bench", "gridsearch"],
    "stable_baselines3": ["algorithms/esac/learner.py"],
    "tensorboard": ["report/tensorboard.py"],
    "wandb": ["report/wandb.py"],
}


def imported_names(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name for name in names if not name.startswith("fastes.report."))


@pytest.mark.parametrize(("module", "allowed"), ONLY_IMPORTERS.items())
def test_one_importer(module: str, allowed: list[str]) -> None:
    importers = [
        file.relative_to(SOURCES).as_posix()
        for file in SOURCES.rglob("*.py")
        if any(module in name.split(".") for name in imported_names(file))
    ]
    assert importers
    assert [name for name in importers if not name.startswith(tuple(allowed))] == []
