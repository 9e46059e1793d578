"""What a random policy sees: the reference batch of virtual batch normalisation (Salimans et al. 2016, section 3.4)."""

from __future__ import annotations

import numpy as np

from fastes.errors import ProblemError
from fastes.noise import action_noise, action_words, environment_seeds
from fastes.policies import Policy
from fastes.policies.virtual_batch_norm import VirtualBatchNorm
from fastes.problems.actions import decoder
from fastes.problems.base import Problem
from fastes.problems.batches.base import EpisodeError
from fastes.problems.rollouts import Rollouts
from fastes.types import Float32Array

_ROW = 2**32 - 2  # of the run's noise; no member's, nor that of the evaluation
_EVERY = 10  # observations that follow each other at once are nearly the same


def with_reference(problem: Problem, policy: Policy, seed: int) -> Policy:
    """The policy, with a reference batch of the problem's observations in every `VirtualBatchNorm` that has none yet.

    Raises ProblemError if the problem has no episodes, or normalises observations itself.
    """
    empty = [part for part in policy.module.modules() if isinstance(part, VirtualBatchNorm) and not part.has_reference]
    if not empty:
        return policy
    if not isinstance(problem, Rollouts):
        raise ProblemError(
            f"a problem of kind {type(problem).__name__} has no episodes that a random policy could play: give the "
            "policy its reference batch with take_reference_(observations)."
        )
    if problem.obs_norm:
        raise ProblemError(
            "problem.obs_norm changes what observations look like from one generation to the next, and the reference "
            "batch of virtual batch normalisation stays: leave one of them out."
        )
    for part in empty:
        part.take_reference_(reference_batch(problem, len(part.reference), seed))
    return Policy(policy.module)  # which keeps the buffers as they are now


def reference_batch(problem: Rollouts, size: int, seed: int) -> Float32Array:
    """Every tenth observation of episodes of a random policy, one episode after another: float32 [size, *shape].

    The policy's outputs are independent normal numbers, decoded as the problem does. seed: of the run, 64 bits.

    Raises ProblemError if an episode cannot be played, or how many outputs its actions take is not known.
    """
    batch = problem.batch()
    try:
        decode = decoder(batch.spaces.actions, problem.action, problem.bins, problem.action_size)
        if decode.outputs == 0:
            raise ProblemError("problem.action_size is missing: a random policy needs a number of outputs.")
        kept = np.empty((size, *batch.spaces.observation_shape), np.float32)
        seen = episode = 0
        while seen < size * _EVERY:
            if not batch.running:
                seeds = environment_seeds(seed, episode, _ROW - 1, 1, 1, common=False)[0]
                batch.reset(seeds, problem.max_steps)
                episode += 1
            else:
                outputs = action_noise(seed, 0, _ROW, 1, seen, decode.outputs)
                words = action_words(seed, 1, _ROW, 1, seen, decode.words).astype(np.float64)
                batch.step(decode.decode(outputs, (words + 0.5) / 2.0**32))
            if seen % _EVERY == 0:
                kept[seen // _EVERY] = batch.observations[0]
            seen += 1
        return np.clip(kept, -problem.obs_clip, problem.obs_clip) if problem.obs_clip else kept
    except EpisodeError as error:
        raise ProblemError(
            f"environment {problem.subject}: {error}, as a random policy played for the reference batch."
        ) from error
    finally:
        batch.close()
