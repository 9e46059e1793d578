"""Who gets which row, sign and scale; and the seeds that come from noise addresses."""

from __future__ import annotations

from fastes.noise.generation import Generation
from fastes.noise.mirrored import mirrored_rows, mirrored_signs, pair_weights
from fastes.noise.seeds import (
    Stream,
    action_noise,
    action_words,
    environment_seeds,
    evaluation_seeds,
    member_seeds,
    sampled_episodes,
)

__all__ = [
    "Generation",
    "Stream",
    "action_noise",
    "action_words",
    "environment_seeds",
    "evaluation_seeds",
    "member_seeds",
    "mirrored_rows",
    "mirrored_signs",
    "pair_weights",
    "sampled_episodes",
]
