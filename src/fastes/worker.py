"""`python -m fastes.worker HOST:PORT`: evaluates members for a coordinator on another machine.

Of what that names it runs only what `--allow` names, and fastes' own. It needs no copy of the configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastes.errors import ConfigError, ExecutorError, FastesError
from fastes.log import show_log

if TYPE_CHECKING:
    from fastes.algorithms import Algorithm
    from fastes.evaluator import Evaluator
    from fastes.executors.tcp.wire import Setup


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a worker; gives the exit status."""
    return run(parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """A worker as the command line's options say: 0 when the run is done, 1 if it failed, 2 if this worker cannot take
    part, 130 if it was stopped.
    """
    if "" not in sys.path:
        sys.path.insert(0, "")  # as a script finds modules beside it
    try:
        return asyncio.run(_worker(options))
    except FastesError as error:
        print(f"fastes: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser(parent: argparse.ArgumentParser | None = None) -> argparse.ArgumentParser:
    """Its options. parent: to add them to, None for a parser of their own."""
    made = parent or argparse.ArgumentParser(
        prog="python -m fastes.worker", description="Evaluate members for a coordinator on another machine."
    )
    made.add_argument("address", metavar="HOST:PORT", help="of the coordinator, which prints the whole line")
    made.add_argument("--token-file", type=Path, metavar="FILE", help="the shared secret (else FASTES_TOKEN)")
    made.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODULE",
        help="user code that may be run: this and what is below",
    )
    made.add_argument(
        "--procs", type=int, default=0, metavar="N", help="processes (default one per usable core or GPU)"
    )
    made.add_argument("--device", default="cpu", help="where to evaluate: cpu, cuda or cuda:N (default cpu)")
    made.add_argument("--credit", type=int, default=2, metavar="N", help="work units on hand for each (default 2)")
    made.add_argument("--watchdog", type=float, default=0.0, metavar="S", help="end an environment that hangs so long")
    made.add_argument("--retry-for", type=float, metavar="S", help="give up after so long without a coordinator")
    made.add_argument("--run", metavar="ID", help="take part in this run only")
    made.add_argument("--tls-ca", type=Path, metavar="FILE", help="TLS: the certificate to trust, PEM")
    made.add_argument("--quiet", action="store_true", help="print errors only")
    return made


async def _worker(options: argparse.Namespace) -> int:
    from fastes.device import device_of, processes_on
    from fastes.executors.pool import usable_processors
    from fastes.executors.tcp.address import Address
    from fastes.executors.tcp.allow import Allowed
    from fastes.executors.tcp.auth import Token, read_token, token_of_environment
    from fastes.executors.tcp.node import PoolSettings
    from fastes.executors.tcp.tls import worker_side
    from fastes.executors.tcp.worker import Worker, WorkerSettings

    show_log(logging.ERROR if options.quiet else logging.INFO, "%(asctime)s %(message)s")
    if options.procs < 0 or options.credit < 1 or options.watchdog < 0:
        raise ConfigError(
            "--procs and --watchdog must not be negative and --credit at least 1, "
            f"not {options.procs}, {options.watchdog} and {options.credit}."
        )
    device_of(options.device)  # before anybody counts on it
    token = Token.none()
    if options.token_file is not None:
        token = read_token(options.token_file)
    elif (found := token_of_environment()) is not None:
        token = found
    settings = WorkerSettings(
        Address.parse(options.address, "the coordinator's address"),
        token,
        Allowed.of(options.allow),
        PoolSettings(options.procs or processes_on(options.device, usable_processors()), watchdog_s=options.watchdog),
        options.credit,
        float("inf") if options.retry_for is None else options.retry_for,
        options.run,
        None if options.tls_ca is None else worker_side(options.tls_ca),
    )
    return await Worker(settings, functools.partial(_built, options.device)).run()


def _built(
    device: str, setup: Setup, tables: Mapping[str, dict[str, Any]]
) -> tuple[Evaluator, Algorithm, Mapping[str, dict[str, Any]]]:
    """What `Worker` needs of a run. Raises FastesError."""
    from fastes import config
    from fastes.device import device_of
    from fastes.optim import OnDevice

    numbers = {"seed": setup.seed, "unit_size": setup.unit_size}
    trainer = config.trainer({**tables, **numbers, "device": device, "executor": {"kind": "inline"}})
    if trainer.algorithm.members != setup.members:
        raise ExecutorError(f"the algorithm has {trainer.algorithm.members} members here, not {setup.members}.")
    algorithm = trainer.algorithm
    if device != "cpu" and algorithm.optimizer is not None:
        algorithm = algorithm.with_optimizer(OnDevice(algorithm.optimizer, device_of(device)))
    return trainer.evaluator(trainer.problem.interface()), algorithm, trainer.config()


if __name__ == "__main__":
    sys.exit(main())
