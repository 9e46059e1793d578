"""Evolution-based Soft Actor-Critic: Suri, Shi, Plataniotis and Lawryshyn 2020, arXiv 2007.13690.

A generation has P mirrored pairs c +- sigma epsilon_p around the centre c of an evolution strategy; the centre itself
and the actor of a Soft Actor-Critic (SAC) learner, each `trials` times on other episodes; and `children`: crossovers of
the last generation's elite with that actor. Then

* all their steps go to the learner's replay buffer, and it makes `updates_per_step` updates for each of them;
* with weights w from the shaped fitness of n = 2 P + 1 + children members, all but the centre and the actor in its
  further trials, the centre moves along

      g = (1 / n) (sum_p (w_p+ - w_p-) epsilon_p + sum_k w_k d_k),      d_k = (x_k - c) / sigma

  for the actor and the children x_k, d_k being no longer than sqrt(D), as a perturbation is: what is farther away than
  that counts as a direction;
* sigma is tuned (`mutation`), and the elite is crossed with the actor that the learner now has (`crossover`).

A run's theta is the better of centre and actor by the mean of their trials, as they were evaluated.

The learner's arithmetic is torch's, so that a run is the same to the bit on one machine with one set of versions, and
cannot be made again from fitness: see docs/algorithms/esac.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from fastes.algorithms.ascent import (
    ShapingSetting,
    check_named,
    check_noise,
    check_pairs,
    check_positive,
    check_shaping,
    check_types,
    perturbation,
    weights_of,
)
from fastes.algorithms.base import Algorithm, State
from fastes.algorithms.esac.crossover import crossed
from fastes.algorithms.esac.learner import ACTIVATIONS, ActorShape, Learning, first_vector, learner
from fastes.algorithms.esac.mutation import tuned
from fastes.algorithms.esac.pull import pull
from fastes.algorithms.esac.state import ESACState
from fastes.conditions import Conditions
from fastes.errors import ConfigError, PolicyError
from fastes.messages import Evaluations, Transitions
from fastes.noise import Generation, mirrored_rows, mirrored_signs, pair_weights
from fastes.optim import Adam, Optimizer, OptimizerState
from fastes.shaping import finite_fitness
from fastes.shaping.finite import NanFitness
from fastes.types import Float32Array, Metrics

if TYPE_CHECKING:
    from fastes.policies import Interface, Policy
    from fastes.problems import Problem

_CENTER, _ACTOR = 0, 1  # places in a generation's theta; the children follow


@dataclass(frozen=True, slots=True)
class ESAC(Algorithm):
    """population: 2 P, members of the mirrored pairs; sigma: at the start; trials: of centre and actor a generation;
    children: of elite and actor, 0 for none; tuning, tuning_limit: rate and limit of sigma's tuning, see `mutation`;
    shaping, noise, rank, nan_fitness: as of `OpenAIES`.

    Of the learner: updates_per_step: of environment steps; learning_starts: steps that have to be there before;
    buffer_size: steps that are kept; batch_size, learning_rate, gamma, tau: as of stable-baselines3; entropy: its
    coefficient, 0 to learn it; critic_hidden: widths of the critics, none for the policy's; activation: the policy's.

    Raises ValueError for settings out of range.
    """

    population: int = 16
    sigma: float = 0.05
    optimizer: Optimizer = field(default_factory=Adam)
    trials: int = 2
    children: int = 4
    tuning: float = 0.005
    tuning_limit: float = 1e-4
    shaping: ShapingSetting = "centered_ranks"
    noise: str = "normal"
    rank: int = 1
    nan_fitness: NanFitness = "raise"
    updates_per_step: float = 0.2
    learning_starts: int = 1000
    buffer_size: int = 100_000
    batch_size: int = 256
    learning_rate: float = 3e-4
    gamma: float = 0.99
    tau: float = 0.005
    entropy: float = 0.0
    critic_hidden: tuple[int, ...] = ()
    activation: str = "relu"

    def __post_init__(self) -> None:
        """Checks the settings; a list of widths will do."""
        object.__setattr__(self, "critic_hidden", tuple(self.critic_hidden))
        check_types(self)
        check_pairs(self.population)
        check_positive(sigma=self.sigma, learning_rate=self.learning_rate)
        check_shaping(self.shaping)
        check_noise(self.noise, self.rank)
        check_named("nan_fitness", self.nan_fitness, get_args(NanFitness))
        check_named("activation", self.activation, ACTIVATIONS)
        for name, least in (("trials", 1), ("children", 0), ("learning_starts", 1), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"algorithm.{name} must be at least {least}, not {getattr(self, name)}.")
        for name in ("tuning", "tuning_limit", "updates_per_step", "entropy"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"algorithm.{name} must not be negative and finite, not {getattr(self, name)}.")
        if not 0 <= self.gamma <= 1 or not 0 < self.tau <= 1:
            raise ValueError(
                "algorithm.gamma must be from 0 to 1, and algorithm.tau above 0 and at most 1, not "
                f"{self.gamma} and {self.tau}."
            )
        if self.children > self.population:
            raise ValueError(
                f"algorithm.children must be at most the population, {self.population}, not {self.children}: each has "
                "another member of the elite."
            )
        if self.buffer_size < self.learning_starts:
            raise ValueError(
                f"algorithm.buffer_size must hold the {self.learning_starts} steps of algorithm.learning_starts, not "
                f"{self.buffer_size}."
            )
        if not all(width > 0 for width in self.critic_hidden):
            raise ValueError(f"algorithm.critic_hidden must be widths above 0, not {self.critic_hidden}.")

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population + 2 * self.trials + self.children

    @property
    def vectors(self) -> int:
        """See `Algorithm`."""
        return 2 + self.children

    @property
    def state_type(self) -> type[State]:
        """See `Algorithm`."""
        return ESACState

    @property
    def learns_from_transitions(self) -> bool:
        """See `Algorithm`."""
        return True

    @property
    def replays(self) -> bool:
        """See `Algorithm`."""
        return False

    def check(self, problem: Problem, policy: Policy, interface: Interface) -> None:
        """See `Algorithm`: the learner's actor has to be the policy."""
        if not getattr(problem, "transitions", False):
            raise ConfigError("algorithm.kind = 'esac' learns from every step: set problem.transitions = true.")
        if getattr(problem, "action", None) != "tanh":
            raise ConfigError("algorithm.kind = 'esac' squashes actions by tanh: set problem.action = 'tanh'.")
        try:
            shape = ActorShape.of(policy.tensors)
        except ValueError as error:
            raise ConfigError(str(error)) from error
        actor = learner(shape, self._learning)
        vector = actor.vector()
        vector[: policy.dim] = policy.theta()
        actor.load_(vector)
        if not actor.acts_as(policy, interface.observation_shape):
            raise ConfigError(
                "algorithm.kind = 'esac' needs a policy that computes what the learner's actor does: policy.kind = "
                f"'mlp' with policy.activation = {self.activation!r}, that of algorithm.activation, and no activation "
                "after the last layer."
            )
        Algorithm.check(self, problem, policy, interface)

    @property
    def _learning(self) -> Learning:
        return Learning(
            self.learning_rate,
            self.gamma,
            self.tau,
            self.batch_size,
            self.entropy,
            self.critic_hidden,
            self.activation,
        )

    def _first(self, state: ESACState) -> State:
        theta, shape = state.theta, ActorShape.of(state.tensors)
        width = Transitions.width(shape.observation, shape.action)
        return replace(
            state,
            center=theta,
            actor=theta,
            children=np.repeat(theta[np.newaxis], self.children, axis=0),
            sigma=self.sigma,
            learner=first_vector(shape, self._learning, theta, state.seed),
            buffer=np.zeros((0, width), np.float32),
        )

    def _ask(self, state: ESACState) -> Generation:
        pairs, single = self.population, 2 * self.trials + self.children
        rows = np.concatenate([mirrored_rows(pairs), np.zeros(single, np.uint32)])
        scales = np.concatenate([mirrored_signs(pairs) * np.float32(state.sigma), np.zeros(single, np.float32)])
        places = [_CENTER] * (pairs + self.trials) + [_ACTOR] * self.trials + [2 + k for k in range(self.children)]
        trials = [0] * pairs + 2 * list(range(self.trials)) + [0] * self.children
        return Generation(
            state.seed,
            state.generation,
            np.concatenate([state.center[np.newaxis], state.actor[np.newaxis], state.children]),
            rows,
            scales,
            perturbation(state, self.noise, self.rank),
            conditions=state.conditions,
            centers=np.array(places, np.uint32),
            trials=np.array(trials, np.uint32),
        )

    def _tell(self, state: ESACState, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = finite_fitness(evaluations.fitness, self.nan_fitness, state.generation)
        parts = np.split(fitness, np.cumsum([self.population, self.trials, self.trials]))
        center, actor = (float(np.mean(part, dtype=np.float64)) for part in parts[1:3])
        scores = np.concatenate([parts[0], parts[2][:1], parts[3]])  # all on the same episodes
        moved, optimizer = self._moved(state, scores)
        steps = evaluations.transitions
        assert steps is not None  # as was checked
        after = state.after(
            evaluations,
            theta=state.actor if actor > center else state.center,
            center=moved,
            optimizer=optimizer,
            sigma=tuned(state.sigma, scores, self.tuning, self.tuning_limit),
            buffer=np.concatenate([state.buffer, steps.rows])[-self.buffer_size :],
        )
        after, metrics = self._learned(after, steps)
        best = {"child": float(parts[3].max())} if self.children else {}
        metrics |= {"sigma": state.sigma, "center": center, "actor": actor, "buffer": float(len(after.buffer))} | best
        return replace(after, children=self._crossed(state, parts[0], after.actor)), metrics

    def _moved(self, state: ESACState, scores: Float32Array) -> tuple[Float32Array, OptimizerState]:
        """The centre after a step. scores: float32 [n], of the pairs' members, the actor, the children."""
        weights = weights_of(self.shaping, scores, state) / np.float32(len(scores))
        pairs = pair_weights(weights[: self.population])
        gradient = perturbation(state, self.noise, self.rank).weighted_sum(
            pairs,
            np.arange(len(pairs), dtype=np.uint32),
            state.center.size,
            seed=state.seed,
            generation=state.generation,
        )
        others = np.concatenate([state.actor[np.newaxis], state.children])
        gradient += pull(state.center, others, weights[self.population :], state.sigma)
        return self.optimizer.apply(state.center, state.optimizer, gradient)

    def _learned(self, state: ESACState, steps: Transitions) -> tuple[ESACState, Metrics]:
        """The state with what the learner makes of its buffer, which has these steps already."""
        updates = int(self.updates_per_step * len(steps.rows))
        if updates == 0 or len(state.buffer) < self.learning_starts:
            return state, {"updates": 0.0}
        made = learner(ActorShape.of(state.tensors), self._learning)
        made.load_(state.learner)
        kept = _normalised(replace(steps, rows=state.buffer), state.conditions)
        losses = made.train_(kept, updates, state.seed, state.generation)
        vector = made.vector()
        if not np.isfinite(vector).all():
            raise PolicyError(
                f"the learner's parameters are not finite after generation {state.generation}: lower "
                f"algorithm.learning_rate, {self.learning_rate}, or look at how large rewards are."
            )
        state = replace(state, learner=vector, actor=vector[: state.theta.size].copy())
        return state, {"updates": float(updates)} | losses

    def _crossed(self, state: ESACState, fitness: Float32Array, actor: Float32Array) -> Float32Array:
        """The elite of a generation, each crossed with the actor: float32 [K, D]. fitness: float32 [2 P]."""
        generation = self._ask(state)
        elite = np.argsort(-fitness, kind="stable")[: self.children]
        made = [
            crossed(
                generation.member(member),
                actor,
                state.tensors,
                seed=state.seed,
                generation=state.generation,
                row=child,
            )
            for child, member in enumerate(elite.tolist())
        ]
        return np.stack(made) if made else state.children


def _normalised(steps: Transitions, conditions: Conditions) -> Transitions:
    """As policies see them under these conditions."""
    if conditions.moments is None and not conditions.clip:
        return steps
    from fastes.problems.observations import Seen  # which imports torch, that other algorithms do without

    seen = Seen(conditions, (steps.observation,))
    changed = replace(steps, rows=steps.rows.copy())
    changed.observations[:] = seen(steps.observations)
    changed.next_observations[:] = seen(steps.next_observations)
    return changed
