"""Several runs of a grid at once, each in a process of its own, which has a part of the cores to itself."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from fastes.executors.pool import usable_processors
from fastes.gridsearch.cells import Run
from fastes.gridsearch.directory import Outcome
from fastes.gridsearch.display import GridDisplay
from fastes.gridsearch.source import Source, Step
from fastes.interrupt import interruptible

_TICK_S = 0.2
_END_S = 10.0


def run_in_jobs(source: Source, count: int, display: GridDisplay) -> bool:
    """Trains all that the source gives, `count` runs at a time. False if Ctrl-C has stopped it, after the generation
    that each run was in.
    """
    told: _Told = queue.SimpleQueue()
    jobs = [_Job(cores, told) for cores in shares(count)]
    stopping = False
    try:
        with interruptible() as interrupted:
            while True:
                if interrupted() and not stopping:
                    stopping = True
                    for job in jobs:
                        job.stop()
                for job in jobs:
                    if not stopping and job.run is None and (run := source.next()) is not None:
                        display.began(run, source.left)
                        job.begin(run)
                if all(job.run is None for job in jobs):
                    return not stopping
                try:
                    job, message = told.get(timeout=_TICK_S)
                except queue.Empty:
                    display.tick()
                    continue
                _take(job, message, source, display)
    finally:
        for job in jobs:
            job.close()


def shares(count: int) -> list[list[int]]:
    """The cores of each of so many jobs: equal parts, or one for several jobs where there are fewer."""
    if not hasattr(os, "sched_getaffinity"):
        return [[] for _ in range(count)]
    cores = sorted(os.sched_getaffinity(0))
    if count >= len(cores):
        return [[cores[i % len(cores)]] for i in range(count)]
    edges = [i * len(cores) // count for i in range(count + 1)]
    return [cores[edges[i] : edges[i + 1]] for i in range(count)]


def jobs_of(wanted: int) -> int:
    """wanted: 0 for one per core."""
    return wanted or usable_processors()


def _take(job: _Job, message: dict[str, Any] | None, source: Source, display: GridDisplay) -> None:
    """What a job has said; None: its process has ended."""
    run = job.run
    if run is None:
        return
    if message is None:
        error = f"its process ended (exit code {job.renewed()}); -9 is often the system running out of memory."
        message = {"ended": {"status": "failed", "error": error}}
    if "step" in message:
        step = Step(**message["step"])
        display.stepped(run, step)
        if source.stepped(run, step):
            job.stop()
    elif "message" in message:
        display.message(run, message["message"])
    else:
        job.run = None
        display.ended(run, source.ended(run, Outcome(**message["ended"])), source.left)


class _Job:
    """A process that trains one run at a time."""

    def __init__(self, cores: Sequence[int], told: _Told) -> None:
        self.run: Run | None = None
        self._cores, self._told = cores, told
        self._process: subprocess.Popen[str] | None = None

    def begin(self, run: Run) -> None:
        """Has the process train a run; starts one if there is none."""
        self.run = run
        if self._process is None:
            self._start()
        self._say({"run": {"tables": run.tables, "directory": str(run.directory), "hparams": run.hparams}})

    def stop(self) -> None:
        """Ends the run after its generation."""
        if self.run is not None:
            self._say({"stop": True})

    def renewed(self) -> int:
        """After the process has ended: the next run starts another. Gives its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        _closed(process)
        return process.wait()

    def close(self) -> None:
        """An idle process ends by itself, a busy one is ended."""
        if self._process is None:
            return
        process, self._process = self._process, None
        if self.run is not None:
            _kill(process)
        _closed(process)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.wait()

    def _start(self) -> None:
        threads = {} if self._cores else {"FASTES_NUM_THREADS": "1"}
        self._process = process = subprocess.Popen(
            [sys.executable, "-m", "fastes.gridsearch.job"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | threads,
            start_new_session=True,  # Ctrl-C is for this process, which tells the others
        )
        if self._cores:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(process.pid, self._cores)  # before it imports anything that counts them
        threading.Thread(target=self._read, args=(process,), name="job", daemon=True).start()
        self._say({"path": sys.path})

    def _say(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, as the thread that reads will say
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._told.put((self, json.loads(line)))
        if process is self._process:
            self._told.put((self, None))


_Told = queue.SimpleQueue[tuple[_Job, "dict[str, Any] | None"]]


def _closed(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()


def _kill(process: subprocess.Popen[str]) -> None:
    """With all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
