"""Which path evaluates a module: the first that gives what one row after another gives."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from fastes import kernels
from fastes.errors import PolicyError
from fastes.noise import LOW_RANK, Generation, Perturbation, Stream
from fastes.policies.flat import Policy
from fastes.policies.population.baddbmm import Baddbmm
from fastes.policies.population.base import BatchingError, Forward, Task, Traits, one_thread
from fastes.policies.population.low_rank import LowRank
from fastes.policies.population.native import Native
from fastes.policies.population.one_by_one import OneByOne, OneByOneTogether
from fastes.policies.population.traits import seen_traits
from fastes.policies.population.vmap import Vmap, VmapTogether
from fastes.types import AnyArray, Float32Array

PATHS: dict[str, tuple[Callable[[Task], Forward], ...]] = {
    "native": (Native,),
    "baddbmm": (Baddbmm,),
    "vmap": (VmapTogether, Vmap),
    "one_by_one": (OneByOneTogether, OneByOne),
    "low_rank": (LowRank,),
}
"""By name, in the order in which they are tried; of the forms of one path, the first that fits. "low_rank"
evaluates members of low-rank noise, and no others: for large policies it comes first, for small ones not at all."""

LARGE = 2**20
"""Parameters from which members of low-rank noise are not made."""

_STEPS = 3
_FINISHED = np.array([[True, False], [False, True]])
_warned: set[type[nn.Module]] = set()


def batched(
    policy: Policy,
    members: int,
    batch: int,
    observation_shape: tuple[int, ...],
    path: str = "auto",
    examples: AnyArray | None = None,
) -> Forward:
    """One forward for members x batch episodes of a policy.

    path: one of `PATHS`, or "auto" for the first that can: it is tried on two members and two episodes, with drawn
    parameters and observations, and has to agree with the module called on one observation at a time (`tolerance`).
    The choice depends on the module alone, but where arithmetic differs between machines so may a verdict at the edge
    of the tolerance: who has to be sure takes the `path` that one process found and names it to the others.

    It evaluates where `policy.device` says, and is compared with the module on the CPU. examples: int64
    [n, *observation_shape], to try it on instead of drawn numbers, where observations are ids.

    Warns once for each type of module that goes member after member. Raises PolicyError if path is unknown or cannot
    evaluate the module, if forward gives no tensor with the batch in front, or if the module keeps a state of its own.
    """
    if path != "auto" and path not in PATHS:
        raise PolicyError(f"the path of a batched policy must be 'auto' or one of {', '.join(PATHS)}, not {path!r}.")
    if members < 1 or batch < 1:
        raise ValueError(f"members and batch must be at least 1, not {members} and {batch}.")
    task = Task(policy, members, batch, tuple(observation_shape), examples=examples)
    kind = type(policy.module)
    order = _order(policy) if path == "auto" else [path]
    try:
        example = next(_observations(task))[0, 0]
        unit = drawn_unit(policy)
        task = replace(task, traits=seen_traits(policy, unit, example))
        known = _Known(task, order[0], unit)
    except PolicyError:
        raise
    except Exception as error:
        # It may be drawn observations that it cannot take: then as it is defined, and nothing is assumed of it.
        why = f"called on {'drawn numbers' if examples is None else 'samples'} it raised {_told(error)}"
        if path not in ("auto", OneByOne.path):
            raise PolicyError(f"the policy {kind.__name__} cannot be evaluated by {path}: {why}.") from error
        if policy.device.type != "cpu":
            raise PolicyError(f"the policy {kind.__name__} cannot be evaluated on {policy.device}: {why}.") from error
        written = tuple(name for name, _ in policy.module.named_buffers())
        stateful = hasattr(policy.module, "initial_state")
        return _taken(OneByOne, replace(task, traits=Traits(stateful, written, random=True)), [why], path)
    there = replace(task, policy=policy.placed(), device=policy.device)
    refused: list[str] = []
    for name in order:
        if LowRank.path in (name, known.path) and name != known.path:
            known = _Known(task, name, unit)
        why = "it is for the CPU" if policy.portable and name == Native.path else ""
        for form in () if why else PATHS[name]:
            if form is OneByOne and policy.device.type == "cpu":
                return _taken(form, there, refused, path)
            why = _objection(form, there, known)
            if not why:
                return _taken(form, there, refused, path)
        refused.append(f"{name}: {why}")
    price = ", which makes each member's parameters" if path == LowRank.path else ""
    raise PolicyError(f"the policy {kind.__name__} cannot be evaluated by {'; '.join(refused)}. Use 'auto'{price}.")


def _order(policy: Policy) -> list[str]:
    """Paths to try."""
    dense = [name for name in PATHS if name != LowRank.path]
    return [LowRank.path, *dense] if _is_better_not_made(policy) else dense


def _is_better_not_made(policy: Policy) -> bool:
    return policy.low_rank and policy.dim >= LARGE


class _Known:
    """What a form has to give: two members' outputs, one observation at a time. path: for whose noise."""

    def __init__(self, task: Task, path: str, unit: Generation) -> None:
        self.path, self.unit = path, unit
        self.outputs: list[Float32Array] = []
        if path != LowRank.path:
            self.outputs = _trial(OneByOne, task, unit)
        else:
            noise = Perturbation.named(LOW_RANK, 1, task.policy.tensors)
            # Small beside weights as they are drawn, or a deep module would make much of a rounding.
            widest = max((n for _, _, n in noise.matrices), default=1)
            self.unit = replace(unit, noise=noise, scales=unit.scales / np.float32(math.sqrt(widest)))
            if not task.traits.stateful:  # else there is no such forward
                self.outputs = _member_by_member(task, self.unit)


def tolerance(policy: Policy) -> float:
    """How far two paths may differ: |a - b| <= tolerance (1 + |b|).

    16 u sqrt(n) L for the widest sum of n products and L matrices; u is the spacing of numbers at 1 in float32, or in
    the coarsest dtype of a parameter. Paths sum in different orders. Seen: below 1 per cent of it for MLPs and cells of
    width 64, 8 per cent for 16 layers of 256 whose weights are so large that each layer amplifies.
    """
    entries = policy.layout.entries
    spacing = max(torch.finfo(getattr(torch, entry.dtype)).eps for entry in entries)
    widths = [entry.size // entry.shape[0] for entry in entries if len(entry.shape) > 1 and entry.size] or [1]
    return 16.0 * max(spacing, torch.finfo(torch.float32).eps) * math.sqrt(max(widths)) * len(widths)


def _taken(form: Callable[[Task], Forward], task: Task, refused: list[str], path: str) -> Forward:
    forward = form(task)
    forward.reason = "; ".join(refused)
    kind = type(task.policy.module)
    if forward.path == "one_by_one" and path == "auto" and kind not in _warned:
        _warned.add(kind)
        warnings.warn(
            f"the policy {kind.__name__} is evaluated one member after another, which is slow, because it could not be "
            f"batched: {forward.reason}.",
            RuntimeWarning,
            stacklevel=3,
        )
    elif path == "auto" and _is_better_not_made(task.policy) and forward.path != LowRank.path:
        warnings.warn(
            f"members of the policy {kind.__name__} are made, {task.policy.dim:,} parameters each, though their noise "
            f"is of low rank: {forward.reason}.",
            RuntimeWarning,
            stacklevel=3,
        )
    return forward


def _objection(form: Callable[[Task], Forward], task: Task, known: _Known) -> str:
    """Why a form cannot be taken; empty if it can."""
    try:
        found = _trial(form, task, known.unit)
    except BatchingError as error:
        return str(error)
    except Exception as error:
        return f"{type(task.policy.module).__name__} raised {_told(error)}"
    allowed = tolerance(task.policy)
    for one, other in zip(found, known.outputs, strict=True):
        if one.shape != other.shape:
            return f"it gave outputs of shape {list(one.shape[2:])}, not {list(other.shape[2:])}"
        if not np.allclose(one, other, rtol=allowed, atol=allowed, equal_nan=True):
            with np.errstate(invalid="ignore"):
                far = np.nanmax(np.abs(one - other))
            return f"its outputs differ by {far:.1e} from those of one observation at a time"
    return ""


def _trial(form: Callable[[Task], Forward], task: Task, unit: Generation) -> list[Float32Array]:
    """Outputs of a few steps of a unit on drawn observations; some episodes end between them."""
    forward = form(replace(task, members=2, batch=2))
    forward.load_unit_(unit, np.arange(2, dtype=np.uint32))
    outputs = []
    for observations in _observations(task):
        outputs.append(forward(observations))
        forward.reset_(_FINISHED)
    return outputs


def _member_by_member(task: Task, unit: Generation) -> list[Float32Array]:
    """The same of a module without a state, of which never more than one member is made."""
    policy = task.policy
    steps = list(_observations(task))
    outputs: list[list[torch.Tensor]] = [[] for _ in steps]
    try:
        with one_thread(), torch.inference_mode():
            for member in range(len(unit)):
                policy.load_member_(unit, member)
                for observations, found in zip(steps, outputs, strict=True):
                    found += [
                        policy.module(torch.from_numpy(row[np.newaxis].copy()))[0] for row in observations[member]
                    ]
    finally:
        policy.load_(unit.theta)
    return [torch.stack(found).float().numpy().reshape(2, 2, *found[0].shape) for found in outputs]


def drawn_unit(policy: Policy) -> Generation:
    """Two members around the parameters that the policy has."""
    rows, noise = np.arange(2, dtype=np.uint32), Perturbation(stream=Stream.OBSERVATION_SAMPLING)
    return Generation(0, 0, policy.theta(), rows, np.full(2, 0.1, np.float32), noise)


def _observations(task: Task) -> Iterator[AnyArray]:
    """Of two members and two episodes, for each step."""
    if task.examples is None:
        yield from drawn_observations(task.observation_shape)
        return
    for step in range(_STEPS):
        places = np.arange(4 * step, 4 * step + 4) % len(task.examples)
        yield task.examples[places].reshape(2, 2, *task.observation_shape)


def drawn_observations(shape: tuple[int, ...]) -> Iterator[Float32Array]:
    """Normal, for each step: float32 [2, 2, *shape]."""
    size = max(4 * math.prod(shape), 1)
    for step in range(_STEPS):
        row: Float32Array = kernels.normal(size, seed=0, generation=1, row=step, stream=5)
        yield row[: 4 * math.prod(shape)].reshape(2, 2, *shape)


def _told(error: Exception) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:300].rstrip('.')}"
