"""What a module does when it is called, seen by calling it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.noise import Generation
from fastes.policies.flat import Policy
from fastes.policies.population.base import Traits, one_thread
from fastes.types import Float32Array

_OF_MODULES = frozenset(vars(nn.Module()))


def seen_traits(policy: Policy, unit: Generation, observation: Float32Array) -> Traits:
    """Calls the module twice, as the first member of a unit around its own parameters, on an observation, float32
    [*observation_shape]; the policy is as it was afterwards.

    Raises PolicyError if forward gives no tensor with the batch in front, or gives something else the second time
    though state, buffers and generator are as at the first: it keeps a state of its own. Raises what the module does.
    """
    module = policy.module
    stateful = callable(getattr(module, "initial_state", None))
    before, generator = _attributes(module), torch.get_rng_state()
    written: list[str] = []
    try:
        with one_thread(), torch.inference_mode():
            outputs = []
            policy.load_member_(unit, 0)
            for _ in range(2):
                policy.reset_()
                torch.manual_seed(0)
                start = torch.get_rng_state()
                buffers = {name: (buffer, buffer.clone()) for name, buffer in module.named_buffers()}
                given = torch.from_numpy(observation[np.newaxis].copy())
                result = module(given, module.initial_state()) if stateful else module(given)  # type: ignore[operator]
                outputs.append(_output(module, result, stateful).clone())
                random = not torch.equal(start, torch.get_rng_state())
                now = dict(module.named_buffers())
                written = [
                    name
                    for name, (buffer, value) in buffers.items()
                    if now.get(name) is not buffer or not torch.equal(buffer, value)
                ]
            after = _attributes(module)
            assigned = [key for key in after if key not in before or after[key] is not before[key]]
            names = tuple(sorted({name for _, name in assigned}))
            if not torch.allclose(outputs[0].double(), outputs[1].double(), 1e-4, 1e-4, equal_nan=True):
                raise PolicyError(
                    f"the policy {type(module).__name__} gave another output when it was called again: it keeps a "
                    f"state ({', '.join(names) or 'not in attributes'}), which episodes side by side would share. Give "
                    "policies.wrap(module), which needs a method reset() in it, or write forward(observation, state) "
                    "and initial_state()."
                )
    finally:
        _restore(module, before)
        torch.set_rng_state(generator)
        policy.load_(unit.theta)
    return Traits(stateful, tuple(written), names, random)


def _output(module: nn.Module, result: Any, stateful: bool) -> torch.Tensor:
    if stateful:
        if not isinstance(result, tuple) or len(result) != 2:
            raise PolicyError(
                f"the policy {type(module).__name__} has initial_state(), so forward(observation, state) must give a "
                f"pair (action, state), not a {type(result).__name__}."
            )
        result = result[0]
    if not isinstance(result, torch.Tensor) or result.dim() < 1 or len(result) != 1:
        found = f"shape {tuple(result.shape)}" if isinstance(result, torch.Tensor) else f"a {type(result).__name__}"
        raise PolicyError(
            f"the policy {type(module).__name__} gave {found} for a batch of one observation; it must give a tensor of "
            "shape (1, outputs). One that gives its state too needs initial_state()."
        )
    return result


def _attributes(module: nn.Module) -> dict[tuple[nn.Module, str], Any]:
    """Plain attributes of all submodules."""
    return {
        (part, name): value
        for part in module.modules()
        for name, value in vars(part).items()
        if name not in _OF_MODULES
    }


def _restore(module: nn.Module, before: dict[tuple[nn.Module, str], Any]) -> None:
    for part, name in _attributes(module).keys() - before.keys():
        del vars(part)[name]
    for (part, name), value in before.items():
        vars(part)[name] = value
