"""fastes.problems.Completions: what a model says is what it would say alone, and its fitness is the mean reward."""

from __future__ import annotations

import dataclasses
import functools
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from tiny_language import END, LETTERS, LONGEST, MOST, TALK, VOCABULARY, Generates, Keeps, Model, Recomputes, Repeat
from torch import nn

from fastes import config
from fastes.algorithms import OpenAIES
from fastes.errors import ConfigError, PolicyError, ProblemError
from fastes.evaluator import Evaluator
from fastes.noise import Generation, Perturbation, environment_seeds, mirrored_rows, mirrored_signs
from fastes.policies import Interface, Policy, build
from fastes.policies.population.base import one_thread
from fastes.problems import Completions
from fastes.problems.base import Outcome, Play
from fastes.problems.language import Example, Greedy, opened_task
from fastes.problems.pulse import IDLE, NOBODY

MODELS = [Recomputes, Keeps, Generates]
CPU = torch.device("cpu")
MEMBERS, PROMPTS = 6, 3
PROMPT_LISTS = [[0, 1], [4, 3, 2, 1], [2, 2, 0], [1, 4], [3]]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def problem(**settings: Any) -> Completions:
    return Completions(**({"task": Repeat, "prompts_per_member": PROMPTS, "max_new_tokens": MOST} | settings))


def policy_of(model: Any = Keeps, seed: int = 1) -> Policy:
    return build(model, problem().interface(), seed)


def unit_of(policy: Policy, noise: str = "low_rank", members: int = MEMBERS, sigma: float = 0.3) -> Generation:
    tensors = policy.tensors
    made = Perturbation.named(noise, 1, tensors)
    assert bool(made.matrices) == (noise == "low_rank")
    scales = np.float32(sigma) * mirrored_signs(members)
    return Generation(1, 2, policy.theta(), mirrored_rows(members), scales, made, first=4)


def play_of(common: bool = True, members: int = MEMBERS, **changes: Any) -> Play:
    seeds = environment_seeds(1, 2, 4, members, PROMPTS, common=common)
    return Play(seeds, np.zeros(members, np.uint32), **changes)


def evaluated(
    settings: Completions, model: Any = Keeps, noise: str = "low_rank", common: bool = True, **changes: Any
) -> Outcome:
    policy = policy_of(model)
    return settings.open().evaluate(policy, unit_of(policy, noise), play_of(common, **changes))


def said_alone(model: Model, prompt: Sequence[int], end: int | None = END, most: int = MOST) -> list[int]:
    """One text by itself, all of it again for each token."""
    text = list(prompt)
    with torch.no_grad():
        while len(text) < len(prompt) + most and (end is None or len(text) == len(prompt) or text[-1] != end):
            tokens = torch.tensor([text])
            if isinstance(model, Generates):
                logits = model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
            else:
                logits = model(tokens, model.initial_state())[0] if isinstance(model, Keeps) else model(tokens)
            text.append(int(logits[0, -1].argmax()))
    return text[len(prompt) :]


def by_hand(noise: str, common: bool = True, model: Any = Keeps) -> tuple[np.ndarray, list[list[list[int]]]]:
    """Rewards and completions of members whose whole vectors are put into the module, one text after another."""
    policy, task, play = policy_of(model), Repeat(), play_of(common)
    thetas = unit_of(policy, noise).materialize()
    rewards, completions = np.zeros((MEMBERS, PROMPTS)), []
    for i, seeds in enumerate(play.seeds.tolist()):
        policy.load_(thetas[i])
        examples = [task.example(seed) for seed in seeds]
        completions.append([said_alone(policy.module, example.prompt) for example in examples])
        rewards[i] = [task.reward(example, said) for example, said in zip(examples, completions[-1], strict=True)]
    return rewards, completions


# --- greedy decoding -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("end", [END, 2, None])
@pytest.mark.parametrize("seed", range(5))
def test_texts_side_by_side_are_as_alone(model: Any, end: int | None, seed: int) -> None:
    policy = policy_of(model, seed)
    said = Greedy(VOCABULARY, end, MOST)(policy.module, PROMPT_LISTS, CPU)
    assert said == [said_alone(policy.module, prompt, end) for prompt in PROMPT_LISTS]
    assert all(1 <= len(one) <= MOST for one in said)


def test_the_three_kinds_of_model_say_the_same() -> None:
    said = [Greedy(VOCABULARY, END, MOST)(policy_of(model).module, PROMPT_LISTS, CPU) for model in MODELS]
    assert said[0] == said[1] == said[2]
    assert len({tuple(one) for one in said[0]}) > 1


class Scripted(nn.Module):
    """Says what a function of [rows, time] to the tokens of all rows tells."""

    def __init__(self, tells: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.tells, self.calls = tells, 0

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return nn.functional.one_hot(self.tells(tokens), VOCABULARY).float().unsqueeze(1)


def test_of_equally_likely_tokens_the_first() -> None:
    class Undecided(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.zeros(*tokens.shape, VOCABULARY).index_fill_(2, torch.tensor([2, 4]), 1.0)

    assert Greedy(VOCABULARY, END, 2)(Undecided(), [[0], [1, 1]], CPU) == [[2, 2], [2, 2]]


def test_all_have_ended_is_the_end() -> None:
    """Rows end after 1 and 2 tokens, of ten; the first has a prompt of three, the second of one."""
    model = Scripted(lambda tokens: torch.where(tokens[:, 0] == 1, END, torch.where(tokens[:, -1] == 3, END, 3)))
    said = Greedy(VOCABULARY, END, 10)(model, [[1, 0, 0], [2]], CPU)
    assert (said, model.calls) == ([[END], [3, END]], 3)


def test_outputs_may_have_logits() -> None:
    class Outputs:
        def __init__(self, logits: torch.Tensor) -> None:
            self.logits = logits

    class Wrapped(Recomputes):
        def forward(self, tokens: torch.Tensor) -> Any:
            return Outputs(super().forward(tokens))

    greedy = Greedy(VOCABULARY, END, MOST)
    assert greedy(policy_of(Wrapped).module, PROMPT_LISTS, CPU) == greedy(
        policy_of(Recomputes).module, PROMPT_LISTS, CPU
    )


class Narrow(Recomputes):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens)[..., :3]


class Flat(Recomputes):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens).flatten(1)


class Infinite(Recomputes):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens) / 0.0


class Alone(Keeps):
    def forward(self, tokens: torch.Tensor, state: Any) -> Any:
        return super().forward(tokens, state)[0]


class Silent(Generates):
    def generate(self, **given: Any) -> Any:
        return "nothing"


class Singular(Recomputes):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("matrix is singular")


FAULTY = [
    (Narrow, r"logits \[rows, time, 6\].* were \[\d+, 3\] for \d+ rows"),
    (Flat, r"logits \[rows, time, 6\]"),
    (Infinite, "logits are not finite"),
    (Alone, r"must give a pair \(logits, state\), not a Tensor"),
    (Silent, "generate gave str"),
    (Singular, "raised RuntimeError.*matrix is singular"),
]


@pytest.mark.parametrize(("model", "words"), FAULTY)
@pytest.mark.parametrize("noise", ["normal", "low_rank"])
def test_models_that_do_not_fit(model: Any, words: str, noise: str) -> None:
    with pytest.raises(PolicyError, match=words):
        problem().open().prepare(policy_of(model))
    who = "members 4 to 9" if noise == "low_rank" else "member 4"
    with pytest.raises(PolicyError, match=words if model is not Singular else "matrix is singular") as error:
        evaluated(problem(), model, noise)
    assert f"{who} of generation 2" in str(error.value)


def test_a_model_without_memory_is_told_of() -> None:
    assert "initial_state()" in problem().open().prepare(policy_of(Recomputes))[0]
    assert problem().open().prepare(policy_of(Keeps)) == []
    assert problem().open().prepare(policy_of(Generates)) == []


# --- members ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", ["low_rank", "normal", "rademacher"])
@pytest.mark.parametrize("common", [True, False])
def test_fitness_is_what_each_member_would_get_alone(model: Any, noise: str, common: bool) -> None:
    rewards, completions = by_hand(noise, common, model)
    outcome = evaluated(problem(common_seeds=common), model, noise, common)
    np.testing.assert_array_equal(outcome.returns, rewards)
    lengths = np.array([[len(said) for said in member] for member in completions])
    assert outcome.steps.tolist() == lengths.sum(axis=1).tolist()
    assert outcome.steps.dtype == np.uint32
    ended = np.array([[said[-1] == END for said in member] for member in completions])
    np.testing.assert_allclose(outcome.statistics["ended"], ended.mean(axis=1))
    np.testing.assert_allclose(outcome.statistics["tokens"], lengths.mean(axis=1))
    distinct = [[len(set(said)) for said in member] for member in completions]
    np.testing.assert_allclose(outcome.statistics["distinct"], np.mean(distinct, axis=1))
    assert len(np.unique(outcome.returns.mean(axis=1))) > 2


@pytest.mark.parametrize("at_once", [1, 2, 4, 5, 6, 99])
def test_how_many_answer_at_once_changes_nothing(at_once: int) -> None:
    whole, parts = evaluated(problem()), evaluated(problem(members_at_once=at_once, factor_bytes=0))
    np.testing.assert_array_equal(parts.returns, whole.returns)
    assert parts.steps.tolist() == whole.steps.tolist()


@pytest.mark.parametrize("noise", ["low_rank", "normal"])
def test_the_centre_is_the_same_before_and_after(noise: str) -> None:
    """Members come and go in the module; nothing of them stays."""
    policy, session = policy_of(), problem().open()
    unit = unit_of(policy, noise)
    center = Generation(1, 2, unit.theta, unit.rows, np.zeros(MEMBERS, np.float32))
    before = session.evaluate(policy, center, play_of())
    session.evaluate(policy, unit, play_of())
    after = session.evaluate(policy, center, play_of())
    np.testing.assert_array_equal(after.returns, before.returns)
    assert np.unique(before.returns, axis=0).shape[0] == 1
    np.testing.assert_array_equal(policy.module.token.weight.numpy(force=True).ravel(), unit.theta[:48])


def test_members_with_centres_of_their_own_answer_one_after_another() -> None:
    policy = policy_of()
    unit = unit_of(policy)
    two = dataclasses.replace(
        unit, theta=np.stack([unit.theta, 2 * unit.theta]), centers=np.array([0, 0, 0, 1, 1, 1], np.uint32)
    )
    outcome = problem().open().evaluate(policy, two, play_of())
    task, rewards = Repeat(), []
    for i, seeds in enumerate(play_of().seeds.tolist()):
        policy.load_(two.member(i))
        examples = [task.example(seed) for seed in seeds]
        rewards.append([task.reward(one, said_alone(policy.module, one.prompt)) for one in examples])
    assert outcome.returns.tolist() == rewards
    assert rewards[3:] != by_hand("low_rank")[0][3:].tolist()


@pytest.mark.parametrize("noise", ["low_rank", "normal"])
def test_members_that_are_left_out(noise: str) -> None:
    whole = evaluated(problem(), noise=noise)
    outcome = evaluated(problem(), noise=noise, left_out={1: "hung", 4: "died"})
    kept = [0, 2, 3, 5]
    np.testing.assert_array_equal(outcome.returns[kept], whole.returns[kept])
    assert np.isnan(outcome.returns[[1, 4]]).all()
    assert outcome.steps[[1, 4]].tolist() == [0, 0]
    assert outcome.failures == {1: "hung", 4: "died"}
    assert np.isnan(outcome.statistics["tokens"]).tolist() == [i in (1, 4) for i in range(MEMBERS)]
    assert np.isnan(outcome.statistics["ended"]).tolist() == [i in (1, 4) for i in range(MEMBERS)]


def test_the_watchdog_hears_of_every_member() -> None:
    heard: list[int] = []
    evaluated(problem(), pulse=heard.append, left_out={2: "hung"})
    assert heard == [NOBODY, IDLE, *(number for i in (0, 1, 3, 4, 5) for number in (i, IDLE))]


def test_members_of_a_group_are_asked_the_same() -> None:
    """Twelve members in three groups, in units of four and of five that cut groups apart."""
    for unit_size in (4, 5):
        task = Repeat()
        algorithm = OpenAIES(population=12, groups=3, noise="low_rank", sigma=0.3)
        policy = policy_of()
        evaluator = Evaluator(problem(task=task), policy, unit_size)
        tensors = policy.tensors
        generation = algorithm.ask(algorithm.init(policy.theta(), 3, tensors=tensors))
        results = [evaluator.evaluate(unit) for unit in evaluator.units(generation)]
        fitness = np.concatenate([result.fitness for result in results])
        assert len(set(task.asked)) == 3 * PROMPTS
        seeds = environment_seeds(3, 0, 0, 12, PROMPTS, common=True, trials=generation.trials)
        assert set(task.asked) == set(seeds.ravel().tolist())
        for i in (0, 5, 11):
            policy.load_(generation.member(i))
            examples = [task.example(seed) for seed in seeds[i].tolist()]
            rewards = [task.reward(one, said_alone(policy.module, one.prompt)) for one in examples]
            assert fitness[i] == np.float32(np.mean(rewards))


@pytest.mark.parametrize("noise", ["low_rank", "normal"])
def test_the_centre_on_fresh_prompts(noise: str) -> None:
    policy, task = policy_of(), Repeat()
    theta = policy.theta()
    outcome = Evaluator(problem(task=task), policy, unit_size=4).evaluate_center(theta, 9, 3, 10)
    assert outcome.returns.shape == (1, 10)
    policy.load_(theta)
    asked = list(task.asked)
    assert len(set(asked)) == len(asked) == 10
    examples = [task.example(seed) for seed in asked]
    alone = [task.reward(one, said_alone(policy.module, one.prompt)) for one in examples]
    assert sorted(outcome.returns[0].tolist()) == sorted(alone)
    assert set(outcome.statistics) == {"ended", "tokens", "distinct"}


# --- settings and faults ---------------------------------------------------------------------------------------------


def test_what_policies_are_told() -> None:
    assert problem().interface() == Interface((LONGEST + MOST,), VOCABULARY)
    assert policy_of().module.positions == LONGEST + MOST
    assert (problem().episodes_per_member, problem().common_random_numbers) == (PROMPTS, True)
    assert not problem(common_seeds=False).common_random_numbers
    assert pickle.loads(pickle.dumps(problem())) == problem()


def test_a_task_as_a_name_an_object_a_class_or_a_function() -> None:
    task = Repeat()
    assert opened_task(task, {}) is task
    for spec in (Repeat, "tiny_language:Repeat", functools.partial(Repeat)):
        assert isinstance(opened_task(spec, {}), Repeat)
    by_name = evaluated(problem(task="tiny_language:Repeat"))
    np.testing.assert_array_equal(by_name.returns, evaluated(problem(task=task)).returns)


class Settable(Repeat):
    def __init__(self, worth: float) -> None:
        super().__init__()
        self.worth = worth

    def reward(self, example: Example, completion: Sequence[int]) -> float:
        return self.worth


def test_arguments_of_a_task() -> None:
    outcome = evaluated(problem(task=Settable, task_args={"worth": 0.25}))
    assert np.unique(outcome.returns).tolist() == [0.25]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"task": None}, "problem.task is missing"),
        ({"prompts_per_member": 0}, "problem.prompts_per_member must be at least 1, not 0"),
        ({"max_new_tokens": 0}, "problem.max_new_tokens must be at least 1"),
        ({"members_at_once": -1}, "problem.members_at_once must be at least 0"),
        ({"factor_bytes": -1}, "problem.factor_bytes must be at least 0"),
        ({"task": "nowhere:Task"}, "cannot be imported"),
        ({"task": 7}, "a int has no vocabulary, longest, end, example, reward"),
        ({"task": dict}, "a dict has no vocabulary"),
        ({"task": Settable}, "raised TypeError when it was called with {}"),
        ({"task": Repeat(), "task_args": {"worth": 1}}, "the task is there already"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        problem(**settings).interface()


class Asks(Repeat):
    prompt: Sequence[int] = ()

    def example(self, seed: int) -> Example:
        return Example(self.prompt)


def asks(prompt: Sequence[int]) -> Repeat:
    task = Asks()
    task.prompt = prompt
    return task


class Breaks(Repeat):
    def example(self, seed: int) -> Example:
        raise OSError("no such file")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (asks([]), "a prompt of 0 tokens.*from 1 to longest = 4"),
        (asks([1] * 5), "a prompt of 5 tokens"),
        (asks([1, 6]), "a prompt with token 6.*vocabulary - 1 = 5"),
        (asks([-1]), "a prompt with token -1"),
        (Breaks(), "raised OSError when it was asked for the example of seed .*: no such file"),
    ],
)
def test_prompts_that_do_not_fit(task: Repeat, words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        evaluated(problem(task=task))


class Pays(Repeat):
    """Something else for one prompt in all."""

    def __init__(self, worth: Any, seed: int) -> None:
        super().__init__()
        self.worth, self.seed = worth, seed

    def reward(self, example: Example, completion: Sequence[int]) -> float:
        if example.about == self.seed:
            return self.worth() if callable(self.worth) else self.worth
        return 1.0


def raises() -> float:
    raise ZeroDivisionError("no parts")


@pytest.mark.parametrize(
    ("worth", "words"),
    [
        (math.nan, "gave a reward of nan for"),
        (math.inf, "gave a reward of inf for"),
        ("much", "raised ValueError for"),
        (raises, "raised ZeroDivisionError for .*: no parts"),
    ],
)
@pytest.mark.parametrize("noise", ["low_rank", "normal"])
def test_rewards_that_do_not_fit_name_member_and_prompt(worth: Any, words: str, noise: str) -> None:
    seed = int(play_of(common=False).seeds[3, 1])
    with pytest.raises(ProblemError, match=words) as error:
        evaluated(problem(task=Pays(worth, seed), common_seeds=False), noise=noise, common=False)
    assert f"member 7 of generation 2, prompt 1 of seed {seed}" in str(error.value)
    assert "the completion was [" in str(error.value)


def test_a_run_from_a_file() -> None:
    trainer = config.trainer({key: value for key, value in TALK.items() if key != "output"})
    result = trainer.run()
    assert result.progress.evaluations == 6 * 12
    assert result.evaluation_mean is not None
    assert 0 <= result.evaluation_mean <= 1.5
    with pytest.raises(ConfigError, match=r"problem\.max_tokens\. Did you mean 'max_new_tokens'"):
        config.problem(TALK["problem"] | {"max_tokens": 3})


def test_letters_are_no_ends() -> None:
    assert LETTERS == END == VOCABULARY - 1
