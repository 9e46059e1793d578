"""The same bits, and no hang, whatever surrounds a call: flush-to-zero, fork, spawn, eight Python threads at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

from fastes import kernels
from fastes.kernels import reference

pytestmark = pytest.mark.timeout(120)

ROWS = np.arange(65)
WEIGHTS = np.linspace(-1, 1, 65, dtype=np.float32)
DIM = 20_000  # with 65 rows, work for two threads and more


def weighted_sum(generation: int = 0) -> str:
    return kernels.digest(kernels.weighted_sum(WEIGHTS, ROWS, DIM, seed=1, generation=generation))


# Weights, parameters and settings that flush-to-zero would change; the arrays made from bits, which it cannot.
FLUSHED = """
import sys
import numpy as np, torch
from fastes import kernels
torch.set_flush_denormal(sys.argv[1] == "flush")
kernels.set_num_threads(int(sys.argv[2]))
subnormals = np.arange(1, 5001, dtype=np.uint32).view(np.float32)
rows = np.arange(65)
address = {"seed": 1, "generation": 2, "offset": 3}
results = [
    kernels.weighted_sum(subnormals[:65], rows, 5000, **address),
    kernels.perturb(subnormals, rows, subnormals[-65:], **address),
    *kernels.sgd_step(
        subnormals, subnormals.copy(), subnormals[:65].copy(), rows, lr=1e-40, momentum=0.9, l2=0.25, **address
    ),
    *kernels.adam_step(
        subnormals, subnormals.copy(), subnormals.copy(), subnormals[:65].copy(), rows,
        lr=1e-38, eps=1e-41, beta_powers=(0.9, 0.999), **address,
    ),
]
print(kernels.digest(*results), (torch.tensor([1e-39]) * 1).item() == 0)
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_flush_to_zero_changes_nothing(isa: str, threads: str) -> None:
    def run(mode: str) -> list[str]:
        command = [sys.executable, "-c", FLUSHED, mode, threads]
        environment = {**os.environ, "FASTES_ISA": isa}
        return subprocess.check_output(command, env=environment, text=True).split()

    digest, flushes = run("keep")
    assert flushes == "False"
    assert run("flush") == [digest, "True"]  # the caller's mode was still on after the calls


def test_fork_while_the_pool_is_in_use(set_threads: Callable[[int], None]) -> None:
    set_threads(2)
    expected = weighted_sum()
    with ThreadPoolExecutor(1) as busy:
        for _ in range(10):
            work = busy.submit(weighted_sum)
            with warnings.catch_warnings():
                # Python 3.12 warns that a multi-threaded process forks; that is what is tested.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(60)  # a hang ends as a failure
                os._exit(0 if weighted_sum() == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert work.result() == expected


def test_eight_python_threads_at_once(set_threads: Callable[[int], None]) -> None:
    set_threads(1)
    expected = [weighted_sum(generation) for generation in range(32)]
    set_threads(2)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(weighted_sum, range(32))) == expected


def test_another_instruction_set_may_be_chosen_while_others_compute() -> None:
    before = kernels.info()["isa"]
    expected = [weighted_sum(generation) for generation in range(16)]
    try:
        with ThreadPoolExecutor(4) as threads:
            found = threads.map(weighted_sum, range(16))
            for isa in kernels.info()["isas_usable"] * 5:
                kernels.select_isa(isa)
            assert list(found) == expected
    finally:
        kernels.select_isa(before)


def test_spawned_processes_give_the_same_bits() -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        digests = [processes.submit(kernels.self_test) for _ in range(2)]
        noise = processes.submit(kernels.normal, 97, seed=5, offset=3)
        assert [digest.result() for digest in digests] == [kernels.self_test()] * 2
        assert noise.result().tobytes() == reference.normal(97, seed=5, offset=3).tobytes()
