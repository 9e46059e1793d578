"""Functions on R^D, to be maximised. The policy is the vector itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fastes.errors import PolicyError, ProblemError
from fastes.import_path import imported
from fastes.kernels import MAX_ELEMENTS
from fastes.noise import Generation
from fastes.policies import Interface, Policy, PolicySpec, Vector
from fastes.problems.base import Outcome, Play, Problem, Session
from fastes.types import Float32Array, Float64Array

VectorFunction = Callable[[Float64Array], Float64Array]
"""x: float64 [U, D] to values float64 [U]."""


def sphere(x: Float64Array) -> Float64Array:
    """-sum x^2; maximum 0 at 0."""
    squares: Float64Array = np.sum(x * x, axis=1)
    return -squares


def ellipsoid(x: Float64Array) -> Float64Array:
    """-sum 10^(6 i / (D - 1)) x_i^2 (Hansen et al. 2009, function 2); maximum 0 at 0."""
    stretched: Float64Array = np.sum(10.0 ** np.linspace(0.0, 6.0, x.shape[1]) * x * x, axis=1)
    return -stretched


def rosenbrock(x: Float64Array) -> Float64Array:
    """-sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2 (Rosenbrock 1960); maximum 0 at 1."""
    valley: Float64Array = np.sum(100.0 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1.0 - x[:, :-1]) ** 2, axis=1)
    return -valley


def rastrigin(x: Float64Array) -> Float64Array:
    """-(10 D + sum x^2 - 10 cos 2 pi x) (Rastrigin 1974); maximum 0 at 0."""
    waves: Float64Array = np.sum(x * x - 10.0 * np.cos(2.0 * math.pi * x) + 10.0, axis=1)
    return -waves


def ackley(x: Float64Array) -> Float64Array:
    """Ackley's function (Ackley 1987) negated; maximum 0 at 0."""
    radius: Float64Array = np.sqrt(np.mean(x * x, axis=1))
    waves: Float64Array = np.mean(np.cos(2.0 * math.pi * x), axis=1)
    return 20.0 * np.exp(-0.2 * radius) - 20.0 + np.exp(waves) - math.e


FUNCTIONS: dict[str, VectorFunction] = {
    "sphere": sphere,
    "ellipsoid": ellipsoid,
    "rosenbrock": rosenbrock,
    "rastrigin": rastrigin,
    "ackley": ackley,
}


@dataclass(frozen=True, slots=True)
class Function(Problem):
    """A function of a vector, higher is better.

    function: one of sphere, ellipsoid, rosenbrock, rastrigin, ackley; or a callable, or "module:callable", from float32
    [D] to a number; dim: D; start: every element of the first vector.
    """

    function: str | Callable[[Float32Array], float] = "sphere"
    dim: int = 100
    start: float = 1.0

    def __post_init__(self) -> None:
        """Checks the settings. Raises ProblemError."""
        if not 1 <= self.dim <= MAX_ELEMENTS:
            raise ProblemError(f"problem.dim must be from 1 to 2^34, not {self.dim}.")
        if isinstance(self.function, str) and self.function not in FUNCTIONS and ":" not in self.function:
            known = ", ".join(FUNCTIONS)
            raise ProblemError(f"problem.function must be one of {known}, or 'module:callable', not {self.function!r}.")

    def interface(self) -> Interface:
        """A policy sees nothing and gives D numbers."""
        self.open().close()
        return Interface((0,), self.dim)

    def default_policy(self) -> PolicySpec:
        """The vector itself."""
        return Vector(self.start)

    def open(self) -> Session:
        """See `Problem.open`."""
        if isinstance(self.function, str) and self.function in FUNCTIONS:
            return _Vectorised(self.dim, FUNCTIONS[self.function])
        function = imported(self.function, ProblemError) if isinstance(self.function, str) else self.function
        return _OneByOne(self.dim, function)


@dataclass(frozen=True, slots=True)
class _Vectorised(Session):
    dim: int
    function: VectorFunction

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        with np.errstate(over="ignore", invalid="ignore"):  # a fitness that is not finite is reported by name later
            values = self.function(_vectors(unit, self.dim).astype(np.float64))
        return Outcome(values[:, np.newaxis], np.ones(len(unit), np.uint32))


@dataclass(frozen=True, slots=True)
class _OneByOne(Session):
    dim: int
    function: Callable[[Float32Array], float]

    def evaluate(self, policy: Policy, unit: Generation, play: Play) -> Outcome:
        returns = np.empty((len(unit), 1))
        for i, vector in enumerate(_vectors(unit, self.dim)):
            try:
                returns[i, 0] = float(self.function(vector))
            except Exception as error:
                raise ProblemError(
                    f"the function raised {type(error).__name__} for member {unit.first + i} of generation "
                    f"{unit.index}: {error}. It must take a float32 vector and give a number."
                ) from error
        return Outcome(returns, np.ones(len(unit), np.uint32))


def _vectors(unit: Generation, dim: int) -> Float32Array:
    if unit.theta.shape[-1] != dim:
        raise PolicyError(
            f"the policy has {unit.theta.shape[-1]} parameters, but problem.dim is {dim}: a function is evaluated at "
            'the parameters themselves. Leave [policy] out, or use kind = "vector".'
        )
    vectors: Float32Array = unit.materialize()
    return vectors
