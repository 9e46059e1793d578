"""NS-ES, NSR-ES and NSRA-ES: Conti, Madhavan, Petroski Such, Lehman, Stanley and Clune 2018, arXiv 1712.06560; and the
progressive variant of es_pytorch.

M agents are trained, one in each generation: agent m with probability N(b_m, A) / sum_j N(b_j, A). Its members are
theta_m +- sigma epsilon_p, and the uphill direction is that of `OpenAIES` with weights

    w_i = w rank(f_i) + (1 - w) rank(N(b_i, A))

of reward f_i and of novelty, the mean distance of behaviour b_i to the k nearest in the archive A of agents'
behaviours; both are shaped by themselves. The variants differ in w, the weight of reward:

    ns             0                         nsr    1/2
    nsra           1 at first; + delta with a new best policy, - delta after `patience` updates without, from 0 to 1
    progressive    min(1, t / ramp) in generation t, counted from 0; and agents take turns instead of being chosen

The further members of a generation are theta_m itself. What they come to is looked at first: their behaviour goes into
the archive, their fitness says whether theta_m is the best policy so far. Then members are ranked, theta_m moves, and
the next agent is chosen. With M = 1 this is the order of the paper. With more, b_j is from when agent j was last
chosen, before its last update and not after it, so that nobody waits while that is evaluated; and the first M
generations are one of each agent, in order, because nothing is known of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from fastes.algorithms.ascent import check_named, check_positive, weights_of
from fastes.algorithms.base import State
from fastes.algorithms.initialisation import Beginning, Initial
from fastes.algorithms.mirrored_es import MirroredES
from fastes.algorithms.novelty_centers import unperturbed, with_known
from fastes.algorithms.novelty_choice import adapted, in_proportion, ramped
from fastes.algorithms.novelty_state import Agent, NoveltyState
from fastes.archive import Archive, Leaves, novelty
from fastes.messages import Evaluations
from fastes.noise import Generation, Perturbation, Stream, pair_weights
from fastes.schedules import Scheduled, at_first, fixed, is_scheduled
from fastes.shaping import MultiObjective
from fastes.types import Float32Array, Metrics

Variant = Literal["ns", "nsr", "nsra", "progressive"]
_WEIGHTS = {"nsr": 0.5, "nsra": 1.0}


@dataclass(frozen=True, slots=True)
class NoveltyES(MirroredES):
    """centers: members besides the pairs that are theta itself, the first facing the episodes of all others, the second
    others, and so on: their mean counts; agents: M;

    variant: what reward counts; weight: of reward in nsr, which may follow a schedule, and at first in nsra, None for
    the authors' 1/2 and 1; delta, patience: of nsra; ramp: of progressive; k: neighbours of novelty;
    archive_capacity, archive_leaves: see `Archive`; initial, initial_sigma: how agents begin, see
    `fastes.algorithms.initialisation`; all else as of `MirroredES`.

    Raises ValueError for settings out of range.
    """

    variant: Variant = "nsr"
    weight: Scheduled | None = None
    agents: int = 5
    centers: int = 1
    k: int = 10
    delta: float = 0.05
    patience: int = 15
    ramp: int = 100
    archive_capacity: int = 0
    archive_leaves: Leaves = "oldest"
    initial: Initial = "xavier"
    initial_sigma: float = 1.0

    def __post_init__(self) -> None:
        """Checks the settings."""
        MirroredES.__post_init__(self)
        check_positive(initial_sigma=self.initial_sigma)
        check_named("variant", self.variant, get_args(Variant))
        check_named("initial", self.initial, get_args(Initial))
        for name in ("agents", "centers", "k", "patience", "ramp"):
            if getattr(self, name) < 1:
                raise ValueError(f"algorithm.{name} must be at least 1, not {getattr(self, name)}.")
        self._check_weight()
        if not 0 < self.delta <= 1:
            raise ValueError(f"algorithm.delta must be above 0 and at most 1, not {self.delta}.")
        Archive(self.archive_capacity, self.archive_leaves)

    @property
    def members(self) -> int:
        """See `Algorithm`."""
        return self.population + self.centers

    @property
    def state_type(self) -> type[State]:
        """See `Algorithm`."""
        return NoveltyState

    @property
    def learns_from_behaviours(self) -> bool:
        """See `Algorithm`."""
        return True

    def _first(self, state: NoveltyState) -> State:
        beginning = Beginning.of(self.initial, state.theta, state.tensors)
        thetas = Perturbation(stream=Stream.MUTATION).perturbed(
            beginning.start(),
            np.arange(self.agents, dtype=np.uint32),
            np.full(self.agents, self.initial_sigma, np.float32),
            seed=state.seed,
            generation=0,
            sigma=beginning.spread(),
        )
        agents = tuple(Agent(theta.copy(), state.optimizer, state.conditions) for theta in thetas)
        return replace(
            state,
            theta=agents[0].theta,
            agents=agents,
            behaviours=np.zeros((self.agents, 0), np.float32),
            archive=Archive(self.archive_capacity, self.archive_leaves),
            weight=_WEIGHTS.get(self.variant, 0.0) if self.weight is None else fixed(self.weight),
        )

    def _ask(self, state: NoveltyState) -> Generation:
        pairs = MirroredES._ask(self, state.bare())
        trials = np.append(np.zeros(self.population, np.uint32), np.arange(self.centers, dtype=np.uint32))
        return replace(
            pairs,
            rows=np.append(pairs.rows, np.zeros(self.centers, np.uint32)),
            scales=np.append(pairs.scales, np.zeros(self.centers, np.float32)),
            trials=trials if self.centers > 1 else None,
        )

    def _tell(self, state: NoveltyState, evaluations: Evaluations) -> tuple[State, Metrics]:
        fitness = self._finite(state, evaluations)[: self.population]
        behaviours, agent = evaluations.behaviours, state.agents[state.present]
        assert behaviours is not None  # as `tell` has seen to
        reached, shown = unperturbed(evaluations, self.population)
        improved = reached > state.best
        archive = state.archive.added(shown, seed=state.seed, generation=state.generation)
        weight, stagnant = self._weighted(state, improved)
        novelties = novelty(behaviours[: self.population], archive.behaviours, self.k)
        both = MultiObjective(lambda values: weights_of(self.shaping, values, state), (weight, 1.0 - weight))
        weights_p = pair_weights(both(np.stack([fitness, novelties]))) / np.float32(self.population)
        theta, optimizer = self._stepped(state, agent.theta, agent.optimizer, weights_p)
        agents = list(state.agents)
        agents[state.present] = Agent(theta, optimizer, agent.conditions.after(evaluations))
        known = with_known(state.behaviours, state.present, shown)
        following = self._next(known, archive, state.seed, state.generation + 1)
        policy = {"theta": agent.theta, "conditions": agent.conditions, "best": reached} if improved else {}
        after = state.after(
            evaluations,
            **{"conditions": state.conditions} | policy,
            agents=tuple(agents),
            optimizer=agents[following].optimizer,
            present=following,
            behaviours=known,
            archive=archive,
            weight=weight,
            stagnant=stagnant,
        )
        return after, {
            "sigma": fixed(self.sigma),
            "agent": float(state.present),
            "reward_weight": weight,
            "novelty/mean": float(novelties.astype(np.float64).mean()),
            "novelty/max": float(novelties.max()),
            "archive": float(len(archive)),
            "best": after.best,
        }

    def _weighted(self, state: NoveltyState, improved: bool) -> tuple[float, int]:
        """The weight of reward in this generation, and updates since it last changed."""
        if self.variant == "nsra":
            return adapted(state.weight, state.stagnant, improved=improved, delta=self.delta, patience=self.patience)
        if self.variant == "progressive":
            return ramped(state.generation, self.ramp), 0
        return (state.weight if self.weight is None else fixed(self.weight)), 0

    def _check_weight(self) -> None:
        if self.weight is None:
            return
        if self.variant not in _WEIGHTS:
            raise ValueError(
                f"algorithm.weight is for the variants {' and '.join(_WEIGHTS)}: with {self.variant!r}, leave it out."
            )
        if self.variant == "nsra" and is_scheduled(self.weight):
            raise ValueError("algorithm.weight = a schedule is for variant 'nsr': 'nsra' adapts the weight by itself.")
        first = at_first(self.weight, "algorithm.weight")
        if not 0 <= first <= 1:
            raise ValueError(f"algorithm.weight must be from 0 to 1, not {first}.")

    def _next(self, known: Float32Array, archive: Archive, seed: int, generation: int) -> int:
        """The agent of that generation."""
        if generation < self.agents or self.variant == "progressive":
            return generation % self.agents
        return in_proportion(novelty(known, archive.behaviours, self.k), seed=seed, generation=generation)
