"""A work unit in lock step: one forward for all its members, one step of all their episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastes.errors import FastesError, PolicyError, ProblemError
from fastes.noise import Generation, sampled_episodes
from fastes.policies import Interface, Policy
from fastes.policies.population import Forward, batched
from fastes.policies.population.native import Native
from fastes.problems.acting import Acting
from fastes.problems.actions import Decoder, decoder
from fastes.problems.base import Outcome, Play, Session
from fastes.problems.batches.base import Batch, EpisodeError
from fastes.problems.batches.native import NativeBatch
from fastes.problems.behaviour import recorder
from fastes.problems.observations import Gathered, Seen
from fastes.problems.pulse import IDLE, no_pulse
from fastes.problems.spaces import Box
from fastes.problems.statistics import EpisodeStatistics
from fastes.problems.transitions import TransitionRecorder, transition_sizes
from fastes.schedules import number

if TYPE_CHECKING:
    from fastes.problems.rollouts import Rollouts


class LockStepSession(Session):
    """Episodes of one kind of environment. What is evaluated together is the unit, whoever evaluates it."""

    def __init__(self, problem: Rollouts) -> None:
        """Opens the environment. Raises ProblemError."""
        self._problem = problem
        self._batch: Batch = problem.batch()
        actions = self._batch.spaces.actions
        self._decoder = decoder(actions, problem.action, problem.bins, problem.action_size)
        if problem.action_noise and not isinstance(actions, Box):
            raise ProblemError(
                f"problem.action_noise is for Box actions; those of {problem.subject} are {type(actions).__name__}."
            )
        if problem.transitions:
            transition_sizes(self._batch.spaces)
        self.interface = Interface(self._batch.spaces.observation_shape, self._decoder.outputs)
        self._forwards: dict[tuple[int, int], Forward] = {}
        self._policy: Policy | None = None

    def prepare(self, policy: Policy) -> list[str]:
        """See `Session.prepare`: chooses the path of the policy's forward."""
        if self._problem.forward == "auto":
            policy.path = batched(policy, 2, self._problem.episodes, self.interface.observation_shape).path
        remarks = self._problem.remarks()
        if not self._batch.repeats():
            remarks.append(
                f"{self._problem.subject} begins another episode when it is reset with the same seed, so results "
                "depend on who plays what: draw from self.np_random, and instead of running statistics in wrappers "
                "take problem.obs_norm."
            )
        return remarks

    def close(self) -> None:
        """Closes the environments."""
        self._batch.close()

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """See `Session.evaluate`."""
        game = _Game(self._problem, self._batch, self._decoder, unit, play)
        try:
            game.play(self._forward(policy, *play.seeds.shape))
            return game.outcome()
        except EpisodeError as error:
            member, episode = divmod(error.slot, play.seeds.shape[1])
            raise ProblemError(
                f"environment {self._problem.subject} {error} when member {unit.first + member} of generation "
                f"{unit.index} played episode {episode} (reset seed {play.seeds[member, episode]}). Run with --debug "
                "for the traceback; problem.on_error = 'worst' counts such a member as the worst of its generation."
            ) from (error.__cause__ or error)
        except FastesError:
            raise
        except Exception as error:
            raise ProblemError(
                f"the policy or the environment {self._problem.subject} raised {type(error).__name__} while members "
                f"{unit.first} to {unit.first + len(unit) - 1} of generation {unit.index} were played: "
                f"{str(error).removesuffix('.')}. Run with --debug for the traceback."
            ) from error

    def _forward(self, policy: Policy, members: int, count: int) -> Forward:
        if policy is not self._policy:
            self._policy = policy
            self._forwards.clear()
        found = self._forwards.get((members, count))
        if found is None:
            path = policy.path if self._problem.forward == "auto" else self._problem.forward
            found = batched(policy, members, count, self.interface.observation_shape, path)
            self._forwards[members, count] = found
        return found


class _Game:
    """One unit that is played. n = U E slots: episode e of the unit's member m is slot m E + e."""

    def __init__(self, problem: Rollouts, batch: Batch, decoder: Decoder, unit: Generation, play: Play) -> None:
        self._problem, self._batch, self._decoder, self._unit, self._play = problem, batch, decoder, unit, play
        self._members, self._episodes = play.seeds.shape
        box = batch.spaces.actions if isinstance(batch.spaces.actions, Box) else None
        self._acting = Acting(decoder, unit, self._episodes, number(problem.action_noise, unit.index), box)
        fixed = 0 if unit.conditions.growth > 1 else unit.conditions.step_limit
        longest = min((steps for steps in (problem.max_steps, fixed) if steps), default=0)
        self._recorder = recorder(problem.behaviour, problem.behaviour_samples, longest)
        self._transitions: TransitionRecorder | None = None
        if problem.transitions:
            self._transitions = TransitionRecorder(batch.spaces, problem.reward_offset)
        self._seen = Seen(unit.conditions, batch.spaces.observation_shape)
        sampled = np.zeros(play.seeds.shape, np.bool_)
        if unit.conditions.moments is not None and problem.obs_sample_prob:
            sampled = sampled_episodes(
                unit.seed,
                unit.index,
                unit.first,
                self._members,
                self._episodes,
                problem.obs_sample_prob,
            )
        self._gathered = Gathered(sampled.reshape(-1), batch.spaces.observation_shape)

    def play(self, forward: Forward) -> None:
        """All episodes to their end."""
        batch, unit, play = self._batch, self._unit, self._play
        forward.load_unit_(unit, play.draws)
        batch.forgiving = self._problem.on_error == "worst"
        batch.pulse = no_pulse if play.pulse is no_pulse else lambda slot: play.pulse(slot // self._episodes)
        limits = [limit for limit in (self._problem.max_steps, unit.conditions.step_limit) if limit]
        left_out = frozenset(
            member * self._episodes + episode for member in play.left_out for episode in range(self._episodes)
        )
        batch.reset(play.seeds.reshape(-1), min(limits, default=0), left_out)
        if self._recorder is not None:
            self._recorder.begin(batch)
        play.pulse(IDLE)  # compiled environments always come back, a whole unit's perhaps after seconds
        if isinstance(batch, NativeBatch) and isinstance(forward, Native) and self._is_plain:
            self._check((forward.mlp.outputs,))
            batch.play(forward, self._seen, self._gathered)
        else:
            self._in_steps(forward)
        play.pulse(IDLE)
        for slot in np.flatnonzero(~np.isfinite(batch.returns)).tolist():
            batch.fail(slot, f"ended with the return {batch.returns[slot]}")

    @property
    def _is_plain(self) -> bool:
        """Whether nothing stands between outputs and actions, or between steps, but what compiled code does too."""
        looked_at = self._transitions is not None or not (self._recorder is None or self._recorder.only_end)
        return self._acting.plain and not looked_at

    def _in_steps(self, forward: Forward) -> None:
        """One forward, one step of all episodes, and again."""
        batch, play = self._batch, self._play
        step = 0  # of the episodes that are active, which began together
        while batch.running:
            if step and batch.started.any():
                forward.reset_(batch.started.reshape(self._members, self._episodes))
                step = 0
            self._gathered.add(batch)
            observations = self._seen(batch.observations)
            play.pulse(IDLE)
            outputs = forward(observations.reshape(self._members, self._episodes, *observations.shape[1:]))
            self._check(outputs.shape[2:])
            actions = self._acting(outputs, step)
            if self._transitions is not None:
                self._transitions.before(batch, actions)
            batch.step(actions)
            if self._transitions is not None:
                self._transitions.after(batch)
            if self._recorder is not None:
                self._recorder.look(batch)
            step += 1

    def outcome(self) -> Outcome:
        """What came out of it."""
        batch, shape = self._batch, (self._members, self._episodes)
        failures = dict(self._play.left_out)
        for slot, reason in sorted(batch.failures.items()):
            failures.setdefault(slot // self._episodes, reason)
        failed = np.zeros(self._members, np.bool_)
        failed[list(failures)] = True
        returns = batch.returns + self._problem.reward_offset * batch.steps
        returns[list(batch.failures)] = np.nan
        returns = returns.reshape(shape)
        returns[list(self._play.left_out)] = np.nan
        lost = np.repeat(failed, self._episodes)
        behaviours = None
        if self._recorder is not None:
            found = self._recorder.behaviours(batch, ~lost)
            behaviours = found.reshape(*shape, found.shape[1]).mean(axis=1)
        statistics = EpisodeStatistics(self._problem.statistics, batch.infos, shape)
        return Outcome(
            returns,
            batch.steps.reshape(shape).sum(axis=1, dtype=np.uint32),
            self._gathered.moments(lost, batch.steps),
            behaviours,
            statistics.scalars(),
            statistics.images(),
            failures,
            None if self._transitions is None else self._transitions.transitions(lost),
        )

    def _check(self, outputs: tuple[int, ...]) -> None:
        """outputs: shape of what the policy gave for one observation. Raises PolicyError if it is no action."""
        wanted, shape = self._decoder.outputs, self._batch.spaces.observation_shape
        if wanted and outputs != (wanted,):
            raise PolicyError(
                f"the policy gave outputs of shape {outputs} for an observation of shape {shape}; "
                f"the actions of {self._problem.subject}, {self._batch.spaces.actions}, need {(wanted,)}. Give the "
                f"last layer {wanted} output{'s' if wanted != 1 else ''}."
            )
