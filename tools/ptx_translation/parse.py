"""A text of PTX as kernels of instructions, after the PTX ISA, "Syntax" and "State spaces, types and variables"."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

BYTES = {f"{kind}{bits}": bits // 8 for kind in "bsu" for bits in (8, 16, 32, 64)} | {"f32": 4, "f64": 8}
REGISTER_TYPES = {"pred", *(kind for kind in BYTES if not kind.endswith("8"))}
SHARED_BASE = 1024  # of a block's variables: a GPU has memory of its own before them, so 0 is no address
WORD = re.compile(r"[%$]?[A-Za-z_][\w$.]*")

_SPACE = re.compile(r"\s*")
_LABEL = re.compile(r"([$\w]+):")
_STATEMENT = re.compile(r"[^;]*;")
_HEADER = re.compile(r"\.(version|target|address_size)\s+([^\n]*)\n")
_ENTRY = re.compile(r"(?:\.(?:visible|weak)\s+)?\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{]*)\{")
_VARIABLE = re.compile(
    r"(?:\.(?:visible|weak)\s+)?\.(?P<space>global|const|shared|local|param)\s+(?:\.align\s+(?P<align>\d+)\s+)?"
    r"\.(?P<type>\w+)\s+(?P<name>[\w$]+)\s*(?P<counts>(?:\[\d+\])*)(?:\s*=\s*(?P<values>[^;]*))?"
)
_REGISTERS = re.compile(r"\.reg\s+\.(\w+)\s+([^;]+)")


class PtxError(Exception):
    """What this translation does not know, or what must not be in the PTX."""


@dataclass(frozen=True, slots=True)
class Variable:
    """Memory with a name. `values`, numbers as they are written, are what a variable of the module begins with."""

    name: str
    kind: str
    align: int
    bytes: int
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Instruction:
    """`opcode` is all of `ld.global.f32`; operands are texts, registers among them with names of their scope."""

    line: int
    text: str
    guard: str
    opcode: str
    operands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """A place that branches go to."""

    name: str


@dataclass(slots=True)
class Kernel:
    """An entry. Variables have their places in bytes from the beginning of their memory, shared ones from its base."""

    name: str
    max_threads: int = 1024
    exact_threads: bool = False
    registers: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    local: dict[str, int] = field(default_factory=dict)
    parameter_bytes: int = 0
    shared_bytes: int = 0
    local_bytes: int = 0
    body: list[Instruction | Label] = field(default_factory=list)

    def instructions(self) -> Iterator[Instruction]:
        """Those of the body, in order."""
        return (item for item in self.body if isinstance(item, Instruction))


@dataclass(slots=True)
class Module:
    """A text's kernels and the variables that they share, in .global and .const."""

    target: str
    variables: dict[str, Variable]
    kernels: list[Kernel]


class _Text:
    """A text with a place in it. Comments are gone; lines are where they were."""

    def __init__(self, text: str) -> None:
        blank = re.sub(r"/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), text, flags=re.DOTALL)
        self.text = re.sub(r"//[^\n]*", "", blank)
        self.place = 0
        self.line_ends = [match.start() for match in re.finditer("\n", self.text)]

    def skip_space(self) -> bool:
        match = _SPACE.match(self.text, self.place)
        self.place = match.end() if match else self.place
        return self.place < len(self.text)

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.place)
        if match:
            self.place = match.end()
        return match

    def take_character(self, character: str) -> bool:
        found = self.text.startswith(character, self.place)
        self.place += found
        return found

    def line(self) -> int:
        return bisect.bisect_left(self.line_ends, self.place) + 1

    def error(self, problem: str) -> PtxError:
        rest = self.text[self.place :].partition("\n")[0].strip()
        return PtxError(f"line {self.line()}: {problem}: {rest}")


def parsed(ptx: str) -> Module:
    """Everything in a text of PTX."""
    text = _Text(ptx)
    module = Module("", {}, [])
    shared: list[Variable] = []
    while text.skip_space():
        if header := text.take(_HEADER):
            if header[1] == "target":
                module.target = header[2].strip()
            if header[1] == "address_size" and header[2].strip() != "64":
                raise PtxError(f"addresses have {header[2].strip()} bits, not 64")
        elif entry := text.take(_ENTRY):
            module.kernels.append(_kernel(text, entry, shared))
        elif declaration := text.take(_STATEMENT):
            match = _VARIABLE.fullmatch(declaration[0][:-1].strip())
            if not match or match["space"] not in {"global", "const", "shared"}:
                text.place = declaration.start()
                raise text.error("unknown declaration")
            variable = _variable(match)
            if match["space"] == "shared":
                shared.append(variable)
            else:
                module.variables[variable.name] = variable
        else:
            raise text.error("unknown text")
    return module


def _variable(match: re.Match[str]) -> Variable:
    kind = match["type"]
    if kind not in BYTES:
        raise PtxError(f"variable {match['name']} has the unknown type .{kind}")
    counts = [int(count) for count in re.findall(r"\d+", match["counts"])]
    values = [value.strip() for value in (match["values"] or "").strip(" {}\n\t").split(",")]
    return Variable(
        match["name"],
        kind,
        int(match["align"] or BYTES[kind]),
        BYTES[kind] * math.prod(counts),
        tuple(value for value in values if value),
    )


def _placed(variable: Variable, places: dict[str, int], size: int, base: int = 0) -> int:
    """Puts a variable behind `size` bytes; gives the new size."""
    begin = -(-size // variable.align) * variable.align
    places[variable.name] = base + begin
    return begin + variable.bytes


def _kernel(text: _Text, entry: re.Match[str], shared: list[Variable]) -> Kernel:
    kernel = Kernel(entry[1])
    for declaration in filter(None, (part.strip() for part in entry[2].split(","))):
        match = _VARIABLE.fullmatch(declaration)
        if not match or match["space"] != "param":
            raise text.error(f"unknown parameter {declaration} of {kernel.name}")
        kernel.parameter_bytes = _placed(_variable(match), kernel.parameters, kernel.parameter_bytes)
    for directive, values in re.findall(r"\.(\w+)\s*([^.]*)", entry[3]):
        if directive in {"maxntid", "reqntid"}:
            kernel.max_threads = math.prod(int(value) for value in values.split(","))
            kernel.exact_threads = directive == "reqntid"
        elif directive not in {"minnctapersm", "maxnreg"}:  # those only steer the allocation of registers
            raise text.error(f"unknown directive .{directive} of {kernel.name}")
    for variable in shared:
        kernel.shared_bytes = _placed(variable, kernel.shared, kernel.shared_bytes, SHARED_BASE)
    _read_body(text, kernel)
    return kernel


def _read_body(text: _Text, kernel: Kernel) -> None:
    scopes: list[dict[str, str]] = [{}]  # names as they are written to names of the kernel
    number = 0

    def of_scope(word: re.Match[str]) -> str:
        return next((scope[word[0]] for scope in reversed(scopes) if word[0] in scope), word[0])

    while scopes:
        if not text.skip_space():
            raise PtxError(f"{kernel.name} does not end")
        if text.take_character("{"):
            scopes.append({})
            number += 1
        elif text.take_character("}"):
            scopes.pop()
        elif label := text.take(_LABEL):
            kernel.body.append(Label(label[1]))
        elif text.text.startswith(".", text.place):
            _declare(text, kernel, scopes[-1], number if len(scopes) > 1 else 0)
        else:
            line = text.line()
            statement = text.take(_STATEMENT)
            if statement is None:
                raise text.error("unknown text")
            kernel.body.append(_instruction(line, WORD.sub(of_scope, " ".join(statement[0][:-1].split()))))


def _declare(text: _Text, kernel: Kernel, scope: dict[str, str], number: int) -> None:
    before = text.place
    statement = text.take(_STATEMENT)
    declaration = statement[0][:-1].strip() if statement else ""
    if declaration.startswith(".pragma"):
        return
    if registers := _REGISTERS.fullmatch(declaration):
        if registers[1] not in REGISTER_TYPES:
            text.place = before
            raise text.error(f"registers of the unknown type .{registers[1]}")
        for name in registers[2].split(","):
            stem, _, count = name.strip().rstrip(">").partition("<")
            for written in [f"{stem}{i}" for i in range(int(count))] if count else [stem]:
                scope[written] = f"{written}_in_{number}" if number else written
                kernel.registers[scope[written]] = registers[1]
        return
    variable = _VARIABLE.fullmatch(declaration)
    if variable and variable["space"] == "shared" and not variable["values"]:
        kernel.shared_bytes = _placed(_variable(variable), kernel.shared, kernel.shared_bytes, SHARED_BASE)
    elif variable and variable["space"] == "local" and not variable["values"]:
        kernel.local_bytes = _placed(_variable(variable), kernel.local, kernel.local_bytes)
    else:
        text.place = before
        raise text.error("unknown declaration")


def _instruction(line: int, text: str) -> Instruction:
    match = re.fullmatch(r"(?:@(!?[%\w$]+) )?([a-z][\w.:]*)(?: (.*))?", text)
    if not match:
        raise PtxError(f"line {line}: unknown text: {text}")
    operands = re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", match[3] or "")
    return Instruction(line, text, match[1] or "", match[2], tuple(operand.strip() for operand in operands))
