"""Episodes of an environment as a problem: what all kinds of environments share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from fastes.conditions import Conditions, Moments
from fastes.errors import ProblemError
from fastes.policies import Interface
from fastes.policies.normalised import normalised
from fastes.policies.population import PATHS
from fastes.problems.actions import ActionFunction, decoder
from fastes.problems.base import Problem
from fastes.problems.batches.base import Batch
from fastes.problems.behaviour import BehaviourFunction, recorder
from fastes.problems.lock_step import LockStepSession
from fastes.problems.transitions import transition_sizes
from fastes.schedules import Schedule, Scheduled, at_first

if TYPE_CHECKING:
    from torch import nn

_NORMALISED_CLIP = 5.0
_MOST_BEHAVIOUR = 2**16  # numbers: how many they are is only known when an episode was played


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollouts(Problem):
    """Fitness is the mean return of a member's episodes. All members of a work unit are played in lock step.

    episodes: a member; max_steps: of an episode, 0 for no other limit than the environment's own; common_seeds: all
    members of a generation face the same episodes (common random numbers), else each its own;
    forward: how a unit's policies are evaluated, one of `policies.population.PATHS`, or "auto".

    Observations: obs_norm: subtract the mean and divide by the standard deviation of those seen before the
    generation; obs_sample_prob: share of the episodes whose observations are gathered for that; obs_clip: clip them to
    -obs_clip .. obs_clip, 0 for not, None for 5 with obs_norm and not without.

    Actions: action, bins, action_size: see `actions.decoder`; action_noise: standard deviation of normal noise that is
    added to Box actions in training, in units of the action.

    Training only: step_budget: environment steps of a generation, shared out equally: an episode is cut off after its
    part, 0 for none; episode_cutoff: steps after which an episode is cut off, 0 for none; cutoff_growth, cutoff_share:
    it grows to cutoff_growth times itself, within the budget, after a generation in which cutoff_share of the members
    reached it;
    reward_offset: added to every reward, such as -1 against a bonus of 1 for being alive.

    behaviour: what novelty is measured in, the mean over a member's episodes, see `behaviour`; behaviour_samples:
    observations of a trajectory; transitions: record every step of the members' episodes, for an algorithm that learns
    from them, see `transitions`; statistics: names in the info of an episode's last step to report, with dots into
    dicts; on_error: "raise", or "worst": a member whose environment raises, hangs or gives what is not finite counts as
    the worst of its generation.
    """

    episodes: int = 1
    max_steps: int = 0
    common_seeds: bool = True
    forward: str = "auto"
    obs_norm: bool = False
    obs_sample_prob: float = 0.1
    obs_clip: float | None = None
    action: str | ActionFunction = "auto"
    bins: int = 5
    action_size: int = 0
    action_noise: Scheduled = 0.0
    step_budget: int = 0
    episode_cutoff: int = 0
    cutoff_growth: float = 1.0
    cutoff_share: float = 0.5
    reward_offset: float = 0.0
    behaviour: str | BehaviourFunction = "none"
    behaviour_samples: int = 10
    transitions: bool = False
    statistics: tuple[str, ...] = ()
    on_error: Literal["raise", "worst"] = "raise"

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        names = (self.statistics,) if isinstance(self.statistics, str) else tuple(self.statistics)
        object.__setattr__(self, "statistics", names)
        for name, least in (
            ("episodes", 1),
            ("max_steps", 0),
            ("step_budget", 0),
            ("episode_cutoff", 0),
            ("action_size", 0),
            ("cutoff_growth", 1),
        ):
            value = getattr(self, name)
            if not least <= value < math.inf:
                raise ProblemError(f"problem.{name} must be at least {least}, not {value}.")
        if not 0 <= at_first(self.action_noise) < math.inf:
            raise ProblemError(f"problem.action_noise must be at least 0, not {at_first(self.action_noise)}.")
        if isinstance(self.action_noise, Schedule) and self.action_noise.begin():
            kind = self.action_noise.kind
            raise ProblemError(f"problem.action_noise cannot follow a {kind}: that is for settings of the algorithm.")
        if not 0 <= self.obs_sample_prob <= 1 or not 0 < self.cutoff_share <= 1:
            raise ProblemError(
                "problem.obs_sample_prob must be from 0 to 1 and problem.cutoff_share above 0 and at most 1, not "
                f"{self.obs_sample_prob} and {self.cutoff_share}."
            )
        if self.obs_clip is not None and not 0 <= self.obs_clip < math.inf:
            raise ProblemError(f"problem.obs_clip must be above 0, or 0 for none, not {self.obs_clip}.")
        if self.cutoff_growth > 1 and not (self.episode_cutoff or self.step_budget):
            raise ProblemError("problem.cutoff_growth needs an episode_cutoff that can grow.")
        if not math.isfinite(self.reward_offset):
            raise ProblemError(f"problem.reward_offset must be finite, not {self.reward_offset}.")
        if self.forward != "auto" and self.forward not in PATHS:
            raise ProblemError(f"problem.forward must be 'auto' or one of {', '.join(PATHS)}, not {self.forward!r}.")
        if self.on_error not in ("raise", "worst"):
            raise ProblemError(f"problem.on_error must be 'raise' or 'worst', not {self.on_error!r}.")
        recorder(self.behaviour, self.behaviour_samples)

    @abstractmethod
    def batch(self) -> Batch:
        """Environments for episodes in lock step, in this process. Raises ProblemError if they cannot be made."""

    @property
    @abstractmethod
    def subject(self) -> str:
        """What messages call the environment."""

    def remarks(self) -> list[str]:
        """What the user should know of how the environment is run."""
        return []

    @property
    def forgives_errors(self) -> bool:
        """See `Problem`."""
        return self.on_error == "worst"

    @property
    def most_behaviour(self) -> int:
        """See `Problem`."""
        return 0 if self.behaviour == "none" else _MOST_BEHAVIOUR

    @property
    def transition_sizes(self) -> tuple[int, int]:
        """See `Problem`."""
        if not self.transitions:
            return 0, 0
        batch = self.batch()
        try:
            return transition_sizes(batch.spaces)
        finally:
            batch.close()

    @property
    def episodes_per_member(self) -> int:
        """See `Problem`."""
        return self.episodes

    @property
    def common_random_numbers(self) -> bool:
        """See `Problem`."""
        return self.common_seeds

    def interface(self) -> Interface:
        """See `Problem.interface`."""
        batch = self.batch()
        try:
            outputs = decoder(batch.spaces.actions, self.action, self.bins, self.action_size).outputs
            return Interface(batch.spaces.observation_shape, outputs)
        finally:
            batch.close()

    def open(self) -> LockStepSession:
        """See `Problem.open`."""
        return LockStepSession(self)

    def conditions(self, interface: Interface, members: int) -> Conditions:
        """See `Problem.conditions`."""
        share = self.step_budget // (members * self.episodes)
        if self.step_budget and share == 0:
            raise ProblemError(
                f"problem.step_budget = {self.step_budget} is less than a step for each of the {members} members and "
                f"their {self.episodes} episodes. Raise it."
            )
        return Conditions(
            moments=Moments.none(interface.observation_size) if self.obs_norm else None,
            clip=self._clip,
            step_limit=min((limit for limit in (self.episode_cutoff, share) if limit), default=0),
            growth=self.cutoff_growth,
            share=self.cutoff_share,
            episodes=self.episodes,
            ceiling=share,
        )

    def for_evaluation(self) -> Self:
        """See `Problem.for_evaluation`: whole episodes, the environment's own rewards, no noise on actions."""
        # Equal to this one where nothing is for training only: then the centre is played in the same environments.
        sampled = 0.0 if self.obs_norm else self.obs_sample_prob
        training_only: dict[str, Any] = {"action_noise": 0.0, "reward_offset": 0.0, "transitions": False}
        return replace(self, **training_only, obs_sample_prob=sampled, behaviour="none")

    def exported(self, module: nn.Module, interface: Interface, conditions: Conditions) -> nn.Module:
        """See `Problem.exported`: with the normalisation of observations."""
        if conditions.moments is None and conditions.clip == 0:
            return module
        shape = interface.observation_shape
        moments = conditions.moments or Moments.none(math.prod(shape))
        mean, scale = moments.normalisation()
        if conditions.moments is None:
            mean, scale = mean * 0, scale * 0 + 1
        return normalised(module, mean.reshape(shape), scale.reshape(shape), conditions.clip)

    @property
    def _clip(self) -> float:
        if self.obs_clip is None:
            return _NORMALISED_CLIP if self.obs_norm else 0.0
        return self.obs_clip
