"""tools/ptx_device.py: instructions of PTX against known answers, what it refuses, and the kernels that nvcc makes."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import conformance.device
import numpy as np
import pytest
import torch
from conformance.kernels import CALLS, assert_same, expected

from fastes.kernels import KINDS

TOOLS = str(Path(__file__).parents[1] / "tools")
sys.path.append(TOOLS)
import nvcc  # noqa: E402
import ptx_device  # noqa: E402
from ptx_translation.parse import PtxError, parsed  # noqa: E402

sys.path.remove(TOOLS)

COMPILER = ptx_device.c_compiler()
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
Run = Callable[..., str | None]


def library(ptx: str, folder: Path) -> Run:
    """Builds; gives a function that launches a kernel of one pointer and returns what went wrong."""
    assert COMPILER is not None
    path = folder / "library.so"
    ptx_device.build(ptx, path, folder, COMPILER)
    simulate = ctypes.CDLL(str(path)).fastes_simulate
    simulate.restype = ctypes.c_char_p
    simulate.argtypes = [ctypes.c_char_p, *[ctypes.c_uint32] * 3, ctypes.c_char_p, ctypes.c_size_t]

    def run(kernel: str, memory: Any, threads: int = 1, grid: tuple[int, int] = (1, 1), size: int = 8) -> str | None:
        problem = simulate(kernel.encode(), *grid, threads, struct.pack("<Q", memory.ctypes.data), size)
        return None if problem is None else problem.decode()

    return run


def entry(name: str, body: str, directive: str = "") -> str:
    return f".visible .entry fastes_{name}(\n.param .u64 memory\n)\n{directive}\n{{\n{body}\n}}\n"


@dataclass(frozen=True)
class Case:
    """Registers %0 (result), %1, ... of `types`; inputs and result are bits."""

    code: str
    types: str
    inputs: tuple[int, ...]
    result: int


def f32(x: float) -> int:
    return int(np.float32(x).view(np.uint32))


def f64(x: float) -> int:
    return int(np.float64(x).view(np.uint64))


def case(code: str, types: str, *bits: int) -> Case:
    return Case(code, types, bits[:-1], bits[-1])


MINUS = 2**32 - 1
NAN32 = 0x7FFFFFFF
ULP = 1 + 2.0**-23
CASES = [
    # whole numbers
    case("add.s32 %0, %1, %2;", "b32 b32 b32", 0x7FFFFFFF, 1, 0x80000000),
    case("add.s64 %0, %1, -3;", "b64 b64", 1, 2**64 - 2),
    case("sub.s16 %0, %1, %2;", "b16 b16 b16", 1, 3, 0xFFFE),
    case("mul.lo.s32 %0, %1, %2;", "b32 b32 b32", 0xD2511F53, 0xCD9E8D57, 0xD2511F53 * 0xCD9E8D57 % 2**32),
    case("mul.hi.u32 %0, %1, %2;", "b32 b32 b32", 0xD2511F53, 0xCD9E8D57, 0xD2511F53 * 0xCD9E8D57 >> 32),
    case("mul.hi.s32 %0, %1, %2;", "b32 b32 b32", MINUS, 2, MINUS),
    case("mul.hi.u64 %0, %1, %2;", "b64 b64 b64", 2**64 - 1, 2**63, 2**63 - 1),
    case("mul.hi.s64 %0, %1, %2;", "b64 b64 b64", 2**64 - 1, 5, 2**64 - 1),
    case("mul.hi.u16 %0, %1, %2;", "b16 b16 b16", 0xFFFF, 0xFFFF, 0xFFFE),
    case("mul.lo.s16 %0, %1, %2;", "b16 b16 b16", 0xFFFF, 0xFFFF, 1),
    case("mul.wide.u32 %0, %1, %2;", "b64 b32 b32", MINUS, MINUS, MINUS * MINUS),
    case("mul.wide.s32 %0, %1, %2;", "b64 b32 b32", MINUS, 3, 2**64 - 3),
    case("mul.wide.u16 %0, %1, 256;", "b32 b16", 0xFFFF, 0xFFFF00),
    case("mad.lo.s32 %0, %1, %2, %3;", "b32 b32 b32 b32", 3, 5, MINUS, 14),
    case("mad.wide.u32 %0, %1, %2, %3;", "b64 b32 b32 b64", MINUS, 2, 5, 2 * MINUS + 5),
    case("div.u32 %0, %1, %2;", "b32 b32 b32", MINUS, 10, MINUS // 10),
    case("div.s32 %0, %1, %2;", "b32 b32 b32", 2**32 - 7, 2, 2**32 - 3),
    case("div.s32 %0, %1, %2;", "b32 b32 b32", 2**31, MINUS, 2**31),
    case("rem.s32 %0, %1, %2;", "b32 b32 b32", 2**32 - 7, 2, MINUS),
    case("rem.u64 %0, %1, %2;", "b64 b64 b64", 2**64 - 1, 10, 5),
    case("neg.s32 %0, %1;", "b32 b32", 5, 2**32 - 5),
    case("abs.s32 %0, %1;", "b32 b32", 2**31, 2**31),
    case("abs.s16 %0, %1;", "b16 b16", 0xFFFB, 5),
    case("min.s32 %0, %1, %2;", "b32 b32 b32", MINUS, 1, MINUS),
    case("min.u32 %0, %1, %2;", "b32 b32 b32", MINUS, 1, 1),
    case("max.u64 %0, %1, -2;", "b64 b64", 3, 2**64 - 2),
    # bits
    case("and.b32 %0, %1, 0x0F0F;", "b32 b32", 0x1234, 0x0204),
    case("or.b64 %0, %1, %2;", "b64 b64 b64", 2**63, 1, 2**63 + 1),
    case("xor.b16 %0, %1, %2;", "b16 b16 b16", 0xFF00, 0x0FF0, 0xF0F0),
    case("not.b32 %0, %1;", "b32 b32", 0, MINUS),
    case("shl.b32 %0, %1, %2;", "b32 b32 b32", 3, 31, 2**31),
    case("shl.b32 %0, %1, %2;", "b32 b32 b32", 3, 32, 0),
    case("shl.b16 %0, %1, 15;", "b16 b16", 0xFFFF, 0x8000),
    case("shl.b64 %0, %1, %2;", "b64 b64 b32", 1, 63, 2**63),
    case("shl.b64 %0, %1, %2;", "b64 b64 b32", 1, MINUS, 0),
    case("shr.u32 %0, %1, %2;", "b32 b32 b32", MINUS, 33, 0),
    case("shr.s32 %0, %1, %2;", "b32 b32 b32", 2**31, 40, MINUS),
    case("shr.s32 %0, %1, 4;", "b32 b32", 2**31, 0xF8000000),
    case("shr.u64 %0, %1, 32;", "b64 b64", 0x123456789, 1),
    case("shr.s16 %0, %1, 16;", "b16 b16", 0x8000, 0xFFFF),
    case("shf.l.wrap.b32 %0, %1, %2, 36;", "b32 b32 b32", 0xABCDEF01, 0x12345678, 0x2345678A),
    case("shf.r.wrap.b32 %0, %1, %2, 8;", "b32 b32 b32", 0xABCDEF01, 0x12345678, 0x78ABCDEF),
    case("shf.l.clamp.b32 %0, %1, %2, 40;", "b32 b32 b32", 0xABCDEF01, 0x12345678, 0xABCDEF01),
    case("shf.r.clamp.b32 %0, %1, %2, 32;", "b32 b32 b32", 0xABCDEF01, 0x12345678, 0x12345678),
    case("lop3.b32 %0, %1, %2, %3, 0x96;", "b32 b32 b32 b32", 0xF0F0, 0xCCCC, 0xAAAA, 0xF0F0 ^ 0xCCCC ^ 0xAAAA),
    case("lop3.b32 %0, %1, %2, %3, 0xEA;", "b32 b32 b32 b32", 0xF0, 0xCC, 0xAA, 0xF0 & 0xCC | 0xAA),
    case("prmt.b32 %0, %1, %2, 0x7531;", "b32 b32 b32", 0x44332211, 0x88776655, 0x88664422),
    case("prmt.b32 %0, %1, %2, 0x0F8B;", "b32 b32 b32", 0xC4332211, 0x88776655, 0x11FF00FF),
    case("bfe.u32 %0, %1, 4, 8;", "b32 b32", 0x12345678, 0x67),
    case("bfe.s32 %0, %1, 28, 8;", "b32 b32", 0x92345678, 0xFFFFFFF9),
    case("bfe.u64 %0, %1, 60, 8;", "b64 b64", 2**63, 8),
    case("bfi.b32 %0, %1, %2, 8, 4;", "b32 b32 b32", 0xFF, 0x12340078, 0x12340F78),
    case("bfi.b32 %0, %1, %2, 28, 8;", "b32 b32 b32", 0xFF, 0, 0xF0000000),
    # moves and choices
    case("mov.b32 %0, 0f3F800000;", "b32", f32(1)),
    case("mov.f64 %0, 0dBFF8000000000000;", "f64", f64(-1.5)),
    case("mov.b32 %0, %1;", "b32 f32", 0x7F800001, 0x7F800001),
    case("mov.b64 %0, {%1, %2};", "b64 b32 f32", 7, f32(2), f32(2) << 32 | 7),
    case("mov.b64 {_, %0}, %1;", "b32 f64", f64(2), 0x40000000),
    case("mov.b32 %0, {%1, %2};", "b32 b16 b16", 0x1234, 0xABCD, 0xABCD1234),
    case("selp.f32 %0, %1, %2, %3;", "f32 f32 f32 pred", f32(1), f32(2), 0, f32(2)),
    case("selp.b64 %0, %1, -1, %2;", "b64 b64 pred", 9, 1, 9),
    case("xor.pred %0, %1, %2; not.pred %0, %0;", "pred pred pred", 1, 1, 1),
    # comparisons
    case("setp.lt.s32 %0, %1, %2;", "pred b32 b32", MINUS, 0, 1),
    case("setp.lt.u32 %0, %1, %2;", "pred b32 b32", MINUS, 0, 0),
    case("setp.hi.u32 %0, %1, %2;", "pred b32 b32", MINUS, 0, 1),
    case("setp.ne.s64 %0, %1, 0;", "pred b64", 2**40, 1),
    case("setp.gt.s16 %0, %1, -1;", "pred b16", 0xFFFF, 0),
    case("setp.eq.and.s32 %0, %1, 5, %2;", "pred b32 pred", 5, 0, 0),
    case("setp.eq.or.s32 %0, %1, 5, !%2;", "pred b32 pred", 4, 0, 1),
    case("setp.eq.xor.s32 %1|%0, %2, 5, %3;", "pred pred b32 pred", 0, 5, 1, 1),
    *(
        case(f"setp.{name}.f32 %0, %1, %2;", "pred f32 f32", NAN32, f32(1), int(name[-1] == "u" or name == "nan"))
        for name in ("eq", "ne", "lt", "ge", "num", "equ", "neu", "ltu", "geu", "nan")
    ),
    *(
        case(f"setp.{name}.f64 %0, %1, %2;", "pred f64 f64", f64(1), f64(2), int(name[:2] in {"ne", "le", "lt", "nu"}))
        for name in ("eq", "ne", "gt", "num", "leu", "gtu", "ltu", "neu", "nan")
    ),
    # floats: each operation rounds once
    case("add.rn.f32 %0, %1, %2;", "f32 f32 f32", f32(1), f32(2**-24), f32(1)),
    case("add.rn.f32 %0, %1, %2;", "f32 f32 f32", 1, 2, 3),  # subnormal numbers stay
    case("sub.rn.f32 %0, %1, %2;", "f32 f32 f32", 0x7F800000, 0x7F800000, NAN32),
    case("mul.rn.f32 %0, %1, %2;", "f32 f32 f32", f32(ULP), f32(ULP), f32(1 + 2.0**-22)),
    case("mul.rn.f32 %0, %1, %2;", "f32 f32 f32", 0xFFC12345, f32(1), NAN32),
    case("fma.rn.f32 %0, %1, %1, %2;", "f32 f32 f32", f32(ULP), f32(-1 - 2.0**-22), f32(2.0**-46)),
    case("mul.rn.f32 %0, %1, %1; add.rn.f32 %0, %0, %2;", "f32 f32 f32", f32(ULP), f32(-1 - 2.0**-22), 0),
    case("fma.rn.f64 %0, %1, %1, %2;", "f64 f64 f64", f64(1 + 2.0**-52), f64(-1 - 2.0**-51), f64(2.0**-104)),
    case("div.rn.f32 %0, %1, %2;", "f32 f32 f32", f32(1), f32(3), 0x3EAAAAAB),
    case("div.rn.f32 %0, %1, %2;", "f32 f32 f32", 0x80000001, f32(2), 0x80000000),
    case("div.rn.f64 %0, %1, %2;", "f64 f64 f64", f64(1), f64(3), 0x3FD5555555555555),
    case("sqrt.rn.f32 %0, %1;", "f32 f32", f32(2), 0x3FB504F3),
    case("sqrt.rn.f32 %0, %1;", "f32 f32", f32(-1), NAN32),
    case("sqrt.rn.f64 %0, %1;", "f64 f64", f64(2), 0x3FF6A09E667F3BCD),
    case("neg.f32 %0, %1;", "f32 f32", 0x7F800001, 0xFF800001),
    case("abs.f64 %0, %1;", "f64 f64", f64(-0.0), 0),
    case("min.f32 %0, %1, %2;", "f32 f32 f32", NAN32, f32(3), f32(3)),
    case("min.f32 %0, %1, %2;", "f32 f32 f32", 0, 0x80000000, 0x80000000),
    case("max.f64 %0, %1, %2;", "f64 f64 f64", f64(-0.0), 0, 0),
    # conversions
    case("cvt.u32.u64 %0, %1;", "b32 b64", 0x123456789, 0x23456789),
    case("cvt.s64.s32 %0, %1;", "b64 b32", MINUS, 2**64 - 1),
    case("cvt.u64.u32 %0, %1;", "b64 b32", MINUS, MINUS),
    case("cvt.s32.s8 %0, %1;", "b32 b16", 0x1280, 2**32 - 128),
    case("cvt.u16.u32 %0, %1;", "b16 b32", 0x12345, 0x2345),
    case("cvt.u32.u8 %0, %1;", "b32 b32", 0x1FF, 0xFF),
    case("cvt.rn.f32.s32 %0, %1;", "f32 b32", 2**32 - 16777217, f32(-16777216)),
    case("cvt.rn.f32.u64 %0, %1;", "f32 b64", 2**63 + 2**39 + 1, f32(2.0**63 + 2.0**40)),
    case("cvt.rn.f64.u64 %0, %1;", "f64 b64", 2**53 + 1, f64(2.0**53)),
    case("cvt.f64.f32 %0, %1;", "f64 f32", 1, f64(2.0**-149)),
    case("cvt.rn.f32.f64 %0, %1;", "f32 f64", f64(1 + 2.0**-24), f32(1)),
    case("cvt.rmi.f64.f64 %0, %1;", "f64 f64", f64(-1.25), f64(-2)),
    case("cvt.f32.f16 %0, %1;", "f32 b16", 0x8001, f32(-(2.0**-24))),
    case("cvt.f32.f16 %0, %1;", "f32 b16", 0x7BFF, f32(65504)),
    case("cvt.f32.f16 %0, %1;", "f32 b16", 0xFC00, 0xFF800000),
    case("cvt.f32.f16 %0, %1;", "f32 b16", 0x7C01, NAN32),
]


def case_body(number: int, case: Case) -> str:
    """Loads the inputs, runs the code, stores the result; all in a scope of its own."""
    lines, code = [], case.code
    for i, kind in enumerate(case.types.split()):
        code = code.replace(f"%{i}", f"%v{i}")
        lines.append(f".reg .{kind} %v{i};")
        place = f"[%rd1+{64 * number + 8 * i}]"
        if kind == "pred":
            lines += [f".reg .b32 %w{i};", f"ld.global.u32 %w{i}, {place};", f"setp.ne.s32 %v{i}, %w{i}, 0;"]
        else:
            lines.append(f"ld.global.{kind} %v{i}, {place};")
    kind = case.types.split()[0]
    if kind == "pred":
        code += "selp.u32 %w0, 1, 0, %v0;"
    return f"{{ {' '.join(lines)} {code} st.global.{kind.replace('pred', 'b32')} [%rd1+{64 * number}], " + (
        "%w0; }" if kind == "pred" else "%v0; }"
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[int]:
    body = ".reg .b64 %rd<2>;\nld.param.u64 %rd1, [memory];\n"
    body += "\n".join(case_body(i, each) for i, each in enumerate(CASES)) + "\nret;"
    run = library(HEAD + entry("cases", body), tmp_path_factory.mktemp("cases"))
    memory = np.zeros((len(CASES), 8), np.uint64)
    for row, each in zip(memory, CASES, strict=True):
        row[1 : 1 + len(each.inputs)] = each.inputs
    torch.set_flush_denormal(True)  # what the CPU's thread does with subnormal numbers is nothing to a GPU
    try:
        assert run("cases", memory) is None
    finally:
        torch.set_flush_denormal(False)
    return [int(value) for value in memory[:, 0]]


@needs_compiler
@pytest.mark.parametrize("number", range(len(CASES)), ids=[f"{each.code} {each.inputs}" for each in CASES])
def test_instructions_give_known_answers(number: int, results: list[int]) -> None:
    assert results[number] == CASES[number].result


@needs_compiler
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_floats_are_rounded_as_elsewhere(kind: str, tmp_path: Path) -> None:
    # All values of half floats, what lies halfway between them and next to that; a GPU's NaN has bits of its own.
    every = torch.arange(65536, dtype=torch.int32).to(torch.int16).view(getattr(torch, kind)).float()
    bits = every[torch.isfinite(every)].numpy().view(np.int32)
    half = {"float16": 1 << 12, "bfloat16": 1 << 15}[kind]
    inputs = np.concatenate([bits, bits + half, bits + half - 1, bits + half + 1, bits + 1])
    inputs = np.concatenate([inputs, np.arange(-(2**31), 2**31, 50_021).astype(np.int32)]).view(np.float32)
    finite = inputs[np.isfinite(inputs)]
    memory = finite[: finite.size // 256 * 256].copy()
    wanted = torch.from_numpy(memory.copy()).to(getattr(torch, kind)).view(torch.int16).numpy()
    body = f"""
        .reg .b64 %rd<3>; .reg .b32 %r<4>; .reg .f32 %f1; .reg .b16 %h;
        ld.param.u64 %rd1, [memory];
        mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;
        mad.lo.s32 %r1, %r1, %r2, %r3;
        mul.wide.u32 %rd2, %r1, 4;
        add.s64 %rd1, %rd1, %rd2;
        ld.global.f32 %f1, [%rd1];
        cvt.rn.{kind.replace("loat", "")}.f32 %h, %f1;
        st.global.u16 [%rd1], %h;
        ret;"""
    run = library(HEAD + entry("halves", body), tmp_path)
    assert run("halves", memory, 256, (memory.size // 256, 1)) is None
    assert memory.view(np.int16)[::2].tobytes() == wanted.tobytes()


def instruction(code: str) -> str:
    registers = ".reg .pred %p<3>; .reg .b16 %h<3>; .reg .b32 %r<5>; .reg .b64 %rd<5>; .reg .f32 %f<5>;"
    return HEAD + entry("wrong", f"{registers}\nld.param.u64 %rd1, [memory];\n{code}\nret;")


@needs_compiler
@pytest.mark.parametrize(
    "code",
    [
        "add.f32 %f1, %f1, %f2;",  # the assembler may fuse it with a product
        "mul.f32 %f1, %f1, %f2;",
        "add.rn.ftz.f32 %f1, %f1, %f2;",
        "fma.rn.ftz.f32 %f1, %f1, %f2, %f3;",
        "add.rz.f32 %f1, %f1, %f2;",
        "mad.rn.f32 %f1, %f1, %f2, %f3;",
        "div.approx.f32 %f1, %f1, %f2;",
        "div.full.f32 %f1, %f1, %f2;",
        "sqrt.approx.f32 %f1, %f1;",
        "rsqrt.approx.f32 %f1, %f1;",
        "sin.approx.f32 %f1, %f1;",
        "cvt.rn.f32.f16 %f1, %h1;",
        "cvt.rzi.s32.f32 %r1, %f1;",
        "cvt.rn.ftz.f32.f64 %f1, %rd1;",
        "cvt.rn.sat.f32.s32 %f1, %r1;",
        "neg.ftz.f32 %f1, %f1;",
        "min.NaN.f32 %f1, %f1, %f2;",
        "setp.lt.ftz.f32 %p1, %f1, %f2;",
        "setp.lt.b32 %p1, %r1, %r2;",
        "add.cc.u32 %r1, %r1, %r2;",
        "add.u32 %r1, %rd1, 1;",
        "and.b32 %r1, %f1, %rd2;",
        "add.s32 %r1, %r2;",
        "mul.wide.u64 %rd1, %rd2, %rd3;",
        "mov.u32 %r1, %laneid;",
        "mov.u32 %r1, missing;",
        "ld.volatile.global.u32 %r1, [%rd1];",
        "ld.global.v2.f32 %f1, [%rd1];",
        "st.param.u32 [%rd1], %r1;",
        "ld.shared.u32 %r1, [memory];",
        "atom.global.add.f32 %f1, [%rd1], %f2;",
        "shfl.sync.bfly.b32 %r1, %r2, 1, 31, -1;",
        "bar.sync 1;",
        "bar.sync 0, 32;",
        "@%p1 bar.sync 0;",
        "bra nowhere;",
        "call helper;",
        ".reg .f16 %half;",
    ],
)
def test_what_is_not_known_or_not_exact_is_an_error_that_names_it(code: str, tmp_path: Path) -> None:
    name = "nowhere" if "nowhere" in code else ".reg .f16" if "half" in code else code.rstrip(";")
    with pytest.raises(PtxError) as caught:
        library(instruction(code), tmp_path)
    assert name in str(caught.value)


def test_texts_that_are_not_kernels_are_errors() -> None:
    for text in (".visible .func helper() { ret; }", ".tex .u32 image;", "nonsense"):
        with pytest.raises(PtxError):
            parsed(HEAD + text)
    with pytest.raises(PtxError, match="does not end"):
        parsed(HEAD + ".entry k()\n{ ret;")


TABLES = """
.global .align 4 .b8 table[4] = {1, 2, 253};
.const .align 8 .f32 pair[2] = {0f3F800000, 0f40000000};
"""
BLOCKS = (HEAD + TABLES) + "".join(
    [
        # Each thread of 64 hands its number on to the next, three times, with a register kept meanwhile.
        entry(
            "rotate",
            """
            .reg .pred %p1; .reg .b32 %r<9>; .reg .b64 %rd<5>;
            .shared .align 4 .b8 first[4];
            .shared .align 16 .b8 cells[256];
            ld.param.u64 %rd1, [memory];
            mov.u32 %r1, %tid.x;
            mov.u32 %r2, %ctaid.x;
            mov.u32 %r8, %nctaid.x;
            mov.u32 %r3, cells;
            shl.b32 %r4, %r1, 2;
            add.s32 %r4, %r3, %r4;
            add.s32 %r5, %r1, 1; and.b32 %r5, %r5, 63; shl.b32 %r5, %r5, 2;
            add.s32 %r5, %r3, %r5;
            mov.u32 %r6, %r1;
            mov.u32 %r7, 0;
            $again:
            st.shared.u32 [%r5], %r6;
            bar.sync 0;
            ld.shared.u32 %r6, [%r4];
            bar.sync 0;
            add.s32 %r7, %r7, 1;
            setp.lt.u32 %p1, %r7, 3;
            @%p1 bra $again;
            mad.lo.s32 %r6, %r8, 1000, %r6;
            mad.lo.s32 %r3, %r2, 64, %r1;
            mul.wide.u32 %rd2, %r3, 4;
            add.s64 %rd1, %rd1, %rd2;
            st.global.u32 [%rd1], %r6;
            ret;""",
            ".maxntid 64, 1, 1",
        ),
        # Reads what its neighbour wrote: right in one order of the threads.
        entry(
            "race",
            """
            .reg .b32 %r<4>; .reg .b64 %rd<4>;
            .shared .align 4 .b8 cells[260];
            mov.u32 %r1, %tid.x; mov.u32 %r2, cells; shl.b32 %r3, %r1, 2; add.s32 %r2, %r2, %r3;
            st.shared.u32 [%r2], %r1;
            ld.shared.u32 %r3, [%r2+4];
            ret;""",
        ),
        # Two barriers in the text, of which each thread reaches one.
        entry(
            "diverge",
            """
            .reg .pred %p1; .reg .b32 %r1;
            mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 3;
            @%p1 bra $few;
            bar.sync 0; ret;
            $few: bar.sync 0; ret;""",
        ),
        entry(
            "leave",
            """
            .reg .pred %p1; .reg .b32 %r1;
            mov.u32 %r1, %tid.x; setp.eq.s32 %p1, %r1, 3;
            @%p1 ret;
            bar.sync 0; ret;""",
        ),
        # Generic addresses of shared and local memory; local memory is a thread's own, over a barrier too.
        entry(
            "generic",
            """
            .reg .b32 %r<4>; .reg .b64 %rd<9>; .reg .b64 %SP; .reg .b64 %SPL;
            .local .align 8 .b8 __local_depot0[16];
            .shared .align 16 .b8 cells[512];
            mov.u64 %SPL, __local_depot0; cvta.local.u64 %SP, %SPL;
            ld.param.u64 %rd1, [memory]; cvta.to.global.u64 %rd1, %rd1;
            mov.u32 %r1, %tid.x;
            st.local.u32 [%SPL+4], %r1;
            mov.u64 %rd2, cells; cvta.shared.u64 %rd3, %rd2;
            mul.wide.u32 %rd4, %r1, 4; add.s64 %rd5, %rd3, %rd4;
            st.u32 [%rd5], %r1;
            bar.sync 0;
            ld.u32 %r2, [%SP+4];
            cvta.to.shared.u64 %rd6, %rd5;
            ld.shared.u32 %r3, [%rd6];
            mad.lo.s32 %r2, %r2, 100, %r3;
            add.s64 %rd1, %rd1, %rd4;
            st.u32 [%rd1], %r2;
            ret;""",
        ),
        # Shared memory holds junk, a table of the module its values, a parameter by its address itself.
        entry(
            "memories",
            """
            .reg .b16 %h1; .reg .b32 %r<4>; .reg .f32 %f<5>; .reg .b64 %rd<9>;
            .shared .align 4 .b8 cells[4];
            mov.b64 %rd2, memory; ld.param.u64 %rd1, [%rd2+0];
            ld.shared.u32 %r1, [cells]; st.global.u32 [%rd1], %r1;
            mov.u64 %rd3, table; ld.global.nc.s8 %h1, [%rd3+2]; cvt.s32.s16 %r2, %h1; st.global.u32 [%rd1+4], %r2;
            ld.const.v2.f32 {%f1, %f2}, [pair]; st.global.v2.f32 [%rd1+8], {%f2, %f1};
            ld.global.v4.u32 {_, %r1, _, %r2}, [%rd1]; st.global.cs.v2.u32 [%rd1+16], {%r2, %r1};
            ret;""",
        ),
    ]
)


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return library(BLOCKS, tmp_path_factory.mktemp("blocks"))


@needs_compiler
def test_threads_wait_for_each_other_and_keep_their_registers(blocks: Run) -> None:
    memory = np.zeros(3 * 64, np.uint32)
    assert blocks("rotate", memory, 64, (3, 1)) is None
    assert memory.tolist() == [3000 + (i - 3) % 64 for i in range(64)] * 3


@needs_compiler
def test_all_memories(blocks: Run) -> None:
    memory = np.zeros(6, np.uint32)
    assert blocks("memories", memory) is None
    assert memory.tolist() == [0xCBCBCBCB, 2**32 - 3, f32(2), f32(1), f32(1), 2**32 - 3]
    memory = np.zeros(128, np.uint32)
    assert blocks("generic", memory, 128) is None
    assert memory.tolist() == [101 * i for i in range(128)]


@needs_compiler
@pytest.mark.parametrize(
    ("kernel", "threads", "message"),
    [
        ("race", 64, "no barrier since shared address 0x404 was used by thread 0 "),
        ("diverge", 8, "waits at barrier 1 of the text, others at 2; 0 is the end"),
        ("leave", 8, "waits at barrier 0 of the text, others at 1; 0 is the end"),
        ("generic", 129, "thread 128: address 0x600 is outside of 512 bytes of memory (line "),
        ("rotate", 65, "65 threads, at most 64"),
        ("nothing", 1, "there is no kernel nothing"),
    ],
)
def test_what_a_block_does_wrong_is_a_message(kernel: str, threads: int, message: str, blocks: Run) -> None:
    problem = blocks(kernel, np.zeros(256, np.uint32), threads)
    assert problem is not None
    assert message in problem


@needs_compiler
def test_launches_that_a_gpu_refuses(blocks: Run) -> None:
    memory = np.zeros(8, np.uint32)
    for options in ({"grid": (0, 1)}, {"grid": (1, 0)}, {"grid": (1, 65536)}, {"threads": 0}, {"size": 4}):
        problem = blocks("memories", memory, **options)
        assert problem is not None
        assert problem.startswith("launch of memories with")
    assert blocks("memories", memory) is None


@needs_compiler
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("ld.global.v4.f32 {%f1, %f2, %f3, %f4}, [%rd1+8];", "is not a multiple of 16 (line 11: ld.global.v4.f32"),
        ("st.global.u32 [%rd1+2], 1;", "is not a multiple of 4"),
        ("mov.u64 %rd2, 16; ld.global.u32 %r1, [%rd2];", "address 0x10 is not in global memory"),
        ("mov.b64 %rd2, memory; ld.param.u64 %rd3, [%rd2+8];", "address 0x8 is outside of 8 bytes of memory"),
        ("mov.u32 %r1, 0; div.u32 %r2, 7, %r1;", "divides 0x7 by 0"),
    ],
)
def test_wrong_addresses_and_divisions_are_messages(code: str, message: str, tmp_path: Path) -> None:
    memory = np.zeros(64, np.uint8)
    memory = memory[-memory.ctypes.data % 16 :][:32]
    problem = library(instruction(code), tmp_path)("wrong", memory)
    assert problem is not None
    assert problem.startswith("wrong, block (0, 0), thread 0: ")
    assert message in problem


@pytest.mark.parametrize("required", ["", "1"])
def test_without_nvcc_there_is_a_message(
    required: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nvcc, "find", lambda: None)
    monkeypatch.setattr(sys, "argv", ["ptx_device.py", "--out", str(tmp_path / "library.so")])
    monkeypatch.setenv("FASTES_REQUIRE_NVCC", required)
    assert ptx_device.main() == int(required == "1")
    assert capsys.readouterr().out.startswith("There is no nvcc, so there is no PTX to translate.")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def kernels_of_nvcc(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of sm_90; `make test-ptx` runs all tests of kernels on the code of sm_80."""
    compiler = nvcc.find()
    if compiler is None:
        (pytest.fail if os.environ.get("FASTES_REQUIRE_NVCC") == "1" else pytest.skip)("there is no nvcc")
    assert COMPILER is not None
    folder = tmp_path_factory.mktemp("sm_90")
    ptx = nvcc.run(str(compiler), "-ptx", "-arch=sm_90")[0]
    summary = ptx_device.build(ptx, folder / "library.so", folder, COMPILER)
    assert summary.opcodes["mul.wide.u32"] > 0
    return str(folder / "library.so")


@needs_compiler
@pytest.mark.parametrize("multiprocessors", [0, 100])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_the_code_of_nvcc_gives_the_references_bits(
    call: str, kind: str, multiprocessors: int, kernels_of_nvcc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance.device, "LIBRARY", kernels_of_nvcc)
    with conformance.device.at(f"simulated {multiprocessors}", monkeypatch) as place:
        for dim, offset in ((1, 0), (7, 31), (97, 2**32 - 3), (1027, 2)):
            found = CALLS[call](conformance.device.On(place), kind, dim, offset)
            for one, wanted in zip(found, expected(call, kind, dim, offset), strict=True):
                assert_same(one, wanted)
