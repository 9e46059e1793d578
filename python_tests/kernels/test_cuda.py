"""What only a real GPU shows: the caller's stream, graphs, the device beside the current one, allocations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from conformance.device import at
from conformance.kernels import ROWS, WEIGHTS, assert_same, theta_of

from fastes import kernels
from fastes.kernels import KINDS, reference

pytestmark = pytest.mark.cuda
DIM = 4099


@pytest.fixture(params=["torch extension", "torch nvrtc"], autouse=True)
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with at(request.param, monkeypatch):
        yield


def on_gpu(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).cuda()


def busy() -> None:
    """Milliseconds of work on the current stream, so that what does not wait for it is too early."""
    torch.cuda._sleep(20_000_000)


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_stream_is_used(kind: str) -> None:
    """Weights that are written on another stream, late, are summed on that stream; nothing else waits in between."""
    weights, rows = torch.zeros(len(WEIGHTS), device="cuda"), on_gpu(ROWS)
    kernels.weighted_sum(weights, rows, DIM, seed=1, kind=kind)  # the kernels are loaded now
    other = torch.cuda.Stream()
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        busy()
        weights.copy_(on_gpu(WEIGHTS))
        found = kernels.weighted_sum(weights, rows, DIM, seed=1, kind=kind)
        host = found.cpu()
    assert_same(host.numpy(), reference.weighted_sum(WEIGHTS, ROWS, DIM, seed=1, kind=kind))


def test_weights_on_the_cpu_may_change_after_the_call() -> None:
    weights, out = torch.from_numpy(WEIGHTS.copy()).pin_memory(), torch.empty(DIM, device="cuda")
    kernels.weighted_sum(weights, ROWS, DIM, seed=1, out=out)
    busy()
    kernels.weighted_sum(weights, ROWS, DIM, seed=1, out=out)
    weights.zero_()
    assert_same(out.cpu().numpy(), reference.weighted_sum(WEIGHTS, ROWS, DIM, seed=1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_is_replayed_with_other_rows_and_weights(kind: str) -> None:
    weights, rows, out = on_gpu(WEIGHTS), on_gpu(ROWS), torch.empty(DIM, device="cuda")
    theta = on_gpu(theta_of(DIM))
    state = theta.clone(), torch.zeros(DIM, device="cuda")

    def work() -> None:
        kernels.weighted_sum(weights, rows, DIM, seed=1, kind=kind, out=out)
        kernels.clipup_step(*state, weights, rows, seed=1, kind=kind, lr=0.1, max_speed=0.2, out=state)

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    rows.copy_(on_gpu(ROWS[::-1].copy()))
    weights.copy_(on_gpu(2 * WEIGHTS))
    state[0].copy_(theta)
    state[1].zero_()
    graph.replay()
    changed = 2 * WEIGHTS, ROWS[::-1].copy()
    assert_same(out.cpu().numpy(), reference.weighted_sum(*changed, DIM, seed=1, kind=kind))
    wanted = reference.clipup_step(
        theta_of(DIM), np.zeros(DIM, np.float32), *changed, seed=1, kind=kind, lr=0.1, max_speed=0.2
    )
    for found, array in zip(state, wanted, strict=True):
        assert_same(found.cpu().numpy(), array)


def test_parameters_that_require_gradients_are_read() -> None:
    theta = torch.nn.Parameter(on_gpu(theta_of(5)))
    wanted = reference.perturb(theta_of(5), [1], [1.0], seed=1)
    assert_same(kernels.perturb(theta, [1], np.ones(1, np.float32), seed=1).cpu().numpy(), wanted)


def test_arrays_with_gaps_are_refused() -> None:
    with pytest.raises(ValueError, match=r"theta must be C-contiguous.*tensor\.contiguous"):
        kernels.perturb(torch.zeros(6, 2, device="cuda")[:, 0], [1], np.ones(1, np.float32), seed=1)
    memory = torch.ones(8, device="cuda")
    with pytest.raises(ValueError, match="out shares memory with weights"):
        kernels.weighted_sum(memory[:2], [1, 2], 6, seed=1, out=memory[1:7])


def test_the_self_test_by_name() -> None:
    assert kernels.self_test("cuda") == kernels.self_test("cuda:0") == kernels.self_test()
    with pytest.raises(RuntimeError, match="no library here can make arrays on cuda:99"):
        kernels.self_test("cuda:99")


def test_no_more_memory_than_is_said() -> None:
    """D floats and the totals of chunks, at most 64 MiB and a total more, while a call lasts."""
    weights, rows, dim = on_gpu(WEIGHTS), on_gpu(ROWS), 2**22
    out = torch.empty(dim, device="cuda")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    kernels.weighted_sum(weights, rows, dim, seed=1, out=out)
    assert torch.cuda.max_memory_allocated() - before <= 2**26 + 4 * dim + 2**20
    assert torch.cuda.memory_allocated() == before


def test_another_device_than_the_current_one() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one GPU")
    weights = torch.from_numpy(WEIGHTS).to("cuda:1")
    with torch.cuda.device(0):
        found = kernels.weighted_sum(weights, ROWS, DIM, seed=1)
        assert torch.cuda.current_device() == 0
    assert found.device == weights.device
    assert_same(found.cpu().numpy(), reference.weighted_sum(WEIGHTS, ROWS, DIM, seed=1))
    theta = torch.zeros(6, device="cuda:1")
    with pytest.raises(ValueError, match="out is on cuda:0, but theta is on cuda:1"):
        kernels.perturb(theta, [1], WEIGHTS[:1], seed=1, out=torch.zeros(1, 6, device="cuda:0"))


def test_another_thread_may_call_first() -> None:
    from concurrent.futures import ThreadPoolExecutor

    wanted = reference.weighted_sum(WEIGHTS, ROWS, DIM, seed=1)

    def work(_: int) -> bool:
        found = kernels.weighted_sum(on_gpu(WEIGHTS), on_gpu(ROWS), DIM, seed=1)
        return found.cpu().numpy().tobytes() == wanted.tobytes()

    with ThreadPoolExecutor(4) as callers:
        assert list(callers.map(work, range(16))) == [True] * 16
