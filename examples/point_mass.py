"""A point mass on a plane that has to come to rest at the origin: an environment written in torch alone.

State: position (m) and velocity (m/s), float32 [n, 2] each; the observation is both. Action: a force on a mass of 1 kg
(N), each part clipped to [-1, 1]. A step costs the distance from the origin; there, and slow, an episode ends.

    python examples/point_mass.py
"""

from __future__ import annotations

import torch

import fastes
from fastes.algorithms import OpenAIES
from fastes.envs.on_device import PureTorchEpisodes, uniform
from fastes.optim import Adam
from fastes.policies import MLP
from fastes.problems import TorchEnv

INTERVAL_S = 0.1
NEAR_M, SLOW_M_PER_S = 0.1, 0.2

State = tuple[torch.Tensor, ...]


class PointMass(PureTorchEpisodes):
    """Episodes that begin at rest, up to 1 m from the origin on each axis."""

    observation_shape = (4,)
    outputs = 2
    longest = 100

    def first(self, seeds: torch.Tensor) -> tuple[State, torch.Tensor]:
        """Where the seed says."""
        position = 2.0 * uniform(seeds, 2) - 1.0
        velocity = torch.zeros_like(position)
        return (position, velocity), torch.cat((position, velocity), 1)

    def next(self, state: State, outputs: torch.Tensor) -> tuple[State, torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of Euler's method."""
        position, velocity = state
        velocity = velocity + INTERVAL_S * outputs.clamp(-1.0, 1.0)
        position = position + INTERVAL_S * velocity
        distance, speed = position.norm(dim=1), velocity.norm(dim=1)
        arrived = (distance < NEAR_M) & (speed < SLOW_M_PER_S)
        return (position, velocity), torch.cat((position, velocity), 1), -distance, arrived


def main() -> None:
    """Trains for a few seconds, on the GPU if there is one."""
    result = fastes.train(
        TorchEnv(PointMass, episodes=4),
        MLP((16,)),
        OpenAIES(population=64, sigma=0.1, optimizer=Adam(lr=0.1)),
        generations=40,
        seed=1,
        executor="inline",
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    print(f"mean return {result.evaluation_mean:.1f}; who never pushes gets -77")


if __name__ == "__main__":
    main()
