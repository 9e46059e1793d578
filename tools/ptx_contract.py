"""What a GPU may compute with floats: only what IEEE 754 rounds exactly (docs/noise-spec.md), read from PTX.

A list of what is allowed, so that an instruction nobody thought of is reported.
"""

from __future__ import annotations

import re

# On floats of any width; atomic sums and matrix units too, whose order is nobody's.
ARITHMETIC = re.compile(
    r"(abs|add|atom|cos|cvt|div|ex2|fma|lg2|mad|max|min|mma|mul|neg|rcp|red|redux|rsqrt|sin|sqrt|sub|tanh|wgmma|wmma)"
    r"\..*\bb?f\d+"
)
ALLOWED = re.compile(
    r"fma\.rn\.f(32|64)"  # of doubles, where it is asked for: FUSED_DOUBLES
    r"|(add|sub|mul|div|sqrt)\.rn\.f(32|64)"
    r"|cvt\.rn\.f(32|64)\.[su](8|16|32|64)"
    r"|cvt\.rn\.f32\.f64|cvt\.rn\.b?f16\.f32"
    r"|cvt\.f64\.f32|cvt\.rmi\.f64\.f64|cvt\.f32\.f16"  # exact
    r"|(abs|neg|max|min)\.f(32|64)"  # no rounding
)
REQUIRED = "mul.wide.u32"  # Philox: both halves of a product in one instruction
# Kernels whose sources ask for it; in all others a compiler would have contracted a product and a sum of doubles.
FUSED_DOUBLES = ("environment_step_cartpole", "environment_step_pendulum")
# Kernels that write nothing in fours; all others have a vector store where memory is aligned.
SINGLE_STORES = (
    "environment_step_pendulum",
    "clipup_sums",
    "clipup_scales",
    "low_rank_project",
    "philox",
    "words_only",
    "transform_digests",
)
INSTRUCTION = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z][a-z0-9_.:]+)\s", re.MULTILINE)


def contract_problems(ptx: str) -> list[str]:
    """What breaks the contract in a PTX text, one sentence per instruction; empty if nothing does."""
    instructions = INSTRUCTION.findall(ptx)
    problems = [
        f"{name} ({instructions.count(name)} times) is not an operation that IEEE 754 rounds exactly"
        for name in sorted(set(instructions))
        if ".ftz" in name or (ARITHMETIC.match(name) and not ALLOWED.fullmatch(name))
    ]
    problems += [f"{name} fuses products and sums of doubles" for name in fusing_kernels(ptx)]
    if REQUIRED not in instructions:
        problems.append(f"{REQUIRED} is missing: Philox's products take several instructions")
    return problems


def store_problems(ptx: str) -> list[str]:
    """Kernels that should write 16 bytes at a time (8 for 16-bit types) and have no such instruction."""
    return [
        f"{name} has no vector store"
        for name, body in bodies(ptx)
        if not any(single in name for single in SINGLE_STORES) and not re.search(r"st\.global\.v(4\.f32|2\.u32)", body)
    ]


def fusing_kernels(ptx: str) -> list[str]:
    """Kernels with fused operations on doubles that should have none."""
    return [name for name, body in bodies(ptx) if "fma.rn.f64" in body and not name.endswith(FUSED_DOUBLES)]


def bodies(ptx: str) -> list[tuple[str, str]]:
    """The kernels in a PTX text, each with its part of it."""
    return list(zip(entry_names(ptx), re.split(r"\.entry\s", ptx)[1:], strict=True))


def entry_names(ptx: str) -> list[str]:
    """The kernels in a PTX text."""
    return re.findall(r"\.entry\s+(\w+)", ptx)
