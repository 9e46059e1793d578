"""One thread for whatever library computes, so that no result depends on a machine's cores.

Sums over several threads are other sums: NumPy's `x @ y` of 100,000 numbers has other bits on two threads than on one.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import torch
from threadpoolctl import ThreadpoolController


class OneThread:
    """Limits torch and, as far as `threadpoolctl` knows them, BLAS and OpenMP libraries; also those loaded later."""

    def __init__(self) -> None:
        self._modules = -1  # imported when it was last looked which libraries there are
        self._libraries: ThreadpoolController | None = None

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Within, all of them have one thread; afterwards as many as before."""
        threads = torch.get_num_threads()
        if threads != 1:
            torch.set_num_threads(1)
        try:
            with self._found().limit(limits=1):
                yield
        finally:
            if threads != 1:
                torch.set_num_threads(threads)

    def _found(self) -> ThreadpoolController:
        """Looking takes milliseconds, so only after something was imported."""
        if self._libraries is None or len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            self._libraries = ThreadpoolController()
        return self._libraries
