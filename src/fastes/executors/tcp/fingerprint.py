"""What two processes must have alike to compute the same bits: tables, sources, parameter layout, versions."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import secrets
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fastes import kernels
from fastes.errors import ExecutorError
from fastes.executors.tcp import limits
from fastes.executors.tcp.refusals import Code, ProtocolError, printable
from fastes.executors.tcp.wire import Identity
from fastes.version import VERSION

_PROCESS = secrets.token_bytes(16)  # of this one, while a pid may be another's in its own namespace
_TABLES = msgspec.json.Decoder(dict[str, Any])


def written_table(table: Mapping[str, Any]) -> bytes:
    """A table as canonical JSON: keys sorted, no blanks, floats to the bit, ASCII.

    Raises ExecutorError if it holds something else than texts, numbers, truth values, lists and tables.
    """
    try:
        text = json.dumps(table, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ExecutorError(f"a setting cannot be sent to workers: {error}. Give plain, finite values.") from error
    return text.encode("ascii")


def read_table(data: bytes, name: str) -> dict[str, Any]:
    """The table in its JSON. Raises ProtocolError if it is none."""
    try:
        return _TABLES.decode(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(Code.MALFORMED, f"the table of the {name} is malformed: {error}.") from error


def table_hash(table: Mapping[str, Any]) -> bytes:
    """SHA-256 of a table as written. Take it of settings as resolved, so that other defaults are noticed, too."""
    return hashlib.sha256(written_table(table)).digest()


def layout_hash(entries: Iterable[tuple[str, tuple[int, ...], str]]) -> bytes:
    """SHA-256 of the name, shape and dtype of each parameter tensor in the order of theta."""
    return table_hash({"layout": [[name, list(shape), dtype] for name, shape, dtype in entries]})


def source_hash(module: str) -> bytes:
    """SHA-256 of a module's file; of a package, of all Python files in it. Imports the packages around it, not itself.

    Raises ExecutorError if it has no file.
    """
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:  # a package around it may raise anything
        raise ExecutorError(f"the module {module} cannot be found: {type(error).__name__}: {error}.") from error
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        raise ExecutorError(
            f"the module {module} cannot be found, or has no file whose source could be compared. Put it where Python "
            "looks, such as the current directory or PYTHONPATH."
        )
    origin = Path(spec.origin)
    if spec.submodule_search_locations is None:
        return hashlib.sha256(origin.read_bytes()).digest()
    hasher = hashlib.sha256()
    for path in sorted(origin.parent.rglob("*.py")):
        content = path.read_bytes()
        hasher.update(f"{path.relative_to(origin.parent).as_posix()}\0{len(content)}\0".encode() + content)
    return hasher.digest()


def identity(processes: int, run: str = "", generation: int = 0, digest: str = "0" * 32) -> Identity:
    """Of this process. processes: that evaluate; run, generation, digest: of the state that it already holds."""
    import torch

    return Identity(
        fastes=VERSION,
        noise_spec=kernels.NOISE_SPEC,
        self_test=bytes.fromhex(kernels.self_test()),
        torch=str(torch.__version__),
        numpy=np.__version__,
        processor=printable(_processor(torch.backends.cpu.get_cpu_capability()), limits.NAME),
        host=printable(socket.gethostname(), limits.NAME),
        pid=os.getpid(),
        process=_PROCESS,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        processes=processes,
        run=run,
        generation=generation,
        digest=bytes.fromhex(digest),
    )


def _processor(capability: str) -> str:
    """What bears on the bits of a forward pass in torch: the instruction set that it chose, and the processor."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return " ".join(filter(None, (platform.machine(), capability, model)))
