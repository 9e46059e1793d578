"""Optimizers of PyTorch by import path: found, their keywords checked, made for some parameters."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastes.import_path import module_and_name

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

_EXTRAS = {"pytorch_optimizer": "optimizers"}  # what `pip install 'fastes[EXTRA]'` brings
_OF_ANOTHER = "optimizer"  # the parameter of a class such as Lookahead, which wraps an optimizer
_NO_SETTINGS = {"params", "defaults", "maximize", _OF_ANOTHER}  # fitness is maximised anyway
_WITHOUT_A_LOSS = {
    "LBFGS": "evaluates a loss again and again in one step",
    "SparseAdam": "takes sparse gradients only",
}


def is_import_path(kind: Any) -> bool:
    """Whether a kind of optimizer is an import path, "module.Class" or "module:Class"."""
    return isinstance(kind, str) and ("." in kind or ":" in kind) and " " not in kind


def path_of(found: type[Any]) -> str:
    """The import path of a class, as short as it can be imported. Raises ValueError for one that has none."""
    module, name = found.__module__, found.__qualname__
    for shorter in (module.split(".")[0], ".".join(module.split(".")[:2]), module):
        if getattr(importlib.import_module(shorter), name, None) is found:
            return f"{shorter}.{name}"
    raise ValueError(f"{module}.{name} cannot be imported by that name: define the class at the top of a module.")


@functools.cache
def optimizer_class(path: str) -> type[Optimizer]:
    """The class that a path names. Raises ValueError with the nearest name that there is."""
    import torch

    module_name, name = module_and_name(path)
    try:
        module: Any = importlib.import_module(module_name)
    except ImportError as error:
        top = module_name.split(".")[0]
        remedy = f" Install it: pip install 'fastes[{_EXTRAS[top]}]'." if top in _EXTRAS else ""
        raise ValueError(f"the module of optimizer {path!r} cannot be imported: {error}.{remedy}") from error
    found = functools.reduce(lambda place, part: getattr(place, part, None), name.split("."), module)
    if not (isinstance(found, type) and issubclass(found, torch.optim.Optimizer)):
        known = [key for key, value in vars(module).items() if _is_optimizer(value)]
        what = "there is no such class" if found is None else "it is no class of optimizers of PyTorch"
        near = _hint(name, known, f"{module_name}.")
        raise ValueError(f"the optimizer {path!r} cannot be found: {what}.{near}")  # noqa: TRY004
    step = inspect.signature(found.step).parameters.get("closure")
    if name in _WITHOUT_A_LOSS or (step is not None and step.default is inspect.Parameter.empty):
        why = _WITHOUT_A_LOSS.get(name, "needs a closure that evaluates a loss")
        raise ValueError(f"{path} {why}, and here is only a gradient: take another optimizer.")
    return found


def is_wrapper(found: type[Optimizer]) -> bool:
    """Whether the class takes another optimizer in the place of parameters."""
    return next(iter(inspect.signature(found).parameters), "") == _OF_ANOTHER


def check_keywords(path: str, settings: Iterable[str]) -> None:
    """Raises ValueError naming the first keyword argument that the class does not have."""
    found = optimizer_class(path)
    parameters = inspect.signature(found).parameters
    named = [key for key, p in parameters.items() if p.kind is not p.VAR_KEYWORD and key not in _NO_SETTINGS]
    if len(named) + len(_NO_SETTINGS & parameters.keys()) < len(parameters) and not _swallows(found):
        return  # a class of the user's that hands on what else it is given
    known = [*named, *([_OF_ANOTHER, "lr"] if is_wrapper(found) else [])]
    for key in settings:
        if key not in known:
            raise ValueError(f"{path} has no setting {key!r}.{_hint(key, known)} It has {', '.join(known)}.")


def made(path: str, params: list[nn.Parameter], lr: float | None, settings: Mapping[str, Any]) -> Optimizer:
    """An optimizer of some parameters, as new. lr: None for the class's own.

    settings: by keyword; of one that wraps another, `optimizer` is that one's table, with its `kind` in it, and `lr` is
    for that one.

    Raises ValueError with the reason if the class refuses.
    """
    found = optimizer_class(path)
    arguments = dict(settings)
    inner = arguments.pop(_OF_ANOTHER, None)
    rate = {} if lr is None else {"lr": lr}
    first: Any = params
    if is_wrapper(found):
        if not isinstance(inner, Mapping) or not is_import_path(inner.get("kind")):
            raise ValueError(
                f"{path} wraps another optimizer: name it as optimizer = {{ kind = 'torch.optim.AdamW' }}, with its "
                "settings but lr."
            )
        of_it = {key: value for key, value in inner.items() if key not in ("kind", "lr")}
        check_keywords(inner["kind"], of_it)
        first, rate = made(inner["kind"], params, inner.get("lr") if lr is None else lr, of_it), {}
    if "foreach" in inspect.signature(found).parameters:
        arguments.setdefault("foreach", False)
    make: Any = found
    try:
        built: Optimizer = make(first, **arguments, **rate)
    except Exception as error:  # packages have exceptions of their own
        raise ValueError(f"{path} cannot be made: {str(error).removesuffix('.') or type(error).__name__}.") from error
    return built


def _is_optimizer(value: Any) -> bool:
    import torch

    return isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer


def _swallows(found: type[Any]) -> bool:
    """Whether the class takes any keyword, and leaves unread what it does not know."""
    return found.__module__.split(".")[0] == "pytorch_optimizer"


def _hint(word: str, known: Iterable[str], prefix: str = "") -> str:
    by_small = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_small, n=1)
    return f" Did you mean {prefix + by_small[near[0]]!r}?" if near else ""
