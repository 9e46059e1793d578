"""Episodes of an EnvPool: environments in C++ that one call steps together. The only importer of envpool."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from typing import Any

from fastes.errors import ProblemError
from fastes.problems.batches.lanes import Lanes
from fastes.types import AnyArray, UInt32Array


class EnvPoolEpisodes(Lanes):
    """n episodes in a pool of n environments that is made anew whenever episodes begin.

    A pool takes its seeds when it is made, and no others later: what a second reset gives would depend on what was
    played before. The seed of an environment is that of its episode without the uppermost bit.
    """

    def __init__(self, env: str, env_args: dict[str, Any] | None = None) -> None:
        """env: an id of `envpool.list_all_envs()`; env_args: arguments of `envpool.make`, such as num_threads, which is
        1 unless given.

        Raises ProblemError if EnvPool is not installed, or there is no such environment or argument.
        """
        self._id, self._args = env, {"num_threads": 1} | (env_args or {})
        self._pools = _imported()
        with self._problems():
            spec = self._pools.make_spec(env, **self._args)
            spaces = spec.observation_space, spec.action_space
        config = spec.config._asdict()
        if config.get("max_num_players", 1) != 1:
            raise ProblemError(f"problem.env = {env!r} is a game of several players, which are not supported.")
        super().__init__(env, *spaces, int(config.get("max_episode_steps", 0)))

    def close(self) -> None:
        """See `Batch.close`. A pool ends its threads when nobody holds it."""
        self._env = None

    def _provide(self, n: int) -> None:
        self._lanes = n

    def _reset(self, seeds: UInt32Array) -> AnyArray:
        self.close()
        with self._problems():
            pool = self._pools.make(
                self._id,
                env_type="gymnasium",
                num_envs=seeds.size,
                batch_size=seeds.size,
                seed=(seeds & 0x7FFFFFFF).tolist(),
                **self._args,
            )
            assert pool.observation_space is not None  # made now, because it warns
        self._use(pool)
        observations, _ = self._call("reset")
        return self._encoded(observations)

    @contextlib.contextmanager
    def _problems(self) -> Iterator[None]:
        """EnvPool's errors as ProblemError; without its warnings that bounds are rounded to float32."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            reason = f"{type(error).__name__}: {str(error).removesuffix('.')}"
            raise ProblemError(
                f"problem.env = {self._id!r} cannot be made with the arguments {self._args}: {reason}. Ids are "
                "listed by `python -c 'import envpool; print(envpool.list_all_envs())'`."
            ) from error


def _imported() -> Any:
    try:
        return importlib.import_module("envpool")
    except ImportError as error:
        raise ProblemError(f"EnvPool is not installed ({error}): pip install 'fastes[envpool]'.") from error
