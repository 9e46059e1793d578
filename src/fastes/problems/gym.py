"""Gymnasium environments as a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastes.envs import NATIVE, TESTBEDS, Native, native_of
from fastes.errors import ProblemError
from fastes.problems.batches.base import Batch
from fastes.problems.batches.instances import InstanceBatch
from fastes.problems.batches.native import NativeBatch
from fastes.problems.batches.vector import VectorEpisodes
from fastes.problems.gym_environments import as_environment, make
from fastes.problems.rollouts import Rollouts


@dataclass(frozen=True, slots=True)
class Gym(Rollouts):
    """Episodes of a Gymnasium environment; see `Rollouts` for all that is not about the environment itself.

    env: an environment id, a factory, or "module:callable" naming one, which gives a gymnasium.Env, an `EnvInterface`
    or, with vector, a gymnasium.vector.VectorEnv; a VectorEnv may be given as it is; env_args: keyword arguments of
    either; wrappers: functions from an environment to an environment, or "module:callable" naming them, or dicts of a
    `wrapper` and its keyword arguments, the first innermost; vector: environments that step many episodes in one call:
    the id's own, or the factory's, which is called with num_envs;
    native: play the compiled environment of `fastes.envs`; None where there is one, and neither wrappers nor, unless it
    is one of its `TESTBEDS`, env_args.
    """

    env: str | Callable[..., Any] = "CartPole-v1"
    env_args: dict[str, Any] = field(default_factory=dict)
    wrappers: tuple[str | dict[str, Any] | Callable[..., Any], ...] = ()
    vector: bool = False
    native: bool | None = None

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        Rollouts.__post_init__(self)
        object.__setattr__(self, "wrappers", tuple(self.wrappers))
        if self.wrappers and (self.vector or hasattr(self.env, "num_envs")):
            raise ProblemError(
                "problem.wrappers are for single environments: wrap the vector environment in a factory, or leave "
                "problem.vector out."
            )
        if not (isinstance(self.env, str) or callable(self.env) or hasattr(self.env, "num_envs")):
            raise ProblemError(
                f"problem.env must be an id, a class or a factory, not an object of type {type(self.env).__name__}: "
                "many are played side by side, so give what makes one."
            )
        compiled = self._compiled
        if self.native and self.env in NATIVE and compiled is None:
            given = ", ".join(name for name in ("env_args", "wrappers", "vector") if getattr(self, name))
            raise ProblemError(f"problem.native = true does not go with {given}: leave one of them out.")
        if self.native and compiled is None:
            raise ProblemError(
                f"problem.native = true needs one of {', '.join(NATIVE)}, not {self.env!r}. Leave native out for any "
                "other environment."
            )

    @property
    def subject(self) -> str:
        """See `Rollouts`."""
        return self.env if isinstance(self.env, str) else getattr(self.env, "__name__", type(self.env).__name__)

    def batch(self) -> Batch:
        """See `Rollouts.batch`."""
        compiled = None if self.native is False else self._compiled
        if compiled is not None:
            return NativeBatch(compiled)
        if self.vector or hasattr(self.env, "num_envs"):
            return VectorEpisodes(self.env, self.env_args)
        env, spaces, encode = as_environment(self.make(), self.subject)
        return InstanceBatch(lambda: as_environment(self.make(), self.subject)[0], env, spaces, encode)

    def make(self) -> Any:
        """A new environment. Raises ProblemError if it does not exist or cannot be made."""
        assert isinstance(self.env, str) or callable(self.env)  # as was checked
        return make(self.env, self.env_args, self.wrappers)

    def remarks(self) -> list[str]:
        """See `Rollouts.remarks`."""
        if self.native is not None or self._compiled is None or self.env in TESTBEDS:
            return []
        return [
            f"{self.env} is played by its compiled equal in fastes.envs; problem.native = false takes Gymnasium's own."
        ]

    @property
    def _compiled(self) -> Native | None:
        """The compiled environment for these settings, where there is one. Raises ProblemError."""
        if not isinstance(self.env, str) or self.wrappers or self.vector:
            return None
        try:
            return native_of(self.env, self.env_args)
        except (TypeError, ValueError) as error:
            raise ProblemError(f"problem.env_args = {self.env_args} do not fit {self.env}: {error}") from error
