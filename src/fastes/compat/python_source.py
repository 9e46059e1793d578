"""The dictionary of settings in a program, read without running it: for scripts whose import would train."""

from __future__ import annotations

import ast
from typing import Any

from fastes.compat.portable_es import described

_NAMES = ("config", "cfg", "config_grid")


def dictionary_in(text: str, module: str) -> dict[str, Any]:
    """What the program assigns to `config`: constants, lists and dicts of them; names of classes and functions as
    "module:name", by the program's imports; and what it makes of portable-es' classes as `portable_es.Call`.

    text: of the program; module: what it would be imported as. Raises ValueError naming the line of what is none of it.
    """
    tree = ast.parse(text)
    reader = _Reader(module, _imports(tree))
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id in _NAMES for target in targets):
            assert isinstance(node, ast.Assign)
            found = reader.value(node.value)
            if isinstance(found, dict):
                return found
    raise ValueError(f"it assigns no dictionary to {_NAMES[0]} at its top")


def _imports(tree: ast.Module) -> dict[str, str]:
    """From names in the program to what they were imported from, as "module:name"."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
    return found


class _Reader:
    def __init__(self, module: str, imports: dict[str, str]) -> None:
        self._module, self._imports = module, imports

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Dict):
            if None in node.keys:
                raise ValueError(f"line {node.lineno}: {ast.unparse(node)} cannot be read without running it")
            return {
                self.value(key): self.value(value) for key, value in zip(node.keys, node.values, strict=True) if key
            }
        if isinstance(node, ast.List | ast.Tuple):
            return [self.value(item) for item in node.elts]
        if isinstance(node, ast.Call):
            named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg}
            return self._called(node, [self.value(arg) for arg in node.args], named)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._name(node)
        try:
            return ast.literal_eval(node)
        except ValueError as error:
            raise ValueError(f"line {node.lineno}: {ast.unparse(node)} cannot be read without running it") from error

    def _called(self, node: ast.Call, args: list[Any], named: dict[str, Any]) -> Any:
        try:
            return described(self._name(node.func), args, named)
        except TypeError as error:
            raise ValueError(f"line {node.lineno}: {error}") from error

    def _name(self, node: ast.expr) -> str:
        if isinstance(node, ast.Attribute):
            above = self._name(node.value)
            return f"{above}.{node.attr}" if ":" in above else f"{above}:{node.attr}"
        if isinstance(node, ast.Name):
            return self._imports.get(node.id, f"{self._module}:{node.id}")
        raise ValueError(f"line {node.lineno}: {ast.unparse(node)} cannot be read without running it")
