"""Import paths: how a configuration names what is a Python object."""

from __future__ import annotations


def module_and_name(path: str) -> tuple[str, str]:
    """Of "module:name", or of "module.name", where the last dot counts.

    Raises ValueError unless both are identifiers joined by dots. Python could import more, such as a file whose name
    has a hyphen; but what a worker allows is decided by names of this form.
    """
    module, mark, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not mark or not all(part.isidentifier() for whole in (module, name) for part in whole.split(".")):
        raise ValueError(f"{path!r} is not of the form 'module:callable', such as 'mypackage.models:make_policy'")
    return module, name
