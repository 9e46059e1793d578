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

import pytest
from conformance.surroundings import everything, everything_everywhere

from fastes import kernels
from fastes.kernels import reference

pytestmark = pytest.mark.timeout(120)

# Weights, parameters and settings that flush-to-zero would change; the arrays made from bits, which it cannot. One line
# for each instruction set, kind and number of threads, then whether the mode was still the caller's at the end.
FLUSHED = """
import itertools, sys
import numpy as np, torch
from fastes import kernels
torch.set_flush_denormal(sys.argv[1] == "flush")
subnormals = np.arange(1, 5001, dtype=np.uint32).view(np.float32)
weights, rows = subnormals[:65].copy(), np.arange(65)
for isa, kind, threads in itertools.product(kernels.info()["isas_usable"], kernels.KINDS, (1, 2)):
    kernels.select_isa(isa)
    kernels.set_num_threads(threads)
    address = {"seed": 1, "generation": 2, "offset": 3, "kind": kind}
    results = [
        kernels.weighted_sum(weights, rows, 5000, **address),
        kernels.perturb(subnormals, rows, subnormals[-65:], **address),
        *kernels.sgd_step(subnormals, subnormals.copy(), weights, rows, lr=1e-40, momentum=0.9, l2=0.25, **address),
        *kernels.adam_step(
            subnormals, subnormals.copy(), subnormals.copy(), weights, rows,
            lr=1e-38, eps=1e-41, beta_powers=(0.9, 0.999), **address,
        ),
        *kernels.clipup_step(subnormals, subnormals.copy(), weights, rows, lr=1e-40, max_speed=1e-39, **address),
        kernels.perturb(subnormals, rows, np.ones(65, np.float32), sigma=subnormals, **address),
        *kernels.weighted_sums(weights, weights, rows, 5000, **address),
        *kernels.snes_step(subnormals, 1 - subnormals, weights, rows, lr=1.0, lr_sigma=2.0**126, **address),
        kernels.sgd_apply(subnormals, None, subnormals.copy(), lr=0.5, l2=0.25)[0],
        kernels.low_rank_perturb(subnormals.reshape(50, 100), 2, rows, subnormals[-65:], **address),
        kernels.low_rank_sum(weights, rows, (50, 100), 2, **address),
    ]
    print(isa, kind, threads, kernels.digest(*results))
print((torch.tensor([1e-39]) * 1).item() == 0)
"""


def test_flush_to_zero_changes_nothing() -> None:
    def run(mode: str) -> list[str]:
        return subprocess.check_output([sys.executable, "-c", FLUSHED, mode], text=True, timeout=100).splitlines()

    *digests, flushes = run("keep")
    assert flushes == "False"
    assert len({line.split()[-1] for line in digests}) == len(kernels.KINDS)
    assert run("flush") == [*digests, "True"]


def forked(work: Callable[[], bool]) -> bool:
    """Whether `work` came to True in a child of this process."""
    with warnings.catch_warnings():
        # Python 3.12 warns that a multi-threaded process forks; that is what is tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # a hang ends as a failure
        try:
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("kind", kernels.KINDS)
def test_fork_while_the_pool_is_in_use(isa: str, kind: str, set_threads: Callable[[int], None]) -> None:
    set_threads(2)
    expected = everything(kind)
    with ThreadPoolExecutor(1) as busy:
        for _ in range(5):
            work = busy.submit(everything, kind)
            assert forked(lambda: everything(kind) == expected)
            assert work.result(timeout=60) == expected


def test_a_child_of_a_child(set_threads: Callable[[int], None]) -> None:
    set_threads(2)
    expected = everything("normal")
    assert forked(lambda: everything("normal") == expected and forked(lambda: everything("normal") == expected))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_eight_python_threads_at_once(isa: str, threads: int, set_threads: Callable[[int], None]) -> None:
    set_threads(1)
    expected = [everything(kind) for kind in kernels.KINDS]
    set_threads(threads)
    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(everything, kernels.KINDS * 8, timeout=100)) == expected * 8


def test_another_instruction_set_may_be_chosen_while_others_compute() -> None:
    before = kernels.info()["isa"]
    expected = [everything(kind) for kind in kernels.KINDS]
    try:
        with ThreadPoolExecutor(4) as callers:
            found = callers.map(everything, kernels.KINDS * 4, timeout=100)
            for isa in kernels.info()["isas_usable"] * 5:
                kernels.select_isa(isa)
            assert list(found) == expected * 4
    finally:
        kernels.select_isa(before)


def test_spawned_processes_give_the_same_bits(set_threads: Callable[[int], None]) -> None:
    set_threads(1)
    expected = {kind: everything(kind) for kind in kernels.KINDS}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        asked = [processes.submit(everything_everywhere) for _ in range(2)]
        own = processes.submit(kernels.self_test)
        noise = processes.submit(kernels.normal, 97, seed=5, offset=3)
        for answer in asked:
            digests = answer.result(timeout=100)
            assert {isa for isa, _, _ in digests} == set(kernels.info()["isas_usable"])
            assert digests == {(isa, kind, threads): expected[kind] for isa, kind, threads in digests}
        assert own.result(timeout=100) == kernels.self_test()
        assert noise.result(timeout=100).tobytes() == reference.normal(97, seed=5, offset=3).tobytes()
