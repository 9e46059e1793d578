"""`fastes.train`: a run in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastes.algorithms import Algorithm, OpenAIES
from fastes.errors import ConfigError
from fastes.executors import ExecutorSettings, executor_named
from fastes.policies import PolicySpec
from fastes.problems import Problem
from fastes.report import Reporter
from fastes.result import Result
from fastes.run_settings import Evaluation, Output
from fastes.trainer import Trainer

_EXAMPLES = {
    "problem": 'problems.Gym("CartPole-v1")',
    "algorithm": "algorithms.OpenAIES(population=128)",
    "evaluation": "fastes.Evaluation(every=5, episodes=20)",
}


def train(
    problem: Problem,
    policy: PolicySpec | None = None,
    algorithm: Algorithm | None = None,
    *,
    generations: int = 100,
    seed: int = 0,
    executor: str | ExecutorSettings = "local",
    output: str | Path | Output | None = None,
    evaluation: Evaluation | None = None,
    reporters: Sequence[Reporter] | None = None,
    resume: str | Path | None = None,
    unit_size: int = 64,
    device: str = "cpu",
) -> Result:
    """Trains a policy on a problem and gives the `Result`; fitness is maximised.

    policy: an nn.Module, settings such as `policies.MLP`, a class, a factory or "module:callable"; None for the
    problem's own; executor: a kind such as "inline" or "local", "tcp://HOST:PORT" to listen there, or settings of one;
    output: directory to write the run to, None for none; reporters: None for the console; resume: directory of a run
    to go on with; unit_size: members that are evaluated together, by one process; device: where they are evaluated and
    theta is updated: "cpu", "cuda" (each of a machine's processes has a GPU of its own) or "cuda:N".

    Raises a FastesError with what is wrong and what to do.
    """
    for name, value, kind in (
        ("problem", problem, Problem),
        ("algorithm", algorithm or OpenAIES(), Algorithm),
        ("evaluation", evaluation or Evaluation(), Evaluation),
    ):
        if not isinstance(value, kind):
            raise ConfigError(f"{name} must be an object such as {_EXAMPLES[name]}, not {value!r}.")
    if isinstance(executor, str):
        executor = executor_named(executor)
    if isinstance(output, (str, Path)):
        output = Output(Path(output))
    if reporters is None:
        from fastes.report import ConsoleReporter

        reporters = [ConsoleReporter()]
    trainer = Trainer(
        problem=problem,
        policy=policy,
        algorithm=algorithm or OpenAIES(),
        generations=generations,
        seed=seed,
        executor=executor,
        output=output,
        evaluation=evaluation or Evaluation(),
        reporters=reporters,
        resume=None if resume is None else Path(resume),
        unit_size=unit_size,
        device=device,
    )
    return trainer.run()
