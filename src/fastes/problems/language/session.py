"""A task and a model open in this process: members answer side by side, or one after another in the model's place.

Shapes: U members of a unit, E prompts of each (its episodes); rows: members times prompts, in this order.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from fastes.errors import PolicyError, ProblemError, UserError
from fastes.noise import Generation
from fastes.policies import Policy
from fastes.policies.low_rank import LowRankPopulation
from fastes.problems.base import Outcome, Play, Session
from fastes.problems.language.greedy import Greedy
from fastes.problems.language.task import Example, Task
from fastes.problems.pulse import IDLE, NOBODY
from fastes.types import Float64Array

Prompts: TypeAlias = list[list[Sequence[int]]]
"""Of each member: tokens of each of its prompts."""

Said: TypeAlias = tuple[int, list[list[int]]]
"""A member's place in the unit, and its completions."""


class CompletionsSession(Session):
    """A task, and who answers."""

    def __init__(self, task: Task, greedy: Greedy, members_at_once: int, factor_bytes: int) -> None:
        """members_at_once: side by side, 0 for all of a unit; factor_bytes: see `LowRankPopulation`."""
        self._task, self._greedy = task, greedy
        self._members_at_once, self._factor_bytes = members_at_once, factor_bytes
        self._examples: dict[int, Example] = {}
        self._population: LowRankPopulation | None = None
        self._policy: Policy | None = None

    def prepare(self, policy: Policy) -> list[str]:
        """See `Session.prepare`: the model says one token, so that one that does not fit is told at once."""
        placed, example = policy.placed(), self._read(0)
        try:
            replace(self._greedy, most=1)(placed.module, [example.prompt], placed.device)
        except UserError:
            raise
        except Exception as error:
            raise PolicyError(
                f"the policy raised {type(error).__name__} when it was tried on a prompt of {len(example.prompt)} "
                f"tokens: {error}. Run with --debug for the traceback."
            ) from error
        if any(callable(getattr(policy.module, name, None)) for name in ("initial_state", "generate")):
            return []
        return [
            "the policy computes a whole text for each of its tokens: with initial_state() it could keep what it knows"
        ]

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        """See `Session.evaluate`."""
        play.pulse(NOBODY)
        seeds = np.unique(play.seeds).tolist()
        self._examples = {seed: self._examples.get(seed) or self._read(seed) for seed in seeds}
        play.pulse(IDLE)
        prompts = [[self._examples[seed].prompt for seed in asked] for asked in play.seeds.tolist()]
        if _has_common_products(unit):
            said = self._side_by_side(policy.placed(), unit.without(play.left_out), prompts)
        else:
            said = self._one_by_one(policy.placed(), unit, prompts, play.left_out)
        scores = _Scores(*play.seeds.shape)
        judged: dict[tuple[int, ...], tuple[float, Mapping[str, float]]] = {}  # neighbours often say the same
        for i, completions in said:
            if i in play.left_out:
                continue
            play.pulse(i)
            for episode, completion in enumerate(completions):
                key = (int(play.seeds[i, episode]), *completion)
                if key not in judged:
                    judged[key] = self._judged(unit, i, episode, *key)
                scores.write(i, episode, len(completion), *judged[key])
            play.pulse(IDLE)
        return scores.outcome(play)

    def _side_by_side(self, policy: Policy, unit: Generation, prompts: Prompts) -> Iterator[Said]:
        if self._population is None or self._policy is not policy:
            self._policy, self._population = policy, LowRankPopulation(policy, factor_bytes=self._factor_bytes)
        each = self._members_at_once or len(unit)
        for first in range(0, len(unit), each):
            part = unit.part(first, min(first + each, len(unit)))
            rows = [prompt for asked in prompts[first : first + each] for prompt in asked]
            with _told(part):
                self._population.load_(part, center=first == 0)
                with self._population.applied():
                    completions = self._greedy(policy.module, rows, policy.device)
            answered = iter(completions)
            for i in range(first, first + len(part)):
                yield i, list(itertools.islice(answered, len(prompts[i])))

    def _one_by_one(
        self, policy: Policy, unit: Generation, prompts: Prompts, left_out: Collection[int]
    ) -> Iterator[Said]:
        for i, asked in enumerate(prompts):
            if i in left_out:
                continue
            with _told(unit.part(i, i + 1)):
                policy.load_member_(unit, i)
                completions = self._greedy(policy.module, asked, policy.device)
            yield i, completions

    def _judged(
        self, unit: Generation, i: int, episode: int, seed: int, *completion: int
    ) -> tuple[float, Mapping[str, float]]:
        """Reward and statistics. Raises ProblemError naming the member and its prompt."""
        example, end = self._examples[seed], self._task.end
        where = f"member {unit.first + i} of generation {unit.index}, prompt {episode} of seed {seed}"
        said, told = list(completion), getattr(self._task, "statistics", None)
        try:
            reward = float(self._task.reward(example, said))
            statistics = {} if told is None else told(example, said)
        except Exception as error:
            raise ProblemError(
                f"problem.task raised {type(error).__name__} for {where}: {error}. Its reward must be one number, "
                f"higher is better; the completion was {said}."
            ) from error
        if not math.isfinite(reward):
            raise ProblemError(f"problem.task gave a reward of {reward} for {where}: the completion was {said}.")
        return reward, {"ended": float(end is not None and said[-1:] == [end])} | statistics

    def _read(self, seed: int) -> Example:
        """The example of a seed. Raises ProblemError if it has no prompt, or one that does not fit."""
        try:
            example = self._task.example(seed)
            prompt = [int(token) for token in example.prompt]
        except Exception as error:
            raise ProblemError(
                f"problem.task raised {type(error).__name__} when it was asked for the example of seed {seed}: {error}."
            ) from error
        if not 1 <= len(prompt) <= self._task.longest:
            raise ProblemError(
                f"problem.task gave a prompt of {len(prompt)} tokens for seed {seed}; it must have from 1 to "
                f"longest = {self._task.longest}."
            )
        outside = [token for token in prompt if not 0 <= token < self._task.vocabulary]
        if outside:
            raise ProblemError(
                f"problem.task gave a prompt with token {outside[0]} for seed {seed}; tokens are numbers from 0 to "
                f"vocabulary - 1 = {self._task.vocabulary - 1}."
            )
        return replace(example, prompt=prompt)


class _Scores:
    """What the members of a unit achieve."""

    def __init__(self, members: int, prompts: int) -> None:
        self._returns = np.full((members, prompts), math.nan)
        self._tokens = np.zeros((members, prompts))
        self._statistics: dict[str, Float64Array] = {}

    def write(self, i: int, episode: int, tokens: int, reward: float, statistics: Mapping[str, float]) -> None:
        """Of member i's completion of a prompt."""
        self._returns[i, episode], self._tokens[i, episode] = reward, tokens
        for name, value in statistics.items():
            self._statistics.setdefault(name, np.full_like(self._returns, math.nan))[i, episode] = value

    def outcome(self, play: Play) -> Outcome:
        """All of it, by member."""
        steps = self._tokens.sum(axis=1)
        means = {name: values.mean(axis=1) for name, values in self._statistics.items()}
        means["tokens"] = np.where(np.isnan(self._returns[:, 0]), math.nan, steps / self._tokens.shape[1])
        return Outcome(self._returns, steps.astype(np.uint32), statistics=means, failures=dict(play.left_out))


def _has_common_products(unit: Generation) -> bool:
    """Whether members are low-rank perturbations of one centre with one sigma, as `LowRankPopulation` takes them."""
    one_centre = unit.centers is None and unit.sigma is None and not unit.noise.parts
    return one_centre and bool(unit.noise.matrices) and bool(unit.scales.any())


@contextlib.contextmanager
def _told(unit: Generation) -> Iterator[None]:
    """Raises PolicyError naming the members for whatever is raised inside."""
    last = unit.first + len(unit) - 1
    who = f"member {unit.first}" if len(unit) == 1 else f"members {unit.first} to {last}"
    try:
        yield
    except UserError as error:
        raise type(error)(f"{who} of generation {unit.index}: {error}") from error
    except Exception as error:
        raise PolicyError(
            f"the policy raised {type(error).__name__} while {who} of generation {unit.index} went on with prompts: "
            f"{error}. Run with --debug for the traceback."
        ) from error
