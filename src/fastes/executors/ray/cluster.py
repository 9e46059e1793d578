"""The one place where Ray is called: joining or starting a cluster, its actors, and promises of what they find out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from fastes import kernels
from fastes.errors import ExecutorError, FastesError
from fastes.executors.failure import Failure, evaluated
from fastes.messages import UnitResult
from fastes.noise import Generation
from fastes.types import Float32Array


class Worker:
    """What an actor is: a copy of the evaluator."""

    def __init__(self, search_path: list[str], boxed_evaluator: list[Any]) -> None:
        """search_path: where the coordinator finds modules, perhaps there for this process too; boxed_evaluator: where
        it is stored, in a list so that Ray leaves it there until the modules can be found.
        """
        import ray

        sys.path += [folder for folder in search_path if folder not in sys.path]
        kernels.set_num_threads(1)  # one core each: the actors are the parallelism
        self._evaluator = ray.get(boxed_evaluator[0])

    def is_running(self) -> bool:
        """True, once it is."""
        return True

    def evaluate(self, vectors: Float32Array, unit: Generation) -> UnitResult | Failure:
        """vectors: float32, in the memory of the node's object store; unit: without its vectors."""
        return evaluated(self._evaluator, unit.with_vectors(vectors, self._evaluator.policy.dim))


class Cluster:
    """A cluster that was joined, or started on this machine."""

    def __init__(self, address: str, processors: int, device: str) -> None:
        """address: see `Ray`; processors: of a cluster that is started, 0 for all; device: on which actors evaluate.

        Raises ExecutorError.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home unless told not to
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the default to come; without, it warns
        try:
            import ray
        except ImportError as error:
            raise ExecutorError(
                f"executor ray needs Ray, which cannot be loaded: {error}. Install it with pip install 'fastes[ray]'."
            ) from error
        self._ray: Any = ray
        self._is_ours = False
        if not ray.is_initialized():
            where = {"address": address} if address else {"address": "local", "num_cpus": processors or None}
            try:
                with _own_signals():
                    ray.init(**where, include_dashboard=None if address else False, logging_level="error")
            except (ConnectionError, OSError, RuntimeError, ValueError) as error:
                raise ExecutorError(
                    f"Ray cannot be {'reached at ' + address if address else 'started'}: {error}. Check "
                    "executor.address; `ray status` on a node of the cluster says whether it is up."
                ) from error
            self._is_ours = True
        gpus = 0 if device == "cpu" else 1  # Ray shows each actor its own
        self._worker = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0)(Worker)
        self._resource = "GPU" if gpus else "CPU"

    @property
    def processors(self) -> int:
        """Of all nodes; GPUs, where members are evaluated on those."""
        return int(self._ray.cluster_resources().get(self._resource, 1))

    def stored(self, value: Any) -> Any:
        """Where actors find the value. Raises ExecutorError if it cannot travel."""
        try:
            return self._ray.put(value)
        except TypeError as error:
            raise ExecutorError(
                # Ray's own message is a page long; its cause says the same in a line.
                f"the policy and problem cannot be sent to Ray's actors: {error.__cause__ or error}. Name them by "
                "'module:callable', or let what cannot travel, such as an open file, be made where it is first used."
            ) from error

    def actor(self, stored_evaluator: Any) -> Any:
        """A new actor, which may not be running yet."""
        return self._worker.remote([os.path.abspath(folder) for folder in sys.path], [stored_evaluator])

    def running(self, actors: list[Any], patience_s: float) -> int:
        """How many of the actors are running, as soon as all are or the time is up. Raises ExecutorError if one cannot
        be made.
        """
        signs = [actor.is_running.remote() for actor in actors]
        given, _ = self._ray.wait(signs, num_returns=len(signs), timeout=patience_s)
        try:
            return sum(self._ray.get(given))
        except self._ray.exceptions.RayError as error:
            raise ExecutorError(
                f"a Ray actor cannot be made: {error}\nAll nodes need fastes and the modules of policy and problem."
            ) from error

    def promise(self, actor: Any, stored_vectors: Any, unit: Generation) -> Any:
        """Of the unit's result."""
        return actor.evaluate.remote(stored_vectors, unit.without_vectors())

    def settled(self, promises: list[Any]) -> list[Any]:
        """Those that were kept or broken, at least one."""
        self._ray.wait(promises)
        settled: list[Any] = self._ray.wait(promises, num_returns=len(promises), timeout=0)[0]
        return settled

    def answer(self, promise: Any) -> UnitResult | Failure | None:
        """What a settled promise gave, None if its actor died or the answer was lost."""
        try:
            answer: UnitResult | Failure = self._ray.get(promise)
        except self._ray.exceptions.RayTaskError as error:
            return Failure(FastesError(f"a Ray actor failed: {error}"))
        except self._ray.exceptions.RayError:
            return None
        return answer

    def end(self, actor: Any) -> None:
        """Ends an actor, whatever it does."""
        with contextlib.suppress(self._ray.exceptions.RayError, ValueError):
            self._ray.kill(actor)

    def leave(self) -> None:
        """Leaves a cluster that was joined; ends one that was started."""
        if self._is_ours:
            self._ray.shutdown()
            self._is_ours = False


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Within, Ray may take SIGTERM for itself; afterwards it is ours again."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
