"""nvcc, where there is one, on the kernels for GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-Werror", "all-warnings", f"-I{ROOT}/csrc/include", f"-I{ROOT}/csrc"]


def find() -> str | None:
    """Where CMake looks too."""
    named = os.environ.get("CUDACXX")
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    folders = [f"{home}/bin" for home in homes if home] + [os.environ.get("PATH", ""), "/usr/local/cuda/bin"]
    return named or shutil.which("nvcc", path=os.pathsep.join(folders))


def run(nvcc: str, *options: str) -> tuple[str, str]:
    """The compiler's output file, byte by byte, and what it said. Raises SystemExit with that if it failed."""
    with tempfile.TemporaryDirectory() as folder:
        out, kernels = Path(folder) / "out", ROOT / "cuda" / "kernels.cu"
        done = subprocess.run([nvcc, *FLAGS, *options, "-o", out, kernels], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{nvcc} failed:\n{done.stderr}")
        return out.read_bytes().decode("latin-1"), done.stderr
