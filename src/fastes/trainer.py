"""The loop: ask, evaluate, tell; and everything that happens around it once a generation."""

from __future__ import annotations

import contextlib
import math
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
from torch import nn

from fastes.algorithms import ALGORITHMS, Algorithm, OpenAIES, State
from fastes.description import described, fields
from fastes.errors import ConfigError
from fastes.evaluator import Evaluator
from fastes.executors import EXECUTORS, Executor, ExecutorSettings
from fastes.kernels import NOISE_SPEC
from fastes.messages import Evaluations, in_member_order
from fastes.optim import OPTIMIZERS
from fastes.policies import POLICIES, PolicySpec, build
from fastes.problems import PROBLEMS, Problem
from fastes.report import GenerationReport, Reporter, Reporters, RunInfo, RunSummary
from fastes.run_directory import Progress, RunDirectory, free_directory, holds_run, write_json
from fastes.saved_policy import save_policy
from fastes.types import Float32Array, Metrics
from fastes.version import VERSION

Status = Literal["finished", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The centre is evaluated on `episodes` fresh episodes every `every` generations (0: only at the end)."""

    every: int = 5
    episodes: int = 20

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.every < 0 or self.episodes < 1:
            raise ConfigError(
                f"evaluation.every must not be negative and evaluation.episodes at least 1, "
                f"not {self.every} and {self.episodes}."
            )


@dataclass(frozen=True, slots=True)
class Output:
    """dir: the run's directory; one that holds a run already gets -2, -3, ... behind its name. checkpoint_every: so
    many generations; keep: how many of the newest checkpoints stay; tensorboard: whether to write its events.
    """

    dir: Path
    checkpoint_every: int = 10
    keep: int = 3
    tensorboard: bool = True

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.checkpoint_every < 1 or self.keep < 1:
            raise ConfigError(
                "output.checkpoint_every and output.keep must be at least 1, "
                f"not {self.checkpoint_every} and {self.keep}."
            )


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended. policy: the trained module; state: to go on with; the rest as in `result.json`."""

    status: Status
    policy: nn.Module
    state: State
    evaluations: int
    steps: int
    seconds: float
    evaluation_mean: float | None
    evaluation_std: float | None
    directory: Path | None

    @property
    def digest(self) -> str:
        """Digest of theta and the optimizer's state."""
        return self.state.digest()


@dataclass(kw_only=True)
class Trainer:
    """A run: a problem, a policy for it, an algorithm, and where and how long.

    problem_table: what to call the problem in `config.toml`, if a factory named there made it;
    policy: what `fastes.policies.build` takes, None for the problem's own; generations: to end after, counted from the
    very start; unit_size: members that are evaluated together; resume: directory of a run to go on with (started
    there if it was not yet); reporters: besides those of the output directory.
    """

    problem: Problem
    problem_table: dict[str, Any] | None = None
    policy: PolicySpec | None = None
    policy_arguments: dict[str, Any] = field(default_factory=dict)
    algorithm: Algorithm = field(default_factory=OpenAIES)
    generations: int = 100
    seed: int = 0
    executor: ExecutorSettings
    evaluation: Evaluation = field(default_factory=Evaluation)
    output: Output | None = None
    resume: Path | None = None
    unit_size: int = 64
    reporters: Sequence[Reporter] = ()
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.generations < 0:
            raise ConfigError(f"generations must not be negative, not {self.generations}.")
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed must be from 0 to 2^64 - 1, not {self.seed}.")
        if self.unit_size < 2 or self.unit_size % 2:
            raise ConfigError(f"unit_size must be an even number of members, not {self.unit_size}.")
        if self.policy is None:
            self.policy = self.problem.default_policy()
        if self.policy is None:
            raise ConfigError("this problem needs a policy: give one, such as [policy] kind = 'mlp'.")

    def config(self) -> dict[str, Any]:
        """The run as tables, as `config.toml` holds them."""
        tables: dict[str, Any] = {
            "seed": self.seed,
            "generations": self.generations,
            "unit_size": self.unit_size,
            "problem": self.problem_table or described(self.problem, PROBLEMS),
            "policy": described(self.policy, POLICIES) | self.policy_arguments,
            "algorithm": described(self.algorithm, ALGORITHMS),
            "optimizer": described(self.algorithm.optimizer, OPTIMIZERS),
            "executor": described(self.executor, EXECUTORS),
            "evaluation": fields(self.evaluation),
        }
        return tables | ({} if self.output is None else {"output": fields(self.output)})

    def run(self) -> Result:
        """Trains until `generations` are done, or Ctrl-C, which ends the run after the current generation.

        Raises a FastesError if something outside goes wrong; what was on disk stays.
        """
        assert self.policy is not None
        policy = build(self.policy, self.problem.interface(), self.seed, self.policy_arguments)
        evaluator = Evaluator(self.problem, policy, self.unit_size)
        reporters = Reporters(self._reporters())
        notes: list[str] = []  # of files put aside on resume, told once the reporters have started
        directory, progress = self._begin(policy.theta(), notes.append)
        executor = self.executor.create()
        summary: RunSummary | None = None
        try:
            executor.start(evaluator)  # before the reporters, whose threads need not be there when processes fork
            reporters.start(self._info(directory, progress, policy.dim))
            for note in notes:
                reporters.message(note)
            with _interruptible(reporters) as interrupted:
                progress = self._loop(progress, executor, evaluator, directory, reporters, interrupted)
            result = self._conclude(progress, evaluator, directory)
            summary = self._summary(result)
            return result
        finally:
            executor.close()
            evaluator.close()
            if directory is not None:
                directory.close()
            reporters.close(summary)

    def _begin(self, theta: Float32Array, note: Callable[[str], None]) -> tuple[RunDirectory | None, Progress]:
        state = self.algorithm.init(theta, self.seed)
        if self.output is None and self.resume is None:
            return None, Progress(state)
        config = self.config()
        header = {
            "seed": self.seed,
            "dim": int(theta.size),
            "population": self.algorithm.members,
            "noise_spec": NOISE_SPEC,
            "version": VERSION,
        }
        header |= {f"{table}.{k}": v for table in ("algorithm", "optimizer") for k, v in config[table].items()}
        keep = 3 if self.output is None else self.output.keep
        if self.resume is not None and holds_run(self.resume):
            return RunDirectory.resume(self.resume, self.algorithm, config, header, keep, note)
        if self.resume is not None:
            path = self.resume
        else:
            assert self.output is not None
            path = free_directory(self.output.dir)
        return RunDirectory.create(path, config, header, state, keep), Progress(state)

    def _loop(
        self,
        progress: Progress,
        executor: Executor,
        evaluator: Evaluator,
        directory: RunDirectory | None,
        reporters: Reporter,
        interrupted: Callable[[], bool],
    ) -> Progress:
        every = 1 if self.output is None else self.output.checkpoint_every
        saved = progress.state.generation
        while progress.state.generation < self.generations and not interrupted():
            started = self.clock()
            generation = self.algorithm.ask(progress.state)
            results = executor.run(generation)
            evaluations = in_member_order(results, generation.index, self.algorithm.members)
            state, metrics = self.algorithm.tell(progress.state, evaluations)
            if directory is not None:
                directory.append(state, evaluations)
            before, seconds = progress.state, self.clock() - started
            progress = progress.after(state, evaluations, seconds)
            metrics = _fitness_metrics(evaluations) | self._center_metrics(evaluator, state) | metrics
            metrics |= _progress_metrics(before, progress, evaluations, seconds)
            reporters.write(GenerationReport(state.generation, metrics, evaluations.fitness, seconds))
            if directory is not None and state.generation % every == 0:
                directory.save(progress)
                saved = state.generation
        if directory is not None and saved != progress.state.generation:
            directory.save(progress)
        return progress

    def _center_metrics(self, evaluator: Evaluator, state: State) -> Metrics:
        every = self.evaluation.every
        if every == 0 or state.generation % every or state.generation == self.generations:
            return {}  # the last generation is evaluated when the run concludes
        mean, std = self._evaluated(evaluator, state)
        return {"evaluation/mean": mean, "evaluation/std": std}

    def _evaluated(self, evaluator: Evaluator, state: State) -> tuple[float, float]:
        episodes = self.evaluation.episodes
        returns = evaluator.evaluate_center(state.theta, state.seed, state.generation, episodes)
        with np.errstate(over="ignore", invalid="ignore"):
            return float(returns.mean()), float(returns.std())

    def _conclude(self, progress: Progress, evaluator: Evaluator, directory: RunDirectory | None) -> Result:
        state = progress.state
        status: Status = "finished" if state.generation >= self.generations else "interrupted"
        mean, std = self._evaluated(evaluator, state) if status == "finished" else (None, None)
        module = evaluator.policy.export(state.theta)
        path = None if directory is None else directory.path
        result = Result(status, module, state, progress.evaluations, progress.steps, progress.seconds, mean, std, path)
        if path is not None:
            save_policy(path, module, self.config(), state.digest())
            content = asdict(self._summary(result))
            del content["policy_path"], content["resume_hint"]
            finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content.items()}
            write_json(path / "result.json", finite | {"version": VERSION, "noise_spec": NOISE_SPEC})
        return result

    def _summary(self, result: Result) -> RunSummary:
        path = result.directory
        return RunSummary(
            status=result.status,
            generations=result.state.generation,
            evaluations=result.evaluations,
            steps=result.steps,
            seconds=result.seconds,
            digest=result.digest,
            evaluation_mean=result.evaluation_mean,
            evaluation_std=result.evaluation_std,
            evaluation_episodes=self.evaluation.episodes,
            policy_path=None if path is None else path / "policy.safetensors",
            resume_hint=f"fastes train --resume {shlex.quote(str(path))}"
            if path and result.status == "interrupted"
            else None,
        )

    def _info(self, directory: RunDirectory | None, progress: Progress, dim: int) -> RunInfo:
        config = self.config()
        subject = config["problem"].get("env") or config["problem"].get("function") or config["problem"]["kind"]
        return RunInfo(
            directory=None if directory is None else directory.path,
            title=f"{subject} · {config['algorithm']['kind']}",
            generations=self.generations,
            start_generation=progress.state.generation,
            population=self.algorithm.members,
            dim=dim,
            config=config,
        )

    def _reporters(self) -> list[Reporter]:
        reporters = list(self.reporters)
        if self.output is not None or self.resume is not None:
            from fastes.report import CSVReporter, TensorBoardReporter

            reporters.append(CSVReporter())
            if self.output is None or self.output.tensorboard:
                reporters.append(TensorBoardReporter())
        return reporters


def _fitness_metrics(evaluations: Evaluations) -> Metrics:
    fitness = evaluations.fitness[np.isfinite(evaluations.fitness)].astype(np.float64)
    if not fitness.size:
        return {}
    return {
        "fitness/mean": float(fitness.mean()),
        "fitness/max": float(fitness.max()),
        "fitness/min": float(fitness.min()),
        "fitness/std": float(fitness.std()),
    }


def _progress_metrics(before: State, progress: Progress, evaluations: Evaluations, seconds: float) -> Metrics:
    seconds = max(seconds, 1e-9)
    return {
        "update/norm": float(np.linalg.norm(progress.state.theta - before.theta)),
        "theta/norm": float(np.linalg.norm(progress.state.theta)),
        "steps/total": float(progress.steps),
        "rate/evaluations": len(evaluations.fitness) / seconds,
        "rate/steps": int(evaluations.steps.sum()) / seconds,
    }


@contextlib.contextmanager
def _interruptible(reporters: Reporter) -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C or SIGTERM is remembered, and the second ends at once. Gives whether there was one."""
    received = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal received
        if received:
            raise KeyboardInterrupt
        received = True
        reporters.message("Stopping after this generation; once more stops at once.")

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


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
) -> Result:
    """Trains a policy on a problem and gives the `Result`; fitness is maximised.

    policy: an nn.Module, settings such as `policies.MLP`, a class, a factory or "module:callable"; None for the
    problem's own; executor: "inline", "local", or settings of one; output: directory to write the run to, None for
    none; reporters: None for the console.

    Raises a FastesError with what is wrong and what to do.
    """
    if isinstance(executor, str):
        if executor not in EXECUTORS:
            raise ConfigError(f"executor must be one of {', '.join(EXECUTORS)}, not {executor!r}.")
        executor = EXECUTORS[executor]()
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
    )
    return trainer.run()
