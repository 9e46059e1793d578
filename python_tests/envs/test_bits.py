"""fastes.envs: the same bits on every machine, with and without vector instructions, from a cache and without one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastes.envs import NATIVE, Box, Native
from fastes.envs.compiled import compiled

# Of states, observations and returns of 70 episodes. If one fails after an edit, delete numba's *.nbi files first: see
# `fastes.envs.compiled.compiled`.
DIGESTS = {
    "CartPole-v0": "8edea994e02a7d92",
    "CartPole-v1": "8edea994e02a7d92",
    "Acrobot-v1": "0caa19682795df67",
    "MountainCar-v0": "0ef3e030f617de03",
    "MountainCarContinuous-v0": "586fc573b65692a3",
    "Pendulum-v1": "fe8b0dba972d00cc",
    "fastes/UTrap-v0": "4c2f60c1953e4958",
    "fastes/Copy-v0": "42128eff18432679",
}


def digest(native: Native) -> str:
    """Digest of 150 steps of 70 episodes."""
    episodes = native.episodes(70)
    episodes.reset(np.arange(70) * 61_681)
    found = hashlib.sha256()
    for step in range(150):
        levels = (np.arange(70) * 7 + step * step // 5) % 13  # 0 .. 12
        if isinstance(native.actions, Box):
            forces = (levels / 5.0 - 1.2).astype(np.float32)
            episodes.step(np.stack([np.roll(forces, 3 * k) for k in range(native.actions.size)], axis=1))
        else:
            episodes.step(levels % native.actions.n)
        found.update(episodes.observations.tobytes())
    found.update(episodes.state.tobytes() + episodes.returns.tobytes() + episodes.steps.tobytes())
    return found.hexdigest()[:16]


def all_digests() -> dict[str, str]:
    return {name: digest(native) for name, native in NATIVE.items()}


def test_digests() -> None:
    assert all_digests() == DIGESTS


@pytest.mark.timeout(120)
def test_digests_without_vector_instructions(tmp_path: Path) -> None:
    """Compiled afresh for the plainest processor that LLVM knows, without fused instructions."""
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    script = "import json, test_bits; print(json.dumps(test_bits.all_digests()))"
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | plain | {"PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=110, env=environment
    )
    assert json.loads(done.stdout) == DIGESTS
    assert list(tmp_path.rglob("cartpole.step*.nbi"))


def doubled(x: Any) -> float:
    return 2.0 * x


def test_nowhere_to_keep_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be cached is compiled all the same."""
    made: dict[str, Any] = {}
    exec(compile("def triple(x):\n    return 3.0 * x\n", "/nonexistent/kernel.py", "exec"), made)
    triple: Any = compiled("float64(float64)")(made["triple"])
    assert triple(2.0) == 6.0
    assert triple.stats.cache_path is None


def test_other_failures_are_not_hidden() -> None:
    with pytest.raises(Exception, match="No implementation of function"):
        compiled("float64(unicode_type)")(doubled)
