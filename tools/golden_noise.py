"""Golden values of noise, perturbed parameters and weighted sums: those of `normal`, and those of the other kinds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from golden_format import ADDRESSES, BITS, KINDS, RAMP, bits, header, line, ramp, rows_from

from fastes.kernels import reference
from fastes.types import AnyArray, Float32Array

_COLUMNS = "seed generation stream row offset dim"
_MEMBERS = (
    "out[i, j] for i < count, j < dim, i slowest: rows (row + floor(i / 2)) mod 2^32, scales +scale for even i and "
    "-scale",
    "for odd i (scale: float32 bits in hexadecimal), theta[j] = ramp(j).",
)
_WEIGHTS = "Rows (row + k) mod 2^32 with weights ramp(k), k < count."

HEADERS = {
    "normal.txt": header(1, "normals at an address", f"{_COLUMNS} <bits>") + f"{BITS}\n",
    "perturb.txt": header(1, "perturbed parameters", f"type {_COLUMNS} count scale <bits>", *_MEMBERS)
    + f"{RAMP}\n{BITS}\n",
    "weighted_sum.txt": header(1, "weighted sums", f"{_COLUMNS} count <bits>", _WEIGHTS) + f"{RAMP}\n{BITS}\n",
    "kinds_normal.txt": header(1, "other kinds of noise at an address", f"kind {_COLUMNS} <bits>") + f"{BITS}\n",
    "kinds_perturb.txt": header(
        1, "parameters perturbed by other kinds of noise", f"type kind {_COLUMNS} count scale <bits>", *_MEMBERS
    )
    + f"{RAMP}\n{BITS}\n",
    "kinds_weighted_sum.txt": header(
        1, "weighted sums of other kinds of noise", f"kind {_COLUMNS} count <bits>", _WEIGHTS
    )
    + f"{RAMP}\n{BITS}\n",
    "perturb_sigma.txt": header(
        1,
        "parameters perturbed with a sigma each",
        f"type kind {_COLUMNS} count scale <bits>",
        *_MEMBERS,
        "sigma[j] = |ramp(dim - 1 - j)|.",
    )
    + f"{RAMP}\n{BITS}\n",
    "weighted_sums.txt": header(
        1,
        "weighted sums of noise and of its squares less 1",
        f"kind {_COLUMNS} count <bits>",
        "Rows (row + k) mod 2^32 with weights ramp(k) and square weights ramp(count - 1 - k), k < count.",
        "Outputs are g and h, [dim] each.",
    )
    + f"{RAMP}\n{BITS}\n",
}

_SCALES = (np.float32(0.1), np.float32(1e-3), np.float32(3e38), np.float32(1e-40), np.float32(1.0))

# Beside and on the ends of a byte, a word and a block of the kinds with more than one element a word.
_INSIDE_BLOCKS = tuple((77, 1, 0, 9, offset) for offset in (3, 15, 16, 31, 32, 33, 64, 97, 127, 128, 129, 8 * 128 + 95))


def normal() -> Iterator[str]:
    """Lines of normal.txt."""
    addresses = [*ADDRESSES, (7, 1, 0, 2, 2**34 - 97)]
    for address, dim in itertools.product(addresses, (1, 7, 17, 97, 4099)):
        if address[4] + dim <= 2**34:
            yield line(address, dim, bits(_normal(address, dim)))


def perturb() -> Iterator[str]:
    """Lines of perturb.txt."""
    sizes = ((1, 1), (7, 2), (17, 5), (97, 1), (4099, 3))
    cases = itertools.product(_TYPES, ADDRESSES, zip(sizes, _SCALES, strict=True))
    for type_, address, ((dim, count), scale) in cases:
        members = _members(address, dim, count, scale, dtype=type_)
        yield line(type_, address, dim, count, _hex(scale), bits(members))


def weighted_sum() -> Iterator[str]:
    """Lines of weighted_sum.txt."""
    sizes = ((1, 1), (7, 63), (17, 64), (97, 65), (4099, 200), (3, 0), (33, 129))
    for address, (dim, count) in itertools.product(ADDRESSES, sizes):
        yield line(address, dim, count, bits(_sum(address, dim, count)))


def kinds_normal() -> Iterator[str]:
    """Lines of kinds_normal.txt."""
    for kind in KINDS[1:]:
        whole = itertools.product((*ADDRESSES, (7, 1, 0, 2, 2**34 - 97)), (1, 7, 17, 97, 4099))
        for address, dim in itertools.chain(whole, itertools.product(_INSIDE_BLOCKS, (1, 17, 4099))):
            if address[4] + dim <= 2**34:
                yield line(kind, address, dim, bits(_normal(address, dim, kind=kind)))


def kinds_perturb() -> Iterator[str]:
    """Lines of kinds_perturb.txt."""
    sizes = tuple(zip(((1, 1), (7, 2), (17, 6), (97, 2), (4099, 3)), _SCALES, strict=True))
    for type_, kind in itertools.product(_TYPES, KINDS[1:]):
        for address, ((dim, count), scale) in itertools.product((*ADDRESSES, *_INSIDE_BLOCKS[5:9]), sizes):
            members = _members(address, dim, count, scale, dtype=type_, kind=kind)
            yield line(type_, kind, address, dim, count, _hex(scale), bits(members))


def kinds_weighted_sum() -> Iterator[str]:
    """Lines of kinds_weighted_sum.txt: at each address every count, with another size for it than at the one before."""
    sizes, counts = (1, 7, 17, 97, 4099), (0, 1, 63, 64, 65, 129, 200)
    for kind in KINDS[1:]:
        for i, address in enumerate((*ADDRESSES, *_INSIDE_BLOCKS[1::4])):
            for j, count in enumerate(counts):
                dim = sizes[(i + j) % len(sizes)]
                yield line(kind, address, dim, count, bits(_sum(address, dim, count, kind=kind)))


def perturb_sigma() -> Iterator[str]:
    """Lines of perturb_sigma.txt."""
    sizes = tuple(zip(((1, 1), (7, 2), (17, 6), (97, 2), (4099, 3)), _SCALES, strict=True))
    for type_, kind in itertools.product(_TYPES, KINDS):
        for address, ((dim, count), scale) in itertools.product((*ADDRESSES[1::2], _INSIDE_BLOCKS[6]), sizes):
            sigma = np.abs(ramp(dim)[::-1])
            members = _members(address, dim, count, scale, dtype=type_, kind=kind, sigma=sigma)
            yield line(type_, kind, address, dim, count, _hex(scale), bits(members))


def weighted_sums() -> Iterator[str]:
    """Lines of weighted_sums.txt: at each address every count, with another size for it than at the one before."""
    sizes, counts = (1, 7, 17, 97, 4099), (0, 1, 63, 64, 65, 129, 200)
    for kind in KINDS:
        for i, (seed, generation, stream, row, offset) in enumerate((*ADDRESSES[1::2], _INSIDE_BLOCKS[5])):
            where = {"seed": seed, "generation": generation, "stream": stream, "offset": offset, "kind": kind}
            for j, count in enumerate(counts):
                dim = sizes[(i + j) % len(sizes)]
                sums = reference.weighted_sums(ramp(count), ramp(count)[::-1], rows_from(row, count), dim, **where)
                yield line(kind, (seed, generation, stream, row, offset), dim, count, bits(*sums))


_TYPES = ("float32", "float16", "bfloat16")


def _hex(scale: np.float32) -> str:
    return f"{scale.view(np.uint32):08x}"


def _normal(address: tuple[int, ...], dim: int, **kind: str) -> Float32Array:
    seed, generation, stream, row, offset = address
    return reference.normal(dim, seed=seed, generation=generation, stream=stream, row=row, offset=offset, **kind)


def _members(address: tuple[int, ...], dim: int, count: int, scale: np.float32, **options: Any) -> AnyArray:
    seed, generation, stream, row, offset = address
    rows = [(row + i // 2) % 2**32 for i in range(count)]
    scales = [-scale if i % 2 else scale for i in range(count)]
    where = {"seed": seed, "generation": generation, "stream": stream, "offset": offset}
    return reference.perturb(ramp(dim), rows, scales, **where, **options)


def _sum(address: tuple[int, ...], dim: int, count: int, **kind: str) -> Float32Array:
    seed, generation, stream, row, offset = address
    where = {"seed": seed, "generation": generation, "stream": stream, "offset": offset}
    return reference.weighted_sum(ramp(count), rows_from(row, count), dim, **where, **kind)
