"""Which device a process evaluates on, by the name that a configuration has for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastes.errors import ConfigError

if TYPE_CHECKING:
    import torch


def check_device(name: str) -> None:
    """Raises ConfigError unless it is "cpu", "cuda" or "cuda:N"."""
    kind, colon, number = name.partition(":")
    if (kind, colon) != ("cpu", "") and not (kind == "cuda" and number.isdecimal() == bool(colon)):
        raise ConfigError(f"device must be 'cpu', 'cuda' or 'cuda:N', not {name!r}.")


def gpus() -> int:
    """How many of them torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def is_here(name: str) -> bool:
    """Whether this machine has such a device."""
    return name == "cpu" or gpus() > int(name.partition(":")[2] or 0)


def device_of(name: str, process: int = 0) -> torch.device:
    """The device of one of several processes of a machine: "cuda" gives each a GPU in turn.

    Raises ConfigError if there is none.
    """
    import torch

    check_device(name)
    if name == "cpu":
        return torch.device(name)
    if not is_here(name):
        found = f"it sees {gpus()} GPUs" if torch.cuda.is_available() else "it sees no GPU"
        raise ConfigError(
            f"device = {name!r}, but torch {torch.__version__} does not have it: {found}. Install a torch that was "
            "built for CUDA beside NVIDIA's driver (`fastes info` says what there is), or take device = 'cpu'."
        )
    return torch.device(name if ":" in name else f"cuda:{process % gpus()}")


@contextlib.contextmanager
def working_on(device: torch.device) -> Iterator[None]:
    """Within, a GPU is the current one, and products of float32 are of float32 and the same every time: left to itself,
    torch lets cuDNN round to 10 bits, and take what is fastest today.
    """
    if device.type != "cuda":
        yield
        return
    import torch

    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.cuda.device(device), exact:
        yield


def processes_on(name: str, processors: int) -> int:
    """How many processes a machine should have: one for each GPU, or for each of its processors."""
    return max(1, gpus()) if name == "cuda" else 1 if name.startswith("cuda:") else processors
