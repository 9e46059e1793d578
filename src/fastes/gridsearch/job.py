"""`python -m fastes.gridsearch.job`: a process that trains runs of a grid, one after another, as its parent tells it.

Both sides write lines of JSON. From the parent, at standard input: {"path": [...]} first, then {"run": {...}} and
{"stop": true}; its end means to stop as well. To the parent: {"step": ...}, {"message": ...}, {"ended": ...}.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO


def main() -> None:
    """Until the parent has no more runs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent says when to stop, and ends this process if it must
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what environments print is not for the parent
    # A forked process closes sys.stdin, and would wait for ever for its lock, which a thread holds while it reads.
    orders = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    sys.path[:0] = [path for path in json.loads(orders.readline())["path"] if path not in sys.path]
    _Job(orders, answers).work()


class _Job:
    def __init__(self, orders: TextIO, answers: TextIO) -> None:
        self._orders, self._answers = orders, answers
        self._runs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def work(self) -> None:
        from fastes.gridsearch.train import Listener, trained

        listener = Listener(self._stepped, lambda text: self._say("message", text))
        while (run := self._runs.get()) is not None:
            found = trained(run["tables"], Path(run["directory"]), run["hparams"], listener)
            self._say("ended", None if found is None else asdict(found))

    def _stepped(self, step: Any) -> bool:
        self._say("step", asdict(step))
        return self._stop.is_set()

    def _say(self, what: str, content: Any) -> None:
        self._answers.write(json.dumps({what: content}) + "\n")
        self._answers.flush()

    def _listen(self) -> None:
        for line in self._orders:
            told = json.loads(line)
            if "run" in told:
                self._stop.clear()  # here, in the order in which they come
                self._runs.put(told["run"])
            else:
                self._stop.set()
        self._stop.set()
        self._runs.put(None)


if __name__ == "__main__":
    main()
