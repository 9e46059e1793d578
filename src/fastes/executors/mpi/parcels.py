"""What ranks say to each other, as bytes: named arrays in the format of safetensors, all else as JSON among them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from fastes import errors
from fastes.conditions import Conditions, Moments
from fastes.errors import FastesError
from fastes.executors.failure import Failure
from fastes.messages import Transitions, UnitResult
from fastes.noise import Generation, Perturbation
from fastes.types import AnyArray, Float32Array

# The first byte of what rank 0 tells the others.
START, THETA, STEP, GENERATION, END, NEXT = b"S", b"T", b"U", b"G", b"E", b"N"

_JSON = "json"
_BY_MEMBER = ("centers", "trials")  # arrays that not every generation has


def packed_generation(generation: Generation) -> bytes:
    """A generation without its vectors, which go their own way."""
    hollow = generation.without_vectors()
    scalars: dict[str, Any] = {
        "seed": generation.seed,
        "index": generation.index,
        "first": generation.first,
        "drawn": generation.drawn,
        "noise": asdict(generation.noise),
        "conditions": generation.conditions.scalars(),
        "theta": hollow.theta.shape,
        "sigma": hollow.sigma is not None,
    }
    arrays = {"rows": generation.rows, "scales": generation.scales}
    arrays |= {name: array for name in _BY_MEMBER if (array := getattr(generation, name)) is not None}
    return packed(arrays | {f"conditions.{k}": v for k, v in generation.conditions.arrays().items()}, scalars)


def unpacked_generation(parcel: bytes, memory: Float32Array, dim: int) -> Generation:
    """The generation. memory: float32, its vectors one after the other; dim: D."""
    arrays, scalars = unpacked(parcel)
    surroundings = {k.removeprefix("conditions."): v for k, v in arrays.items() if k.startswith("conditions.")}
    noise = scalars["noise"]
    noise |= {name: tuple(tuple(item) for item in noise[name]) for name in ("matrices", "parts")}
    generation = Generation(
        scalars["seed"],
        scalars["index"],
        np.empty(scalars["theta"], np.float32),
        arrays["rows"],
        arrays["scales"],
        Perturbation(**noise),
        scalars["first"],
        Conditions.restore(surroundings, scalars["conditions"]),
        sigma=np.empty(0, np.float32) if scalars["sigma"] else None,
        drawn=scalars["drawn"],
        **{name: arrays.get(name) for name in _BY_MEMBER},
    )
    return generation.with_vectors(memory, dim)


def packed_results(results: Sequence[UnitResult]) -> bytes:
    """What a rank found out in one generation. Fitness and steps of all its units are an array each."""
    arrays: dict[str, AnyArray] = {
        "first": np.array([result.first for result in results], np.int64),
        "members": np.array([len(result.fitness) for result in results], np.int64),
        "fitness": np.concatenate([np.empty(0, np.float32), *(result.fitness for result in results)]),
        "steps": np.concatenate([np.empty(0, np.uint32), *(result.steps for result in results)]),
    }
    for number, result in enumerate(results):
        if result.moments is not None:
            arrays[f"{number}.count"] = np.array([result.moments.count])
            arrays[f"{number}.total"], arrays[f"{number}.squares"] = result.moments.total, result.moments.squares
        if result.behaviours is not None:
            arrays[f"{number}.behaviours"] = result.behaviours
        if result.transitions is not None:
            arrays[f"{number}.transitions"] = result.transitions.rows
        arrays |= {f"{number}.statistics.{name}": values for name, values in result.statistics.items()}
    failures = {number: dict(result.failures) for number, result in enumerate(results) if result.failures}
    names = {number: list(result.statistics) for number, result in enumerate(results) if result.statistics}
    recorded = [result.transitions for result in results if result.transitions is not None]
    sizes = (recorded[0].observation, recorded[0].action) if recorded else (0, 0)  # the same for all
    return packed(arrays, {"failures": failures, "statistics": names, "transition": sizes})


def packed_failure(failure: Failure) -> bytes:
    """The error that ended a rank's generation."""
    error = failure.error
    notes = getattr(error, "__notes__", [])
    return packed({}, {"error": type(error).__name__, "message": str(error), "notes": notes})


def unpacked_results(parcel: bytes, generation: int) -> Iterator[UnitResult]:
    """The results in a rank's parcel. Raises the error if it holds one instead."""
    arrays, scalars = unpacked(parcel)
    if "error" in scalars:
        raise _error(scalars)
    ends = np.cumsum(arrays["members"])
    for number, (first, end) in enumerate(zip(arrays["first"].tolist(), ends.tolist(), strict=True)):
        members = slice(end - int(arrays["members"][number]), end)
        own = f"{number}."
        moments = None
        if own + "count" in arrays:
            moments = Moments(float(arrays[own + "count"][0]), arrays[own + "total"], arrays[own + "squares"])
        rows = arrays.get(own + "transitions")
        yield UnitResult(
            generation,
            first,
            arrays["fitness"][members],
            arrays["steps"][members],
            moments,
            arrays.get(own + "behaviours"),
            {name: arrays[f"{own}statistics.{name}"] for name in scalars["statistics"].get(str(number), [])},
            {int(member): why for member, why in scalars["failures"].get(str(number), {}).items()},
            None if rows is None else Transitions(rows, *scalars["transition"]),
        )


def _error(scalars: dict[str, Any]) -> FastesError:
    """The error with its type, if that is one of `fastes.errors`."""
    kind = getattr(errors, scalars["error"], None)
    known = kind if isinstance(kind, type) and issubclass(kind, FastesError) else FastesError
    error = known(scalars["message"])
    for note in scalars["notes"]:
        error.add_note(note)
    return error


def packed(arrays: dict[str, AnyArray], scalars: dict[str, Any]) -> bytes:
    """Arrays with their dtypes and shapes; scalars: what JSON can hold, floats to the bit."""
    text = np.frombuffer(json.dumps(scalars).encode(), np.uint8)
    return save({_JSON: text} | {name: np.ascontiguousarray(array) for name, array in arrays.items()})


def unpacked(parcel: bytes) -> tuple[dict[str, AnyArray], dict[str, Any]]:
    """The arrays and scalars that were packed."""
    arrays = load(parcel)
    return arrays, json.loads(arrays.pop(_JSON).tobytes())
