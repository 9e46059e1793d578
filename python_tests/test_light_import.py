"""`import fastes` stays light: what takes long is imported when it is first used."""

from __future__ import annotations

import json
import subprocess
import sys

import fastes

SCRIPT = """
import sys, json
import fastes
{more}
print(json.dumps(sorted(sys.modules)))
"""
HEAVY = {"torch", "cupy", "gymnasium", "numba", "rich", "tensorboard", "numpy", "scipy", "safetensors", "tomli_w"}
HEAVY |= {"argparse"}


def modules_after(more: str = "") -> set[str]:
    script = SCRIPT.format(more=more)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_import_alone_loads_nothing_heavy() -> None:
    assert modules_after() & HEAVY == set()


def test_kernels_need_numpy_only() -> None:
    assert modules_after("fastes.kernels.normal(4, seed=1)") & HEAVY == {"numpy"}


def test_the_version_needs_nothing() -> None:
    assert modules_after("fastes.__version__") & HEAVY == set()


def test_problems_leave_gymnasium_until_an_environment_is_made() -> None:
    assert "gymnasium" not in modules_after("fastes.problems.Gym('CartPole-v1')")


def test_every_public_name_is_there() -> None:
    for name in fastes.__all__:
        assert getattr(fastes, name) is not None
    assert set(fastes.__all__) <= set(dir(fastes))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(fastes, "torch")
