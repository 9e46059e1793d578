"""The Soft Actor-Critic of stable-baselines3 as a pure function of its numbers. The only importer of stable_baselines3.

Haarnoja et al. 2018, arXiv 1812.05905: two critics and their targets, an actor that gives mean and deviation of actions
before they are squashed by tanh, an entropy coefficient that is learned; Adam for each of the three. All that learning
changes lies in one vector, which begins with the actor's theta. The actor's theta is that of a perceptron: its hidden
layers, then the layer of the means; deviations are the learner's own.

Its arithmetic is torch's, with one thread: the same bits on the same machine with the same versions, and not on others.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastes import kernels
from fastes.errors import ConfigError
from fastes.messages import Transitions
from fastes.noise import Stream, Tensor
from fastes.types import Float32Array

if TYPE_CHECKING:
    import torch

    from fastes.policies import Policy

_TRIED = 8  # observations
ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "elu": "ELU", "silu": "SiLU", "gelu": "GELU"}


@dataclass(frozen=True, slots=True)
class ActorShape:
    """observation: O; hidden: widths of the hidden layers; action: A."""

    observation: int
    hidden: tuple[int, ...]
    action: int

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> ActorShape:
        """That of a perceptron's parameters in theta. Raises ValueError if they are not those of one with biases."""
        shapes = [tuple(shape) for _, *shape in tensors]
        matrices, biases = shapes[0::2], shapes[1::2]
        chained = len(matrices) == len(biases) > 0 and all(len(matrix) == 2 for matrix in matrices)
        if chained:
            chained = biases == [matrix[:1] for matrix in matrices]
            chained &= all(after[1] == before[0] for before, after in itertools.pairwise(matrices))
        if not chained:
            raise ValueError(
                "esac needs a policy whose parameters are those of a perceptron: a matrix and a bias for each layer, "
                f"not tensors of the shapes {shapes}. Take policy.kind = 'mlp'."
            )
        return cls(matrices[0][1], tuple(matrix[0] for matrix in matrices[:-1]), matrices[-1][0])


@dataclass(frozen=True, slots=True)
class Learning:
    """learning_rate, gamma, tau, batch_size: as stable-baselines3 has them; entropy: coefficient, 0 to learn it;
    hidden: of the critics, empty for the actor's; activation: of all networks, one of `ACTIVATIONS`.
    """

    learning_rate: float
    gamma: float
    tau: float
    batch_size: int
    entropy: float
    hidden: tuple[int, ...]
    activation: str


class Learner:
    """Networks and optimizers for one shape; what is in them is put there before it is used."""

    def __init__(self, shape: ActorShape, learning: Learning, seed: int = 0) -> None:
        """seed: of the first parameters. Raises ConfigError if stable-baselines3 is not installed."""
        import torch

        library = _library()
        self._shape, self._learning = shape, learning
        with _drawing(seed):
            self._sac = library.SAC(
                "MlpPolicy",
                _spaces(shape),
                learning_rate=learning.learning_rate,
                buffer_size=1,
                batch_size=learning.batch_size,
                tau=learning.tau,
                gamma=learning.gamma,
                ent_coef=learning.entropy or "auto",
                policy_kwargs={
                    "net_arch": {"pi": list(shape.hidden), "qf": list(learning.hidden or shape.hidden)},
                    "activation_fn": getattr(torch.nn, ACTIVATIONS[learning.activation]),
                },
                device="cpu",
            )
        self._sac.set_logger(library.common.logger.Logger(None, []))
        self._tensors = self._listed()

    def vector(self) -> Float32Array:
        """All that learning changes: float32 [L]."""
        return np.concatenate([tensor.detach().numpy().reshape(-1) for tensor in self._tensors])

    def load_(self, vector: Float32Array) -> None:
        """Puts back what `vector` gave."""
        import torch

        start = 0
        with torch.no_grad():
            for tensor in self._tensors:
                part = vector[start : start + tensor.numel()].reshape(tuple(tensor.shape))
                tensor.copy_(torch.tensor(part))
                start += tensor.numel()

    def means(self, observations: Float32Array) -> Float32Array:
        """The actor's means before they are squashed: float32 [n, A]. observations: float32 [n, O]."""
        import torch

        actor = self._sac.actor
        with torch.no_grad():
            means: Float32Array = actor.mu(actor.latent_pi(torch.tensor(observations))).numpy()
        return means

    def acts_as(self, policy: Policy, observation_shape: tuple[int, ...]) -> bool:
        """Whether the actor and the policy as it is give the same for drawn observations."""
        import torch

        shape = (_TRIED, *observation_shape)
        observations = kernels.normal(math.prod(shape), seed=0).reshape(shape)
        policy.reset_()
        with torch.no_grad():
            try:
                outputs = policy.module(torch.tensor(observations)).numpy()
            except (TypeError, RuntimeError, AttributeError):  # it is called in another way, with a state perhaps
                return False
        means = self.means(observations.reshape(_TRIED, -1))
        return outputs.shape == means.shape and bool(np.allclose(outputs, means, 1e-4, 1e-5))

    def train_(self, steps: Transitions, updates: int, seed: int, generation: int) -> dict[str, float]:
        """So many updates, each from a batch that is drawn from the steps, which are normalised; gives losses."""
        self._sac.replay_buffer = self._buffer(steps)
        with _drawing(seed, generation):
            self._sac.train(updates, self._learning.batch_size)
        told = self._sac.logger.name_to_value
        return {name: float(told[f"train/{name}"]) for name in ("actor_loss", "critic_loss", "ent_coef")}

    def _buffer(self, steps: Transitions) -> Any:
        count, shape = len(steps.rows), self._shape
        environment = _spaces(shape)
        buffer = _library().common.buffers.ReplayBuffer(
            count,
            environment.observation_space,
            environment.action_space,
            device="cpu",
            handle_timeout_termination=False,  # episodes that were cut off did not end
        )
        buffer.observations[:, 0] = steps.observations
        buffer.next_observations[:, 0] = steps.next_observations
        buffer.actions[:, 0] = steps.actions
        buffer.rewards[:, 0] = steps.rewards
        buffer.dones[:, 0] = steps.terminated
        buffer.full = True
        return buffer

    def _listed(self) -> list[torch.Tensor]:
        """The actor's theta first; then all else, the moments of Adam as before its first step."""
        import torch

        sac = self._sac
        actor, critic, target = sac.actor, sac.critic, sac.critic_target
        modules = (actor.latent_pi, actor.mu, actor.log_std, critic, target)
        tensors = [parameter for module in modules for parameter in module.parameters()]
        optimizers = [actor.optimizer, critic.optimizer]
        if sac.ent_coef_optimizer is not None:
            tensors.append(sac.log_ent_coef)
            optimizers.append(sac.ent_coef_optimizer)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    moments = [torch.zeros_like(parameter).detach() for _ in range(2)]
                    count = torch.tensor(0.0)
                    optimizer.state[parameter] = {"step": count, "exp_avg": moments[0], "exp_avg_sq": moments[1]}
                    tensors += [count, *moments]
        return tensors


def first_vector(shape: ActorShape, learning: Learning, theta: Float32Array, seed: int) -> Float32Array:
    """A learner's vector before its first update, its actor being theta: float32 [L]."""
    vector = Learner(shape, learning, seed).vector()
    vector[: theta.size] = theta
    return vector


@functools.lru_cache(maxsize=2)
def learner(shape: ActorShape, learning: Learning) -> Learner:
    """One for whoever loads a vector into it: making it takes longer than some updates."""
    return Learner(shape, learning)


def _spaces(shape: ActorShape) -> Any:
    """An environment that nobody plays: stable-baselines3 asks one for its spaces."""
    import gymnasium

    class Spaces(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (shape.observation,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (shape.action,), np.float32)

    return Spaces()


def _library() -> Any:
    """Raises ConfigError if it is not installed."""
    try:
        import stable_baselines3
    except ImportError as error:
        raise ConfigError(
            f"algorithm.kind = 'esac' needs stable-baselines3, which cannot be loaded: {error}. Install it with pip "
            "install 'fastes[esac]'."
        ) from error
    return stable_baselines3


@contextlib.contextmanager
def _drawing(seed: int, generation: int = 0) -> Iterator[None]:
    """Within, one thread, and torch's and NumPy's own generators seeded from stream 7; both are then as they were."""
    import torch

    from fastes.one_thread import OneThread

    words = kernels.philox4x32(np.array([[0, Stream.BATCHES, 0, generation]], np.uint32), seed)[0]
    numbers = np.random.get_state()  # noqa: NPY002 (stable-baselines3 draws its batches from NumPy's global generator)
    try:
        with OneThread()(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
            np.random.seed(words[2:])  # noqa: NPY002
            yield
    finally:
        np.random.set_state(numbers)  # noqa: NPY002
