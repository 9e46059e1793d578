"""Greedy decoding: the likeliest token, again and again, for many texts at once; of equally likely ones the first.

No text is padded. All rows stand at the same position: where the shortest prompt ends they begin to go on, and a row
whose prompt is longer is given its own tokens until it ends (as in the reference code of LLaMA, Touvron et al. 2023). A
causal model needs no mask for that, and position t is position t in every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fastes.errors import PolicyError
from fastes.policies.population.tree import mapped

_Prompts = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Greedy:
    """vocabulary: V; end: the token with which a completion ends, or None; most: tokens of a completion.

    A model is one of three:

    * it has `initial_state()`, and `forward(tokens, state) -> (logits, state)`: called on the prompts, then on one
      token at a time. States are tensors [1, ...] in tuples, lists or dicts, such as keys and values of [1, 0, width];
    * it has `generate`, as Hugging Face's models have: called once, prompts padded on their left, with attention_mask;
    * otherwise `forward(tokens) -> logits`, called on all the text for each token.

    tokens: int64 [rows, time]; logits: [rows, time, V], or an object that has them as `logits`.
    """

    vocabulary: int
    end: int | None
    most: int

    def __call__(self, module: nn.Module, prompts: _Prompts, device: torch.device) -> list[list[int]]:
        """The completion of each prompt, its tokens up to `end`, which is the last one if it came.

        Raises PolicyError for logits of another shape or that are not finite, and whatever the module raises.
        """
        with torch.inference_mode():
            stateful = callable(getattr(module, "initial_state", None))
            if not stateful and callable(getattr(module, "generate", None)):
                return self._generated(module, prompts, device)
            model = _Cached(module, len(prompts), device) if stateful else _Recomputed(module)
            return self._decoded(model, prompts, device)

    def _decoded(self, model: Any, prompts: _Prompts, device: torch.device) -> list[list[int]]:
        lengths = [len(prompt) for prompt in prompts]
        shortest, longest = min(lengths), max(lengths)
        given = [[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts]
        tokens = torch.zeros((len(prompts), longest + self.most), dtype=torch.int64, device=device)
        tokens[:, :longest] = torch.tensor(given, device=device)
        begins = torch.tensor(lengths, device=device)
        stops = begins + self.most
        ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)
        finite = torch.ones_like(ended)
        for now in range(shortest, longest + self.most):
            logits = self._checked(model(tokens[:, :now]), len(prompts))
            highest, likeliest = logits.max(-1)
            goes_on = (begins <= now) & ~ended
            tokens[:, now] = torch.where(goes_on, likeliest, tokens[:, now])
            finite &= highest.isfinite() | ~goes_on
            ended |= goes_on & (stops == now + 1)
            if self.end is not None:
                ended |= goes_on & (likeliest == self.end)
            if bool(ended.all()):
                break
        if not bool(finite.all()):
            raise PolicyError("the policy's logits are not finite. Lower algorithm.sigma or the learning rate.")
        return self._cut([row[n : n + self.most] for row, n in zip(tokens.tolist(), lengths, strict=True)])

    def _generated(self, module: Any, prompts: _Prompts, device: torch.device) -> list[list[int]]:
        pad = 0 if self.end is None else self.end
        longest = max(len(prompt) for prompt in prompts)
        missing = [longest - len(prompt) for prompt in prompts]
        padded = [[pad] * n + list(prompt) for prompt, n in zip(prompts, missing, strict=True)]
        mask = [[0] * n + [1] * (longest - n) for n in missing]
        texts = module.generate(
            input_ids=torch.tensor(padded, device=device),
            attention_mask=torch.tensor(mask, device=device),
            max_new_tokens=self.most,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            pad_token_id=pad,
            eos_token_id=self.end,
        )
        if not isinstance(texts, torch.Tensor) or texts.dim() != 2 or len(texts) != len(prompts):
            found = f"a tensor of {list(texts.shape)}" if isinstance(texts, torch.Tensor) else type(texts).__name__
            raise PolicyError(f"the policy's generate gave {found}, not token numbers [{len(prompts)}, time].")
        return self._cut([row[longest:] for row in texts.tolist()])

    def _checked(self, logits: Any, rows: int) -> torch.Tensor:
        found = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        if not isinstance(logits, torch.Tensor) or found != [rows, self.vocabulary]:
            raise PolicyError(
                f"the policy must give logits [rows, time, {self.vocabulary}], one for each of the task's tokens; "
                f"those of the last position were {found} for {rows} rows."
            )
        return logits

    def _cut(self, rows: list[list[int]]) -> list[list[int]]:
        if self.end is None:
            return rows
        return [row[: row.index(self.end) + 1] if self.end in row else row for row in rows]


class _Recomputed:
    """A model that keeps nothing."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, tokens: torch.Tensor) -> Any:
        """Logits after the last of these tokens, int64 [rows, time]: [rows, V]."""
        return _last(self._module(tokens))


class _Cached:
    """A model with a state, which is given each token once."""

    def __init__(self, module: Any, rows: int, device: torch.device) -> None:
        self._module, self._seen = module, 0
        self._state = mapped(module.initial_state(), lambda leaf: _for_all(leaf, rows, device))

    def __call__(self, tokens: torch.Tensor) -> Any:
        """The same; tokens: all of them, not only new ones."""
        told = self._module(tokens[:, self._seen :], self._state)
        if not isinstance(told, tuple) or len(told) != 2:
            raise PolicyError(
                "the policy has initial_state(), so forward(tokens, state) must give a pair (logits, state), not a "
                f"{type(told).__name__}."
            )
        logits, self._state = told
        self._seen = tokens.shape[1]
        return _last(logits)


def _last(told: Any) -> Any:
    logits = getattr(told, "logits", told)
    return logits[:, -1] if isinstance(logits, torch.Tensor) and logits.dim() == 3 else logits


def _for_all(leaf: Any, rows: int, device: torch.device) -> Any:
    return leaf.to(device).expand(rows, *leaf.shape[1:]) if isinstance(leaf, torch.Tensor) else leaf
