"""A kernel as a function in C that runs one thread from a barrier to the next.

Registers are its variables. Those that are read again behind a barrier are kept in the thread's state meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptx_translation import instructions
from ptx_translation.instructions import Translation
from ptx_translation.operands import Operands, c_name, c_type, initial_bytes
from ptx_translation.parse import Instruction, Kernel, Label, Module, PtxError

JUNK = {"pred": "1", "b16": "0xCBCBu", "b32": "0xCBCBCBCBu", "b64": "0xCBCBCBCBCBCBCBCBull"}


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel in C: the function, its entry in the table of kernels, and what stands out in it."""

    code: str
    entry: str
    unset: frozenset[str]  # registers that some path reads before it sets them
    variables: frozenset[str]  # of the module, that it uses


def module_variables(module: Module, used: frozenset[str]) -> tuple[str, str]:
    """The declarations and the definitions of those of a module's variables that kernels use."""
    declarations, definitions = [], []
    for variable in (module.variables[name] for name in sorted(used)):
        declaration = f"uint8_t {c_name(variable.name)}[{variable.bytes}] __attribute__((aligned({variable.align})))"
        values = b"".join(initial_bytes(variable.kind, value) for value in variable.values)
        if len(values) > variable.bytes:
            raise PtxError(f"{variable.name} begins with more values than it has")
        declarations.append(f"extern {declaration};\n")
        definitions.append(f"{declaration} = {{{', '.join(str(value) for value in values) or '0'}}};\n")
    return "".join(declarations), "".join(definitions)


def translated(module: Module, kernel: Kernel) -> Function:
    """The whole kernel."""
    operands = Operands(module, kernel)
    items = [instructions.translated(operands, item) if isinstance(item, Instruction) else item for item in kernel.body]
    last = items[-1] if items else None
    if not isinstance(last, Translation) or last.guarded or not (last.ends or last.jumps_to):
        raise PtxError(f"{kernel.name} runs past its end")
    live = _live(kernel, items)
    kept = sorted(set().union(*(live[i + 1] for i, item in enumerate(items) if _waits(item))))
    state = "".join(f"    {c_type(kernel.registers[name])} {c_name(name)};\n" for name in kept)
    used = sorted({name for item in items if isinstance(item, Translation) for name in item.reads | item.writes})
    lines = [f"    {c_type(kernel.registers[name])} {c_name(name)}{_junk(kernel, name, live[0])};\n" for name in used]
    body: list[str] = []
    resume: list[str] = []
    for i, item in enumerate(items):
        if isinstance(item, Label):
            body.append(f"{c_name(item.name)}:;\n")
        elif item.waits:
            number = len(resume) + 1
            resume.append(f"    case {number}: goto resume_{number};\n")
            names = [c_name(name) for name in sorted(live[i + 1])]
            body += [f"    s->{name} = {name};\n" for name in names]
            body.append(f"    return {number};\nresume_{number}:;\n")
            body += [f"    {name} = s->{name};\n" for name in names]
        else:
            body.append(f"    {item.code}\n")
    function = f"run_{kernel.name}"
    code = (
        f"struct state {{\n    uint32_t resume;\n{state}}};\n\n"
        f"const size_t {function}_state_bytes = sizeof(struct state);\n\n"
        f"uint32_t {function}(struct block *b, void *state) {{\n"
        f"    struct state *s = state;\n{''.join(lines)}"
        f"    switch (s->resume) {{\n{''.join(resume)}    default: break;\n    }}\n"
        f"{''.join(body)}}}\n"
    )
    return Function(code, _entry(kernel, function), live[0], frozenset(operands.variables))


def _waits(item: Translation | Label) -> bool:
    return isinstance(item, Translation) and item.waits


def _junk(kernel: Kernel, name: str, unset: frozenset[str]) -> str:
    kind = kernel.registers[name]
    return f" = {JUNK['pred' if kind == 'pred' else 'b' + kind[1:]]}" if name in unset else ""


def _entry(kernel: Kernel, function: str) -> str:
    """A line of the table in C."""
    accesses = [item.opcode for item in kernel.instructions() if ".shared." in item.opcode]
    narrow = any(opcode.endswith(("8", "16")) for opcode in accesses)
    generic = any(item.opcode.startswith(("cvta.shared", "cvta.to.shared")) for item in kernel.instructions())
    sizes = (kernel.parameter_bytes, kernel.shared_bytes, kernel.local_bytes)
    return (
        f'{{"{kernel.name.removeprefix("fastes_")}", {function}, &{function}_state_bytes, '
        f"{', '.join(map(str, sizes))}, {kernel.max_threads}, {int(kernel.exact_threads)}, "
        f"{1 if narrow or generic else 4}}},\n"
    )


def _live(kernel: Kernel, items: Sequence[Translation | Label]) -> list[frozenset[str]]:
    """The registers whose values are still read, before each item and after the last."""
    places = {item.name: i for i, item in enumerate(items) if isinstance(item, Label)}
    numbers = {name: i for i, name in enumerate(kernel.registers)}

    def mask(names: frozenset[str]) -> int:
        return sum(1 << numbers[name] for name in names)

    reads, kills, follows = [], [], []
    for i, item in enumerate(items):
        guarded = isinstance(item, Translation) and item.guarded
        reads.append(mask(item.reads) if isinstance(item, Translation) else 0)
        kills.append(mask(item.writes) if isinstance(item, Translation) and not guarded else 0)
        next_items = [i + 1]
        if isinstance(item, Translation) and (item.jumps_to or item.ends):
            next_items = [i + 1] if guarded else []
            if item.jumps_to:
                if item.jumps_to not in places:
                    raise PtxError(f"{kernel.name} has no label {item.jumps_to}")
                next_items.append(places[item.jumps_to])
        follows.append(next_items)
    live = [0] * (len(items) + 1)
    changed = True
    while changed:
        changed = False
        for i in reversed(range(len(items))):
            after = 0
            for j in follows[i]:
                after |= live[j]
            before = reads[i] | (after & ~kills[i])
            changed |= before != live[i]
            live[i] = before
    names = list(kernel.registers)
    wanted = {0, *(i + 1 for i, item in enumerate(items) if _waits(item))}
    return [
        frozenset(name for k, name in enumerate(names) if bits >> k & 1) if i in wanted else frozenset()
        for i, bits in enumerate(live)
    ]
