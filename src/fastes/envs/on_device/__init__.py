"""Episodes that are stepped where the policy is: on a GPU without leaving it, or on the CPU with the same code.

    episodes = torch_episodes("CartPole-v1", 4096, "cuda")
    episodes.reset(seeds)                                  # uint32 [4096]
    for _ in range(episodes.max_steps):
        episodes.step(policy(episodes.observations))       # nothing waits, so a CUDA graph may capture it
    episodes.returns                                       # float64 [4096], on the GPU

`TorchEpisodes` is the protocol, `PureTorchEpisodes` what an environment written in plain torch is derived from.
Importing this imports torch.
"""

from __future__ import annotations

import torch

from fastes.envs import NATIVE
from fastes.envs.on_device.compiled import DYNAMICS, CompiledEpisodes
from fastes.envs.on_device.draws import uniform
from fastes.envs.on_device.episodes import TorchEpisodes
from fastes.envs.on_device.pure import PureTorchEpisodes

TORCH_EPISODES = tuple(env for env, native in NATIVE.items() if native.module in DYNAMICS)
"""The environments that have kernels, by id."""


def torch_episodes(env: str, count: int, device: torch.device | str = "cpu") -> TorchEpisodes:
    """`count` episodes of one of `TORCH_EPISODES`, the bits of `Native.episodes`, on a device.

    Raises ValueError if there is no such environment.
    """
    if env not in TORCH_EPISODES:
        raise ValueError(
            f"there is no environment {env!r} on devices; there are {', '.join(TORCH_EPISODES)}. Others can be written "
            "in torch: fastes.envs.on_device.PureTorchEpisodes."
        )
    return CompiledEpisodes(NATIVE[env], count, torch.device(device))


__all__ = ["TORCH_EPISODES", "CompiledEpisodes", "PureTorchEpisodes", "TorchEpisodes", "torch_episodes", "uniform"]
