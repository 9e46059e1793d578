"""The Open_ES of evosax, which minimises, with Adam: its own jitted `ask` and `tell`, on the one processor of JAX."""

from __future__ import annotations

from fastes.bench.contender import Contender, Size
from fastes.bench.peers.climb import LR, SIGMA, Generation, climbs
from fastes.bench.peers.jax import finished, new_keys

# isort: split
# After the module above, which starts JAX on one processor.
import optax
from evosax.algorithms import Open_ES


def generation(size: Size) -> Contender:
    """Ask, all K members in memory, tell; antithetic pairs and centered ranks as by default."""
    theta = size.theta
    strategy = Open_ES(
        population_size=size.rows,
        solution=theta,
        optimizer=optax.adam(LR),
        std_schedule=optax.constant_schedule(SIGMA),
    )
    parameters, keys = strategy.default_params, new_keys()
    state = strategy.init(next(keys), theta, parameters)

    def work() -> Generation:
        nonlocal state
        before = state.mean
        members, state = strategy.ask(next(keys), state, parameters)
        state, _ = strategy.tell(next(keys), members, -members[:, 0], state, parameters)
        finished(state)
        return Generation(before, state.mean, before, SIGMA, members, slice(size.rows // 2))

    return Contender(f"generation {size}", "evosax Open_ES", work, climbs)
