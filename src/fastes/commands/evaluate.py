"""`fastes evaluate RUN`: a trained policy on fresh episodes, in numbers, in a window or as a video."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastes.errors import ConfigError, ProblemError

if TYPE_CHECKING:
    from fastes.policies import Policy
    from fastes.problems import Outcome, Problem

HELP = "Evaluate the trained policy of a run on fresh episodes."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
    parser.add_argument("--episodes", type=int, default=100, metavar="N", help="how many (default 100)")
    parser.add_argument("--seed", type=int, default=0, metavar="SEED", help="of the episodes (default 0)")
    parser.add_argument("--video", type=Path, metavar="FILE", help="record the first episodes as .mp4 or .gif")
    parser.add_argument("--render", action="store_true", help="show the first episodes in a window")
    parser.add_argument("--shown", type=int, default=1, metavar="N", help="how many of them (default 1)")


def run(options: argparse.Namespace) -> None:
    """Evaluates, and prints how returns are distributed."""
    import numpy as np

    from fastes.report.histogram import can_be_printed, histogram_lines

    if options.episodes < 1 or not 0 <= options.seed < 2**64:
        raise ConfigError(
            f"--episodes must be at least 1 and --seed from 0 to 2^64 - 1, not {options.episodes} and {options.seed}."
        )
    problem, policy = loaded(options.run)
    if options.render or options.video is not None:
        _show(options, problem, policy)
    outcome = outcome_of(problem, policy, options.seed, options.episodes)
    returns = outcome.returns[0]
    if outcome.failures:
        if not np.isfinite(returns).any():
            raise ProblemError(f"no episode could be played: the environment {outcome.failures[0]}.")
        lost = options.episodes - len(returns)
        print(f"{lost} of {options.episodes} episodes are left out: in one the environment {outcome.failures[0]}.")
    mean = f"mean {returns.mean():.4g}"
    if len(returns) == 1:  # a function's value is the same every time
        print(f"1 episode: {mean}")
        return
    print(
        f"{len(returns)} episodes: {mean} ± {returns.std(ddof=1) / np.sqrt(len(returns)):.2g} (standard error), "
        f"median {np.median(returns):.4g}, from {returns.min():.4g} to {returns.max():.4g}"
    )
    width, ascii_only = shutil.get_terminal_size().columns, not can_be_printed(sys.stdout.encoding)
    for line in histogram_lines(returns, width, ascii_only=ascii_only):
        print(line)


def loaded(directory: Path) -> tuple[Problem, Policy]:
    """The problem and the trained policy of a run. Raises a UserError if they cannot be made again from its files."""
    from fastes import config
    from fastes.policies import Policy
    from fastes.problems import Rollouts

    if not (directory / "config.toml").exists():
        raise ConfigError(f"there is no run in {directory}: name the directory of one, such as runs/cartpole.")
    problem = config.problem(config.read_tables(directory / "config.toml").get("problem", {}))
    policy = Policy(config.load_policy(directory))
    if isinstance(problem, Rollouts):
        problem = replace(problem, forward="auto")  # the module that was exported may be another than was trained
    return problem, policy


def outcome_of(problem: Problem, policy: Policy, seed: int, episodes: int) -> Outcome:
    """What the policy comes to in fresh episodes."""
    from fastes.evaluator import Evaluator

    with contextlib.closing(Evaluator(problem, policy)) as evaluator:
        return evaluator.evaluate_center(policy.theta(), seed, 0, episodes)


def _show(options: argparse.Namespace, problem: Problem, policy: Policy) -> None:
    """The first of the episodes that are evaluated, in a window or as a video."""
    from fastes.noise import evaluation_seeds
    from fastes.video import record, watch

    if options.shown < 1:
        raise ConfigError(f"--shown must be at least 1 episode, not {options.shown}.")
    seeds = evaluation_seeds(options.seed, 0, options.shown).tolist()
    if options.video is not None:
        frames = watch(problem, policy.module, seeds, "rgb_array")
        count = record(frames, options.video, frames.fps)
        told = ", ".join(f"{value:.4g}" for value in frames.returns)
        print(f"{options.video}: {count} frames, returns {told}")
    if options.render:
        for _ in watch(problem, policy.module, seeds, "human"):
            pass  # a window gives no frames
