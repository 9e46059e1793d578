"""What nothing can be faster than: memory, Philox without a transform, and a normal whose bits do not matter."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from on_gpu import arrays
from on_gpu.checks import ROOT, compiler
from on_gpu.measuring import Case, Contender

HERE = Path(__file__).parent
THREADS = 256  # of fast_sum.cu
_INCLUDES = [f"-I{ROOT / folder}" for folder in ("cuda/nvrtc", "csrc/include", "csrc")]
_FLAGS = ["-std=c++17", "--use_fast_math", f"-DFAST_SEED={arrays.SEED}"]


def memory(floats: int) -> Case:
    """Copying and writing arrays much larger than the cache. Bytes of a copy are those read and those written."""

    def make() -> Sequence[Contender]:
        source = torch.ones(floats, device=arrays.DEVICE)
        target = torch.empty_like(source)
        size = source.numel() * source.element_size()

        def zeroed(_: Any) -> str:
            return "" if float(target[-1]) == 0.0 else "the last element is not 0"

        def ones(_: Any) -> str:
            return "" if float(target[-1]) == 1.0 else "the last element is not 1"

        return [
            Contender("copy_", lambda: target.copy_(source), ones, 2 * size, "bytes"),
            Contender("zero_", target.zero_, zeroed, size, "bytes"),
            Contender("fill_", lambda: target.fill_(1.0), ones, size, "bytes"),
        ]

    return Case(f"memory, {floats / 2**28:g} GiB", make)


def fast_kernel() -> Any:
    """fast_sum.cu, compiled by nvcc where there is one, else by CuPy's NVRTC."""
    import cupy

    source = HERE / "fast_sum.cu"
    nvcc = compiler()
    if nvcc is not None:
        capability = "".join(str(part) for part in torch.cuda.get_device_capability())
        with tempfile.TemporaryDirectory() as directory:
            made = Path(directory) / "fast_sum.cubin"
            command = [nvcc, "-O3", *_FLAGS, f"-arch=sm_{capability}", "-cubin", "-o", str(made)]
            command += [*_INCLUDES[1:], str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            if done.returncode == 0:
                module = cupy.RawModule(path=str(made))
                return module.get_function("fast_weighted_sum")
    module = cupy.RawModule(code=source.read_text(encoding="utf-8"), options=(*_FLAGS, *_INCLUDES))
    return module.get_function("fast_weighted_sum")


def fast_sum(rows: int, dim: int) -> Contender:
    """A weighted sum of approximate normals, checked by its mean square only."""
    weights, out = arrays.on_gpu(arrays.weights(rows)), torch.empty(dim, device=arrays.DEVICE)
    kernel: list[Any] = []

    def work() -> Any:
        if not kernel:
            kernel.append(fast_kernel())
        arguments = (
            np.uint64(weights.data_ptr()),
            np.uint32(rows),
            np.uint64(out.data_ptr()),
            np.uint64(dim),
        )
        kernel[0]((-(-dim // (4 * THREADS)),), (THREADS,), arguments)
        return out

    def check(answer: Any) -> str:
        expected = float((weights.double() ** 2).sum())
        square = float((answer[: 1 << 20].double() ** 2).mean())
        return "" if abs(square / expected - 1) < 0.02 else f"mean square {square:.4g}, not {expected:.4g}"

    return Contender("approximate Box-Muller", work, check, float(rows * dim), "normals")


def cases(*, quick: bool) -> Iterator[Case]:
    """Memory at two sizes; the other ceilings are measured beside the weighted sum."""
    yield memory(2 << 28)
    if not quick:
        yield memory(8 << 28)
