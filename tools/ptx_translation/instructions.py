"""One instruction of PTX as statements in C, after the PTX ISA, "Instruction set".

What is not here is an error that names it. So is all that GPUs may round as they like: .ftz, .approx, .full, .sat, and
sums and products without .rn, which the assembler may fuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ptx_translation.operands import SPACES, SPECIAL, Operands, bits_of, c_name, c_type, doubled, integer, unsigned
from ptx_translation.parse import BYTES, WORD, Instruction

ORDERED = {"eq": "{0} == {1}", "ne": "{0} < {1} || {0} > {1}", "lt": "{0} < {1}"}
ORDERED |= {"le": "{0} <= {1}", "gt": "{0} > {1}", "ge": "{0} >= {1}"}
UNORDERED = {"equ": "!({0} < {1} || {0} > {1})", "neu": "{0} != {1}", "ltu": "!({0} >= {1})", "leu": "!({0} > {1})"}
UNORDERED |= {"gtu": "!({0} <= {1})", "geu": "!({0} < {1})"}
UNORDERED |= {"num": "{0} == {0} && {1} == {1}", "nan": "{0} != {0} || {1} != {1}"}
CACHING = {"ca", "cg", "cs", "lu", "wb", "wt"}  # hints that change no value
SYMBOLS = {"and": "&", "or": "|", "xor": "^"}
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}


@dataclass(frozen=True, slots=True)
class Translation:
    """Statements in C and the registers that they read and write; where control goes, if not only on."""

    code: str
    reads: frozenset[str]
    writes: frozenset[str]
    jumps_to: str = ""
    ends: bool = False
    waits: bool = False
    guarded: bool = False


def translated(t: Operands, instruction: Instruction) -> Translation:
    """The statements; a guard's condition is around them."""
    t.begin(instruction)
    family, *modifiers = instruction.opcode.split(".")
    for modifier in modifiers:
        if modifier in {"ftz", "approx", "full", "sat"}:
            raise t.error(f".{modifier} is not exact arithmetic")
    guard = t.read(instruction.guard.lstrip("!"), "pred") if instruction.guard else ""
    condition = f"!{guard}" if instruction.guard.startswith("!") else guard
    jumps_to, ends, waits = "", False, False
    if family == "bra" and modifiers in ([], ["uni"]):
        jumps_to = t.operand(0)
        code = f"goto {c_name(jumps_to)};"
    elif family in {"ret", "exit"} and not modifiers:
        ends, code = True, "return 0;"
    elif instruction.opcode in {"bar.sync", "barrier.sync", "barrier.sync.aligned"}:
        if instruction.operands != ("0",) or guard:
            raise t.error("only barrier 0, for all threads and without a guard, is known")
        waits, code = True, ""
    elif family in FAMILIES:
        code = FAMILIES[family](t, modifiers)
    else:
        raise t.error("unknown instruction")
    if guard:
        code = f"if ({condition}) {{ {code} }}"
    return Translation(code, frozenset(t.reads), frozenset(t.writes), jumps_to, ends, waits, bool(guard))


Family = Callable[[Operands, Sequence[str]], str]


def _move(t: Operands, modifiers: Sequence[str]) -> str:
    t.count(2)
    to, source = t.at.operands
    if len(modifiers) != 1 or modifiers[0] not in {*BYTES, "pred"} or modifiers[0].endswith("8"):
        raise t.unknown()
    kind = modifiers[0]
    if "{" in to + source:
        return _packed(t, to, source, kind)
    if WORD.fullmatch(source) and source not in t.kernel.registers and source not in SPECIAL:
        return t.write(to, kind, f"({c_type(kind)})({t.symbol(source)[0]})")
    return t.write(to, kind, t.read(source, kind))


def _packed(t: Operands, to: str, source: str, kind: str) -> str:
    parts = [part.strip() for part in (to if "{" in to else source).strip("{}").split(",")]
    width = bits_of(kind) // len(parts)
    if kind[0] != "b" or width not in {16, 32}:
        raise t.unknown()
    part, whole = f"b{width}", c_type(kind)
    if "{" in source:
        value = " | ".join(f"({whole}){t.read(text, part)} << {i * width}" for i, text in enumerate(parts))
        return t.write(to, kind, value)
    writes = [t.write(text, part, f"({c_type(part)})(whole >> {i * width})") for i, text in enumerate(parts)]
    return f"{{ {whole} whole = {t.read(source, kind)}; {' '.join(writes)} }}"


def _memory(t: Operands, modifiers: Sequence[str]) -> tuple[str, str, list[str], str]:
    """Of a load or store: the C that finds the memory, the type, registers, and the space."""
    stores = t.at.opcode.startswith("st")
    t.count(2)
    kind, rest = modifiers[-1], list(modifiers[:-1])
    space = rest.pop(0) if rest and rest[0] in SPACES else ""
    if rest[:1] == ["nc"] and not stores and space == "global":
        rest.pop(0)
    if rest and rest[0] in CACHING:
        rest.pop(0)
    vector = int(rest.pop(0)[1]) if rest and rest[0] in {"v2", "v4"} else 1
    if kind not in BYTES or rest or (stores and space in {"param", "const"}):
        raise t.unknown()
    address, named = t.address(t.operand(0 if stores else 1))
    if named and named != ("global" if space == "const" else space):
        raise t.error(f"an address of .{named} in an access of another space")
    registers = [text.strip() for text in t.operand(1 if stores else 0).strip("{}").split(",")]
    if len(registers) != vector:
        raise t.unknown()
    where = {"param": "parameter", "const": "global", "": "generic"}.get(space, space)
    return f"{where}_at(b, {address}, {vector * BYTES[kind]}, {int(stores)}, {t.site()})", kind, registers, space


def _load(t: Operands, modifiers: Sequence[str]) -> str:
    find, kind, registers, _ = _memory(t, modifiers)
    writes = [t.write(text, kind, f"from[{i}]", wider=True) for i, text in enumerate(registers)]
    return f"{{ const {c_type(kind)} *from = {find}; {' '.join(writes)} }}"


def _store(t: Operands, modifiers: Sequence[str]) -> str:
    find, kind, registers, _ = _memory(t, modifiers)
    writes = [f"to[{i}] = {t.read(text, kind, wider=True)};" for i, text in enumerate(registers)]
    return f"{{ {c_type(kind)} *to = {find}; {' '.join(writes)} }}"


def _convert_address(t: Operands, modifiers: Sequence[str]) -> str:
    to_space = modifiers[0] == "to"
    rest = modifiers[1:] if to_space else modifiers
    if len(rest) != 2 or rest[0] not in SPACES or rest[1] != "u64":
        raise t.unknown()
    source = t.operand(1)
    value = t.read(source, "u64") if source in t.kernel.registers else t.symbol(source)[0]
    window = {"param": "PARAMETER_WINDOW", "shared": "SHARED_WINDOW", "local": "LOCAL_WINDOW"}.get(rest[0], "0ull")
    return t.write(t.operand(0), "u64", f"{value} {'-' if to_space else '+'} {window}")


def _convert(t: Operands, modifiers: Sequence[str]) -> str:
    t.count(2)
    *rounding, to, source = modifiers
    integers = set(BYTES) - {"f32", "f64", "b8", "b16", "b32", "b64"}
    value = t.read(t.operand(1), source, wider=source in integers) if source in {*BYTES, "f16", "bf16"} else ""
    if to in integers and source in integers and not rounding:
        return t.write(t.operand(0), to, f"({c_type(to)}){value}", wider=True)
    if to in {"f32", "f64"} and source in integers and rounding == ["rn"]:
        return t.write(t.operand(0), to, f"({c_type(to)}){value}")
    known = {
        (("rn",), "f32", "f64"): "canonical((float){})",
        ((), "f64", "f32"): "(double){}",
        ((), "f32", "f16"): "f32_of_f16({})",
        (("rmi",), "f64", "f64"): "floor({})",
        (("rn",), "f16", "f32"): "f16_of_f32({})",
        (("rn",), "bf16", "f32"): "bf16_of_f32({})",
    }
    pattern = known.get((tuple(rounding), to, source))
    if pattern is None:
        raise t.unknown()
    return t.write(t.operand(0), unsigned(to) if "16" in to else to, pattern.format(value))


def _arithmetic(symbol: str) -> Family:
    """Sums and differences, which wrap, and those of floats."""

    def translate(t: Operands, modifiers: Sequence[str]) -> str:
        if list(modifiers) in (["rn", "f32"], ["rn", "f64"]):
            pattern = f"{{}} {symbol} {{}}" if modifiers[1] == "f64" else f"canonical({{}} {symbol} {{}})"
            return t.result(modifiers[1], pattern, modifiers[1], modifiers[1])
        kind = _integer_type(t, modifiers)
        return t.result(unsigned(kind), f"{{}} {symbol} {{}}", unsigned(kind), unsigned(kind))

    return translate


def _integer_type(t: Operands, modifiers: Sequence[str], kinds: str = "us", smallest: int = 16) -> str:
    """The only modifier, if it is a type of whole numbers or bits."""
    if len(modifiers) != 1 or not re.fullmatch(rf"[{kinds}](16|32|64)", modifiers[0]):
        raise t.unknown()
    if bits_of(modifiers[0]) < smallest:
        raise t.unknown()
    return modifiers[0]


def _product(t: Operands, modifiers: Sequence[str], addend: str = "") -> str:
    """Products of whole numbers: the lower half, the upper half or all of it, with a sum or not."""
    if len(modifiers) != 2 or modifiers[0] not in {"lo", "hi", "wide"}:
        raise t.unknown()
    kind = _integer_type(t, modifiers[1:])
    if modifiers[0] == "lo":
        wide = "uint64_t" if kind.endswith("64") else "uint32_t"
        to, value = unsigned(kind), f"({wide}){{}} * {{}}"
    elif kind.endswith("64"):
        if modifiers[0] == "wide":
            raise t.unknown()
        to, value = unsigned(kind), f"(uint64_t)(((__{'u' if kind[0] == 'u' else ''}int128){{}} * {{}}) >> 64)"
        value = value.replace("__uint128", "unsigned __int128")
    else:
        product = f"({c_type(doubled(kind))}){{}} * {{}}"
        high = modifiers[0] == "hi"
        to = unsigned(kind) if high else unsigned(doubled(kind))
        value = f"({c_type(to)})(({product}){f' >> {bits_of(kind)}' if high else ''})"
    if not addend:
        return t.result(to, value, kind, kind)
    return t.result(to, f"({value}) + {{}}", kind, kind, to)


def _multiply(t: Operands, modifiers: Sequence[str]) -> str:
    return _rounded("canonical({} * {})", "{} * {}", 2)(t, modifiers) if "rn" in modifiers else _product(t, modifiers)


def _multiply_add(t: Operands, modifiers: Sequence[str]) -> str:
    return _product(t, modifiers, "{}")


def _rounded(single: str, double: str, count: int) -> Family:
    """Operations on floats that IEEE 754 rounds exactly."""

    def translate(t: Operands, modifiers: Sequence[str]) -> str:
        if list(modifiers) not in (["rn", "f32"], ["rn", "f64"]):
            raise t.unknown()
        return t.result(modifiers[1], single if modifiers[1] == "f32" else double, *[modifiers[1]] * count)

    return translate


def _divide(t: Operands, modifiers: Sequence[str]) -> str:
    if "rn" in modifiers:
        return _rounded("canonical({} / {})", "{} / {}", 2)(t, modifiers)
    return _quotient(t, modifiers)


def _quotient(t: Operands, modifiers: Sequence[str]) -> str:
    kind = _integer_type(t, modifiers)
    name = f"{t.at.opcode.partition('.')[0]}_{kind}"
    return t.result(kind, f"{name}(b, {{}}, {{}}, {t.site()})", kind, kind)


def _smaller_or_larger(name: str, sign: str) -> Family:
    def translate(t: Operands, modifiers: Sequence[str]) -> str:
        if list(modifiers) in (["f32"], ["f64"]):
            return t.result(modifiers[0], f"{name}_{modifiers[0]}({{}}, {{}})", *[modifiers[0]] * 2)
        kind = _integer_type(t, modifiers)
        return t.result(kind, f"{{0}} {sign} {{1}} ? {{0}} : {{1}}", kind, kind)

    return translate


def _negate(t: Operands, modifiers: Sequence[str]) -> str:
    if list(modifiers) in (["f32"], ["f64"]):
        bits = f"b{modifiers[0][1:]}"
        return t.result(bits, f"{{}} ^ ({c_type(bits)})1 << {bits_of(bits) - 1}", bits)
    kind = _integer_type(t, modifiers, "s")
    return t.result(unsigned(kind), "0u - {}", unsigned(kind))


def _absolute(t: Operands, modifiers: Sequence[str]) -> str:
    if list(modifiers) in (["f32"], ["f64"]):
        bits = f"b{modifiers[0][1:]}"
        return t.result(bits, f"{{}} & ~(({c_type(bits)})1 << {bits_of(bits) - 1})", bits)
    kind = _integer_type(t, modifiers, "s")
    return t.result(unsigned(kind), "{0} >> " + str(bits_of(kind) - 1) + " ? 0u - {0} : {0}", unsigned(kind))


def _logic(symbol: str) -> Family:
    def translate(t: Operands, modifiers: Sequence[str]) -> str:
        if list(modifiers) == ["pred"]:
            return t.result("pred", f"{{}} {symbol} {{}}", "pred", "pred")
        kind = _integer_type(t, modifiers, "b")
        return t.result(kind, f"{{}} {symbol} {{}}", kind, kind)

    return translate


def _not(t: Operands, modifiers: Sequence[str]) -> str:
    if list(modifiers) == ["pred"]:
        return t.result("pred", "!{}", "pred")
    kind = _integer_type(t, modifiers, "b")
    return t.result(kind, "~{}", kind)


def _shift_left(t: Operands, modifiers: Sequence[str]) -> str:
    kind = _integer_type(t, modifiers, "b")
    return t.result(kind, f"{{1}} >= {bits_of(kind)}u ? 0 : (uint64_t){{0}} << {{1}}", kind, "u32")


def _shift_right(t: Operands, modifiers: Sequence[str]) -> str:
    kind = _integer_type(t, modifiers, "bus")
    last = bits_of(kind) - 1
    beyond = f"{{0}} >> {last}" if kind[0] == "s" else "0"
    return t.result(kind, f"{{1}} > {last}u ? {beyond} : {{0}} >> {{1}}", kind, "u32")


def _funnel_shift(t: Operands, modifiers: Sequence[str]) -> str:
    if len(modifiers) != 3 or modifiers[0] not in {"l", "r"} or modifiers[1] not in {"wrap", "clamp"}:
        raise t.unknown()
    _integer_type(t, modifiers[2:], "b", 32)
    if bits_of(modifiers[2]) != 32:
        raise t.unknown()
    amount = "({2} & 31u)" if modifiers[1] == "wrap" else "({2} > 32u ? 32u : {2})"
    both = "((uint64_t){1} << 32 | {0})"
    value = f"({both} << {amount}) >> 32" if modifiers[0] == "l" else f"{both} >> {amount}"
    return t.result("b32", f"(uint32_t)({value})", "b32", "b32", "u32")


def _lookup(t: Operands, modifiers: Sequence[str]) -> str:
    table = integer(t.operand(4))
    if list(modifiers) != ["b32"] or not 0 <= table < 256:
        raise t.unknown()
    t.count(5)
    a, b, c = (t.read(t.operand(i), "b32") for i in (1, 2, 3))
    terms = [
        f"({a if row & 4 else f'~{a}'} & {b if row & 2 else f'~{b}'} & {c if row & 1 else f'~{c}'})"
        for row in range(8)
        if table >> row & 1
    ]
    return t.write(t.operand(0), "b32", " | ".join(terms) or "0u")


def _permute(t: Operands, modifiers: Sequence[str]) -> str:
    if list(modifiers) != ["b32"]:
        raise t.unknown()
    return t.result("b32", "prmt({}, {}, {})", "b32", "b32", "b32")


def _extract_field(t: Operands, modifiers: Sequence[str]) -> str:
    kind = _integer_type(t, modifiers, "us", 32)
    value = f"({c_type(kind)})bfe({{}}, {{}}, {{}}, {bits_of(kind)}, {int(kind[0] == 's')})"
    return t.result(kind, value, unsigned(kind), "u32", "u32")


def _insert_field(t: Operands, modifiers: Sequence[str]) -> str:
    kind = _integer_type(t, modifiers, "b", 32)
    return t.result(kind, f"({c_type(kind)})bfi({{}}, {{}}, {{}}, {{}}, {bits_of(kind)})", kind, kind, "u32", "u32")


def _set_predicate(t: Operands, modifiers: Sequence[str]) -> str:
    compare, *combine, kind = modifiers
    if kind not in BYTES or kind.endswith("8") or len(combine) > 1 or not SYMBOLS.keys() >= set(combine):
        raise t.unknown()
    patterns = ORDERED | (UNORDERED if kind[0] == "f" else {})
    if kind[0] == "u":
        compare = UNSIGNED.get(compare, compare)
    if compare not in patterns or (kind[0] == "b" and compare not in {"eq", "ne"}):
        raise t.unknown()
    if kind[0] != "f":
        patterns = patterns | {"ne": "{0} != {1}"}
    t.count(4 if combine else 3)
    declared = f"holds = {patterns[compare].format(*(t.read(t.operand(i), kind) for i in (1, 2)))}"
    also = ""
    if combine:
        declared += f", other = {t.read(t.operand(3), 'pred')}"
        also = f" {SYMBOLS[combine[0]]} other"
    to, _, opposite = t.operand(0).partition("|")
    writes = [t.write(name, "pred", value + also) for name, value in ((to, "holds"), (opposite, "!holds")) if name]
    return f"{{ const bool {declared}; {' '.join(writes)} }}"


def _select(t: Operands, modifiers: Sequence[str]) -> str:
    if len(modifiers) != 1 or modifiers[0] not in BYTES or modifiers[0].endswith("8"):
        raise t.unknown()
    kind = modifiers[0]
    return t.result(kind, "{2} ? {0} : {1}", kind, kind, "pred")


FAMILIES: dict[str, Family] = {
    "abs": _absolute,
    "add": _arithmetic("+"),
    "and": _logic("&"),
    "bfe": _extract_field,
    "bfi": _insert_field,
    "cvt": _convert,
    "cvta": _convert_address,
    "div": _divide,
    "fma": _rounded("canonical(fmaf({}, {}, {}))", "fma({}, {}, {})", 3),
    "ld": _load,
    "lop3": _lookup,
    "mad": _multiply_add,
    "max": _smaller_or_larger("max", ">"),
    "min": _smaller_or_larger("min", "<"),
    "mov": _move,
    "mul": _multiply,
    "neg": _negate,
    "not": _not,
    "or": _logic("|"),
    "prmt": _permute,
    "rem": _quotient,
    "selp": _select,
    "setp": _set_predicate,
    "shf": _funnel_shift,
    "shl": _shift_left,
    "shr": _shift_right,
    "sqrt": _rounded("canonical(sqrtf({}))", "sqrt({})", 1),
    "st": _store,
    "sub": _arithmetic("-"),
    "xor": _logic("^"),
}
