"""The environment protocol of portable-es: less than Gymnasium's, for environments that are written for one purpose.

What is stepped is told a generator, then reset; an episode ends by `done`; `eval` tells of the episode that has ended.
https://github.com/ob-trading/portable-es
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastes.errors import ProblemError
from fastes.problems.spaces import Outputs, Spaces
from fastes.problems.statistics import as_image
from fastes.types import AnyArray

_METHODS = ("step", "randomize", "reset", "eval")


class EnvInterface(ABC):
    """An environment by four methods. States are arrays, tensors or lists of one shape, which policies see as float32.

    observation_shape: of a state; if it is None, one reset finds it. action_size: outputs that a policy must give; if
    it is 0, the user's policy decides.
    """

    observation_shape: tuple[int, ...] | None = None
    action_size: int = 0

    @abstractmethod
    def step(self, action: AnyArray) -> tuple[Any, float, bool]:
        """State, reward, and whether the episode has ended. action: the policy's outputs, float32 [A], unless
        problem.action makes something else of them.
        """

    @abstractmethod
    def reset(self) -> Any:
        """The first state of an episode. All that it draws comes from the generator that `randomize` was given."""

    def randomize(self, rng: np.random.Generator) -> None:  # noqa: B027 (an environment may draw nothing)
        """Called before each reset. The same generator must give the same episode, whatever was played before."""

    def eval(self) -> dict[str, Any]:
        """What is to be reported of the episode that has ended: numbers, and images, by name.

        An image is uint8 [height, width, 1, 3 or 4], or [height, width], or with the colours first; floats are shares
        of white. Both may also stand in {"scalars": {...}, "images": {...}}.
        """
        return {}


def follows_interface(made: Any) -> bool:
    """Whether it has the methods of `EnvInterface`, of which it need not be one."""
    return all(callable(getattr(made, name, None)) for name in _METHODS)


class InterfaceEnvironment:
    """An `EnvInterface` with the methods of a gymnasium.Env; `spaces` are its own."""

    spec = None

    def __init__(self, inner: Any) -> None:
        """inner: what follows `EnvInterface`. Raises ProblemError if its states are no arrays."""
        self._inner = inner
        shape = getattr(inner, "observation_shape", None)
        if shape is None:
            shape = self.reset(seed=0)[0].shape
        self.spaces = Spaces(tuple(shape), Outputs(int(getattr(inner, "action_size", 0))))

    def reset(self, *, seed: int) -> tuple[AnyArray, dict[str, Any]]:
        """First state, float32, and nothing."""
        self._inner.randomize(np.random.default_rng(seed))
        return _state(self._inner.reset()), {}

    def step(self, action: AnyArray) -> tuple[AnyArray, float, bool, bool, dict[str, Any]]:
        """State, reward, done, False, and at the end of an episode what `eval` says, as "statistics"."""
        state, reward, done = self._inner.step(action)
        over = bool(done)
        return _state(state), float(reward), over, False, self.cut_off() if over else {}

    def cut_off(self) -> dict[str, Any]:
        """The info of an episode that ends here, for whoever ends it after a number of steps."""
        return {"statistics": _statistics(self._inner.eval())}

    def close(self) -> None:
        """Closes the environment, if it can be closed."""
        close = getattr(self._inner, "close", None)
        if callable(close):
            close()


def _array(given: Any) -> AnyArray:
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)


def _state(given: Any) -> AnyArray:
    try:
        return np.atleast_1d(_array(given).astype(np.float32, copy=False))
    except (TypeError, ValueError) as error:
        raise ProblemError(
            f"the state of an EnvInterface must be an array, a tensor or a list of numbers, not {given!r}: {error}"
        ) from error


def _statistics(told: Mapping[str, Any] | None) -> dict[str, Any]:
    """Numbers, and images uint8 [height, width, channels], by name. Raises ProblemError for what is neither."""
    found: dict[str, Any] = {}
    for name, value in (told or {}).items():
        if name in ("scalars", "images") and isinstance(value, Mapping):
            found |= _statistics(value)
            continue
        array = _array(value)
        if array.dtype.kind not in "biuf" or (array.size != 1 and array.ndim not in (2, 3)):
            raise ProblemError(f"eval() of an EnvInterface gave {name} = {value!r}, neither a number nor an image.")
        found[name] = float(array.reshape(())) if array.size == 1 else as_image(array)
    return found
