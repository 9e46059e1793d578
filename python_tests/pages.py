"""The code blocks of a document, and the commands of a shell's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(?P<language>\w*)(?P<info>[^\n]*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
REASON = re.compile(r"<!-- not run: (.+?) -->\n\Z", re.DOTALL)
LANGUAGES = ("python", "toml", "sh", "text", "")
WRAPPERS = ("mpirun", "srun", "nohup", "nice", "time")
"""What may stand before a command of ours."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block. title: the file that it is, `title="FILE"` after its language; reason: why it is not run, from a
    comment `<!-- not run: REASON -->` in the line above, else empty.
    """

    language: str
    title: str
    code: str
    line: int
    reason: str

    @property
    def is_run(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a shell. wrapped: with something before it that starts it elsewhere, such as mpirun; program: the
    name without its folder, and "fastes.worker" for `python -m fastes.worker`; words: what follows it.
    """

    program: str
    words: list[str]
    wrapped: bool


def pages() -> list[Path]:
    """README, CONTRIBUTING and all of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        title = re.search(r'title="([^"]+)"', fence["info"])
        reason = REASON.search(text[: fence.start()])
        line = text.count("\n", 0, fence.start()) + 1
        found.append(
            Block(fence["language"], title[1] if title else "", fence["code"], line, reason[1] if reason else "")
        )
    return found


def indented(page: Path) -> list[str]:
    """The lines that Markdown takes as code because they are indented, which no test runs; fenced ones left out."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [line.strip() for line in text.splitlines() if line.startswith("    ")]


def commands(code: str) -> Iterator[Command]:
    """The commands of a block, one after the other; comments, variables, redirections and line ends are taken away."""
    for line in code.replace("\\\n", " ").splitlines():
        words: list[str] = []
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        for word in [*lexer, ";"]:
            if not set(word) <= set("|&;"):
                words.append(word)
            elif words:
                yield _command(words)
                words = []


def _command(words: list[str]) -> Command:
    redirection = next((i for i, word in enumerate(words) if set(word) <= set("<>")), len(words))
    words = words[:redirection]
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    wrapped = words[0] in WRAPPERS
    if wrapped:
        start = next((i for i, word in enumerate(words) if Path(word).name in ("fastes", "python")), 0)
        words = words[start:]
    program = Path(words[0]).name.replace("python3", "python")
    if program == "python" and words[1:3] == ["-m", "fastes.worker"]:
        return Command("fastes.worker", words[3:], wrapped)
    return Command(program, words[1:], wrapped)
