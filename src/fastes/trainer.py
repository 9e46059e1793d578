"""The loop: ask, evaluate, tell; and everything that happens around it once a generation."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastes.algorithms import ALGORITHMS, Algorithm, OpenAIES, State
from fastes.conditions import Conditions
from fastes.description import described, fields
from fastes.device import check_device, device_of, is_here
from fastes.errors import ConfigError, StorageError
from fastes.evaluator import Evaluator
from fastes.executors import EXECUTORS, Executor, ExecutorSettings, Plan
from fastes.interrupt import UnfinishedError, interruptible
from fastes.kernels import NOISE_SPEC
from fastes.messages import Evaluations, in_member_order
from fastes.metrics import episode_metrics, fitness_metrics, progress_metrics
from fastes.noise import Generation
from fastes.optim import OPTIMIZERS, OnDevice, Optimizer
from fastes.policies import POLICIES, Interface, Policy, PolicySpec, build, parts_of
from fastes.problems import PROBLEMS, Outcome, Problem, with_reference
from fastes.report import REPORTERS, GenerationReport, Reporter, Reporters, RunInfo, RunSummary
from fastes.result import Result, mean_and_std, write_result
from fastes.run_directory import Progress, RunDirectory, holds_run
from fastes.run_settings import Evaluation, Output
from fastes.saved_policy import save_policy
from fastes.schedules import check_numbers
from fastes.types import Metrics
from fastes.version import VERSION

_FREE = ("problem.on_error", "problem.statistics")  # what a resumed run may change, since no result depends on it


@dataclass(kw_only=True)
class Trainer:
    """A run: a problem, a policy for it, an algorithm, and where and how long.

    problem_table: what to call the problem in `config.toml`, if a factory named there made it;
    policy: what `fastes.policies.build` takes, None for the problem's own; generations: to end after, counted from the
    very start; unit_size: members that are evaluated together; resume: directory of a run to go on with (started
    there if it was not yet); reporters: besides those of the output directory, unless they are of the same class;
    reporter_tables: what to call them in `config.toml`, None for what they are; device: where members are evaluated and
    theta is updated, "cpu", "cuda" or "cuda:N"; hparams: for reporters, what a search has chosen, by name; stop: asked
    after each generation, whether the run is to end there, as by Ctrl-C.
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
    device: str = "cpu"
    reporters: Sequence[Reporter] = ()
    reporter_tables: Sequence[str | dict[str, Any]] | None = None
    hparams: dict[str, Any] = field(default_factory=dict)
    stop: Callable[[GenerationReport], bool] | None = None
    clock: Callable[[], float] = time.monotonic
    _evaluated: tuple[State, Outcome] | None = field(default=None, init=False, repr=False, compare=False)
    _stopped: bool = field(default=False, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks the settings. Raises ConfigError."""
        if self.generations < 0:
            raise ConfigError(f"generations must not be negative, not {self.generations}.")
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed must be from 0 to 2^64 - 1, not {self.seed}.")
        if self.unit_size < 2 or self.unit_size % 2:
            raise ConfigError(f"unit_size must be an even number of members, not {self.unit_size}.")
        check_device(self.device)
        if self.policy is None:
            self.policy = self.problem.default_policy()
        if self.policy is None:
            raise ConfigError("this problem needs a policy: give one, such as [policy] kind = 'mlp'.")
        if self.output is None and self.resume is not None:
            self.output = Output(self.resume)

    def config(self) -> dict[str, Any]:
        """The run as tables, as `config.toml` holds them."""
        optimizer = self.algorithm.optimizer
        tables: dict[str, Any] = {
            "seed": self.seed,
            "generations": self.generations,
            "unit_size": self.unit_size,
            "device": self.device,
            "problem": self.problem_table or described(self.problem, PROBLEMS),
            "policy": described(self.policy, POLICIES) | self.policy_arguments,
            "algorithm": described(self.algorithm, ALGORITHMS),
            "optimizer": {} if optimizer is None else described(optimizer, OPTIMIZERS),
            "executor": described(self.executor, EXECUTORS),
            "evaluation": fields(self.evaluation),
        }
        tables |= {} if self.output is None else {"output": fields(self.output)}
        named = self.reporter_tables
        if named is None:
            named = [described(each, REPORTERS) for each in self.reporters if type(each) in REPORTERS.values()]
        return tables | ({"reporters": list(named)} if named else {})

    def evaluator(self, interface: Interface) -> Evaluator:
        """What evaluates the run's members, not opened. Raises PolicyError or ProblemError."""
        assert self.policy is not None
        policy = build(self.policy, interface, self.seed, self.policy_arguments)
        return Evaluator(self.problem, with_reference(self.problem, policy, self.seed), self.unit_size, self.device)

    def run(self) -> Result:
        """Trains until `generations` are done, or Ctrl-C, which ends the run after the current generation.

        Under MPI only rank 0 comes back; the other ranks evaluate for it and end with the run, by SystemExit.

        Raises a FastesError if something outside goes wrong; what was on disk stays, and `result.json` says "failed".
        """
        result = self.take_part()
        if result is None:
            raise SystemExit(0)  # what follows a run is for the process that led it
        return result

    def take_part(self, create: Callable[[], Executor] | None = None) -> Result | None:
        """The same, but comes back everywhere, with None where this process has evaluated for another one.

        create: makes the executor, one that may outlast the run; None for that of the settings.
        """
        interface = self.problem.interface()
        with contextlib.closing(self.evaluator(interface)) as evaluator:
            executor = self.executor.create() if create is None else create()
            if executor.is_elsewhere and not is_here(self.device):
                evaluator.stand_in()
            if not executor.coordinates:
                executor.serve(evaluator, self.algorithm.optimizer)
                return None
            with contextlib.closing(executor):  # also when the run cannot begin: others may be waiting for it
                return self._trained(evaluator, interface, executor)

    def _trained(self, evaluator: Evaluator, interface: Interface, executor: Executor) -> Result:
        reporters = Reporters(self._reporters())
        self._stopped = False
        self.algorithm.check(self.problem, evaluator.policy, interface)
        state, first = self._first(evaluator.policy, self.problem.conditions(interface, self.algorithm.members))
        evaluator.policy.low_rank = first.is_low_rank
        if getattr(self.problem, "forward", "") == "low_rank" and not first.is_low_rank:
            raise ConfigError(
                "problem.forward = 'low_rank' is for perturbations of low rank around one centre: set algorithm.noise "
                "= 'low_rank', or problem.forward = 'auto'."
            )
        notes = evaluator.prepare()  # told once the reporters have started
        directory, progress = self._begin(state, notes.append)
        del state, first  # thetas of the start, which the run need not hold
        summary: RunSummary | None = None
        try:
            # Before the reporters start threads, which a fork does not copy.
            executor.start(evaluator.on(self.device), self._plan(progress.state, directory))
            reporters.start(self._info(directory, progress, evaluator.policy.dim))
            units = -(-self.algorithm.members // self.unit_size)
            if progress.state.generation >= self.generations:
                notes.append(f"all {self.generations} generations are done: ask for more generations to go on.")
            for note in [*notes, *executor.remarks(units)]:
                reporters.message(note)
            generations = self._generations(progress, executor, evaluator, directory, reporters)
            with contextlib.suppress(UnfinishedError), interruptible(lambda: executor.stalled) as interrupted:
                while not (interrupted() or self._stopped) and (following := next(generations, None)) is not None:
                    progress = following
            if directory is not None:
                directory.save(progress)
            result = self._conclude(progress, evaluator, interface, directory)
            summary = result.summary()
            return result
        except Exception as error:
            if directory is not None:
                with contextlib.suppress(StorageError):  # the disk may be what failed
                    write_result(directory.path, "failed", progress, None, error=str(error))
            raise
        finally:
            executor.close()
            if directory is not None:
                directory.close()
            reporters.close(summary)

    def _plan(self, state: State, directory: RunDirectory | None) -> Plan:
        path = None if directory is None else directory.path
        return Plan(self.algorithm, state, self.generations, self.config(), path)

    def _first(self, policy: Policy, conditions: Conditions) -> tuple[State, Generation]:
        """The state before the first generation, and that. Raises ConfigError."""
        try:
            self.algorithm.check_schedules(self.generations)
            if dataclasses.is_dataclass(self.problem):
                check_numbers(self.problem, self.generations)
            state = self.algorithm.init(policy.theta(), self.seed, conditions, policy.tensors, parts_of(policy))
            return state, self.algorithm.ask(state)
        except ValueError as error:  # such as noise of low rank for a policy without matrices
            raise ConfigError(str(error)) from error

    def _begin(self, state: State, note: Callable[[str], None]) -> tuple[RunDirectory | None, Progress]:
        if self.output is None:
            return None, Progress(state)
        config = self.config()
        header = {
            "seed": self.seed,
            "dim": int(state.theta.size),
            "population": self.algorithm.members,
            "noise_spec": NOISE_SPEC,
            "version": VERSION,
        }
        # What fixes the run's digest: a resumed run has to have the same.
        header["unit_size"] = self.unit_size
        for table in ("problem", "policy", "algorithm", "optimizer"):
            header |= {f"{table}.{key}": v for key, v in config[table].items() if f"{table}.{key}" not in _FREE}
        if self.resume is not None and holds_run(self.resume):
            return RunDirectory.resume(self.resume, self.algorithm, config, header, self.output.keep, note)
        directory = RunDirectory.create(self.resume or self.output.dir, config, header, state, self.output.keep)
        return directory, Progress(state)

    def _generations(
        self,
        progress: Progress,
        executor: Executor,
        evaluator: Evaluator,
        directory: RunDirectory | None,
        reporters: Reporter,
    ) -> Iterator[Progress]:
        """The loop: progress after each generation, which is in the journal by then."""
        algorithm = self.algorithm
        optimizer = algorithm.optimizer
        spread = algorithm if optimizer is None else algorithm.with_optimizer(self._spread(optimizer, executor))
        while progress.state.generation < self.generations:
            started = self.clock()
            try:
                generation = algorithm.ask(progress.state)
            except ValueError as error:  # a schedule has come to what cannot be
                raise ConfigError(str(error)) from error
            results = executor.run(generation)
            evaluations = in_member_order(results, generation.index, algorithm.members)
            state, metrics = spread.tell(progress.state, evaluations)
            executor.advance(state)
            if directory is not None:
                directory.append(state, evaluations, behaviours=algorithm.learns_from_behaviours)
            before, seconds = progress.state, self.clock() - started
            progress = progress.after(state, evaluations, seconds)
            metrics = fitness_metrics(evaluations) | self._center_metrics(evaluator, state) | metrics
            metrics |= progress_metrics(before, progress, evaluations, seconds) | episode_metrics(evaluations)
            del before, generation  # the last theta, which a large model has no room for
            metrics |= executor.metrics()
            evaluated = self._evaluated[1] if self._evaluated and self._evaluated[0] is state else None
            for failed in filter(None, (_failed_members(evaluations), _failed_center(state, evaluated))):
                reporters.message(failed)
            images = {} if evaluated is None else evaluated.images
            told = GenerationReport(state.generation, metrics, evaluations.fitness, seconds, images, state.theta)
            reporters.write(told)
            self._stopped = self.stop is not None and self.stop(told)
            del told  # as its theta
            if directory is not None and self.output is not None and self.output.saves(state.generation):
                directory.save(progress)
            yield progress

    def _spread(self, optimizer: Optimizer, executor: Executor) -> Optimizer:
        """The same to the bit, over more machines or on the device."""
        spread = executor.spread(optimizer)
        on_device = spread is optimizer and self.device != "cpu" and is_here(self.device)
        return OnDevice(optimizer, device_of(self.device)) if on_device else spread

    def _center_metrics(self, evaluator: Evaluator, state: State) -> Metrics:
        every = self.evaluation.every
        if state.generation != self.generations and (every == 0 or state.generation % every):
            return {}
        outcome = self._outcome(evaluator, state)
        mean, std = mean_and_std(outcome.returns[0])
        told = {f"evaluation/{name}": float(value[0]) for name, value in outcome.statistics.items()}
        return {"evaluation/mean": mean, "evaluation/std": std} | told

    def _outcome(self, evaluator: Evaluator, state: State) -> Outcome:
        """Of the centre, evaluated once for a state."""
        if self._evaluated is None or self._evaluated[0] is not state:
            episodes = self.evaluation.episodes
            outcome = evaluator.evaluate_center(state.theta, state.seed, state.generation, episodes, state.conditions)
            self._evaluated = state, outcome
        return self._evaluated[1]

    def _conclude(
        self, progress: Progress, evaluator: Evaluator, interface: Interface, directory: RunDirectory | None
    ) -> Result:
        state = progress.state
        finished = state.generation >= self.generations
        returns = self._outcome(evaluator, state).returns[0] if finished else None
        module = self.problem.exported(evaluator.policy.export(state.theta), interface, state.conditions)
        path = None if directory is None else directory.path
        result = Result("finished" if finished else "interrupted", module, progress, returns, path)
        if path is not None:
            save_policy(path, module, self.config(), result.digest, interface)
            write_result(path, result.status, progress, returns)
        return result

    def _info(self, directory: RunDirectory | None, progress: Progress, dim: int) -> RunInfo:
        config = self.config()
        problem = config["problem"]
        subject = getattr(self.problem, "subject", None) or problem.get("function") or problem["kind"]
        return RunInfo(
            directory=None if directory is None else directory.path,
            title=f"{subject} · {config['algorithm']['kind']}",
            generations=self.generations,
            start_generation=progress.state.generation,
            population=self.algorithm.members,
            dim=dim,
            config=config,
            hparams=self.hparams,
        )

    def _reporters(self) -> list[Reporter]:
        reporters = list(self.reporters)
        if self.output is not None:
            kinds = ["csv", "tensorboard"] if self.output.tensorboard else ["csv"]
            reporters += [REPORTERS[kind]() for kind in kinds if REPORTERS[kind] not in map(type, reporters)]
        return reporters


def _failed_members(evaluations: Evaluations) -> str:
    """What to tell of members that could not be evaluated; empty if all could."""
    if not evaluations.failures:
        return ""
    member, why = next(iter(evaluations.failures.items()))
    count = len(evaluations.failures)
    others = f"; {count - 1} more failed" if count > 1 else ""
    return f"generation {evaluations.generation}: member {member} counts as the worst, its environment {why}{others}."


def _failed_center(state: State, outcome: Outcome | None) -> str:
    """The same of the centre's episodes."""
    if outcome is None or not outcome.failures:
        return ""
    count = np.isfinite(outcome.returns).sum()
    return (
        f"after {state.generation} generations the centre is evaluated on {count} episodes only; in one that is left "
        f"out its environment {outcome.failures[0]}."
    )
