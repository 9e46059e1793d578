"""Phases of a run, each with a budget: what fails or does not fit is recorded, and the others still run.

Only the standard library: all this has to work before fastes is built, and where nothing is installed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

LEAST_S = 5.0
"""A phase is not started with less time than this."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended. status: of the process, negative if by a signal, None if there is no such command."""

    status: int | None
    output: str
    seconds: float
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and well."""
        return self.status == 0 and not self.timed_out

    @property
    def outcome(self) -> str:
        """Done, timed out, or failed with its status."""
        if self.timed_out:
            return "timed out"
        if self.status is None:
            return "not found"
        return "done" if self.status == 0 else f"failed with status {self.status}"


class Runner(Protocol):
    """Carries out a command: its output of both kinds together, `environment` added to this process' own."""

    def __call__(
        self, command: Sequence[str], timeout_s: float, environment: Mapping[str, str] = ..., /
    ) -> Finished: ...


def run_command(
    command: Sequence[str],
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    *,
    clock: Callable[[], float],
    grace_s: float = 10.0,
) -> Finished:
    """Runs a command in a group of processes of its own.

    The group is interrupted at `timeout_s`, when pytest still says what failed, and killed `grace_s` later.
    """
    start = clock()
    with tempfile.TemporaryFile() as output:

        def finished(status: int | None, *, timed_out: bool = False) -> Finished:
            output.seek(0)
            return Finished(status, output.read().decode(errors="replace"), clock() - start, timed_out)

        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            return Finished(None, f"{command[0]}: {error.strerror}", clock() - start)
        try:
            return finished(process.wait(timeout_s))
        except subprocess.TimeoutExpired:
            stop(process, grace_s)
            return finished(process.returncode, timed_out=True)
        except BaseException:  # Ctrl-C: nothing is left running
            stop(process, grace_s)
            raise


def stop(process: subprocess.Popen[Any], grace_s: float) -> None:
    """Interrupts a process and those it started, and kills what is left after `grace_s`."""
    for number in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(grace_s)
        except ProcessLookupError:
            process.wait()
            return
        except subprocess.TimeoutExpired:
            continue


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of a run.

    action: gets the seconds that it may take, changes the run's record, and says in a word how it ended; what it
    raises is recorded. budget_s: the most that it gets.
    """

    name: str
    budget_s: float
    action: Callable[[float], str]


def run_phases(
    phases: Sequence[Phase],
    record: dict[str, Any],
    *,
    total_s: float,
    clock: Callable[[], float],
    save: Callable[[], None],
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Runs all phases in turn as far as `total_s` goes; adds one entry each to record["phases"]; saves after each.

    An entry holds name, status ("done", "no time left", or what went wrong), seconds, limit_s, and detail.
    """
    start = clock()
    for phase in phases:
        began = clock()
        limit = min(phase.budget_s, total_s - (began - start))
        entry: dict[str, Any] = {"name": phase.name, "status": "started", "seconds": 0.0, "limit_s": limit}
        record["phases"].append(entry)
        if limit < LEAST_S:
            entry["status"] = "no time left"
        else:
            say(f"{phase.name} (up to {limit:.0f} s) ...")
            save()
            try:
                entry["status"] = phase.action(limit)
            except Exception as error:
                entry["status"] = f"raised {type(error).__name__}"
                entry["detail"] = traceback.format_exc()
            entry["seconds"] = clock() - began
        say(f"{phase.name}: {entry['status']}, {entry['seconds']:.1f} s")
        save()
