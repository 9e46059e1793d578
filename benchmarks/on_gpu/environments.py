"""CartPole wholly on the GPU: whole episodes as `TorchEnv` plays them, and the two halves of a step by themselves.

Episodes of members that balance the pole, so that none is over before the others and every step that is counted was
taken: theta is a controller in the shape of the policy, members are close to it. Counted is all that a unit takes:
making its members, resetting, playing, and the copy of the returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from fastes.envs.on_device import torch_episodes
from fastes.noise import Generation, environment_seeds
from fastes.policies import MLP, Policy, build
from fastes.policies.population import batched
from fastes.problems import TorchEnv
from fastes.problems.base import Play
from on_gpu import arrays
from on_gpu.measuring import Case, Contender, graphed

ENV, HIDDEN = "CartPole-v1", (64, 64)
POPULATIONS = (1_024, 4_096, 16_384, 65_536, 131_072)
STEPS, STEPS_PER_GRAPH = 128, 32
SCALE = 0.01
BALANCING = (0.6, 1.4, 2.2, 3.0)  # of position, velocity, angle and angular velocity: where to push
FLOOR = "environment steps"


def balancing(policy: Policy) -> np.ndarray:
    """Parameters of an MLP that pushes to where the pole falls: float32 [D], one path through the first units."""
    theta = np.zeros(policy.dim, np.float32)
    for entry in policy.layout.entries:
        if len(entry.shape) == 2:
            matrix = theta[entry.offset : entry.offset + entry.size].reshape(entry.shape)
            if entry.shape[1] == len(BALANCING):
                matrix[0] = BALANCING
            elif entry.shape[0] == 2:
                matrix[:, 0] = -1.0, 1.0
            else:
                matrix[0, 0] = 1.0
    return theta


def cartpole(population: int, floor: str = "") -> Case:
    """So many members with one episode each."""

    def make() -> Sequence[Contender]:
        problem = TorchEnv(ENV, max_steps=STEPS, forward="baddbmm", steps_per_graph=STEPS_PER_GRAPH)
        policy = build(MLP(HIDDEN), problem.interface(), 1)
        policy.device = torch.zeros(0, device=arrays.DEVICE).device
        scales = arrays.scales(population, mirrored=True) / np.float32(0.1) * np.float32(SCALE)
        rows = arrays.numbers(population, mirrored=True).astype(np.uint32)
        unit = Generation(arrays.SEED, 0, balancing(policy), rows, scales)
        seeds = environment_seeds(arrays.SEED, 0, 0, population, 1, common=problem.common_seeds)
        play = Play(seeds, np.zeros(population, np.uint32))
        session = problem.open()
        taken = float(session.evaluate(policy, unit, play).steps.sum())

        def check(outcome: Any) -> str:
            mean = float(outcome.returns.mean())
            if not np.array_equal(outcome.returns[:, 0], outcome.steps):
                return "returns are not the numbers of steps"
            return (
                "" if mean >= 0.95 * STEPS else f"episodes end after {mean:.1f} steps, so that most of a unit is idle"
            )

        whole = Contender(
            "whole episodes",
            lambda: session.evaluate(policy, unit, play),
            check,
            taken,
            "steps",
            ours=True,
            floor=floor,
            fields={"steps_of_an_episode": taken / population},
        )
        return [whole, forward_alone(policy, unit), environment_alone(population)]

    return Case(f"{ENV}, {population:,} members", make)


def forward_alone(policy: Policy, unit: Generation) -> Contender:
    """The policies of all members, each on one observation."""
    forward = batched(policy, len(unit), 1, (4,), "baddbmm")
    forward.load_unit_(unit)
    seen = torch.full((len(unit), 1, 4), 0.05, device=policy.device)
    replay = graphed(lambda: forward.step(seen), STEPS_PER_GRAPH)

    def work() -> Any:
        replay()
        return forward.step(seen)

    def check(outputs: Any) -> str:
        right = bool((outputs[:, 0, 1] > outputs[:, 0, 0]).double().mean() > 0.95)
        return "" if right else "the pole falls to the right, and members push to the left"

    amount = float(len(unit) * (STEPS_PER_GRAPH + 1))
    return Contender("forward alone", work, check, amount, "steps")


def environment_alone(population: int) -> Contender:
    """The environment's steps, each episode beginning anew as it ends, so that none is left out."""
    episodes, beside = (torch_episodes(ENV, population, device) for device in (arrays.DEVICE, "cpu"))
    seeds = np.arange(population, dtype=np.uint32)
    outputs = np.random.default_rng(2).standard_normal((population, 2), np.float32)
    given = arrays.on_gpu(outputs)

    def step() -> None:
        episodes.active.fill_(True)
        episodes.step(given)

    replay = graphed(step, STEPS_PER_GRAPH)
    amount = float(population * STEPS_PER_GRAPH)

    def work() -> Any:
        replay()
        return episodes

    def check(_: Any) -> str:
        for each, to in ((episodes, given), (beside, torch.from_numpy(outputs))):
            each.reset(seeds)
            for _ in range(3):
                each.step(to)
        return arrays.difference(episodes.observations, beside.observations, "observations:")

    return Contender("environment alone", work, check, amount, "steps", ours=True)


def cases(*, quick: bool) -> Iterator[Case]:
    """The largest has the floor."""
    for population in POPULATIONS[-1:] if quick else POPULATIONS:
        yield cartpole(population, FLOOR if population == POPULATIONS[-1] else "")
