"""Hugging Face's models: members side by side say what each says alone; examples/llm/finetune.py trains them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_language import END, LETTERS, LONGEST, MOST, Repeat

from fastes.noise import Generation, Perturbation, environment_seeds, mirrored_rows, mirrored_signs
from fastes.policies import Interface, Policy, build
from fastes.policies.low_rank import LowRankPopulation
from fastes.policies.population.base import one_thread
from fastes.problems import Completions
from fastes.problems.base import Play
from fastes.problems.language import Greedy

transformers = pytest.importorskip("transformers")
ROOT = Path(__file__).parents[1]
CPU = torch.device("cpu")
PROMPTS = [[0, 1], [4, 3, 2, 1], [2, 2, 0]]
SIZES: dict[str, dict[str, Any]] = {
    "Llama": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4},
    "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": 256},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def config_of(kind: str, vocabulary: int, end: int) -> Any:
    more = {"num_key_value_heads": 2} if kind == "Llama" else {}
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    return getattr(transformers, f"{kind}Config")(vocab_size=vocabulary, **SIZES[kind], **more, **ends)


def policy_of(kind: str, dtype: torch.dtype = torch.float32) -> Policy:
    def model() -> Any:
        return getattr(transformers, f"{'LlamaForCausalLM' if kind == 'Llama' else 'GPT2LMHeadModel'}")(
            config_of(kind, END + 1, END)
        ).to(dtype)

    return build(model, Interface((LONGEST + MOST,), END + 1), 1)


def unit_of(policy: Policy, members: int = 6, noise: str = "low_rank") -> Generation:
    scales = np.float32(0.3) * mirrored_signs(members)
    made = Perturbation.named(noise, 1, policy.tensors)
    return Generation(1, 2, policy.theta(), mirrored_rows(members), scales, made)


@pytest.mark.parametrize("kind", SIZES)
def test_generate_side_by_side_is_generate_alone(kind: str) -> None:
    policy, greedy = policy_of(kind), Greedy(END + 1, END, MOST)
    unit = unit_of(policy)
    population = LowRankPopulation(policy)
    population.load_(unit)
    with population.applied():
        together = greedy(policy.module, PROMPTS * len(unit), CPU)
    for i in range(len(unit)):
        policy.load_(unit.member(i))
        assert together[3 * i : 3 * i + 3] == greedy(policy.module, PROMPTS, CPU)
        for j, prompt in enumerate(PROMPTS):  # padding on the left makes no difference either
            assert together[3 * i + j] == greedy(policy.module, [prompt], CPU)[0]
    assert len({tuple(said) for said in together}) > 4
    assert {len(said) for said in together} != {MOST}


@pytest.mark.parametrize("kind", SIZES)
def test_logits_side_by_side_are_logits_alone(kind: str) -> None:
    policy = policy_of(kind)
    unit = unit_of(policy)
    tokens = torch.arange(2 * len(unit) * 5).reshape(-1, 5) % LETTERS
    population = LowRankPopulation(policy)
    population.load_(unit)
    together = population(tokens).logits
    for i in range(len(unit)):
        policy.load_(unit.member(i))
        with torch.no_grad():
            alone = policy.module(tokens[2 * i : 2 * i + 2]).logits
        torch.testing.assert_close(together[2 * i : 2 * i + 2], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SIZES)
def test_in_place_in_the_models_own_dtype(kind: str) -> None:
    """The centre in bfloat16 says the same after forty members have been where it is."""
    policy = policy_of(kind, torch.bfloat16)
    problem = Completions(task=Repeat, prompts_per_member=3, max_new_tokens=MOST)
    session, unit = problem.open(), unit_of(policy, 40, "normal")
    play = Play(environment_seeds(1, 2, 0, 40, 3, common=True), np.zeros(40, np.uint32))
    weights = [parameter.clone() for parameter in policy.module.parameters()]
    outcome = session.evaluate(policy, unit, play)
    assert len(np.unique(outcome.returns.mean(axis=1))) > 4
    center = Generation(1, 2, unit.theta, np.zeros(1, np.uint32), np.zeros(1, np.float32))
    session.evaluate(policy, center, Play(play.seeds[:1], play.draws[:1]))
    for now, before in zip(policy.module.parameters(), weights, strict=True):
        assert torch.equal(now, before)


@pytest.fixture(scope="module", params=list(SIZES))
def on_disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights whose tokens are characters, and its tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    directory = tmp_path_factory.mktemp(request.param)
    known = [chr(code) for code in range(32, 127)] + ["\n", "<end>"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(known)}, unk_token=" "))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", unk_token=" ")
    fast.save_pretrained(directory)
    config = config_of(request.param, len(known), len(known) - 1)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    return directory


@pytest.mark.parametrize("options", [[], ["--in-place", "--dtype", "bfloat16"]], ids=["side by side", "in place"])
def test_the_script(options: list[str], on_disk: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = {"generations": 1, "population": 64, "groups": 2, "prompts": 4, "new-tokens": 3, "episodes": 3}
    settings |= {"sigma": 1, "lr": 0.1}  # so that some of them say a number
    given = [word for name, value in settings.items() for word in (f"--{name}", value)]
    command = [sys.executable, ROOT / "examples/llm/finetune.py", "--model", on_disk, "--out", out, *given, *options]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "mean reward on fresh prompts 0." in run.stdout
    before = transformers.AutoModelForCausalLM.from_pretrained(on_disk)
    after = transformers.AutoModelForCausalLM.from_pretrained(out / "model")
    assert type(after) is type(before)
    moved = [not torch.equal(a, b.to(a)) for a, b in zip(after.parameters(), before.parameters(), strict=True)]
    assert any(moved)
    assert transformers.AutoTokenizer.from_pretrained(out / "model").decode([17]) == "1"


def test_its_help() -> None:
    command = [sys.executable, str(ROOT / "examples/llm/finetune.py"), "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "python examples/llm/finetune.py --model" in run.stdout
