"""Tiny language models and a task for them, importable by name from any process.

Tokens are 0 to 4; 5 ends a completion. The models look at the last token and at the mean of all before it, so that they
give the same whether they see a text again and again or keep what they know of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from conformance.paced import hold
from specimens import Tables
from torch import nn

from fastes.problems.language import Example

LETTERS, END = 5, 5
VOCABULARY = 6
LONGEST = 4
MOST = 5

State = tuple[torch.Tensor, torch.Tensor]


class Repeat:
    """A prompt of 2 to 4 letters; worth the share of them that the completion has in their places, and half an end."""

    vocabulary, longest, end = VOCABULARY, LONGEST, END

    def __init__(self) -> None:
        self.asked: list[int] = []

    def example(self, seed: int) -> Example:
        self.asked.append(seed)
        draw = random.Random(seed)
        return Example([draw.randrange(LETTERS) for _ in range(draw.randint(2, LONGEST))], seed)

    def reward(self, example: Example, completion: Sequence[int]) -> float:
        right = sum(said == asked for said, asked in zip(completion, example.prompt, strict=False))
        ends = len(completion) == len(example.prompt) + 1 and completion[-1] == END
        return (right + 0.5 * ends) / len(example.prompt)

    def statistics(self, example: Example, completion: Sequence[int]) -> dict[str, float]:
        return {"distinct": float(len(set(completion)))}


class Model(nn.Module):
    """What the three have in common."""

    def __init__(self, observation_size: int, action_size: int, width: int = 8) -> None:
        super().__init__()
        self.positions = observation_size
        self.token = nn.Embedding(action_size, width)
        self.mix = nn.Linear(2 * width, width)
        self.output = nn.Linear(width, action_size)

    def spoken(self, last: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
        """Logits of positions [..., width]."""
        return self.output(torch.tanh(3 * self.mix(torch.cat([last, mean], -1))))


class Recomputes(Model):
    """Sees all the text at every token."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        seen = self.token(tokens)
        counts = torch.arange(1, tokens.shape[1] + 1, device=tokens.device).view(1, -1, 1)
        return self.spoken(seen, seen.cumsum(1) / counts)


class Keeps(Model):
    """Keeps the sum and the number of what it saw; waits where a test says so."""

    def initial_state(self) -> State:
        return torch.zeros(1, 1, self.token.embedding_dim), torch.zeros(1, 1, 1)

    def forward(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        hold()
        seen = self.token(tokens)
        sums = state[0] + seen.cumsum(1)
        counts = state[1] + torch.arange(1, tokens.shape[1] + 1).view(1, -1, 1)
        return self.spoken(seen, sums / counts), (sums[:, -1:], counts[:, -1:])


class Generates(Model):
    """Has the interface of Hugging Face's models."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        mask = attention_mask.unsqueeze(2).float()
        seen = self.token(input_ids) * mask
        return self.spoken(seen, seen.cumsum(1) / mask.cumsum(1).clamp(min=1.0))

    def generate(self, **given: Any) -> torch.Tensor:
        tokens, mask = given["input_ids"], given["attention_mask"]
        assert (given["do_sample"], given["pad_token_id"]) == (False, given["eos_token_id"] or 0)
        ended = torch.zeros(len(tokens), dtype=torch.bool)
        for _ in range(given["max_new_tokens"]):
            chosen = self(input_ids=tokens, attention_mask=mask)[:, -1].argmax(-1)
            chosen[ended] = given["pad_token_id"]
            tokens = torch.cat([tokens, chosen.unsqueeze(1)], 1)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
            if given["eos_token_id"] is not None:
                ended |= chosen == given["eos_token_id"]
            if ended.all():
                break
        return tokens


TALK: Tables = {
    "seed": 5,
    "generations": 6,
    "unit_size": 4,
    "problem": {
        "kind": "completions",
        "task": "tiny_language:Repeat",
        "prompts_per_member": 3,
        "max_new_tokens": MOST,
    },
    "policy": {"kind": "tiny_language:Keeps"},
    "algorithm": {"population": 12, "noise": "low_rank", "shaping": "z_score", "groups": 3, "sigma": 0.3},
    "optimizer": {"lr": 0.05},
    "executor": {"kind": "inline"},
    "evaluation": {"every": 2, "episodes": 5},
    "output": {"dir": "run", "checkpoint_every": 2, "tensorboard": False},
}
