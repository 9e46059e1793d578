"""Language models as policies: prompts and rewards, and greedy completions by any kind of causal model."""

from __future__ import annotations

from fastes.problems.language.greedy import Greedy
from fastes.problems.language.session import CompletionsSession
from fastes.problems.language.task import Example, Task, TaskSpec, opened_task

__all__ = ["CompletionsSession", "Example", "Greedy", "Task", "TaskSpec", "opened_task"]
