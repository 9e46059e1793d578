"""Fine-tunes a causal language model of Hugging Face's, which is on disk, by evolution strategies: no gradients.

It learns Countdown: given numbers, a target, and the question for an expression that uses each number once. Reward is 1
for an answer, and up to a half for what is right about one that is none. Texts are continued greedily.

    python examples/llm/finetune.py --model ~/models/Qwen2.5-0.5B --device cuda --dtype bfloat16 --out runs/qwen
    python examples/llm/finetune.py --model ~/models/Qwen2.5-7B --device cuda --dtype bfloat16 --in-place

By default the members of a unit answer side by side: one model in memory, and for each member a correction of rank 1.
With --in-place one member after another takes the model's place, perturbed by noise of full rank (Qiu et al. 2025,
arXiv 2509.24372); that needs no memory for a batch of members. Needs fastes[llm].
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from countdown import Countdown, Question
from torch import nn

import fastes
from fastes.problems.language import Example

PROMPT = """Use each of the numbers {numbers} exactly once, with {operators}, to make {target}.
Answer with the expression only, such as {form}.
Expression: """


class InWords(Countdown):
    """Countdown in a tokenizer's words; the answer is the first line. chat: the prompt as a user's turn."""

    def __init__(self, tokenizer: Any, chat: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self._tokenizer, self._chat = tokenizer, chat
        self.vocabulary = len(tokenizer)
        self.end = tokenizer.eos_token_id
        widest = (self.largest,) * self.numbers, self.largest**self.numbers
        self.longest = 2 * len(self._prompt(widest))  # other digits may be more tokens

    def example(self, seed: int) -> Example:
        """A question that has an answer."""
        question = self.question(seed)
        return Example(self._prompt(question), question)

    def reward(self, example: Example, completion: Sequence[int]) -> float:
        """See `Countdown.worth`."""
        text = self._tokenizer.decode(completion, skip_special_tokens=True).strip()
        return self.worth(example.about, text.partition("\n")[0].replace(" ", ""))

    def _prompt(self, question: Question) -> list[int]:
        given, target = question
        text = PROMPT.format(
            numbers=", ".join(map(str, given)),
            operators=" and ".join(self.operators),
            target=target,
            form=self.operators[0].join(map(str, range(1, self.numbers + 1))),
        )
        if not self._chat:
            return list(self._tokenizer.encode(text))
        turn = [{"role": "user", "content": text}]
        said = self._tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        return list(self._tokenizer.encode(said, add_special_tokens=False))


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or ""), formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="directory of model and tokenizer, as save_pretrained writes it")
    add("--out", type=Path, help="where the run is written, and the trained model at its end, to OUT/model")
    add("--generations", type=int, default=200, help="updates (default %(default)s)")
    add("--population", type=int, default=256, help="members of a generation, pairs of two (default %(default)s)")
    add("--prompts", type=int, default=4, help="that each member answers in a generation (default %(default)s)")
    add(
        "--groups",
        type=int,
        default=8,
        help="of members with the same prompts, compared with one another (%(default)s)",
    )
    add("--sigma", type=float, default=0.001, help="standard deviation of the noise on weights (default %(default)s)")
    add("--lr", type=float, default=0.0005, help="of plain steps along the estimated gradient (default %(default)s)")
    add("--rank", type=int, default=1, help="of the noise on matrices (default %(default)s)")
    add("--in-place", action="store_true", help="noise of full rank, one member after another, to save memory")
    add("--at-once", type=int, default=0, help="members that answer side by side; 0: all of a unit (default)")
    add("--unit", type=int, default=64, help="members of a unit, which one process evaluates (default %(default)s)")
    add("--numbers", type=int, default=3, help="that are given (default %(default)s)")
    add("--largest", type=int, default=20, help="of the numbers (default %(default)s)")
    add("--operators", default="+-*", help="that may be used, of +-* (default %(default)s)")
    add("--new-tokens", type=int, default=32, help="tokens of an answer at most (default %(default)s)")
    add("--chat", action="store_true", help="put the question into the model's chat template")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="of the model (%(default)s)")
    add("--device", default="cpu", help="cpu, cuda or cuda:1 (default %(default)s)")
    add("--workers", type=int, default=0, help="processes, each with a model of its own; 0: only this one (default)")
    add("--every", type=int, default=10, help="generations between evaluations on fresh prompts (default %(default)s)")
    add("--episodes", type=int, default=64, help="prompts of an evaluation (default %(default)s)")
    add("--seed", type=int, default=0, help="of the run (default %(default)s)")
    return parser.parse_args()


def main() -> int:
    """Trains; gives the exit status."""
    options = arguments()
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        print(f"transformers cannot be imported ({error}): pip install 'fastes[llm]'", file=sys.stderr)
        return 2
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    task = InWords(
        tokenizer, options.chat, numbers=options.numbers, largest=options.largest, operators=options.operators
    )

    def model() -> nn.Module:
        """A function, so that there is no second model of which it would be a copy."""
        made: nn.Module = AutoModelForCausalLM.from_pretrained(options.model).to(getattr(torch, options.dtype))
        return made

    result = fastes.train(
        problem=fastes.problems.Completions(
            task=task,
            prompts_per_member=options.prompts,
            max_new_tokens=options.new_tokens,
            members_at_once=options.at_once,
        ),
        policy=model,
        algorithm=fastes.algorithms.OpenAIES(
            population=options.population,
            sigma=options.sigma,
            noise="normal" if options.in_place else "low_rank",
            rank=options.rank,
            groups=options.groups,
            shaping="z_score",
            optimizer=fastes.optim.SGD(lr=options.lr),
        ),
        generations=options.generations,
        seed=options.seed,
        executor=fastes.executors.Local(workers=options.workers) if options.workers else "inline",
        unit_size=options.unit,
        evaluation=fastes.Evaluation(every=options.every, episodes=options.episodes),
        output=None if options.out is None else str(options.out),
        device=options.device,
    )
    print(f"mean reward on fresh prompts {result.evaluation_mean:.3f}, digest {result.digest}")
    if options.out is not None:
        trained: Any = result.policy
        trained.save_pretrained(options.out / "model")
        tokenizer.save_pretrained(options.out / "model")
    return 0


if __name__ == "__main__":
    sys.exit(main())
