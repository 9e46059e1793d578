"""Golden values of the noise specification: `csrc/testdata/{normal,perturb,weighted_sum}.txt` from the reference.

    python tools/make_golden.py            writes the files
    python tools/make_golden.py --check    exits with 1 if they are not what the reference gives

Run it by hand, and only for a new version of the specification. Philox's known answers are Random123's, not ours.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fastes.kernels import reference
from fastes.types import AnyArray, Float32Array

_FOLDER = Path(__file__).parent.parent / "csrc" / "testdata"

_BITS = """\
# <bits>  each output in hexadecimal, 8 digits (4 for float16 and bfloat16); for more than 97 elements in all, instead
#         one 64-bit FNV-1a over the outputs, each widened to 32 bits: h = (h ^ bits) * 100000001b3 mod 2^64
#         from h = cbf29ce484222325 (both hexadecimal), in 16 digits.
# Other numbers are decimal."""
_RAMP = "# ramp(j) = (floor((2654435761 j mod 2^32) / 2^8) - 2^23) / 2^20, exact in float32 and between -8 and 8."
_NORMAL = f"""\
# Golden values of noise specification {{version}}: normals at an address. Made by tools/make_golden.py.
# seed generation stream row offset dim <bits>
{_BITS}
"""
_PERTURB = f"""\
# Golden values of noise specification {{version}}: perturbed parameters. Made by tools/make_golden.py.
# type seed generation stream row offset dim count scale <bits>
# out[i, j] for i < count, j < dim, i slowest: rows (row + floor(i / 2)) mod 2^32, scales +scale for even i and -scale
# for odd i (scale: float32 bits in hexadecimal), theta[j] = ramp(j).
{_RAMP}
{_BITS}
"""
_WEIGHTED_SUM = f"""\
# Golden values of noise specification {{version}}: weighted sums. Made by tools/make_golden.py.
# seed generation stream row offset dim count <bits>
# Rows (row + k) mod 2^32 with weights ramp(k), k < count.
{_RAMP}
{_BITS}
"""

# seed, generation, stream, row, offset
_ADDRESSES = (
    (0, 0, 0, 0, 0),
    (1, 2, 3, 4, 5),
    (0x0123456789ABCDEF, 0x89ABCDEF, 256, 0x01234567, 0x123456789),
    (2**64 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**34 - 4099),
    (2**64 - 59, 0, 2**32 - 2, 2**32 - 2, 2**34 - 4102),
    (2**32, 2**31, 0, 2**31, 2**32 - 3),
)


def main() -> int:
    """Write the files or compare them; gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = []
    for name, header, lines in (
        ("normal.txt", _NORMAL, _normal()),
        ("perturb.txt", _PERTURB, _perturb()),
        ("weighted_sum.txt", _WEIGHTED_SUM, _weighted_sum()),
    ):
        text = header.format(version=1) + "".join(f"{line}\n" for line in lines)
        path = _FOLDER / name
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    for name in stale:
        print(f"{name} differs from what the reference gives.", file=sys.stderr)
    return 1 if stale else 0


def _normal() -> Iterator[str]:
    addresses = [*_ADDRESSES, (7, 1, 0, 2, 2**34 - 97)]
    for (seed, generation, stream, row, offset), dim in itertools.product(addresses, (1, 7, 17, 97, 4099)):
        if offset + dim > 2**34:
            continue
        values = reference.normal(dim, seed=seed, generation=generation, stream=stream, row=row, offset=offset)
        yield f"{seed} {generation} {stream} {row} {offset} {dim} {bits(values)}"


def _perturb() -> Iterator[str]:
    scales = (np.float32(0.1), np.float32(1e-3), np.float32(3e38), np.float32(1e-40), np.float32(1.0))
    sizes = ((1, 1), (7, 2), (17, 5), (97, 1), (4099, 3))
    cases = itertools.product(("float32", "float16", "bfloat16"), _ADDRESSES, zip(sizes, scales, strict=True))
    for type_, (seed, generation, stream, row, offset), ((dim, count), scale) in cases:
        values = reference.perturb(
            ramp(dim),
            [(row + i // 2) % 2**32 for i in range(count)],
            [-scale if i % 2 else scale for i in range(count)],
            seed=seed,
            generation=generation,
            stream=stream,
            offset=offset,
            dtype=type_,
        )
        address = f"{seed} {generation} {stream} {row} {offset}"
        yield f"{type_} {address} {dim} {count} {scale.view(np.uint32):08x} {bits(values)}"


def _weighted_sum() -> Iterator[str]:
    sizes = ((1, 1), (7, 63), (17, 64), (97, 65), (4099, 200), (3, 0), (33, 129))
    for (seed, generation, stream, row, offset), (dim, count) in itertools.product(_ADDRESSES, sizes):
        values = reference.weighted_sum(
            ramp(count),
            [(row + k) % 2**32 for k in range(count)],
            dim,
            seed=seed,
            generation=generation,
            stream=stream,
            offset=offset,
        )
        yield f"{seed} {generation} {stream} {row} {offset} {dim} {count} {bits(values)}"


def ramp(count: int) -> Float32Array:
    """First `count` values of the ramp that the files' headers define: float32 [count]."""
    return np.array([(((2654435761 * j) % 2**32 >> 8) - 2**23) / 2**20 for j in range(count)], np.float32)


def bits(values: AnyArray) -> str:
    """The <bits> of the files' headers."""
    words = values.reshape(-1).view(f"u{values.itemsize}").tolist()
    if len(words) <= 97:
        return " ".join(f"{word:0{2 * values.itemsize}x}" for word in words)
    digest = 0xCBF29CE484222325
    for word in words:
        digest = (digest ^ word) * 0x100000001B3 % 2**64
    return f"{digest:016x}"


if __name__ == "__main__":
    sys.exit(main())
