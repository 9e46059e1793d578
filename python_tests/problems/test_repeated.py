"""fastes.problems.repeated: when work is run, captured and replayed, with a GPU that only keeps count of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fastes.problems.repeated import Repeated

CUDA = torch.device("cuda", 0)


class Card:
    """What torch.cuda does, in words. refuses: whether it captures nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.refuses = False
        fakes: dict[str, Any] = {
            "CUDAGraph": lambda: SimpleNamespace(replay=self.say("replay")),
            "Stream": lambda device: SimpleNamespace(name="aside", wait_stream=lambda other: None),
            "current_stream": lambda device: SimpleNamespace(name="current", wait_stream=lambda other: None),
            "stream": lambda stream: self.within(stream.name),
            "graph": lambda graph, stream, capture_error_mode: self.within("capture"),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)

    def say(self, word: str) -> Callable[[], None]:
        return lambda: self.log.append(word)

    @contextlib.contextmanager
    def within(self, word: str) -> Iterator[None]:
        self.log.append(f"{word} (")
        try:
            yield
            if word == "capture" and self.refuses:
                raise RuntimeError("operation not permitted when stream is capturing\nand so on")
        finally:
            self.log.append(")")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch)


def test_the_third_call_only_replays(card: Card) -> None:
    repeated = Repeated(card.say("work"), CUDA, "a step", capture=True)
    repeated()
    assert card.log == ["aside (", "work", ")"]
    repeated()
    assert card.log[3:] == ["current (", "capture (", "work", ")", ")", "replay"]
    repeated()
    repeated()
    assert card.log[9:] == ["replay", "replay"]


def test_what_was_forgotten_is_captured_anew(card: Card) -> None:
    repeated = Repeated(card.say("work"), CUDA, "a step", capture=True)
    repeated()
    repeated()
    first = list(card.log)
    card.log.clear()
    repeated.forget_()
    repeated()
    repeated()
    assert card.log == first


@pytest.mark.parametrize(("device", "capture"), [(torch.device("cpu"), True), (CUDA, False)])
def test_without_graphs(card: Card, device: torch.device, capture: bool) -> None:
    repeated = Repeated(card.say("work"), device, "a step", capture=capture)
    for _ in range(3):
        repeated()
    assert card.log == ["work"] * 3


def test_what_cannot_be_captured_is_run(card: Card) -> None:
    card.refuses = True
    repeated = Repeated(card.say("work"), CUDA, "a step of Line", capture=True)
    repeated()
    with pytest.warns(RuntimeWarning, match=r"a step of Line cannot be captured .* when stream is capturing\.$"):
        repeated()
    repeated()
    assert card.log == ["aside (", "work", ")", "current (", "capture (", "work", ")", ")", "work", "work"]
