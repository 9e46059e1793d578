"""examples/llm: what Countdown is worth, the transformer's cache, and that its recipe runs and learns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastes import config
from fastes.noise import Generation, Perturbation, environment_seeds, mirrored_rows, mirrored_signs
from fastes.policies import build
from fastes.policies.low_rank import LowRankPopulation
from fastes.policies.population.base import one_thread
from fastes.problems import Completions
from fastes.problems.base import Play
from fastes.problems.language import Greedy, Task

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "examples" / "llm" / "countdown.toml"


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As for a command that is run in the directory of examples/, in one thread."""
    monkeypatch.syspath_prepend(ROOT)
    with one_thread():
        yield


def countdown(**settings: Any) -> Any:
    from examples.llm.countdown import Countdown

    return Countdown(**settings)


def recipe(*settings: str) -> dict[str, Any]:
    tables = config.with_settings(config.read_tables(RECIPE), settings)
    tables["executor"] = {"kind": "inline"}
    return tables


# --- the task --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("3+8+5", 1.0),
        ("8+5+3", 1.0),
        ("3+8-5", 0.5),  # another value
        ("3+8", 0.2 * 3 / 5 + 0.3 * 2 / 3),
        ("3+8+5+1", 0.2 * 5 / 7 + 0.3 * 3 / 4),
        ("3+8+8", 0.2 + 0.3 * 2 / 3),
        ("3*8*5", 0.2 * 1 / 5 + 0.3),  # * is not allowed
        ("385", 0.2 * 1 / 5),
        ("+8", 0.3 * 1 / 3),
        ("9", 0.2 * 1 / 5),
        ("::", 0.0),
        ("", 0.0),
    ],
)
def test_what_an_answer_is_worth(text: str, worth: float) -> None:
    assert countdown().worth(((3, 8, 5), 16), text) == pytest.approx(worth)


def test_values() -> None:
    from examples.llm.countdown import value_of

    told = {"2+3*4": 14, "2*3-10": -4, "7": 7, "12-12": 0, "2*3*4+1": 25, "2+": None, "+2": None, "2=3": None, "": None}
    assert {text: value_of(text) for text in told} == told


@pytest.mark.parametrize("settings", [{}, {"numbers": 2}, {"numbers": 3, "largest": 25, "operators": "+-*"}])
def test_every_question_has_an_answer_and_fits(settings: dict[str, Any]) -> None:
    from examples.llm.countdown import decoded

    task = countdown(**settings)
    assert isinstance(task, Task)
    lengths = set()
    for seed in range(100):
        example = task.example(seed)
        assert example == task.example(seed)
        numbers, _, target = decoded(example.prompt).removesuffix(":").partition("=")
        assert tuple(map(int, numbers.split())) == example.about[0]
        assert int(target) == example.about[1] >= 0
        assert max(example.about[0]) <= task.largest
        lengths.add(len(example.prompt))
        answers = {task.worth(example.about, text) for text in attempts(example.about[0], task.operators)}
        assert max(answers) == 1.0
    assert lengths == {task.longest}
    assert len({str(task.example(seed).about) for seed in range(50)}) > 25


def attempts(numbers: tuple[int, ...], operators: str) -> Iterator[str]:
    import itertools

    for order in itertools.permutations(numbers):
        for chosen in itertools.product(operators, repeat=len(numbers) - 1):
            yield str(order[0]) + "".join(sign + str(number) for sign, number in zip(chosen, order[1:], strict=True))


def test_rewards_are_of_the_text_that_tokens_say() -> None:
    from examples.llm.countdown import encoded

    task = countdown()
    example = task.example(3)
    (right, *_) = (text for text in attempts(example.about[0], "+-") if task.worth(example.about, text) == 1.0)
    assert task.reward(example, encoded(right)) == task.reward(example, [*encoded(right), task.end]) == 1.0
    assert task.statistics(example, encoded(right)) == {"solved": 1.0}
    assert task.statistics(example, encoded("1:")) == {"solved": 0.0}


def test_the_task_in_the_documents() -> None:
    """It says what is told of it; test_documents.py trains with it."""
    document = (ROOT / "docs" / "language_models.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", document, re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(compile(code, "language_models.md", "exec"), names)
    task = names["Shout"]()
    assert isinstance(task, Task)
    example = task.example(4)
    assert bytes(example.prompt) == b"strategies -> "
    assert [task.reward(example, list(said)) for said in (b"STRATEGIES\n", b"strategies", b"\xff")] == [1.0, 0.0, 0.0]


# --- the model -------------------------------------------------------------------------------------------------------


def test_with_and_without_its_cache_the_transformer_gives_the_same() -> None:
    from examples.llm.transformer import Transformer

    torch.manual_seed(0)
    model = Transformer(observation_size=12, action_size=7, width=16, heads=2).eval()
    tokens = torch.randint(7, (3, 12))
    nothing = [tuple(part.expand(3, -1, -1, -1) for part in kept) for kept in model.initial_state()]
    whole, cache = model(tokens, nothing)
    assert (tuple(whole.shape), tuple(cache[1][0].shape)) == ((3, 12, 7), (3, 2, 12, 8))
    parts, state = [], nothing
    for first, last in ((0, 5), (5, 6), (6, 7), (7, 12)):
        logits, state = model(tokens[:, first:last], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
    later = tokens.clone()
    later[:, 8:] = 0  # what comes later is not seen
    torch.testing.assert_close(model(later, nothing)[0][:, :8], whole[:, :8], rtol=1e-5, atol=1e-5)


def test_members_side_by_side_say_what_they_say_alone() -> None:
    tables = recipe("policy.width=16")
    problem = config.problem(tables["problem"])
    assert isinstance(problem, Completions)
    trainer = config.trainer(tables)
    policy = build(trainer.policy, problem.interface(), 1, trainer.policy_arguments)
    scales = np.float32(0.2) * mirrored_signs(16)
    unit = Generation(
        1, 0, policy.theta(), mirrored_rows(16), scales, Perturbation.named("low_rank", 1, policy.tensors)
    )
    task = countdown(**problem.task_args)
    greedy, device = Greedy(task.vocabulary, task.end, 3), torch.device("cpu")
    prompts = [task.example(seed).prompt for seed in range(4)]
    population = LowRankPopulation(policy)
    population.load_(unit)
    with population.applied():
        together = greedy(policy.module, prompts * 16, device)
    for i in range(16):
        policy.load_(unit.member(i))
        assert together[4 * i : 4 * i + 4] == greedy(policy.module, prompts, device)
    seeds = environment_seeds(1, 0, 0, 16, 2, common=True)
    outcome = problem.open().evaluate(policy, unit, Play(seeds, np.zeros(16, np.uint32)))
    assert set(outcome.statistics) == {"tokens", "ended", "solved"}
    assert outcome.steps.max() <= 6


# --- the recipe ------------------------------------------------------------------------------------------------------


def test_the_recipe_runs() -> None:
    tables = recipe("generations=1", "evaluation.episodes=2")
    trainer = config.trainer(tables)
    result = trainer.run()
    assert (result.status, result.progress.evaluations) == ("finished", 1024)


def test_it_learns() -> None:
    """A tenth of the way, in which form is found: tokens at random are worth 0.066, docs/language_models.md."""
    tables = recipe("evaluation.every=0")
    before, after = (config.trainer(tables | {"generations": n}).run().evaluation_mean for n in (0, 20))
    assert before is not None
    assert after is not None
    assert before < 0.1
    assert after > 0.17
