"""A population's perturbed parameters in memory, beside writing as many bytes and beside torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastes import kernels
from on_gpu import arrays
from on_gpu.measuring import Case, Contender, Ratio

MEMBERS, DIM = 256, 2**22
_FILL, _TORCH = "fill_", "torch.randn"


def check_members(theta: np.ndarray, members: int, kind: str, *, mirrored: bool) -> Callable[[Any], str]:
    """Whether the first two and the last member have the bits of the CPU at both ends."""
    rows, scales = arrays.numbers(members, mirrored=mirrored), arrays.scales(members, mirrored=mirrored)

    def check(answer: Any) -> str:
        found = [arrays.unwritten(answer)]
        for k in dict.fromkeys((0, 1, members - 1)):
            for window in arrays.windows(theta.size):
                center = torch.from_numpy(theta[window].copy())
                out = torch.empty(1, center.numel(), dtype=answer.dtype)
                arguments = rows[k : k + 1], torch.from_numpy(scales[k : k + 1].copy())
                kernels.perturb(center, *arguments, seed=arrays.SEED, offset=window.start, kind=kind, out=out)
                where = f"member {k} from element {window.start}:"
                found.append(arrays.difference(answer[k, window], out, where))
        return "; ".join(filter(None, found))

    return check


def ours(members: int, dim: int, kind: str, dtype: torch.dtype, *, mirrored: bool, out: Any) -> Contender:
    """Our perturb into memory that is there."""
    center = arrays.theta(dim)
    theta, rows = arrays.on_gpu(center), arrays.on_gpu(arrays.numbers(members, mirrored=mirrored))
    scales = arrays.on_gpu(arrays.scales(members, mirrored=mirrored))

    def work() -> Any:
        return kernels.perturb(theta, rows, scales, seed=arrays.SEED, kind=kind, out=out)

    check = check_members(center, members, kind, mirrored=mirrored)
    return Contender("perturb", work, check, float(out.nbytes), "bytes", ours=True)


def torch_members(members: int, dim: int, dtype: torch.dtype, *, mirrored: bool, out: Any) -> Contender:
    """theta + sigma * torch.randn, made in float32, once for the two of a pair."""
    theta, sigma = arrays.on_gpu(arrays.theta(dim)), 0.1
    noise = torch.empty(members // 2 if mirrored else members, dim, device=arrays.DEVICE)
    halves = [(out[0::2], sigma), (out[1::2], -sigma)] if mirrored else [(out, sigma)]

    def work() -> Any:
        torch.randn(noise.shape, out=noise)
        for half, scale in halves:
            if dtype == torch.float32:
                torch.add(theta, noise, alpha=scale, out=half)
            else:
                half.copy_(torch.add(theta, noise, alpha=scale))
        return out

    def check(answer: Any) -> str:
        spread = float((answer[:8].float() - theta).std())
        return "" if abs(spread / sigma - 1) < 0.02 else f"standard deviation {spread:.4g}, not {sigma}"

    return Contender(_TORCH, work, check, float(out.nbytes), "bytes")


def population(
    kind: str, dtype: torch.dtype, *, mirrored: bool, floor: str = "", members: int = MEMBERS, dim: int = DIM
) -> Case:
    """Ours, torch's, and filling the very same memory, which is the ceiling."""

    def make() -> Sequence[Contender]:
        out = arrays.poisoned(members, dim, dtype=dtype)

        def filled(answer: Any) -> str:
            return "" if float(answer[-1, -1]) == 1.5 else "the last element is not 1.5"

        made = [
            ours(members, dim, kind, dtype, mirrored=mirrored, out=out),
            Contender(_FILL, lambda: out.fill_(1.5), filled, float(out.nbytes), "bytes"),
        ]
        if kind == "normal":
            made.append(torch_members(members, dim, dtype, mirrored=mirrored, out=out))
        return made

    ratios = [Ratio("perturb", _FILL, floor)]
    if kind == "normal":
        ratios.append(Ratio("perturb", _TORCH))
    pairs = "mirrored" if mirrored else "unmirrored"
    return Case(f"perturb {kind} {str(dtype)[6:]} {pairs} {members} x {dim:,}", make, ratios)


def cases(*, quick: bool) -> Iterator[Case]:
    """The one with a floor first."""
    yield population("normal", torch.float32, mirrored=True, floor="perturb over fill")
    if quick:
        return
    yield population("normal", torch.float32, mirrored=False)
    yield population("normal", torch.bfloat16, mirrored=True)
    yield population("normal", torch.bfloat16, mirrored=False)
    for kind in ("normal8", "rademacher"):
        yield population(kind, torch.float32, mirrored=True)
