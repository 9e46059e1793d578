"""The command line. User errors are one paragraph and status 2; Ctrl-C twice is status 130."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence

from fastes.commands import COMMANDS, bench
from fastes.errors import ConfigError, FastesError
from fastes.log import show_log


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; gives the exit status."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where the terminal has no plus-minus sign, a question mark will do
    # A script finds modules beside it; so does a command, for "module:callable" in a configuration.
    if "" not in sys.path:
        sys.path.insert(0, "")
    if options.command is bench:
        from fastes.bench import one_blas_thread

        one_blas_thread()  # before anything imports NumPy
    show_log()
    try:
        _check_environment()
        with contextlib.nullcontext() if options.debug else _without_tracebacks():
            status = int(options.command.run(options) or 0)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastes", description="Evolution Strategies for PyTorch.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(name, help=command.HELP, description=command.HELP, parents=[common])
        sub.set_defaults(command=command)
        command.arguments(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
