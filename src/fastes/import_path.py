"""Import paths: how a configuration names what is a Python object."""

from __future__ import annotations

import importlib
from typing import Any


def module_and_name(path: str) -> tuple[str, str]:
    """Of "module:name", or of "module.name", where the last dot counts.

    Raises ValueError unless both are identifiers joined by dots. Python could import more, such as a file whose name
    has a hyphen; but what a worker allows is decided by names of this form.
    """
    module, mark, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not mark or not all(part.isidentifier() for whole in (module, name) for part in whole.split(".")):
        raise ValueError(f"{path!r} is not of the form 'module:callable', such as 'mypackage.models:make_policy'")
    return module, name


def imported(path: str, error_type: type[Exception]) -> Any:
    """The object that "module:name" names. Raises `error_type` with the reason if there is none."""
    try:
        module_name, name = module_and_name(path)
    except ValueError as error:
        raise error_type(f"{error}.") from error
    try:
        found: Any = importlib.import_module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except ModuleNotFoundError as error:
        raise error_type(
            f"{path!r} cannot be imported: {type(error).__name__}: {error}. Run where {module_name} can be found, or "
            "add it to PYTHONPATH."
        ) from error
    except Exception as error:  # a module may raise anything while it is imported
        reason = f"{type(error).__name__}: {str(error).removesuffix('.')}"
        raise error_type(f"{path!r} cannot be imported: {reason}.") from error
    return found
