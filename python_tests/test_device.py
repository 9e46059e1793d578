"""fastes.device: names of devices, and which one a process gets; that what the device changes is no training state."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import specimens
import torch

import fastes
from fastes import config, device
from fastes.errors import ConfigError
from fastes.evaluator import Evaluator
from fastes.executors.pool import _start_method
from fastes.noise import Generation
from fastes.policies import MLP, Policy, build
from fastes.policies.population import batched
from fastes.run_directory import replay

CARTPOLE = fastes.problems.Gym("CartPole-v1", max_steps=60)


@pytest.fixture
def _two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: True, device_count=lambda: 2))


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:13"])
def test_names(name: str) -> None:
    device.check_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda 1", "mps"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match=r"device must be 'cpu', 'cuda' or 'cuda:N'"):
        device.check_device(name)


@pytest.mark.usefixtures("_two_gpus")
def test_each_process_has_a_gpu_in_turn() -> None:
    assert [str(device.device_of("cuda", process)) for process in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert str(device.device_of("cuda:1", 0)) == "cuda:1"
    assert [device.is_here(name) for name in ("cpu", "cuda", "cuda:1", "cuda:2")] == [True, True, True, False]
    assert [device.processes_on(name, 16) for name in ("cpu", "cuda", "cuda:1")] == [16, 2, 1]
    with pytest.raises(ConfigError, match="it sees 2 GPUs"):
        device.device_of("cuda:2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_run_without_the_gpu_that_it_names() -> None:
    for executor in ("inline", "local"):
        with pytest.raises(ConfigError, match=r"device = 'cuda', but torch .* sees no GPU.*take device = 'cpu'"):
            fastes.train(CARTPOLE, MLP(), executor=executor, generations=1, device="cuda")
    with pytest.raises(ConfigError, match="device must be"):
        fastes.train(CARTPOLE, MLP(), executor="inline", generations=1, device="gpu")


def test_who_stands_in_decides_for_every_device() -> None:
    evaluator = Evaluator(CARTPOLE, build(MLP(hidden=(8,)), CARTPOLE.interface(), 1), 2, "cuda")
    evaluator.stand_in()
    evaluator.prepare()
    assert (evaluator.device, evaluator.policy.path) == ("cpu", "baddbmm")
    assert evaluator.on("cuda").device == "cuda"
    assert evaluator.on("cpu") is evaluator
    evaluator.close()


@pytest.mark.cuda
@pytest.mark.parametrize("path", ["baddbmm", "vmap", "low_rank"])
def test_a_forward_on_a_gpu(path: str, gpu: str) -> None:
    policy = build(MLP(hidden=(64, 64)), CARTPOLE.interface(), 1)
    noise = fastes.noise.Perturbation.named("low_rank", 1, policy.tensors)
    rows, scales = np.arange(8, dtype=np.uint32) // 2, np.tile(np.array([0.1, -0.1], np.float32), 4)
    unit = Generation(3, 5, policy.theta(), rows, scales, noise)
    expected = batched(policy, 8, 3, (4,), path)
    observations = np.random.default_rng(1).normal(size=(8, 3, 4)).astype(np.float32)
    expected.load_unit_(unit)
    policy.device = torch.device(gpu)
    there = batched(policy, 8, 3, (4,), path)
    there.load_unit_(unit)
    assert there.path == path
    np.testing.assert_allclose(there(observations), expected(observations), atol=1e-5)
    if path != "low_rank":
        assert there._stacked.thetas.cpu().numpy().tobytes() == unit.materialize().tobytes()


def test_what_a_device_cannot_have() -> None:
    low_rank = fastes.problems.Gym("CartPole-v1", forward="low_rank")
    with pytest.raises(ConfigError, match=r"problem.forward = 'low_rank' is for .*: set algorithm.noise = 'low_rank'"):
        fastes.train(low_rank, MLP(), executor="inline", generations=1, reporters=[])
    with pytest.raises(ConfigError, match=r"start_method = 'fork' cannot be had with device = 'cuda': take 'auto'"):
        _start_method("fork", "cuda")
    assert _start_method("auto", "cuda") == "spawn"


@pytest.mark.cuda
def test_a_convolution_on_a_gpu(gpu: str) -> None:
    """Products of float32, not of what is left of it at 10 bits."""
    layers = torch.nn.Conv2d(4, 16, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 64, 2)
    policy = Policy(torch.nn.Sequential(*layers))
    policy.device = torch.device(gpu)
    with device.working_on(policy.device):
        assert batched(policy, 4, 3, (4, 12, 12)).path == "vmap"


@pytest.mark.cuda
@pytest.mark.parametrize("noise", ["normal", "low_rank"])
@pytest.mark.parametrize("kind", ["torch_loss", "torch_env", "completions"])
def test_whole_runs_on_a_gpu(kind: str, noise: str, gpu: str, tmp_path: Path) -> None:
    forward = {"forward": "low_rank"} if noise == "low_rank" and kind != "completions" else {}
    tables = {
        "torch_loss": {"problem": {"data": "specimens:blobs", "batch_size": 16}, "policy": {"kind": "mlp"}},
        "torch_env": {"problem": {"env": "CartPole-v1", "max_steps": 50}, "policy": {"kind": "mlp"}},
        "completions": {
            "problem": {"task": "tiny_language:Repeat", "max_new_tokens": 4},
            "policy": {"kind": "tiny_language:Recomputes"},
        },
    }[kind]
    tables["problem"] |= {"kind": kind} | forward
    run = {"seed": 1, "generations": 2, "unit_size": 4, "device": gpu, "executor": {"kind": "inline"}}
    algorithm = {"population": 8, "noise": noise}
    result = specimens.run(run | tables | {"algorithm": algorithm, "output": {"dir": str(tmp_path / "run")}})
    again = config.algorithm(config.read_tables(tmp_path / "run" / "config.toml"))
    assert replay(tmp_path / "run" / "journal.bin", again, None, print).digest() == result.digest


@pytest.mark.cuda
@pytest.mark.parametrize("noise", ["normal", "low_rank"])
def test_a_run_on_a_gpu_is_replayed_on_the_cpu(noise: str, gpu: str, tmp_path: Path) -> None:
    """Fitness may differ by roundings; what is made of the same fitness may not."""
    algorithm = fastes.algorithms.OpenAIES(population=16, noise=noise, optimizer=fastes.optim.Adam(lr=0.05))
    run = fastes.train(
        CARTPOLE, MLP(), algorithm, generations=3, executor="inline", device=gpu, output=tmp_path / "run", reporters=[]
    )
    assert replay(tmp_path / "run" / "journal.bin", algorithm, None, print).digest() == run.digest
