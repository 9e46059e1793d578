"""A trained policy on disk: weights as safetensors, and beside them what they are weights of."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from fastes.errors import StorageError
from fastes.policies import Interface
from fastes.policies.normalised import Normalised, normalised
from fastes.storage import sync_folder, write_json


def save_policy(
    directory: Path, module: nn.Module, config: dict[str, Any], digest: str, interface: Interface | None = None
) -> Path:
    """Writes policy.safetensors (parameters and buffers by name) and policy.json. Raises StorageError.

    interface: what the module sees and gives, so that the environment is not needed to load it.
    """
    path, description = directory / "policy.safetensors", directory / "policy.json"
    temporary = path.with_name(path.name + ".tmp")
    tables = {key: config[key] for key in ("seed", "problem", "policy")}
    normalises = isinstance(module, Normalised)
    kind = type(module.module if isinstance(module, Normalised) else module).__name__
    if interface is not None:
        tables["interface"] = interface.as_list()
    write_json(description, tables | {"module": kind, "normalised": normalises, "digest": digest})
    try:
        safetensors.torch.save_model(module, str(temporary))
        shutil.copymode(description, temporary)  # safetensors makes its files private
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(directory)
    except (OSError, safetensors.SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(
            f"the policy cannot be written to {path}: {error}. The last checkpoint is intact: free some space or make "
            f"the directory writable, then resume the run."
        ) from error
    return path


def load_weights(module: nn.Module, directory: Path) -> nn.Module:
    """Puts the weights of a run's policy into a module of the same structure.

    Gives the module, in `Normalised` where the run normalised observations.

    Raises StorageError if there are none or they do not fit.
    """
    path = directory / "policy.safetensors"
    try:
        if policy_tables(directory).get("normalised"):
            module = _normalised(module, path)
        safetensors.torch.load_model(module, str(path))
    except (OSError, safetensors.SafetensorError, RuntimeError) as error:
        raise StorageError(
            f"the policy in {path} cannot be loaded: {error}. Resume the run to write it anew."
        ) from error
    return module.eval()


def _normalised(module: nn.Module, path: Path) -> nn.Module:
    with safetensors.safe_open(path, "pt") as file:
        return normalised(module, file.get_tensor("mean").numpy(), file.get_tensor("scale").numpy())


def policy_tables(directory: Path) -> dict[str, Any]:
    """What policy.json says. Raises StorageError."""
    try:
        tables: dict[str, Any] = json.loads((directory / "policy.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{directory} holds no readable policy.json: {error}. Has the run ended?") from error
    return tables
