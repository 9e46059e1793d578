"""Operands of PTX's instructions in C: registers, numbers, addresses, after the PTX ISA, "Instruction operands"."""

from __future__ import annotations

import re
import struct

from ptx_translation.parse import BYTES, WORD, Instruction, Kernel, Module, PtxError

SPECIAL = {
    "%tid.x": "b->thread",
    "%tid.y": "0u",
    "%tid.z": "0u",
    "%ntid.x": "b->threads",
    "%ntid.y": "1u",
    "%ntid.z": "1u",
    "%ctaid.x": "b->x",
    "%ctaid.y": "b->y",
    "%ctaid.z": "0u",
    "%nctaid.x": "b->width",
    "%nctaid.y": "b->height",
    "%nctaid.z": "1u",
}
SPACES = {"param", "global", "const", "shared", "local"}


def bits_of(kind: str) -> int:
    """The width of a type."""
    return {"pred": 1, "f16": 16, "bf16": 16}.get(kind) or 8 * BYTES[kind]


def c_type(kind: str) -> str:
    """What holds a value of a type in C; half floats stay bits."""
    if kind in {"pred", "f32", "f64"}:
        return {"pred": "bool", "f32": "float", "f64": "double"}[kind]
    return f"{'int' if kind[0] == 's' else 'uint'}{bits_of(kind)}_t"


def c_name(name: str) -> str:
    """A register or label in C."""
    return "_" + re.sub(r"\W", "_", name)


def unsigned(kind: str) -> str:
    """The type of the same width whose arithmetic wraps."""
    return f"u{bits_of(kind)}"


def doubled(kind: str) -> str:
    """The type of a whole product."""
    return f"{kind[0]}{2 * bits_of(kind)}"


class Operands:
    """The operands of the instruction `at`, one after another of a kernel's; what is read and written is noted."""

    def __init__(self, module: Module, kernel: Kernel) -> None:
        self.module = module
        self.kernel = kernel
        self.at = Instruction(0, "", "", "", ())
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self.variables: set[str] = set()  # of the module, that the kernel uses

    def begin(self, instruction: Instruction) -> None:
        """Goes on to the next instruction."""
        self.at, self.reads, self.writes = instruction, set(), set()

    def error(self, problem: str) -> PtxError:
        """An error that names the instruction."""
        return PtxError(f"{self.kernel.name}, line {self.at.line}: {problem}: {self.at.text}")

    def unknown(self) -> PtxError:
        """That these modifiers of a known family are not known."""
        return self.error("unknown form of an instruction")

    def site(self) -> str:
        """The instruction as a string of C, for messages at run time."""
        return '"' + f"line {self.at.line}: {self.at.text}".replace("\\", "\\\\").replace('"', '\\"') + '"'

    def operand(self, index: int) -> str:
        """An operand's text."""
        if index >= len(self.at.operands):
            raise self.error("operands are missing")
        return self.at.operands[index]

    def count(self, expected: int) -> None:
        """Checks that there are this many operands."""
        if len(self.at.operands) != expected:
            raise self.error(f"{expected} operands are known")

    def read(self, text: str, kind: str, *, wider: bool = False) -> str:
        """A value of type `kind` in C; a wider register's lower part where the instruction allows one."""
        if text.startswith("!") and kind == "pred":
            return f"!{self.read(text[1:], kind)}"
        if text in self.kernel.registers:
            return self._register(text, kind, wider)
        if text in SPECIAL and bits_of(kind) == 32:
            return f"({c_type(kind)}){SPECIAL[text]}"
        return self._number(text, kind)

    def _register(self, text: str, kind: str, wider: bool) -> str:
        held = self.kernel.registers[text]
        self.reads.add(text)
        if "pred" in {held, kind}:
            if held != kind:
                raise self.error(f"{text} is .{held}, not .{kind}")
            return c_name(text)
        if bits_of(held) != bits_of(kind) and not (wider and bits_of(held) > bits_of(kind)):
            raise self.error(f"{text} is .{held}, which is not as wide as .{kind}")
        name = c_name(text)
        if held[0] == "f" and kind == held:
            return name
        whole = f"bits_of_{held}({name})" if held[0] == "f" else name
        if kind in {"f32", "f64"}:
            return f"{kind}_of((uint{bits_of(kind)}_t){whole})"
        return f"(({c_type(kind)}){whole})"

    def _number(self, text: str, kind: str) -> str:
        if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
            if bits_of(kind) == 32:
                return f"f32_of(0x{match[1]}u)" if kind == "f32" else f"(({c_type(kind)})0x{match[1]}u)"
        elif match := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", text):
            if bits_of(kind) == 64:
                return f"f64_of(0x{match[1]}ull)" if kind == "f64" else f"(({c_type(kind)})0x{match[1]}ull)"
        elif kind == "pred":
            if text in {"0", "1", "-1"}:
                return str(int(text != "0"))
        elif kind[0] != "f" and re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
            return f"(({c_type(kind)}){integer(text) % 2 ** bits_of(kind)}ull)"
        raise self.error(f"{text} is not known as .{kind}")

    def write(self, text: str, kind: str, value: str, *, wider: bool = False) -> str:
        """Puts a value of type `kind` into a register, extended as C would where a wider one is allowed."""
        if text == "_":
            return f"(void)({value});"
        held = self.kernel.registers.get(text)
        if held is None or (held == "pred") != (kind == "pred"):
            raise self.error(f"{text} is no register for .{kind}")
        self.writes.add(text)
        if kind != "pred":
            if bits_of(held) != bits_of(kind) and not (wider and bits_of(held) > bits_of(kind) and held[0] != "f"):
                raise self.error(f"{text} is .{held}, which is not as wide as .{kind}")
            if held[0] == "f" and kind != held:
                value = f"{held}_of((uint{bits_of(held)}_t)({value}))"
            elif held[0] != "f" and kind in {"f32", "f64"}:
                value = f"bits_of_{kind}({value})"
        return f"{c_name(text)} = ({c_type(held)})({value});"

    def result(self, kind: str, pattern: str, *sources: str) -> str:
        """Operand 0 of type `kind` is the pattern of the others, whose types are `sources`."""
        self.count(1 + len(sources))
        values = [self.read(self.operand(1 + i), source) for i, source in enumerate(sources)]
        return self.write(self.operand(0), kind, pattern.format(*values))

    def address(self, text: str) -> tuple[str, str]:
        """What is in brackets, as 64 bits, and the space that its name is of, if it has one."""
        match = re.fullmatch(rf"\[\s*({WORD.pattern}|\d+)\s*(?:\+\s*(-?\d+))?\s*\]", text)
        if not match:
            raise self.error(f"unknown address {text}")
        offset = int(match[2] or 0) % 2**64
        if match[1] in self.kernel.registers:
            wide = bits_of(self.kernel.registers[match[1]]) == 64
            base, space = self.read(match[1], "u64" if wide else "u32"), ""
            if not wide:
                return f"(uint64_t)(uint32_t)({base} + {offset % 2**32}u)", space
        elif match[1].isdigit():
            base, space = f"{match[1]}ull", ""
        else:
            base, space = self.symbol(match[1])
        return f"({base} + {offset}ull)", space

    def symbol(self, name: str) -> tuple[str, str]:
        """A variable's address in its space, and that space."""
        for space, places in (
            ("param", self.kernel.parameters),
            ("shared", self.kernel.shared),
            ("local", self.kernel.local),
        ):
            if name in places:
                return f"{places[name]}ull", space
        if name in self.module.variables:
            self.variables.add(name)
            return f"(uint64_t)(uintptr_t){c_name(name)}", "global"
        raise self.error(f"{name} is unknown")


def integer(text: str) -> int:
    """A whole number as PTX writes it: a leading 0 is octal there."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    digits = digits.rstrip("U")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX"
    return sign * (int(digits, 8) if octal else int(digits, 0))


def initial_bytes(kind: str, value: str) -> bytes:
    """One element of a variable as a GPU's memory holds it."""
    if match := re.fullmatch(r"0([fF][0-9a-fA-F]{8}|[dD][0-9a-fA-F]{16})", value):
        if kind == {8: "f32", 16: "f64"}[len(match[1]) - 1]:
            return struct.pack("<I" if kind == "f32" else "<Q", int(match[1][1:], 16))
    elif kind[0] != "f" and re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", value):
        wrapped: int = integer(value) % 2 ** bits_of(kind)
        return wrapped.to_bytes(BYTES[kind], "little")
    raise PtxError(f"a variable of type .{kind} begins with the unknown value {value}")
