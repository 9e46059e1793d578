"""Steps of the optimizer that all ranks take together: each makes its slice of theta and of the moments.

Rank 0's state is whole after each step. The others keep their slices of the moments, which are sent to them only before
a step from another state than the last one led to: the first, also of a run that is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastes.executors.mpi.parcels import STEP
from fastes.executors.mpi.slices import Slices
from fastes.executors.mpi.step import Step
from fastes.executors.mpi.theta import NodeTheta
from fastes.executors.mpi.world import World
from fastes.optim import WHOLE, Optimizer, OptimizerState, Part
from fastes.schedules import Scheduled
from fastes.types import Float32Array, UInt32Array


class Shard:
    """One rank's part of the steps. `take` and `free` are called together, by all ranks."""

    def __init__(self, world: World, theta: NodeTheta, optimizer: Optimizer) -> None:
        """theta: of this rank's node."""
        self._world, self._theta, self._optimizer = world, theta, optimizer
        self._slices: Slices | None = None
        self._moments: dict[str, Float32Array] = {}
        self.last: OptimizerState | None = None  # on rank 0, whose arrays all ranks have their slices of

    def take(self, step: Step, state: OptimizerState | None = None) -> OptimizerState:
        """Changes the nodes' theta. state: on rank 0 before the step; gives the one after it there, elsewhere nothing
        of use.
        """
        slices = self._slices_of(step.dim)
        if step.is_new:
            given = {} if state is None else state.arrays
            self._moments = {name: slices.scattered(given.get(name)) for name in step.names}
        theta, after = slices.of(self._theta.array), OptimizerState(self._moments, step.scalars)
        if slices.size:
            with self._world.own_threads():
                theta, after = self._optimizer.at(step.numbers).step(
                    theta,
                    after,
                    step.weights,
                    step.rows,
                    seed=step.seed,
                    generation=step.generation,
                    kind=step.kind,
                    stream=step.stream,
                    part=slices.part,
                )
        self._moments = after.arrays
        self._theta.put_together(slices, theta)
        return OptimizerState({name: slices.gathered(after.arrays[name]) for name in step.names}, after.scalars)

    def free(self) -> None:
        """Together."""
        if self._slices is not None:
            self._slices.free()
            self._slices = None

    def _slices_of(self, dim: int) -> Slices:
        if self._slices is None or self._slices.dim != dim:
            self.free()
            self._slices = Slices(self._world, dim)
        return self._slices


class Sharded(Optimizer):
    """On rank 0: an optimizer whose steps all ranks take, to the same bits."""

    def __init__(
        self,
        optimizer: Optimizer,
        world: World,
        theta: NodeTheta,
        shard: Shard,
        numbers: Mapping[str, float] | None = None,
    ) -> None:
        """optimizer: that of the shards of all ranks; numbers: of its schedules, at present."""
        self._optimizer, self._world, self._theta, self._shard = optimizer, world, theta, shard
        self._numbers = dict(numbers or {})

    def schedules(self) -> dict[str, Scheduled]:
        """See `Optimizer`."""
        return self._optimizer.schedules()

    def at(self, numbers: Mapping[str, float]) -> Optimizer:
        """See `Optimizer`."""
        return Sharded(self._optimizer, self._world, self._theta, self._shard, numbers)

    def init(self, dim: int, tensors: Sequence[tuple[int, ...]] = ()) -> OptimizerState:
        """See `Optimizer`."""
        return self._optimizer.init(dim, tensors)

    def step(
        self,
        theta: Float32Array,
        state: OptimizerState,
        weights: Float32Array,
        rows: UInt32Array,
        *,
        seed: int,
        generation: int,
        kind: str = "normal",
        stream: int = 0,
        part: Part = WHOLE,
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer`; of the whole only."""
        assert part is WHOLE
        names, is_new = list(state.arrays), state is not self._shard.last
        step = Step(
            weights, rows, seed, generation, kind, theta.size, state.scalars, names, is_new, stream, self._numbers
        )
        with self._world.counted_on():
            self._theta.show(theta)
            self._world.told(STEP + step.packed())
            self._shard.last = after = self._shard.take(step, state)
            return self._theta.taken(theta.size), after

    def apply(
        self, theta: Float32Array, state: OptimizerState, gradient: Float32Array
    ) -> tuple[Float32Array, OptimizerState]:
        """See `Optimizer`; on rank 0 alone."""
        return self._optimizer.at(self._numbers).apply(theta, state, gradient)
