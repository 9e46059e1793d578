"""One step of many episodes of an environment, where a policy's outputs are: on a GPU without leaving it.

Shape legend: n episodes, S numbers of state, O of observation, A outputs of a policy. CartPole: 4, 4, 2; Pendulum: 2,
3, 1.

The arithmetic is that of `fastes.envs`, operation for operation, so episodes are the same to the bit wherever they are
stepped. No array is made and nothing waits for a GPU: a graph may capture it.
"""

from __future__ import annotations

from fastes.kernels.arrays import Array
from fastes.kernels.device import placed


def environment_step(
    name: str,
    state: Array,
    outputs: Array,
    observations: Array,
    rewards: Array,
    returns: Array,
    steps: Array,
    terminated: Array,
    active: Array,
    *,
    max_steps: int,
) -> None:
    """Steps the active episodes in place; those that are over keep everything, whatever the outputs.

    name: "cartpole" or "pendulum"; state: float64 [S, n]; outputs: float32 [n, A], of which the action is the number
    of the largest, as `numpy.argmax` gives it, or they clipped, as `numpy.clip` does; observations: float32 [n, O], of
    the state that follows; rewards: float64 [n], of this step; returns: float64 [n], to which they are added; steps:
    int32 [n], counted on; terminated: bool [n], whether the environment ended it; active: bool [n], cleared where it
    did or where max_steps, from 1 to 2^31 - 1, are taken. All of them where `state` is.

    Raises ValueError for names, dtypes, shapes, contiguity and shared memory.
    """
    place, lasting = placed(state, "state")
    plan = place.kernels.environment_step(
        name,
        lasting,
        place.view(outputs, "outputs"),
        place.view(observations, "observations"),
        place.view(rewards, "rewards"),
        place.view(returns, "returns"),
        place.view(steps, "steps"),
        place.view(terminated, "terminated"),
        place.view(active, "active"),
        max_steps,
    )
    place.carry_out(plan)
