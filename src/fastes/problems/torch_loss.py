"""Supervised learning, or any loss that torch computes: fitness is minus the loss on a batch drawn for the generation.

Shapes: U members of a unit, E batches of each (its episodes), B samples of a batch, n samples of the data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import nn

from fastes.errors import FastesError, ProblemError
from fastes.import_path import imported
from fastes.noise import Generation
from fastes.policies import Interface, Policy
from fastes.policies.population import PATHS, Forward, batched
from fastes.policies.population.tree import mapped
from fastes.problems.base import Outcome, Play, Problem, Session
from fastes.problems.losses import LOSSES, OF_CLASSES
from fastes.problems.pulse import IDLE, NOBODY, Pulse
from fastes.problems.torch_data import Batches, Data, opened, portable
from fastes.types import AnyArray, Float64Array, UInt32Array

BatchLoss = Callable[[torch.Tensor, torch.Tensor], Any]
"""outputs float32 [B, *outputs] and targets [B, *targets] of one member to a number, lower is better."""

Objective: TypeAlias = Callable[[nn.Module, Any], Any]
"""A member as a module, and a batch, to a number, lower is better."""

InputDtype: TypeAlias = Literal["float32", "int64"]

_TRIED = 12  # samples that a forward is tried on
_CHUNK_ELEMENTS = 2**24  # of inputs in one forward, 64 MiB


@dataclass(frozen=True, slots=True)
class Minus:
    """A metric, higher is better, as a loss."""

    metric: BatchLoss | str

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> Any:
        """Minus the metric."""
        metric = imported(self.metric, ProblemError) if isinstance(self.metric, str) else self.metric
        return -metric(outputs, targets)


@dataclass(frozen=True, slots=True, eq=False)
class TorchLoss(Problem):
    """Fitness is minus a loss on a batch of the data; all members of a generation face the same batch.

    data: (inputs, targets) as tensors or arrays, samples in front; or a map-style torch Dataset of such pairs; or
    "module:callable" giving one. Policies see inputs as float32, one sample as one observation.
    loss: one of `LOSSES`, or a callable, or "module:callable", from outputs and targets of a whole batch to a number,
    lower is better. objective: instead of a loss, a callable, or "module:callable", from the module and a batch, as the
    data has it, to a number, lower is better: for whoever wants to call the module himself. Without data it is given a
    torch.Generator instead of a batch, seeded for the generation.
    batch_size: B, samples drawn without replacement (`torch_data`), 0 for all of them.

    test_data, metric: what the centre is evaluated on, all of it, and by: one of `LOSSES`, whose negative is told, or a
    callable as for loss, but higher is better. By default batches of the data, and minus the loss.

    outputs: numbers that the policy must give, 0 for as many as the targets ask for; common_seeds: all members of a
    generation face the same batch (common random numbers), else each its own; chunk_size: samples of a batch that a
    unit's members are called on at once, 0 for as many as make 64 MiB of inputs; forward: how a unit's policies are
    evaluated, one of `policies.population.PATHS`, or "auto"; input_dtype: of what policies see, "int64" for the ids of
    an nn.Embedding.

    Memory of a process: the parameters of a unit, U x D float32; the data; a batch; and U x chunk_size times what the
    module holds of one sample. An objective is called member after member and needs the parameters of one.
    """

    data: Data | None = None
    loss: str | BatchLoss = "cross_entropy"
    batch_size: int = 128
    objective: str | Objective | None = None
    test_data: Data | None = None
    metric: str | BatchLoss | None = None
    outputs: int = 0
    common_seeds: bool = True
    chunk_size: int = 0
    forward: str = "auto"
    input_dtype: InputDtype = "float32"

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        for name in ("data", "test_data"):
            object.__setattr__(self, name, portable(getattr(self, name)))
        if self.data is None and self.objective is None:
            raise ProblemError(
                "problem.data is missing: give (inputs, targets), a torch Dataset or 'module:callable' giving one."
            )
        for name in ("batch_size", "outputs", "chunk_size"):
            if getattr(self, name) < 0:
                raise ProblemError(f"problem.{name} must not be negative, not {getattr(self, name)}.")
        for name in ("loss", "metric"):
            value = getattr(self, name)
            if isinstance(value, str) and value not in LOSSES and ":" not in value:
                known = ", ".join(LOSSES)
                raise ProblemError(f"problem.{name} must be one of {known}, or 'module:callable', not {value!r}.")
        if self.input_dtype not in get_args(InputDtype):
            raise ProblemError(f"problem.input_dtype must be 'float32' or 'int64', not {self.input_dtype!r}.")
        if self.objective is not None and self.forward != "auto":
            raise ProblemError(
                f"problem.forward = {self.forward!r} is for a loss: an objective calls the module itself, one member "
                "after another. Leave it at 'auto'."
            )
        if self.forward != "auto" and self.forward not in PATHS:
            raise ProblemError(f"problem.forward must be 'auto' or one of {', '.join(PATHS)}, not {self.forward!r}.")

    @property
    def common_random_numbers(self) -> bool:
        """See `Problem`."""
        return self.common_seeds

    def interface(self) -> Interface:
        """See `Problem.interface`."""
        if self.data is None:
            return Interface((0,), self.outputs)
        batches = Batches(opened(self.data), self.batch_size)
        sample = batches.first()
        if self.objective is not None and not _is_pair(sample):
            return Interface(tuple(sample.shape[1:]) if isinstance(sample, torch.Tensor) else (0,), self.outputs)
        inputs, targets = _pair(sample)
        counts = not targets.is_floating_point() and (callable(self.loss) or self.loss in OF_CLASSES)
        outputs = self.outputs or (batches.source.classes if counts else targets[0].numel())
        if outputs == 0 and self.objective is None:
            raise ProblemError(
                "problem.outputs is missing: targets are numbers of classes, and the data does not tell how many "
                "classes there are."
            )
        return Interface(tuple(inputs.shape[1:]), outputs)

    def open(self) -> Session:
        """See `Problem.open`."""
        batches = None if self.data is None else Batches(opened(self.data), self.batch_size)
        if self.objective is not None:
            objective = self.objective
            called = imported(objective, ProblemError) if isinstance(objective, str) else objective
            return ObjectiveSession(called, batches)
        assert batches is not None
        return LossSession(self, batches)

    def for_evaluation(self) -> Problem:
        """See `Problem.for_evaluation`: all of `test_data`, by `metric`, as far as they are given."""
        changes: dict[str, Any] = {}
        if self.test_data is not None:
            changes |= {"data": self.test_data, "batch_size": 0}
        if self.metric is not None:
            named = isinstance(self.metric, str) and self.metric in LOSSES
            changes |= {"loss": self.metric if named else Minus(self.metric), "objective": None}
        return replace(self, **changes) if changes else self


class LossSession(Session):
    """A loss of outputs: one forward for all members of a unit. Each sample is the first observation of an episode."""

    def __init__(self, problem: TorchLoss, batches: Batches) -> None:
        """Raises ProblemError if the loss cannot be imported."""
        self._problem, self._batches = problem, batches
        loss = problem.loss
        self._named = LOSSES.get(loss) if isinstance(loss, str) else None
        self._called: Any = imported(loss, ProblemError) if isinstance(loss, str) and self._named is None else loss
        self._forwards: dict[tuple[int, int], Forward] = {}
        self._policy: Policy | None = None

    def prepare(self, policy: Policy) -> list[str]:
        """See `Session.prepare`: chooses the path of the policy's forward."""
        if self._problem.forward == "auto":
            inputs, _ = _pair(self._batches.first())
            policy.path = batched(policy, 2, 1, tuple(inputs.shape[1:]), examples=self._examples()).path
        return []

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """See `Session.evaluate`."""
        seeds, members = _seeds(play.seeds, self._batches), len(unit)
        returns = np.full(seeds.shape, math.nan)
        try:
            with torch.no_grad():
                for episode in range(seeds.shape[1]):
                    play.pulse(NOBODY)
                    given = self._batches.of(seeds[:, episode].tolist())
                    play.pulse(IDLE)
                    pairs = [_on(policy.device, _pair(batch)) for batch in given.values()]
                    which = [list(given).index(seed) for seed in seeds[:, episode].tolist()]
                    forward = self._forward(policy, members, tuple(pairs[0][0].shape[1:]))
                    if episode == 0:
                        forward.load_unit_(unit.without(play.left_out), play.draws)
                    returns[:, episode] = -self._losses(forward, pairs, which, unit, play.pulse)
        except FastesError:
            raise
        except Exception as error:
            raise ProblemError(
                f"the policy or the loss raised {type(error).__name__} while members {unit.first} to "
                f"{unit.first + members - 1} of generation {unit.index} were evaluated: {error}. Run with --debug for "
                "the traceback."
            ) from error
        return _outcome(returns, play, seeds.shape[1] * self._batches.count)

    def _forward(self, policy: Policy, members: int, shape: tuple[int, ...]) -> Forward:
        if policy is not self._policy:
            self._policy = policy
            self._forwards.clear()
        count = self._batches.count
        fitting = self._problem.chunk_size or max(1, _CHUNK_ELEMENTS // (members * max(math.prod(shape), 1)))
        rows = -(-count // -(-count // fitting))  # chunks of one size as nearly as can be, because the last is padded
        found = self._forwards.get((members, rows))
        if found is None:
            path = policy.path if self._problem.forward == "auto" else self._problem.forward
            examples = self._examples()
            found = self._forwards[members, rows] = batched(policy, members, rows, shape, path, examples)
        return found

    def _examples(self) -> AnyArray | None:
        """Of inputs that are ids."""
        if self._problem.input_dtype == "float32":
            return None
        samples = np.arange(min(_TRIED, self._batches.source.size))
        examples: AnyArray = _pair(self._batches.source.batch(samples))[0].long().numpy()
        return examples

    def _losses(
        self,
        forward: Forward,
        pairs: list[tuple[torch.Tensor, torch.Tensor]],
        which: list[int],
        unit: Generation,
        pulse: Pulse,
    ) -> Float64Array:
        """Losses of members, float64 [U]: of member i on pairs[which[i]]. All is where the forward is, but these."""
        members, count, rows = len(which), self._batches.count, forward.batch
        parts: list[torch.Tensor] = []
        for start in range(0, count, rows):
            stop = min(start + rows, count)
            samples = torch.arange(start, start + rows, device=forward.device).clamp(max=count - 1)
            forward.reset_()
            dtype = getattr(torch, self._problem.input_dtype)
            outputs = forward.step(_stacked([inputs[samples] for inputs, _ in pairs], which, dtype))
            outputs = outputs[:, : stop - start].to(torch.float32, copy=True)  # it may be a view of a state
            if self._named is not None:
                targets = torch.stack([pairs[pair][1][start:stop] for pair in which])
                outputs = self._named(outputs.flatten(0, 1), targets.flatten(0, 1)).reshape(members, stop - start, -1)
            parts.append(outputs)
        whole = torch.cat(parts, 1)
        if self._named is not None:
            of_each = whole.reshape(members, -1).double()
            if forward.device.type != "cpu":
                of_each = of_each.mean(1, keepdim=True)
            means: Float64Array = of_each.cpu().numpy().mean(axis=1)
            return means
        losses = np.empty(members)
        for i, pair in enumerate(which):
            pulse(i)
            losses[i] = _number("loss", unit, i, self._called, whole[i].clone(), pairs[pair][1].clone())
        pulse(IDLE)
        return losses


class ObjectiveSession(Session):
    """An objective called with module and batch, member after member."""

    def __init__(self, objective: Objective, batches: Batches | None) -> None:
        """batches: None where a generator is given instead."""
        self._objective, self._batches = objective, batches

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """See `Session.evaluate`."""
        seeds = play.seeds if self._batches is None else _seeds(play.seeds, self._batches)
        returns = np.full(seeds.shape, math.nan)
        placed = policy.placed()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            for episode in range(seeds.shape[1]):
                given = {} if self._batches is None else self._batches.of(seeds[:, episode].tolist())
                for i, seed in enumerate(seeds[:, episode].tolist()):
                    if i in play.left_out:
                        continue
                    play.pulse(i)
                    placed.load_member_(unit, i)
                    torch.manual_seed(int(play.draws[i]))
                    batch = (
                        mapped(given[seed], partial(_own, placed.device))
                        if given
                        else torch.Generator().manual_seed(seed)
                    )
                    returns[i, episode] = -_number("objective", unit, i, self._objective, placed.module, batch)
        return _outcome(returns, play, seeds.shape[1] * (1 if self._batches is None else self._batches.count))


def _seeds(seeds: UInt32Array, batches: Batches) -> UInt32Array:
    """All samples are the same batch whatever the seed: then one episode is enough."""
    return np.zeros((len(seeds), 1), np.uint32) if batches.count == batches.source.size else seeds


def _outcome(returns: Float64Array, play: Play, samples: int) -> Outcome:
    left_out = list(play.left_out)
    steps = np.full(len(returns), samples, np.uint32)
    returns[left_out], steps[left_out] = math.nan, 0
    return Outcome(returns, steps, failures=dict(play.left_out))


def _on(device: torch.device, pair: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    return pair[0].to(device), pair[1].to(device)


def _stacked(inputs: list[torch.Tensor], which: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Inputs of each member: [U, rows, ...], in new memory: a product may be summed in another order where that is not
    aligned.
    """
    stacked = torch.empty((len(which), *inputs[0].shape), dtype=dtype, device=inputs[0].device)
    if len(inputs) == 1:
        stacked.copy_(inputs[0])
    else:
        for i, pair in enumerate(which):
            stacked[i] = inputs[pair]
    return stacked


def _number(name: str, unit: Generation, member: int, function: Callable[..., Any], *arguments: Any) -> float:
    """What function gives, which has to be one number. Raises ProblemError naming the member."""
    try:
        value = function(*arguments)
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            raise ProblemError(
                f"problem.{name} gave a tensor of shape {tuple(value.shape)}; it must give one number: take its mean."
            )
        return float(value)
    except FastesError:
        raise
    except Exception as error:
        raise ProblemError(
            f"problem.{name} raised {type(error).__name__} for member {unit.first + member} of generation "
            f"{unit.index}: {error}. It must give one number, lower is better."
        ) from error


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(part, torch.Tensor) for part in batch)


def _pair(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    if not _is_pair(batch):
        found = f"{len(batch)} of them" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise ProblemError(
            f"problem.data must give pairs of an input and a target, both tensors, not {found}. An objective is given "
            "whatever the data has."
        )
    return batch[0], batch[1]


def _own(device: torch.device, leaf: Any) -> Any:
    return leaf.to(device, copy=True) if isinstance(leaf, torch.Tensor) else leaf
