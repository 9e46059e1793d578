"""What the golden files have in common: the words of their headers, inputs that are made, outputs as text."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from fastes.types import AnyArray, Float32Array, UInt32Array

BITS = """\
# <bits>  each output in hexadecimal, 8 digits (4 for float16 and bfloat16); for more than 97 elements in all, instead
#         one 64-bit FNV-1a over the outputs, each widened to 32 bits: h = (h ^ bits) * 100000001b3 mod 2^64
#         from h = cbf29ce484222325 (both hexadecimal), in 16 digits.
# Other numbers are decimal."""
RAMP = "# ramp(j) = (floor((2654435761 j mod 2^32) / 2^8) - 2^23) / 2^20, exact in float32 and between -8 and 8."

KINDS = ("normal", "rademacher", "normal8")

# seed, generation, stream, row, offset
ADDRESSES = (
    (0, 0, 0, 0, 0),
    (1, 2, 3, 4, 5),
    (0x0123456789ABCDEF, 0x89ABCDEF, 256, 0x01234567, 0x123456789),
    (2**64 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**34 - 4099),
    (2**64 - 59, 0, 2**32 - 2, 2**32 - 2, 2**34 - 4102),
    (2**32, 2**31, 0, 2**31, 2**32 - 3),
)


def header(version: int, subject: str, *columns: str) -> str:
    """The comment at the head of a file: what it holds, its columns and what they mean."""
    lines = [f"Golden values of noise specification {version}: {subject}. Made by tools/make_golden.py.", *columns]
    return "".join(f"# {line}\n" for line in lines)


def ramp(count: int) -> Float32Array:
    """First `count` values of the ramp that the files' headers define: float32 [count]."""
    return np.array([(((2654435761 * j) % 2**32 >> 8) - 2**23) / 2**20 for j in range(count)], np.float32)


def rows_from(row: int, count: int) -> UInt32Array:
    """`count` rows from `row`, modulo 2^32."""
    return np.array([(row + k) % 2**32 for k in range(count)], np.uint32)


def bits(*arrays: AnyArray) -> str:
    """The <bits> of the files' headers, of one array after the other."""
    words = [word for values in arrays for word in values.reshape(-1).view(f"u{values.itemsize}").tolist()]
    if len(words) <= 97:
        return " ".join(f"{word:0{2 * arrays[0].itemsize}x}" for word in words)
    digest = 0xCBF29CE484222325
    for word in words:
        digest = (digest ^ word) * 0x100000001B3 % 2**64
    return f"{digest:016x}"


def line(*columns: object) -> str:
    """Columns with blanks between; tuples are several."""
    return " ".join(text for column in columns for text in _texts(column))


def _texts(column: object) -> Iterable[str]:
    return map(str, column) if isinstance(column, tuple) else [str(column)]
