"""Episodes on the device of the policy: observations, outputs and returns never leave it while they are played.

Shapes: U members of a unit, E episodes of each, n = U E: episode e of the unit's member m is m E + e.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from fastes.envs.on_device import TORCH_EPISODES, TorchEpisodes, torch_episodes
from fastes.errors import FastesError, PolicyError, ProblemError
from fastes.import_path import imported
from fastes.noise import Generation
from fastes.policies import Interface, Policy
from fastes.policies.population import PATHS, Forward, batched
from fastes.problems.base import Outcome, Play, Problem, Session
from fastes.problems.pulse import IDLE
from fastes.problems.repeated import Repeated

TorchFactory = Callable[[int, torch.device], TorchEpisodes]
"""From a number of episodes and a device to so many episodes there."""

_PURE_PATHS = ("baddbmm", "vmap", "low_rank")
"""Whose forward is operations on tensors alone, so that a graph can repeat it."""

_MADE_FOR_UNIT = ("low_rank",)
"""Those whose tensors are other ones for each unit; the others' are where they were."""


@dataclass(frozen=True, slots=True)
class TorchEnv(Problem):
    """Fitness is the mean return of a member's episodes, all of a unit's played together where `policy.device` says.

    env: one of `envs.on_device.TORCH_EPISODES`; or what makes `envs.on_device.TorchEpisodes` of a number of episodes
    and a device, such as a class derived from `PureTorchEpisodes`; or "module:callable" naming that.

    episodes: a member; max_steps: of an episode, 0 for no other limit than the environment's own; common_seeds: all
    members of a generation face the same episodes (common random numbers), else each its own; forward: how a unit's
    policies are evaluated, one of `policies.population.PATHS`, or "auto"; steps_per_graph: after so many steps the host
    looks whether any episode goes on, and on a GPU so many are captured as one CUDA graph, where the policy has no
    state of its own; on_error: "raise", or "worst": a member whose return is not finite counts as the worst of its
    generation.
    """

    env: str | Callable[..., Any] = "CartPole-v1"
    episodes: int = 1
    max_steps: int = 0
    common_seeds: bool = True
    forward: str = "auto"
    steps_per_graph: int = 32
    on_error: Literal["raise", "worst"] = "raise"

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        for name, least in (("episodes", 1), ("max_steps", 0), ("steps_per_graph", 1)):
            if getattr(self, name) < least:
                raise ProblemError(f"problem.{name} must be at least {least}, not {getattr(self, name)}.")
        if self.forward != "auto" and self.forward not in PATHS:
            raise ProblemError(f"problem.forward must be 'auto' or one of {', '.join(PATHS)}, not {self.forward!r}.")
        if self.on_error not in ("raise", "worst"):
            raise ProblemError(f"problem.on_error must be 'raise' or 'worst', not {self.on_error!r}.")
        if not callable(self.env) and self.env not in TORCH_EPISODES and ":" not in self.env:
            raise ProblemError(
                f"problem.env must be one of {', '.join(TORCH_EPISODES)}, or 'module:callable', not {self.env!r}; "
                "problem.kind = 'gym' plays any environment of Gymnasium, on the CPU."
            )

    @property
    def subject(self) -> str:
        """What messages call the environment."""
        return self.env if isinstance(self.env, str) else getattr(self.env, "__name__", type(self.env).__name__)

    @property
    def forgives_errors(self) -> bool:
        """See `Problem`."""
        return self.on_error == "worst"

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
        one = self.made(1, torch.device("cpu"))
        return Interface(tuple(one.observation_shape), one.outputs)

    def open(self) -> Session:
        """See `Problem.open`."""
        return TorchEnvSession(self)

    def made(self, count: int, device: torch.device) -> TorchEpisodes:
        """New episodes. Raises ProblemError if they cannot be made."""
        if isinstance(self.env, str) and self.env in TORCH_EPISODES:
            return torch_episodes(self.env, count, device)
        factory: TorchFactory = imported(self.env, ProblemError) if isinstance(self.env, str) else self.env
        try:
            made = factory(count, device)
        except Exception as error:
            raise ProblemError(
                f"problem.env = {self.subject} raised {type(error).__name__} when it was called with {count} and "
                f"{device!r}: {error}. It has to make so many episodes on that device."
            ) from error
        if not isinstance(made, TorchEpisodes):
            raise ProblemError(
                f"problem.env = {self.subject} gave a {type(made).__name__}, not fastes.envs.on_device.TorchEpisodes."
            )
        return made


class TorchEnvSession(Session):
    """Units played as a whole. Of each size that comes, the tensors stay, because graphs hold their addresses."""

    def __init__(self, problem: TorchEnv) -> None:
        """Raises ProblemError if the environment cannot be made."""
        self._problem = problem
        self.interface = problem.interface()
        self._together: dict[tuple[int, int], Together] = {}
        self._of: tuple[Policy, torch.device] | None = None

    def prepare(self, policy: Policy) -> list[str]:
        """See `Session.prepare`: chooses the path of the policy's forward."""
        if self._problem.forward == "auto":
            policy.path = batched(policy, 2, self._problem.episodes, self.interface.observation_shape).path
        remarks = []
        if not self._repeats():
            remarks.append(
                f"{self._problem.subject} begins another episode when it is reset with the same seed, so results "
                "depend on what was played before: draw by fastes.envs.on_device.uniform."
            )
        if policy.device.type == "cuda" and _has_state(policy):
            remarks.append(
                f"the policy {type(policy.module).__name__} has a state or buffers, so its steps are no CUDA graph: "
                "every kernel is launched by itself."
            )
        return remarks

    def _repeats(self) -> bool:
        """Whether a seed begins the same episode again."""
        episodes, seeds, first = self._problem.made(2, torch.device("cpu")), np.arange(2, dtype=np.uint32), []
        for _ in range(2):
            episodes.reset(seeds)
            first.append(episodes.observations.clone())
        return torch.equal(*first)

    def close(self) -> None:
        """Gives the tensors and graphs back."""
        self._together.clear()

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """See `Session.evaluate`."""
        try:
            with torch.inference_mode():
                found = self._played_by(policy, *play.seeds.shape).play(unit, play)
        except FastesError:
            raise
        except Exception as error:
            raise ProblemError(
                f"the policy or the environment {self._problem.subject} raised {type(error).__name__} while members "
                f"{unit.first} to {unit.first + len(unit) - 1} of generation {unit.index} were played: "
                f"{str(error).removesuffix('.')}. Run with --debug for the traceback."
            ) from error
        return self._outcome(*found, unit, play)

    def _played_by(self, policy: Policy, members: int, count: int) -> Together:
        if self._of is None or self._of[0] is not policy or self._of[1] != policy.device:
            self._of = policy, policy.device
            self._together.clear()
        found = self._together.get((members, count))
        if found is None:
            path = policy.path if self._problem.forward == "auto" else self._problem.forward
            forward = batched(policy, members, count, self.interface.observation_shape, path)
            episodes = self._problem.made(members * count, policy.device)
            found = Together(forward, episodes, self._problem, stateful=_has_state(policy))
            self._together[members, count] = found
        return found

    def _outcome(self, returns: Any, steps: Any, unit: Generation, play: Play) -> Outcome:
        """returns, steps: float64 [U, E]."""
        failures = dict(play.left_out)
        for member, episode in np.argwhere(~np.isfinite(returns)).tolist():
            if member in play.left_out:
                continue
            reason = f"ended with the return {returns[member, episode]}"
            if not self._problem.forgives_errors:
                raise ProblemError(
                    f"environment {self._problem.subject} {reason} when member {unit.first + member} of generation "
                    f"{unit.index} played episode {episode} (reset seed {play.seeds[member, episode]}). Run with "
                    "--debug for the traceback; problem.on_error = 'worst' counts such a member as the worst of its "
                    "generation."
                )
            failures.setdefault(member, reason)
            returns[member, episode] = np.nan
        returns[list(play.left_out)] = np.nan
        return Outcome(returns, steps.sum(axis=1).astype(np.uint32), failures=failures)


class Together:
    """The forward of U members and their n episodes on one device."""

    def __init__(self, forward: Forward, episodes: TorchEpisodes, problem: TorchEnv, *, stateful: bool) -> None:
        """stateful: whether the policy may keep something from one step to the next."""
        self._forward, self._episodes, self._problem = forward, episodes, problem
        self._shape = (forward.members, forward.batch)
        self._stateful = stateful
        capture = forward.path in _PURE_PATHS and not stateful
        self._advance = Repeated(self._steps, episodes.device, f"a step of {problem.subject}", capture=capture)

    def play(self, unit: Generation, play: Play) -> tuple[Any, Any]:
        """All episodes to their end; gives their returns and steps, float64 [U, E]."""
        episodes, each = self._episodes, self._problem.steps_per_graph
        self._forward.load_unit_(unit, play.draws)
        limits = [limit for limit in (self._problem.max_steps, unit.conditions.step_limit) if limit]
        before = episodes.max_steps
        episodes.reset(play.seeds.reshape(-1), min(limits, default=0))
        if self._forward.path in _MADE_FOR_UNIT or episodes.max_steps != before:
            self._advance.forget_()
        if play.left_out:
            episodes.active.view(self._shape)[sorted(play.left_out)] = False
        for taken in range(0, episodes.max_steps, each):
            play.pulse(IDLE)
            if taken and not bool(episodes.active.any()):  # waits for the device, as nothing else does
                break
            self._advance()
        play.pulse(IDLE)
        found = torch.stack((episodes.returns, episodes.steps.double())).view(2, *self._shape).cpu().numpy()
        return found[0].copy(), found[1]

    def _steps(self) -> None:
        """So many as are taken at a time, which may be more than the episodes have: those stay as they are then."""
        episodes = self._episodes
        seen = episodes.observations.view(*self._shape, *episodes.observation_shape)
        for _ in range(self._problem.steps_per_graph):
            # A module with a state may keep what it is given as that; the observations change in place.
            outputs = self._forward.step(seen.clone() if self._stateful else seen)
            if outputs.shape[2:] != (episodes.outputs,):
                raise PolicyError(
                    f"the policy gave outputs of shape {tuple(outputs.shape[2:])} for an observation of shape "
                    f"{tuple(episodes.observation_shape)}; {self._problem.subject} needs {(episodes.outputs,)}. Give "
                    f"the last layer {episodes.outputs} output{'s' if episodes.outputs != 1 else ''}."
                )
            episodes.step(outputs.reshape(episodes.count, episodes.outputs).float())


def _has_state(policy: Policy) -> bool:
    """Whether its module may keep something from one step to the next."""
    return hasattr(policy.module, "initial_state") or any(True for _ in policy.module.buffers())
