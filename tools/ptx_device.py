"""The code that nvcc or NVRTC makes of the kernels for GPUs, as a library that a CPU runs.

    python tools/ptx_device.py --out libfastes_ptx_device.so [--arch sm_80] [--nvrtc LIBNVRTC] [--keep DIR]

cuda/kernels.cu becomes PTX, each instruction of that C, and the C a library with the function of
csrc/tests/simulated_device.cpp. Tests that run on the simulated GPU then run on the compiler's own code; the library's
path belongs in FASTES_SIMULATED_DEVICE. Without nvcc that is said, and an error only with FASTES_REQUIRE_NVCC=1.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nvcc as nvcc_tool
from ptx_translation.kernels import Function, module_variables, translated
from ptx_translation.parse import PtxError, parsed

ROOT = Path(__file__).parents[1]
TEMPLATES = Path(__file__).parent / "ptx_translation"
C_FLAGS = ["-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
C_FLAGS += ["-ffp-contract=off", "-fno-fast-math", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing"]
# Registers that are set and never read, labels that only fell through.
C_FLAGS += ["-Wno-unused-but-set-variable", "-Wno-unused-variable", "-Wno-unused-label"]


@dataclass(frozen=True, slots=True)
class Summary:
    """What was translated. `unset` names registers that a kernel may read before it sets them."""

    kernels: int
    opcodes: Counter[str]
    unset: dict[str, frozenset[str]]
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.kernels} kernels, {self.opcodes.total()} instructions, {len(self.opcodes)} distinct opcodes, "
            f"{self.seconds:.0f} s"
        )


def c_compiler() -> str | None:
    """The compiler of the processor's code."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


def nvrtc_ptx(library: Path, architecture: str) -> str:
    """What NVRTC makes of the same sources, laid out as an installation has them and with its options."""
    from nvrtc import Nvrtc

    from fastes.kernels.nvrtc import compiled

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for link, target in (
            ("kernels.cu", "cuda/kernels.cu"),
            ("nvrtc", "cuda/nvrtc"),
            ("fastes", "csrc/include/fastes"),
            ("simd", "csrc/simd"),
        ):
            (folder / link).symlink_to(ROOT / target)
        return compiled(Nvrtc(library), folder, architecture.replace("sm_", "compute_")).decode()


def build(ptx: str, out: Path, folder: Path, compiler: str) -> Summary:
    """Translates a text of PTX and makes the library `out`; the C stays in `folder`. PtxError if that cannot be."""
    begin = time.monotonic()
    module = parsed(ptx)
    functions = {kernel.name: translated(module, kernel) for kernel in module.kernels}
    used = frozenset[str]().union(*(function.variables for function in functions.values()))
    declarations, definitions = module_variables(module, used)
    sources = [folder / "device.c", folder / "table.c"]
    for name in ("device.c", "device.h"):
        shutil.copy(TEMPLATES / name, folder / name)
    sources[1].write_text(_table(functions, definitions))
    for name, function in functions.items():
        sources.append(folder / f"{name}.c")
        sources[-1].write_text(f'#include "device.h"\n\n{declarations}\n{function.code}')
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(lambda source: _compiled(compiler, source), sources))
    _run([compiler, "-shared", "-o", str(out), *map(str, objects), "-lm"])
    return Summary(
        len(module.kernels),
        Counter(instruction.opcode for kernel in module.kernels for instruction in kernel.instructions()),
        {name: function.unset for name, function in functions.items() if function.unset},
        time.monotonic() - begin,
    )


def _table(functions: dict[str, Function], definitions: str) -> str:
    return (
        '#include "device.h"\n\n'
        + definitions
        + "".join(
            f"extern const size_t run_{name}_state_bytes;\nuint32_t run_{name}(struct block *, void *);\n"
            for name in functions
        )
        + f"extern const struct kernel kernels[];\nextern const size_t kernel_count;\n"
        f"const struct kernel kernels[] = {{\n{''.join(function.entry for function in functions.values())}}};\n"
        f"const size_t kernel_count = {len(functions)};\n"
    )


def _compiled(compiler: str, source: Path) -> Path:
    out = source.with_suffix(".o")
    _run([compiler, *C_FLAGS, *_fused_flags(), "-c", str(source), "-o", str(out)])
    return out


def _fused_flags() -> list[str]:
    """The option that makes fmaf one instruction, if the processor has it; the C library's is as exact."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return []
    information = Path("/proc/cpuinfo")
    return ["-mfma"] if information.is_file() and " fma " in information.read_text() else []


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the library to make")
    parser.add_argument("--arch", default="sm_80", help="what the PTX is made for (default: %(default)s)")
    parser.add_argument("--nvrtc", type=Path, metavar="LIBNVRTC", help="compile with this NVRTC instead of nvcc")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave the PTX and the C there")
    parser.add_argument("--opcodes", action="store_true", help="print how often each instruction occurs")
    arguments = parser.parse_args()
    nvcc, compiler = nvcc_tool.find(), c_compiler()
    if arguments.nvrtc is None and nvcc is None:
        print("There is no nvcc, so there is no PTX to translate. It comes with the CUDA toolkit, 12.4 or later.")
        return int(os.environ.get("FASTES_REQUIRE_NVCC") == "1")
    if compiler is None:
        raise SystemExit("There is no C compiler: install one, or name it in CC.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"NVRTC ({arguments.nvrtc.name})" if arguments.nvrtc else str(nvcc)
        print(f"{name} compiles the kernels for {arguments.arch}", flush=True)
        ptx = (
            nvrtc_ptx(arguments.nvrtc, arguments.arch)
            if arguments.nvrtc
            else nvcc_tool.run(str(nvcc), "-ptx", f"-arch={arguments.arch}")[0]
        )
        (folder / "kernels.ptx").write_text(ptx)
        try:
            summary = build(ptx, arguments.out, folder, compiler)
        except PtxError as error:
            raise SystemExit(f"The PTX for {arguments.arch} cannot be translated: {error}") from None
    for kernel, registers in summary.unset.items():
        print(f"{kernel} has a path that reads {len(registers)} registers which it has not set")
    if arguments.opcodes:
        print("\n".join(f"{count:6} {opcode}" for opcode, count in summary.opcodes.most_common()))
    print(f"{arguments.out}: {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
