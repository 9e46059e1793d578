"""Who gets which row, sign and scale; and the seeds that come from noise addresses."""

from __future__ import annotations

from fastes.noise.generation import Generation, put_together
from fastes.noise.mirrored import mirrored_rows, mirrored_signs, pair_weights
from fastes.noise.perturbation import LOW_RANK, NOISES, Perturbation, Tensor
from fastes.noise.seeds import (
    Stream,
    action_noise,
    action_words,
    below,
    environment_seeds,
    evaluation_seeds,
    member_seeds,
    sampled_episodes,
    words_of,
)

__all__ = [
    "LOW_RANK",
    "NOISES",
    "Generation",
    "Perturbation",
    "Stream",
    "Tensor",
    "action_noise",
    "action_words",
    "below",
    "environment_seeds",
    "evaluation_seeds",
    "member_seeds",
    "mirrored_rows",
    "mirrored_signs",
    "pair_weights",
    "put_together",
    "sampled_episodes",
    "words_of",
]
