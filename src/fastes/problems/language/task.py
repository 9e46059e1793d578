"""What a language model is asked, and what its answers are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fastes.errors import FastesError, ProblemError
from fastes.import_path import imported


@dataclass(frozen=True, slots=True)
class Example:
    """prompt: numbers of tokens, at least one; about: whatever the reward has to know, such as the answer."""

    prompt: Sequence[int]
    about: Any = None


@runtime_checkable
class Task(Protocol):
    """Prompts and rewards. The same seed gives the same example in every process, or runs could not be repeated.

    It may have a method `statistics(example, completion)` besides, that gives numbers by name: their means over a
    member's prompts are told in metrics, and over fresh prompts at evaluations.
    """

    @property
    def vocabulary(self) -> int:
        """V: tokens are numbers from 0 to V - 1."""

    @property
    def longest(self) -> int:
        """Tokens that a prompt has at most."""

    @property
    def end(self) -> int | None:
        """The token with which a completion ends, None if it goes on for as long as it may."""

    def example(self, seed: int) -> Example:
        """The example that belongs to a seed of 32 bits."""

    def reward(self, example: Example, completion: Sequence[int]) -> float:
        """What a completion is worth, higher is better: its tokens up to `end`, which is the last one if it came."""


TaskSpec = str | Callable[..., Task] | Task | None
"""A task, a class or function that gives one, or "module:callable" naming that."""


def opened_task(spec: TaskSpec, arguments: dict[str, Any]) -> Task:
    """The task of a specification; arguments: of the class or function.

    Raises ProblemError if it cannot be imported or called, or is no task.
    """
    made: Any = imported(spec, ProblemError) if isinstance(spec, str) else spec
    if isinstance(made, type) or not isinstance(made, Task):
        if not callable(made):
            raise ProblemError(_no_task(made))
        try:
            made = made(**arguments)
        except FastesError:
            raise
        except Exception as error:
            raise ProblemError(
                f"problem.task: {spec!r} raised {type(error).__name__} when it was called with {arguments}: {error}."
            ) from error
    elif arguments:
        raise ProblemError(
            f"problem.task_args = {arguments} are for a class or function, and the task is there already."
        )
    if not isinstance(made, Task):
        raise ProblemError(_no_task(made))
    return made


def _no_task(found: Any) -> str:
    wanted = ("vocabulary", "longest", "end", "example", "reward")
    missing = ", ".join(name for name in wanted if not hasattr(found, name))
    return (
        f"problem.task must be, or give, an object with {', '.join(wanted)}; a {type(found).__name__} has no {missing}."
    )
