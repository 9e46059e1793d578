"""From what a user calls a policy to a `Policy`."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.import_path import imported
from fastes.nearest import nearest
from fastes.policies.flat import Policy
from fastes.policies.interface import Factory, Interface

PolicySpec = nn.Module | Factory | Callable[..., nn.Module] | str
"""A module, settings such as `MLP`, a class or factory, or "module:callable" naming one."""

_OFFERED = ("interface", "observation_shape", "observation_size", "action_size")


def build(spec: PolicySpec, interface: Interface, seed: int, arguments: dict[str, Any] | None = None) -> Policy:
    """Makes the policy, its initial parameters drawn from torch's generator seeded with `seed` (low 63 bits).

    A factory or class is called with those of interface, observation_shape, observation_size and action_size
    that it has parameters for, and with `arguments`. A module is copied and keeps the parameters that it has.

    Raises PolicyError if it cannot be imported or called, or gives something else than a module.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # an orthogonal initialisation must not depend on the machine's cores
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed & (2**63 - 1))
            module = module_of(spec, interface, arguments or {})
    finally:
        torch.set_num_threads(threads)
    if not isinstance(module, nn.Module):
        raise PolicyError(f"the policy {spec!r} gave a {type(module).__name__}, not a torch.nn.Module.")
    return Policy(module)


def module_of(spec: PolicySpec, interface: Interface, arguments: dict[str, Any]) -> nn.Module:
    """The module of a specification, drawn from torch's generator as it is; see `build`."""
    if isinstance(spec, nn.Module):
        return copy.deepcopy(spec)
    if isinstance(spec, Factory):
        try:
            return spec(interface)
        except ValueError as error:
            raise PolicyError(str(error)) from error
        except RuntimeError as error:  # as torch reports that there is not enough memory
            raise PolicyError(f"the policy {spec!r} cannot be made: {error}. Make it smaller.") from error
    factory = imported(spec, PolicyError) if isinstance(spec, str) else spec
    if not callable(factory):
        raise PolicyError(f"the policy must be a module, a class, a factory or 'module:callable', not {factory!r}.")
    return _called(factory, interface, arguments)


def _called(factory: Callable[..., nn.Module], interface: Interface, arguments: dict[str, Any]) -> nn.Module:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError) as error:
        raise PolicyError(f"the policy factory {factory!r} does not tell its parameters: {error}. Wrap it.") from error
    offered = {"interface": interface} | {name: getattr(interface, name) for name in _OFFERED[1:]}
    given = {name: value for name, value in offered.items() if name in signature.parameters} | arguments
    name = getattr(factory, "__qualname__", repr(factory))
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    for key in () if open_ended else arguments:
        if key not in signature.parameters:
            takes = ", ".join(signature.parameters)
            hint = nearest(key, signature.parameters)
            raise PolicyError(f"unknown key policy.{key}.{hint} The policy factory {name} takes {takes}.")
    try:
        signature.bind(**given)
    except TypeError as error:
        raise PolicyError(
            f"the policy factory {name}{signature} cannot be called: {error}. Its parameters may be "
            f"{', '.join(_OFFERED)}, and those given in the configuration."
        ) from error
    try:
        return factory(**given)
    except Exception as error:
        raise PolicyError(
            f"the policy factory {name} raised {type(error).__name__}: {error}. It was called with {given}."
        ) from error
