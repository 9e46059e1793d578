"""Language models: fitness is the mean reward of greedy completions (Qiu et al. 2025, arXiv 2509.24372; Sarkar et al.
2025, arXiv 2511.16652, section 6).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastes.errors import ProblemError
from fastes.policies import Interface
from fastes.problems.base import Problem, Session
from fastes.problems.language import CompletionsSession, Greedy, TaskSpec, opened_task


@dataclass(frozen=True, slots=True)
class Completions(Problem):
    """Fitness is the mean reward of what a causal language model says to prompts, the likeliest token each time.

    task: prompts and rewards (`language.Task`): an object, a class or function that gives one, or "module:callable"
    naming it; task_args: its arguments. prompts_per_member: E; each prompt is that of an episode's seed.
    max_new_tokens: of a completion, which ends earlier with the task's token for that. common_seeds: all members of a
    generation, or of a group (`OpenAIES.groups`), are asked the same, else each member something else.

    Which models: `language.Greedy`. Policies are called with `observation_size`, positions that a text may have, and
    `action_size`, the number of tokens.

    With low-rank noise the members of a unit answer side by side, in one batch of members times prompts
    (`policies.LowRankPopulation`): members_at_once of them, 0 for all. With any other noise one member after another is
    put in the model's place (`Policy.load_member_`), so that memory is that of the model, of its parameters in float32,
    and of E texts. factor_bytes: up to which low-rank factors are kept from token to token, beyond it they are made
    anew.

    Statistics: `tokens` of a completion; `ended`, the share that did so by themselves; and those of the task. Steps are
    tokens.
    """

    task: TaskSpec = None
    task_args: dict[str, Any] = field(default_factory=dict)
    prompts_per_member: int = 8
    max_new_tokens: int = 32
    common_seeds: bool = True
    members_at_once: int = 0
    factor_bytes: int = 2**28

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        if self.task is None:
            raise ProblemError(
                "problem.task is missing: give 'module:callable' giving prompts and rewards, or an object."
            )
        leasts = {"prompts_per_member": 1, "max_new_tokens": 1, "members_at_once": 0, "factor_bytes": 0}
        for name, least in leasts.items():
            if getattr(self, name) < least:
                raise ProblemError(f"problem.{name} must be at least {least}, not {getattr(self, name)}.")

    @property
    def episodes_per_member(self) -> int:
        """See `Problem`."""
        return self.prompts_per_member

    @property
    def common_random_numbers(self) -> bool:
        """See `Problem`."""
        return self.common_seeds

    def interface(self) -> Interface:
        """See `Problem.interface`."""
        task = opened_task(self.task, self.task_args)
        return Interface((task.longest + self.max_new_tokens,), task.vocabulary)

    def open(self) -> Session:
        """See `Problem.open`."""
        task = opened_task(self.task, self.task_args)
        greedy = Greedy(task.vocabulary, task.end, self.max_new_tokens)
        return CompletionsSession(task, greedy, self.members_at_once, self.factor_bytes)
