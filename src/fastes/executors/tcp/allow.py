"""What a worker runs of what a coordinator names: modules that its operator has allowed, and nothing else.

A coordinator names user code as "module:callable" in the run's tables. Names are checked before anything is imported;
what they turn out to stand for is checked before anything is called, so that neither "mymodule:os.system" nor an object
that a module has imported from elsewhere gets through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from fastes.executors.tcp.refusals import Code, ProtocolError

ENTRY_POINTS = "fastes.tasks"
_REFERENCE = re.compile(r"\s*([^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*:(.*)", re.DOTALL)
_DOTTED = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)\.([^\W\d]\w*)")
_ATTRIBUTES = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_NAMED = ("environments", "modules", "optimizers", "schedules")  # of fastes.compat, by translated configurations
_OWN = ("torch.optim", *(f"fastes.compat.{name}" for name in _NAMED))  # which are named by import path, and harmless


@dataclass(frozen=True, slots=True)
class Reference:
    """A module and what is named in it, as found at `where` in the tables."""

    where: str
    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def references(tables: Mapping[str, Any]) -> list[Reference]:
    """Everything in the tables that may be imported: texts "module:name", at any depth, and dotted kinds.

    Also the names of `gymnasium` environments in other modules, "module:Name-v0". A text that only looks like one is
    taken for one.
    """
    return list(_found(tables, ""))


def _found(value: Any, where: str) -> Iterator[Reference]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _found(item, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _found(item, f"{where}[{place}]")
    elif isinstance(value, str):
        if match := _REFERENCE.fullmatch(value):
            yield Reference(where, match[1], match[2].strip())
        elif where.endswith(".kind") and (match := _DOTTED.fullmatch(value)):
            yield Reference(where, match[1], match[2])


@dataclass(frozen=True, slots=True)
class Allowed:
    """prefixes: modules that may be used, each with what is below it; objects: single ones, as "module:name"."""

    prefixes: tuple[str, ...] = ()
    objects: frozenset[str] = frozenset()

    @classmethod
    def of(cls, prefixes: Iterable[str]) -> Allowed:
        """The operator's prefixes and whatever installed packages offer as entry points `fastes.tasks`."""
        offered = [point.value for point in entry_points(group=ENTRY_POINTS)]
        modules = [value for value in offered if ":" not in value]
        return cls((*prefixes, *modules), frozenset(value for value in offered if ":" in value))

    def check(self, tables: Mapping[str, Any]) -> list[Reference]:
        """What the tables name, all of it allowed; imports nothing.

        Raises ProtocolError naming the first that is not.
        """
        found = references(tables)
        for reference in found:
            if reference.module == "python":  # as the configuration of a run writes what cannot be read back
                raise ProtocolError(
                    Code.ALLOW,
                    f"{reference.where} was given as a Python object, {reference.name}, which does not travel. Give "
                    'the coordinator "module:callable" or a kind that fastes knows.',
                )
            if not self._has(reference):
                raise ProtocolError(
                    Code.ALLOW,
                    f"the run uses {reference} ({reference.where}), which this worker may not run. If you trust it, "
                    f"start the worker with --allow {reference.module}.",
                )
        return found

    def check_imported(self, found: Iterable[Reference]) -> None:
        """Imports what `check` has let pass, and checks what it is. Raises ProtocolError if it is something else."""
        for reference in found:
            try:
                target: Any = import_module(reference.module)
                if not _ATTRIBUTES.fullmatch(reference.name):
                    continue  # an environment's name: importing its module has registered it
                for part in reference.name.split("."):
                    target = getattr(target, part)
                    self._check_object(reference, part, target)
            except ProtocolError:
                raise
            except Exception as error:  # a module may raise anything while it is imported
                raise ProtocolError(
                    Code.BUILD,
                    f"{reference} ({reference.where}) cannot be imported: {type(error).__name__}: {error}. Put its "
                    "module where the worker's Python looks, such as the directory in which the worker starts.",
                ) from error

    def _has(self, reference: Reference) -> bool:
        return str(reference) in self.objects or self._has_module(reference.module)

    def _has_module(self, module: str) -> bool:
        return any(module == prefix or module.startswith(f"{prefix}.") for prefix in (*self.prefixes, *_OWN))

    def _check_object(self, reference: Reference, part: str, target: Any) -> None:
        if str(reference) in self.objects:
            return
        if part.startswith("__"):
            raise ProtocolError(
                Code.ALLOW, f"{reference} ({reference.where}) names {part}, which is Python's own: no worker runs that."
            )
        home = target.__name__ if isinstance(target, ModuleType) else getattr(target, "__module__", None)
        if isinstance(home, str) and not self._has_module(home):
            raise ProtocolError(
                Code.ALLOW,
                f"{reference} ({reference.where}) stands for something of {home}, which this worker may not run. If "
                f"you trust it, start the worker with --allow {home} as well.",
            )
