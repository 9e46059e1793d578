"""Golden values of low-rank perturbations and of optimizer steps, for every kind of noise."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from golden_format import ADDRESSES, BITS, KINDS, RAMP, bits, header, line, ramp, rows_from

from fastes.kernels import reference

_TENSOR = "kind seed generation stream row offset m n rank count"
_STEP = "kind seed generation stream row offset dim count"
_ROWS = "Rows (row + k) mod 2^32, k < count."
_START = (
    "Rows (row + k) mod 2^32 with weights ramp(k), k < count; theta[j] = ramp(j), {}.",
    "Settings are in binary64, as the shortest decimal that reads back to the same.",
)

HEADERS = {
    "low_rank_factors.txt": header(
        1,
        "low-rank factors",
        f"{_TENSOR} <bits>",
        f"{_ROWS} Outputs [count, rank, m + n]: of each component m elements of A, then n of B.",
    )
    + f"{BITS}\n",
    "low_rank_perturb.txt": header(
        1,
        "tensors perturbed at low rank",
        f"type {_TENSOR} scale <bits>",
        f"{_ROWS} Scales +scale for even k and -scale for odd k (scale: float32 bits in",
        "hexadecimal). Outputs [count, m, n] for theta[i, j] = ramp(i n + j).",
    )
    + f"{RAMP}\n{BITS}\n",
    "low_rank_sum.txt": header(
        1, "weighted sums of low-rank perturbations", f"{_TENSOR} <bits>", f"{_ROWS} Weights ramp(k); outputs [m, n]."
    )
    + f"{RAMP}\n{BITS}\n",
    "sgd_step.txt": header(
        1,
        "steps of gradient descent",
        f"{_STEP} lr momentum nesterov l2 weight_decay <bits>",
        _START[0].format("momentum buffer[j] = ramp(dim - 1 - j)"),
        _START[1],
        "Outputs are theta [dim], then, unless momentum is 0, the buffer [dim].",
    )
    + f"{RAMP}\n{BITS}\n",
    "adam_step.txt": header(
        1,
        "steps of Adam",
        f"{_STEP} lr beta1 beta2 beta1^t beta2^t eps l2 weight_decay <bits>",
        _START[0].format("m[j] = ramp(dim - 1 - j), v[j] = |ramp(j)|"),
        _START[1],
        "Outputs are theta, m and v, [dim] each.",
    )
    + f"{RAMP}\n{BITS}\n",
    "clipup_step.txt": header(
        1,
        "steps of ClipUp",
        f"{_STEP} lr max_speed momentum l2 weight_decay <bits>",
        _START[0].format("velocity[j] = ramp(dim - 1 - j)"),
        _START[1],
        "Outputs are theta and velocity, [dim] each.",
    )
    + f"{RAMP}\n{BITS}\n",
    "snes_step.txt": header(
        1,
        "steps of separable NES",
        f"{_STEP} lr lr_sigma <bits>",
        _START[0].format("sigma[j] = |ramp(dim - 1 - j)|"),
        _START[1],
        "Outputs are theta and sigma, [dim] each.",
    )
    + f"{RAMP}\n{BITS}\n",
}

_SHAPES = ((1, 1), (3, 5), (7, 17), (64, 6), (33, 97))  # m, n; tiles are of 6 rows and up to 64 columns
_TENSOR_ADDRESSES = (
    (1, 2, 4, 4, 5),
    (0x0123456789ABCDEF, 0x89ABCDEF, 4, 2**32 - 2, 2**34 - 390),
    (3, 0, 4, 0, 97),
)


def low_rank_factors() -> Iterator[str]:
    """Lines of low_rank_factors.txt."""
    for kind, address, rank, (m, n) in itertools.product(KINDS, _TENSOR_ADDRESSES, (1, 2, 3), _SHAPES[1::3]):
        pairs = [reference.low_rank_factors((m, n), rank, int(row), **at(address, kind)) for row in rows(address, 2)]
        components = np.stack([np.concatenate(pair).T for pair in pairs])
        yield line(kind, address, m, n, rank, 2, bits(components))


def low_rank_perturb() -> Iterator[str]:
    """Lines of low_rank_perturb.txt."""
    cases = itertools.product(("float32", "float16", "bfloat16"), KINDS, (1, 2, 3), _SHAPES)
    for i, (type_, kind, rank, (m, n)) in enumerate(cases):
        address, count = _TENSOR_ADDRESSES[i % 3], (2, 7)[i % 2]
        scale = np.float32((0.1, 1e-3)[i % 2])
        scales = [-scale if k % 2 else scale for k in range(count)]
        theta = ramp(m * n).reshape(m, n)
        out = reference.low_rank_perturb(theta, rank, rows(address, count), scales, dtype=type_, **at(address, kind))
        yield line(type_, kind, address, m, n, rank, count, f"{scale.view(np.uint32):08x}", bits(out))


def low_rank_sum() -> Iterator[str]:
    """Lines of low_rank_sum.txt; the last shape is larger than a block of 192 by 64."""
    cases = itertools.product(KINDS, (1, 2, 3), zip((*_SHAPES, (195, 67)), (1, 63, 64, 65, 200, 5), strict=True))
    for i, (kind, rank, ((m, n), count)) in enumerate(cases):
        address = _TENSOR_ADDRESSES[i % 3 if m < 195 else 2]
        g = reference.low_rank_sum(ramp(count), rows(address, count), (m, n), rank, **at(address, kind))
        yield line(kind, address, m, n, rank, count, bits(g))
    address = _TENSOR_ADDRESSES[0]
    g = reference.low_rank_sum([], [], (3, 5), 2, **at(address, "normal"))
    yield line("normal", address, 3, 5, 2, 0, bits(g))


def sgd_step() -> Iterator[str]:
    """Lines of sgd_step.txt."""
    # lr, momentum, nesterov, l2, weight_decay
    settings = ((0.01, 0.0, 0, 0.0, 0.0), (0.1, 0.9, 0, 0.001, 0.0), (0.05, 0.8, 1, 0.0, 0.1))
    for kind, address, dim, count, numbers in _steps(settings):
        lr, momentum, nesterov, l2, weight_decay = numbers
        theta, buffer = reference.sgd_step(
            ramp(dim),
            ramp(dim)[::-1] if momentum else None,
            ramp(count),
            rows(address, count),
            lr=lr,
            momentum=momentum,
            nesterov=bool(nesterov),
            l2=l2,
            weight_decay=weight_decay,
            **at(address, kind),
        )
        yield line(kind, address, dim, count, numbers, bits(theta, *([] if buffer is None else [buffer])))


def adam_step() -> Iterator[str]:
    """Lines of adam_step.txt."""
    # lr, beta1, beta2, beta1^t, beta2^t, eps, l2, weight_decay
    settings = (
        (0.01, 0.9, 0.999, 0.9, 0.999, 1e-8, 0.0, 0.0),
        (0.1, 0.9, 0.999, 0.9 * 0.9, 0.999 * 0.999, 1e-8, 0.001, 0.0),
        (0.02, 0.5, 0.9, 0.5 * 0.5, 0.9 * 0.9, 0.001, 0.0, 0.01),
    )
    for kind, address, dim, count, numbers in _steps(settings):
        lr, beta1, beta2, power1, power2, eps, l2, weight_decay = numbers
        arrays = reference.adam_step(
            ramp(dim),
            ramp(dim)[::-1],
            np.abs(ramp(dim)),
            ramp(count),
            rows(address, count),
            lr=lr,
            betas=(beta1, beta2),
            beta_powers=(power1, power2),
            eps=eps,
            l2=l2,
            weight_decay=weight_decay,
            **at(address, kind),
        )
        yield line(kind, address, dim, count, numbers, bits(*arrays))


def clipup_step() -> Iterator[str]:
    """Lines of clipup_step.txt: velocities that are shortened, that are not, and with both decays."""
    # lr, max_speed, momentum, l2, weight_decay
    settings = ((0.1, 0.2, 0.9, 0.0, 0.0), (0.3, 1e6, 0.5, 0.001, 0.0), (0.15, 0.3, 0.9, 0.0, 0.1))
    for kind, address, dim, count, numbers in _steps(settings):
        lr, max_speed, momentum, l2, weight_decay = numbers
        arrays = reference.clipup_step(
            ramp(dim),
            ramp(dim)[::-1],
            ramp(count),
            rows(address, count),
            lr=lr,
            max_speed=max_speed,
            momentum=momentum,
            l2=l2,
            weight_decay=weight_decay,
            **at(address, kind),
        )
        yield line(kind, address, dim, count, numbers, bits(*arrays))


def snes_step() -> Iterator[str]:
    """Lines of snes_step.txt: steps of sigma within the limit, and at it."""
    for kind, address, dim, count, (lr, lr_sigma) in _steps(((1.0, 0.01), (0.1, 0.3), (0.5, 100.0))):
        theta, sigma = ramp(dim), np.abs(ramp(dim)[::-1])
        arrays = reference.snes_step(
            theta, sigma, ramp(count), rows(address, count), lr=lr, lr_sigma=lr_sigma, **at(address, kind)
        )
        yield line(kind, address, dim, count, (lr, lr_sigma), bits(*arrays))


def _steps(settings: tuple[tuple[Any, ...], ...]) -> Iterator[tuple[str, tuple[int, ...], int, int, tuple[Any, ...]]]:
    sizes = ((7, 65), (97, 0), (4099, 64), (1025, 129), (1, 1))  # dim, count
    for kind, (i, (dim, count)), numbers in itertools.product(KINDS, enumerate(sizes), settings):
        yield kind, ADDRESSES[(1, 5, 2, 3, 4)[i]], dim, count, numbers


def at(address: tuple[int, ...], kind: str) -> dict[str, Any]:
    """An address without its row, and a kind, as the reference takes them."""
    seed, generation, stream, _, offset = address
    return {"seed": seed, "generation": generation, "stream": stream, "offset": offset, "kind": kind}


def rows(address: tuple[int, ...], count: int) -> Any:
    """`count` rows from that of the address."""
    return rows_from(address[3], count)
