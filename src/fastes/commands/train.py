"""`fastes train CONFIG.toml`: a run as a file, begun or gone on with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fastes.errors import ConfigError

HELP = "Train a policy as a TOML file says."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("config", type=Path, nargs="?", metavar="CONFIG.toml", help="what to train and how")
    parser.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run in DIR")
    run_options(parser)


def run_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command that trains, which `configured` reads."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value, such as algorithm.sigma=0.2"
    )
    add = parser.add_argument
    add("--device", help="where members are evaluated: cpu, cuda or cuda:N (default cpu)")
    parser.add_argument(
        "--executor", metavar="KIND", help="where members are evaluated: inline, local, tcp, mpi or ray"
    )
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="let workers on other machines evaluate; port 0 picks one"
    )
    add("--token-file", type=Path, metavar="FILE", help="their shared secret; made if it is missing")
    parser.add_argument(
        "--metrics-port", type=int, metavar="PORT", help="counters for Prometheus, on this machine only"
    )


def run(options: argparse.Namespace) -> int:
    """Trains. 0 when the run is done, 130 if it was stopped."""
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
    tables = configured(config.read_tables(path), options)
    tables.setdefault("output", {}).setdefault("dir", str(options.resume or f"runs/{path.stem}"))
    trainer = config.trainer(tables, resume=options.resume, reporters=[ConsoleReporter()])
    result = trainer.run()
    return 0 if result.status == "finished" else 130


def configured(tables: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """A configuration changed by the options of `run_options`. Raises ConfigError."""
    from fastes.config import with_settings

    tables = with_settings(tables, options.set)
    if options.device is not None:
        tables["device"] = options.device
    _set_executor(tables, options)
    return with_settings(tables, options.set)  # again, because another executor begins with its defaults


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
