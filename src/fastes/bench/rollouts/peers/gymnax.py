"""gymnax, CartPole in JAX, with the whole population in one jitted function on the one processor of JAX.

Its CartPole has Gymnasium's equations in float32. Here it starts from Gymnasium's own initial state and is never
reset, and observations and rewards come from its `step_env`, which spares it the automatic resets of its `step`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from fastes.bench.peers.jax import finished
from fastes.bench.rollouts.game import Game, Played, Player, player
from fastes.policies import MLP
from fastes.problems import gym_environments

# isort: split
# After the module above that starts JAX on one processor.
import gymnax
import jax
import jax.numpy as jnp
from gymnax.environments.classic_control.cartpole import EnvState

_AGREE = 0.85
"""Rounding in float32 moves the step at which some members let the pole fall: seen, 92 per cent agree, all steps
together to 0.5 per cent.
"""


def players(game: Game) -> list[Player]:
    """Two forms: a scan over all steps of the longest possible episode, and a loop until the last episode has ended."""
    if game.environment != "CartPole-v1" or not isinstance(game.policy, MLP):
        return []
    return [
        player(game, "JAX + gymnax, scan", _playing(game, _scanned), agree=_AGREE),
        player(game, "JAX + gymnax, while", _playing(game, _while_any), agree=_AGREE),
    ]


def _playing(game: Game, loop: Callable[..., Any]) -> Callable[[], Played]:
    widths = (game.observations, *game.policy.hidden, game.outputs)  # type: ignore[attr-defined]
    env, parameters = gymnax.make(game.environment)
    key = jax.random.key(0)  # its steps draw nothing

    def step(layers: Any, carry: Any) -> Any:
        """One member's step; of an episode that has ended nothing is counted."""
        state, active, total, steps = carry
        x = env.get_obs(state)
        for weight, bias in layers[:-1]:
            x = jnp.tanh(weight @ x + bias)
        weight, bias = layers[-1]
        _, state, reward, done, _ = env.step_env(key, state, jnp.argmax(weight @ x + bias), parameters)
        total, steps = total + reward * active, steps + active
        return state, active & ~done & (steps < game.limit), total, steps

    def playing(thetas: Any, start: Any) -> Any:
        layers = jax.vmap(lambda theta: _layers(theta, widths))(thetas)
        x, x_dot, theta, theta_dot = jnp.broadcast_to(start, (game.members, 4)).T
        time = jnp.zeros(game.members, jnp.int32)
        state = EnvState(x=x, x_dot=x_dot, theta=theta, theta_dot=theta_dot, time=time)
        carry = state, jnp.ones(game.members, bool), jnp.zeros(game.members), time
        _, _, returns, steps = loop(lambda carry: jax.vmap(step)(layers, carry), carry, game.limit)
        return returns, steps.sum()

    play = jax.jit(playing)

    made = gym_environments.make(game.environment, {})
    start = jnp.asarray(made.reset(seed=game.seed)[0])
    made.close()
    thetas = jnp.asarray(game.generation().materialize())

    def work() -> Played:
        returns, steps = finished(play(thetas, start))
        return Played(returns, int(steps))

    return work


def _scanned(step: Callable[[Any], Any], carry: Any, limit: int) -> Any:
    return jax.lax.scan(lambda carry, _: (step(carry), None), carry, length=limit)[0]


def _while_any(step: Callable[[Any], Any], carry: Any, _: int) -> Any:
    return jax.lax.while_loop(lambda carry: carry[1].any(), step, carry)


def _layers(theta: Any, widths: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Weight, [outputs, inputs], and bias of each layer, as they lie in theta."""
    layers, at = [], 0
    for inputs, outputs in itertools.pairwise(widths):
        middle, end = at + inputs * outputs, at + (inputs + 1) * outputs
        layers.append((theta[at:middle].reshape(outputs, inputs), theta[middle:end]))
        at = end
    return layers
