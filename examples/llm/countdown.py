"""A small game of Countdown: make a number of others, each used once.

The prompt "3 8 5=16:" asks for something such as 3+8+5. Tokens are characters. An answer is worth 1; what is none earns
up to a half, for what is right about it.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from fastes.problems.language import Example

CHARACTERS = "0123456789+-* =:"
_FORM, _NUMBERS = 0.2, 0.3  # shares of the reward


Question = tuple[tuple[int, ...], int]
"""The given numbers, and what is to be made of them."""


class Countdown:
    """numbers: that are given; largest: of them; operators: of +, - and *, that may be used."""

    def __init__(self, numbers: int = 3, largest: int = 9, operators: str = "+-") -> None:
        self.numbers, self.largest, self.operators = numbers, largest, operators
        self.end = len(CHARACTERS)
        self.vocabulary = self.end + 1
        self._digits = len(str(largest)), len(str(largest**numbers if "*" in operators else largest * numbers))
        self.longest = numbers * (self._digits[0] + 1) + self._digits[1] + 1

    def example(self, seed: int) -> Example:
        """A question that has an answer."""
        given, target = question = self.question(seed)
        each, all_together = self._digits
        numbers = " ".join(str(number).zfill(each) for number in given)
        return Example(encoded(f"{numbers}={str(target).zfill(all_together)}:"), question)

    def reward(self, example: Example, completion: Sequence[int]) -> float:
        """See `worth`."""
        return self.worth(example.about, decoded(completion))

    def statistics(self, example: Example, completion: Sequence[int]) -> Mapping[str, float]:
        """Whether it was an answer."""
        return {"solved": float(self.reward(example, completion) == 1.0)}

    def question(self, seed: int) -> Question:
        """The one of a seed."""
        draw = random.Random(seed)
        while True:
            given = [draw.randint(1, self.largest) for _ in range(self.numbers)]
            text = str(given[0]) + "".join(draw.choice(self.operators) + str(number) for number in given[1:])
            target = value_of(text)
            assert target is not None
            if target >= 0:
                break
        draw.shuffle(given)
        return tuple(given), target

    def worth(self, question: Question, text: str) -> float:
        """1 for an answer, else for its form up to 0.2, and for the numbers that it uses up to 0.3."""
        given, target = question
        if sorted(numbers_of(text)) == sorted(given) and value_of(text) == target:
            return 1.0
        used = Counter(numbers_of(text))
        right = sum((used & Counter(given)).values()) / max(used.total(), self.numbers)
        return _FORM * self._form(text) + _NUMBERS * right

    def _form(self, text: str) -> float:
        """How far text is number, operator, number and so on, as many as were given: from 0 to 1."""
        wanted = 2 * self.numbers - 1
        parts = split(text)
        fits = (part in self.operators if i % 2 else is_number(part) for i, part in enumerate(parts[:wanted]))
        return sum(itertools.takewhile(bool, fits)) / max(len(parts), wanted)


def encoded(text: str) -> list[int]:
    """Tokens of text."""
    return [CHARACTERS.index(character) for character in text]


def decoded(tokens: Sequence[int]) -> str:
    """Text of tokens, without the end."""
    return "".join(CHARACTERS[token] for token in tokens if token < len(CHARACTERS))


def split(text: str) -> list[str]:
    """Runs of digits, and all other characters one by one."""
    return re.findall("[0-9]+|[^0-9]", text)


def is_number(part: str) -> bool:
    """Of what `split` gives."""
    return part[0] in "0123456789"


def numbers_of(text: str) -> list[int]:
    """The numbers in a text, in their order."""
    return [int(part) for part in split(text) if is_number(part)]


def value_of(text: str) -> int | None:
    """Of numbers joined by +, - and *; None if it is no such expression."""
    parts = split(text)
    if len(parts) % 2 == 0 or any(is_number(part) == i % 2 for i, part in enumerate(parts)):
        return None
    if any(operator not in "+-*" for operator in parts[1::2]):
        return None
    terms = [int(parts[0])]
    for operator, number in zip(parts[1::2], map(int, parts[2::2]), strict=True):
        if operator == "*":
            terms[-1] *= number
        else:
            terms.append(-number if operator == "-" else number)
    return sum(terms)
