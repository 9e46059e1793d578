"""The command line. User errors are one paragraph and status 2; Ctrl-C twice is status 130."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastes.errors import ConfigError, FastesError, ProblemError, StorageError
from fastes.log import show_log

if TYPE_CHECKING:
    from fastes.policies import Policy
    from fastes.problems import Problem


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where the terminal has no plus-minus sign, a question mark will do
    # A script finds modules beside it; so does a command, for "module:callable" in a configuration.
    if "" not in sys.path:
        sys.path.insert(0, "")
    if options.command is _bench:
        from fastes.bench import one_blas_thread

        one_blas_thread()  # before anything imports NumPy
    show_log()
    try:
        _check_environment()
        with contextlib.nullcontext() if options.debug else _without_tracebacks():
            status = int(options.command(options) or 0)
        print(end="", flush=True)
        return status
    except FastesError as error:
        if options.debug:
            raise
        print(f"fastes: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        if options.debug:
            raise
        print(f"fastes: out of memory: {error}. Lower algorithm.population or the policy's size.", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read what we print has left, as in `fastes info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        if options.debug:
            raise
        print("fastes: stopped at once; the last checkpoint and the journal are whole.", file=sys.stderr)
        return 130


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Within, warnings are a line each, and so is the end of a thread such as TensorBoard's on a full disk."""

    def show(message: Warning | str, *details: object, **options: object) -> None:
        sys.stderr.write(f"fastes: warning: {message}\n")  # at once: threads may write between

    previous = threading.excepthook
    with warnings.catch_warnings():
        warnings.showwarning = show
        threading.excepthook = lambda ended: show(f"a thread ended: {ended.exc_type.__name__}: {ended.exc_value}")
        try:
            yield
        finally:
            threading.excepthook = previous


def _check_environment() -> None:
    from fastes import kernels

    try:
        kernels.info()
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _train(options: argparse.Namespace) -> int:
    from fastes import config
    from fastes.report import ConsoleReporter

    path = options.config
    if path is None:
        if options.resume is None:
            raise ConfigError("name a configuration, or a run to go on with: fastes train --resume DIR.")
        path = options.resume / "config.toml"
        if not path.exists():
            raise ConfigError(
                f"{options.resume} holds no run to go on with. To start one there, name what to train: "
                f"fastes train CONFIG.toml --resume {options.resume}."
            )
    tables = config.with_settings(config.read_tables(path), options.set)
    if options.device is not None:
        tables["device"] = options.device
    _set_executor(tables, options)
    tables = config.with_settings(tables, options.set)  # again, because another executor begins with its defaults
    tables.setdefault("output", {}).setdefault("dir", str(options.resume or f"runs/{path.stem}"))
    trainer = config.trainer(tables, resume=options.resume, reporters=[ConsoleReporter()])
    result = trainer.run()
    return 0 if result.status == "finished" else 130


def _set_executor(tables: dict[str, Any], options: argparse.Namespace) -> None:
    """What the command line says of where members are evaluated; --listen means tcp."""
    given = {
        "listen": options.listen,
        "token_file": None if options.token_file is None else str(options.token_file),
        "metrics_port": options.metrics_port,
    }
    given = {key: value for key, value in given.items() if value is not None}
    kind = options.executor or ("tcp" if options.listen is not None else None)
    if kind is not None:
        same = tables.get("executor", {}).get("kind") == kind
        tables["executor"] = (tables["executor"] if same else {}) | {"kind": kind}
    if given and (found := tables.get("executor", {}).get("kind", "local")) != "tcp":
        name = next(iter(given)).replace("_", "-")
        raise ConfigError(f"--{name} is for executor tcp, not {found}: give --listen HOST:PORT as well.")
    tables.setdefault("executor", {}).update(given)


def _worker(options: argparse.Namespace) -> int:
    from fastes import worker

    return worker.run(options)


def _top(options: argparse.Namespace) -> int:
    from fastes import top

    return top.run(options)


def _evaluate(options: argparse.Namespace) -> None:
    import numpy as np

    from fastes import config
    from fastes.evaluator import Evaluator
    from fastes.policies import Policy
    from fastes.problems import Rollouts
    from fastes.report.histogram import can_be_printed, histogram_lines

    if options.episodes < 1 or not 0 <= options.seed < 2**64:
        raise ConfigError(
            f"--episodes must be at least 1 and --seed from 0 to 2^64 - 1, not {options.episodes} and {options.seed}."
        )
    problem = config.problem(config.read_tables(options.run / "config.toml").get("problem", {}))
    policy = Policy(config.load_policy(options.run))
    if isinstance(problem, Rollouts):
        problem = replace(problem, forward="auto")  # the module that was exported may be another than was trained
    if options.render or options.video is not None:
        _show(options, problem, policy)
    evaluator = Evaluator(problem, policy)
    try:
        outcome = evaluator.evaluate_center(policy.theta(), options.seed, 0, options.episodes)
    finally:
        evaluator.close()
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


def _replay(options: argparse.Namespace) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    from fastes import config
    from fastes.run_directory import replay

    if options.journal.is_dir():
        options.journal /= "journal.bin"
    directory = options.journal.parent
    algorithm = config.algorithm(config.read_tables(directory / "config.toml"))
    state = replay(options.journal, algorithm, options.generation, lambda text: print(text, file=sys.stderr))
    if options.out is not None:
        try:
            save_file({"theta": state.theta}, options.out)
        except (OSError, SafetensorError) as error:
            raise StorageError(f"theta cannot be written to {options.out}: {error}. Choose another file.") from error
    print(f"generation {state.generation}: digest {state.digest()}")


def _info(options: argparse.Namespace) -> None:
    from fastes import __version__, kernels

    details: dict[str, Any] = {"fastes": __version__} | kernels.info()
    del details["cuda"]  # in lines of its own
    for key, value in [*details.items(), *kernels.cuda_report().lines()]:
        print(f"{key:12} {', '.join(value) if isinstance(value, list) else value}")


def _bench(options: argparse.Namespace) -> int:
    from fastes.bench import run, run_rollout_scaling, run_rollouts, run_scaling

    if options.what == "rollouts":
        if options.scaling:
            return run_rollout_scaling(json_path=options.json)
        return run_rollouts(check=options.check, json_path=options.json)
    if options.scaling:
        return run_scaling(json_path=options.json)
    return run(check=options.check, json_path=options.json)


def _parser() -> argparse.ArgumentParser:
    from fastes import worker

    parser = argparse.ArgumentParser(prog="fastes", description="Evolution Strategies for PyTorch.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Any, help_text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_text, description=help_text, parents=[common])
        sub.set_defaults(command=command)
        return sub

    train = add("train", _train, "Train a policy as a TOML file says.")
    train.add_argument("config", type=Path, nargs="?", metavar="CONFIG.toml", help="what to train and how")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value, such as algorithm.sigma=0.2"
    )
    train.add_argument("--device", help="where members are evaluated: cpu, cuda or cuda:N (default cpu)")
    train.add_argument("--executor", metavar="KIND", help="where members are evaluated: inline, local, tcp, mpi or ray")
    train.add_argument("--listen", metavar="HOST:PORT", help="let workers on other machines evaluate; port 0 picks one")
    train.add_argument("--token-file", type=Path, metavar="FILE", help="their shared secret; made if it is missing")
    train.add_argument("--metrics-port", type=int, metavar="PORT", help="counters for Prometheus, on this machine only")
    train.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in DIR")

    worker.parser(add("worker", _worker, "Evaluate members for a coordinator on another machine."))

    top = add("top", _top, "Show how a run with workers on other machines goes on.")
    top.add_argument("address", metavar="HOST:PORT", help="of the coordinator")
    top.add_argument("--token-file", type=Path, metavar="FILE", help="the shared secret (else FASTES_TOKEN)")
    top.add_argument("--tls-ca", type=Path, metavar="FILE", help="TLS: the certificate to trust, PEM")
    top.add_argument("--once", action="store_true", help="print it once, as is done where there is no terminal")

    evaluate = add("evaluate", _evaluate, "Evaluate the trained policy of a run on fresh episodes.")
    evaluate.add_argument("run", type=Path, metavar="RUN", help="the run's directory")
    evaluate.add_argument("--episodes", type=int, default=100, metavar="N", help="how many (default 100)")
    evaluate.add_argument("--seed", type=int, default=0, metavar="SEED", help="of the episodes (default 0)")
    evaluate.add_argument("--video", type=Path, metavar="FILE", help="record the first episodes as .mp4 or .gif")
    evaluate.add_argument("--render", action="store_true", help="show the first episodes in a window")
    evaluate.add_argument("--shown", type=int, default=1, metavar="N", help="how many of them (default 1)")

    replay = add("replay", _replay, "Make the parameters of a run again from its journal, to the bit.")
    replay.add_argument("journal", type=Path, metavar="JOURNAL", help="the run's journal.bin, or the run's directory")
    replay.add_argument("--generation", type=int, metavar="G", help="after this many generations (default: all)")
    replay.add_argument("--out", type=Path, metavar="FILE", help="write theta there as safetensors")

    add("info", _info, "Show the version, the kernels in use and their self-test digest.")

    bench = add("bench", _bench, "Measure kernels or rollouts beside what else one would use, and print the ratios.")
    bench.add_argument(
        "what", nargs="?", choices=["kernels", "rollouts"], default="kernels", help="what to measure (default kernels)"
    )
    how = bench.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="exit with status 1 if a ratio is below its floor")
    how.add_argument("--scaling", action="store_true", help="instead, how the cost grows with sizes, threads, members")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
