"""From the outputs of policies to actions of the environment, for all episodes at once.

`auto` takes the largest output's index for Discrete and for each part of MultiDiscrete, what is above 0 for
MultiBinary, and for Box the outputs clipped to its bounds. `sample` draws from the softmax of the outputs, or from
their logistic function for MultiBinary. `tanh` squashes outputs to the bounds of a Box. `binned` has several outputs
for each element of a Box and takes the largest one's: values from low to high at equal distances (as in the ES of
Salimans et al. 2017 for Swimmer and Hopper, arXiv 1703.03864, section 3.1).

Shapes: n episodes, A outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from fastes.errors import ProblemError
from fastes.import_path import imported
from fastes.problems.spaces import Actions, Box, Discrete, MultiBinary, MultiDiscrete, Outputs, Several
from fastes.types import AnyArray, Float32Array, Float64Array

Action = Literal["auto", "argmax", "sample", "clip", "tanh", "binned"]
"""How outputs become actions."""

ActionFunction = Callable[[Float32Array], Any]
"""A user's: from the outputs of one episode, float32 [A], to its action."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """outputs: A, how many the policy must give, 0 for any; decode: from outputs, float32 [n, A], and numbers drawn
    within (0, 1), float64 [n, words], to actions [n, ...]; plain: the space, where its actions are the outputs' argmax
    or the outputs clipped.
    """

    outputs: int
    decode: Callable[[Float32Array, Float64Array], AnyArray]
    words: int = 0
    plain: Discrete | Box | None = None


def decoder(actions: Actions, how: str | ActionFunction = "auto", bins: int = 5, size: int = 0) -> Decoder:
    """The decoder for a space of actions. how: an `Action`, a function, or "module:callable"; bins: values of each
    element of a Box, for "binned"; size: outputs that a function takes, 0 for as many as `auto`. Actions of
    several agents are each decoded so, one's outputs after the other's.

    Raises ProblemError if the space cannot be decoded so.
    """
    if isinstance(actions, Several):
        return _of_several([decoder(one, how, bins, size) for one in actions.of])
    if callable(how) or ":" in how:
        function = imported(how, ProblemError) if isinstance(how, str) else how
        return _called(function, size or _MAKERS[type(actions)]["auto"](actions, bins).outputs)
    if size and isinstance(actions, Outputs) and actions.size in (0, size):
        actions = Outputs(size)
    elif size:
        raise ProblemError(
            "problem.action_size is for an action = 'module:callable', and for environments that do not tell how many "
            "outputs they need: leave it out."
        )
    if how not in get_args(Action):
        known = ", ".join(get_args(Action))
        raise ProblemError(f"problem.action must be one of {known}, or 'module:callable', not {how!r}.")
    makers = _MAKERS[type(actions)]
    if how not in makers:
        raise ProblemError(
            f"problem.action = {how!r} does not fit {type(actions).__name__} actions; these do: {', '.join(makers)}."
        )
    return makers[how](actions, bins)


def _largest(space: Discrete, bins: int) -> Decoder:
    return Decoder(space.n, lambda outputs, _: outputs.argmax(axis=1) + space.start, plain=space)


def _sampled(space: Discrete, bins: int) -> Decoder:
    return Decoder(space.n, lambda outputs, drawn: _drawn(outputs, drawn[:, 0]) + space.start, words=1)


def _parts(space: MultiDiscrete) -> list[slice]:
    counts = space.counts.ravel()
    return [slice(int(end - n), int(end)) for end, n in zip(np.cumsum(counts), counts, strict=True)]


def _largest_parts(space: MultiDiscrete, bins: int) -> Decoder:
    parts, shape = _parts(space), space.counts.shape

    def decode(outputs: Float32Array, drawn: Float64Array) -> AnyArray:
        chosen = np.stack([outputs[:, part].argmax(axis=1) for part in parts], axis=1)
        return chosen.reshape(-1, *shape) + space.start

    return Decoder(parts[-1].stop, decode)


def _sampled_parts(space: MultiDiscrete, bins: int) -> Decoder:
    parts, shape = _parts(space), space.counts.shape

    def decode(outputs: Float32Array, drawn: Float64Array) -> AnyArray:
        chosen = np.stack([_drawn(outputs[:, part], drawn[:, i]) for i, part in enumerate(parts)], axis=1)
        return chosen.reshape(-1, *shape) + space.start

    return Decoder(parts[-1].stop, decode, words=len(parts))


def _bits(space: MultiBinary, bins: int) -> Decoder:
    return Decoder(math.prod(space.shape), lambda outputs, _: (outputs > 0).astype(np.int8).reshape(-1, *space.shape))


def _sampled_bits(space: MultiBinary, bins: int) -> Decoder:
    size = math.prod(space.shape)

    def decode(outputs: Float32Array, drawn: Float64Array) -> AnyArray:
        threshold = np.log(drawn) - np.log1p(-drawn)  # u < logistic(x) where x > logit(u)
        return (outputs > threshold).astype(np.int8).reshape(-1, *space.shape)

    return Decoder(size, decode, words=size)


def _clipped(box: Box, bins: int) -> Decoder:
    low, high = box.low, box.high

    def decode(outputs: Float32Array, drawn: Float64Array) -> AnyArray:
        clipped: AnyArray = np.clip(outputs.reshape(-1, *box.shape), low, high)
        if low.dtype.kind in "iu":
            clipped = np.rint(clipped)
        return clipped.astype(low.dtype, copy=False)

    return Decoder(box.size, decode, plain=box)


def _squashed(box: Box, bins: int) -> Decoder:
    _check_bounds(box, "tanh")

    def decode(outputs: Float32Array, drawn: Float64Array) -> AnyArray:
        share = 0.5 * (np.tanh(outputs.astype(np.float64)) + 1.0)
        return _between(box, share.reshape(-1, *box.shape))

    return Decoder(box.size, decode)


def _binned(box: Box, bins: int) -> Decoder:
    _check_bounds(box, "binned")
    if bins < 2:
        raise ProblemError(f"problem.bins must be at least 2, not {bins}.")

    def decode(outputs: Float32Array, drawn: Float64Array) -> AnyArray:
        chosen = outputs.reshape(-1, box.size, bins).argmax(axis=2).reshape(-1, *box.shape)
        return _between(box, chosen / (bins - 1))

    return Decoder(box.size * bins, decode)


def _between(box: Box, share: Float64Array) -> AnyArray:
    """Actions from low, where share is 0, to high, where it is 1: [n, *shape]. Rounding leaves none outside."""
    values = (1.0 - share) * box.low + share * box.high
    if box.low.dtype.kind in "iu":
        values = np.rint(values)
    within: AnyArray = np.clip(values.astype(box.low.dtype), box.low, box.high)
    return within


def _raw(space: Outputs, bins: int) -> Decoder:
    return Decoder(space.size, lambda outputs, _: outputs)


def _of_several(decoders: list[Decoder]) -> Decoder:
    """Actions: object [n, agents]."""
    outputs = np.cumsum([0, *(one.outputs for one in decoders)])
    words = np.cumsum([0, *(one.words for one in decoders)])

    def decode(given: Float32Array, drawn: Float64Array) -> AnyArray:
        chosen = np.empty((len(given), len(decoders)), object)
        for agent, one in enumerate(decoders):
            own = given[:, outputs[agent] : outputs[agent + 1]], drawn[:, words[agent] : words[agent + 1]]
            actions = one.decode(*own)
            for slot, action in enumerate(actions.tolist() if actions.ndim == 1 else actions):
                chosen[slot, agent] = action
        return chosen

    return Decoder(int(outputs[-1]), decode, int(words[-1]))


def _called(function: ActionFunction, size: int) -> Decoder:
    return Decoder(size, lambda outputs, _: np.stack([np.asarray(function(row)) for row in outputs]))


def _drawn(outputs: Float32Array, uniform: Float64Array) -> AnyArray:
    """An index from the softmax of outputs, [n, A], by a number each."""
    shares = np.exp((outputs - outputs.max(axis=1, keepdims=True)).astype(np.float64)).cumsum(axis=1)
    index: AnyArray = (shares < uniform[:, np.newaxis] * shares[:, -1:]).sum(axis=1)
    return index


def _check_bounds(box: Box, how: str) -> None:
    """Raises ProblemError if some are infinite."""
    if not np.isfinite(box.low).all() or not np.isfinite(box.high).all():
        raise ProblemError(
            f"problem.action = {how!r} needs actions with bounds; these reach from {box.low} to {box.high}."
        )


_MAKERS: dict[type, dict[str, Callable[[Any, int], Decoder]]] = {
    Discrete: {"auto": _largest, "argmax": _largest, "sample": _sampled},
    MultiDiscrete: {"auto": _largest_parts, "argmax": _largest_parts, "sample": _sampled_parts},
    MultiBinary: {"auto": _bits, "sample": _sampled_bits},
    Box: {"auto": _clipped, "clip": _clipped, "tanh": _squashed, "binned": _binned},
    Outputs: {"auto": _raw},
}
