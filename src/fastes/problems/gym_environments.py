"""Gymnasium's environments and spaces. The only importer of gymnasium."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastes.envs import TESTBEDS
from fastes.errors import ProblemError
from fastes.import_path import imported
from fastes.problems.env_interface import InterfaceEnvironment, follows_interface
from fastes.problems.spaces import Actions, Box, Discrete, MultiBinary, MultiDiscrete, Spaces
from fastes.types import AnyArray

if TYPE_CHECKING:
    import gymnasium

Encoder = Callable[[Any], AnyArray]
"""From an observation of the environment to a float32 array."""

Wrapper = str | dict[str, Any] | Callable[..., Any]
"""A class or function from an environment to an environment, or "module:callable" naming one; or a dict that names it
as `wrapper`, beside keyword arguments for it."""

BatchEncoder = Callable[[Any], AnyArray]
"""From the observations of k environments, as a vector environment gives them, to float32 [k, *observation_shape]."""

_CLIPPED = 1e30  # bounds beyond this are those of the dtype, not of the environment


def make(env: str | Callable[..., Any], env_args: dict[str, Any], wrappers: Sequence[Wrapper] = ()) -> Any:
    """A new environment in its wrappers, the first innermost.

    Raises ProblemError if it does not exist or cannot be made.
    """
    import gymnasium

    if isinstance(env, str) and env in TESTBEDS:
        importlib.import_module("fastes.envs.plain")  # registers them
    try:
        if not isinstance(env, str):
            made = env(**env_args)
        elif names_callable(env):
            made = imported(env, ProblemError)(**env_args)
        else:
            # Our own checks of observations and rewards stand for Gymnasium's checker, a microsecond of each step.
            made = gymnasium.make(env, disable_env_checker=True, **env_args)
        for wrapper in wrappers:
            made = _wrapped(made, wrapper)
    except gymnasium.error.UnregisteredEnv as error:
        raise ProblemError(
            f"problem.env = {env!r}: {error} Installed ids are listed by "
            "`python -c 'import gymnasium; gymnasium.pprint_registry()'`; families such as MuJoCo or Atari "
            "need their extra: pip install 'fastes[mujoco]'."
        ) from error
    except ProblemError:
        raise
    except gymnasium.error.DependencyNotInstalled as error:
        raise ProblemError(
            f"problem.env = {env!r}: {str(error).removesuffix('.')}. It may be one of the extras of fastes: "
            "pip install 'fastes[mujoco]', 'fastes[atari]' or 'fastes[box2d]'."
        ) from error
    except Exception as error:
        raise ProblemError(
            f"problem.env: {env!r} cannot be made with the arguments {env_args}"
            f"{f' and the wrappers {list(wrappers)}' if wrappers else ''}: {_reason(error)}. Check it "
            "and problem.env_args."
        ) from error
    return made


def _wrapped(env: Any, wrapper: Wrapper) -> Any:
    arguments = dict(wrapper) if isinstance(wrapper, dict) else {"wrapper": wrapper}
    named = arguments.pop("wrapper", "")
    return (imported(named, ProblemError) if isinstance(named, str) else named)(env, **arguments)


def _reason(error: Exception) -> str:
    """To be followed by a full stop."""
    return f"{type(error).__name__}: {str(error).removesuffix('.')}"


def make_vector(env: str | Callable[..., Any], env_args: dict[str, Any], count: int) -> Any:
    """A new vector environment of `count` environments: from the id's vector_entry_point, or from a factory, which
    may also be named by "module:callable" and is given count as num_envs.

    Raises ProblemError if there is none, it cannot be made, or it is no gymnasium.vector.VectorEnv.
    """
    import gymnasium

    try:
        if not isinstance(env, str):
            made = env(num_envs=count, **env_args)
        elif names_callable(env):
            made = imported(env, ProblemError)(num_envs=count, **env_args)
        else:
            if not has_vector_entry_point(env):
                raise ProblemError(
                    f"problem.env = {env!r} has no vector environment of its own. Leave problem.vector out, or name a "
                    "factory of one by problem.env = 'module:callable'; it is called with num_envs."
                )
            made = gymnasium.make_vec(env, num_envs=count, vectorization_mode="vector_entry_point", **env_args)
    except ProblemError:
        raise
    except Exception as error:
        raise ProblemError(
            f"problem.env: no vector environment can be made of {env!r} with num_envs={count} and the arguments "
            f"{env_args}: {_reason(error)}. Check it and problem.env_args."
        ) from error
    if not isinstance(made, gymnasium.vector.VectorEnv):
        raise ProblemError(f"problem.env: {env!r} gave a {type(made).__name__}, not a gymnasium.vector.VectorEnv.")
    return made


def has_vector_entry_point(env: str) -> bool:
    """Whether Gymnasium knows a vector environment for the id. Raises ProblemError if it does not know the id."""
    import gymnasium

    try:
        # "module:EnvId-v0" is registered by importing the module.
        module, _, name = env.rpartition(":")
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name).vector_entry_point is not None
    except (gymnasium.error.Error, ImportError) as error:
        raise ProblemError(f"problem.env = {env!r}: {error}") from error


def as_environment(made: Any, name: str) -> tuple[Any, Spaces, Encoder | None]:
    """What has Gymnasium's `reset` and `step`, of a gymnasium.Env or an `EnvInterface`; its spaces; and what makes an
    observation an array of that shape, None where it is one but for the dtype. name: of what made it.

    Raises ProblemError for anything else.
    """
    import gymnasium

    if isinstance(made, gymnasium.Env):
        found, encode = translated(made.observation_space, made.action_space)
        return made, found, None if isinstance(made.observation_space, gymnasium.spaces.Box) else encode
    if follows_interface(made):
        env = InterfaceEnvironment(made)
        return env, env.spaces, None
    raise ProblemError(
        f"problem.env: {name} gave a {type(made).__name__}, neither a gymnasium.Env nor a "
        "fastes.problems.EnvInterface. Its factory must return one of them; a gymnasium.vector.VectorEnv needs "
        "problem.vector = true."
    )


def make_atari(env: str, env_args: dict[str, Any], stack: int, preprocessing: dict[str, Any]) -> Any:
    """An Atari game by its id, in Gymnasium's preprocessing and `stack` frames; observations float32 in [0, 1].

    preprocessing: arguments of gymnasium.wrappers.AtariPreprocessing.

    Raises ProblemError if a package is missing or the game cannot be made.
    """
    try:
        ale_py = importlib.import_module("ale_py")
        importlib.import_module("cv2")  # the preprocessing needs it
    except ImportError as error:
        raise ProblemError(f"Atari games need ale-py and OpenCV ({error}): pip install 'fastes[atari]'.") from error
    import gymnasium

    gymnasium.register_envs(ale_py)
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)  # every game would print who made the emulator

    def preprocessed(game: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.AtariPreprocessing(game, scale_obs=True, **preprocessing)

    def stacked(game: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.FrameStackObservation(game, stack)

    return make(env, env_args, (preprocessed, stacked))


def names_callable(env: str) -> bool:
    """Whether env is "module:callable", and not Gymnasium's own "module:EnvId-v0"."""
    return ":" in env and not re.search(r"-v\d+$", env)


def translated(observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> tuple[Spaces, Encoder]:
    """The spaces as policies see them, and what makes an observation such an array.

    Box observations stay as they are, as float32; all else is flattened as Gymnasium flattens it.
    Raises ProblemError for spaces that cannot be.
    """
    from gymnasium import spaces

    actions = _actions(action_space)
    if isinstance(observation_space, spaces.Box):
        low, high = (_bound(bound) for bound in (observation_space.low, observation_space.high))
        shape = observation_space.shape
        return Spaces(shape, actions, low, high), lambda observation: np.asarray(observation, dtype=np.float32)
    if not observation_space.is_np_flattenable:
        raise ProblemError(
            f"observation space {observation_space} cannot be flattened to a vector; wrap the environment."
        )
    return Spaces((spaces.flatdim(observation_space),), actions), lambda observation: np.asarray(
        spaces.flatten(observation_space, observation), dtype=np.float32
    )


def translated_vector(
    observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], count: int
) -> tuple[Spaces, BatchEncoder, Encoder]:
    """As `translated`, of the spaces of one of k environments; what encodes the observations of `count` of them that
    come together, and what encodes one.
    """
    from gymnasium import spaces
    from gymnasium.vector.utils import batch_space, iterate

    found, encode = translated(observation_space, action_space)
    if isinstance(observation_space, spaces.Box):
        return found, encode, encode
    batched = batch_space(observation_space, count)
    return (
        found,
        lambda observations: np.stack([encode(one) for one in iterate(batched, observations)]),
        encode,
    )


def _bound(bound: AnyArray) -> AnyArray:
    with np.errstate(over="ignore"):
        return np.where(np.abs(bound.astype(np.float64)) > _CLIPPED, np.copysign(np.inf, bound), bound).astype(
            np.float32
        )


def _actions(space: gymnasium.Space[Any]) -> Actions:
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n), int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return MultiDiscrete(space.nvec.astype(np.int64), space.start.astype(np.int64))
    if isinstance(space, spaces.MultiBinary):
        return MultiBinary(tuple(space.shape))
    if isinstance(space, spaces.Box):
        return Box(space.low, space.high)
    raise ProblemError(f"action space {space} is not supported; wrap the environment to a Discrete or Box space.")
