"""Work on a device that is done again and again: on a GPU as a CUDA graph, one launch instead of one a kernel."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch


class Repeated:
    """Each call does the work once. A graph has the addresses and numbers of the work as it was captured.

    The first call runs it as it is, which makes libraries and kernels ready: nothing may be loaded while a graph is
    captured. The second captures it, and from then on the graph is replayed.
    """

    def __init__(self, work: Callable[[], None], device: torch.device, subject: str, *, capture: bool) -> None:
        """subject: what a message calls the work; capture: whether it may be, should the device have graphs."""
        self._work, self._device, self._subject = work, device, subject
        self._captures = capture and device.type == "cuda"
        self._ready = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._aside: Any = None  # the stream of warm-up and capture

    def __call__(self) -> None:
        """Does the work once, on the current stream. Warns once if it cannot be captured."""
        if self._graph is not None:
            self._graph.replay()
        elif not self._captures:
            self._work()
        elif not self._ready:
            self._run_aside()
            self._ready = True
        else:
            self._graph = self._captured()
            self()

    def forget_(self) -> None:
        """Begins anew: addresses or numbers have changed."""
        self._ready, self._graph = False, None

    def _run_aside(self) -> None:
        """On a stream of its own, as torch wants it before a capture."""
        current, aside = torch.cuda.current_stream(self._device), self._stream()
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            self._work()
        current.wait_stream(aside)

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        try:
            # A capture that fails leaves its stream current, if nobody else puts the old one back. Other threads may go
            # on using the GPU; torch's own stream for captures may be another GPU's.
            with (
                torch.cuda.stream(current),
                torch.cuda.graph(graph, stream=self._stream(), capture_error_mode="thread_local"),
            ):
                self._work()
        except RuntimeError as error:
            self._captures = False
            warnings.warn(
                f"{self._subject} cannot be captured as a CUDA graph, so every kernel is launched by itself, which is "
                f"slower: {str(error).partition(chr(10))[0].rstrip('.')}.",
                RuntimeWarning,
                stacklevel=3,
            )
            return None
        return graph

    def _stream(self) -> Any:
        if self._aside is None:
            self._aside = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return self._aside
