"""What coordinator and worker have to have alike, and the sentence for each thing that they have not."""

from __future__ import annotations

from fastes.executors.tcp.limits import NAME
from fastes.executors.tcp.refusals import Code, in_a_line
from fastes.executors.tcp.wire import Identity, Ready

Difference = tuple[Code, str]
"""What differs, and a sentence with both values and the remedy."""

_TOLERATE = "or let the run depend on who evaluates what with executor.tolerate = [{!r}]"


def of_identities(ours: Identity, theirs: Identity) -> list[Difference]:
    """ours: the coordinator's. The first is the most serious."""
    found: list[Difference] = []
    if ours.noise_spec != theirs.noise_spec:
        found.append(
            (
                Code.NOISE,
                f"the noise specification differs: coordinator {ours.noise_spec}, worker {theirs.noise_spec}. Install "
                "the same version of fastes on both.",
            )
        )
    elif ours.self_test != theirs.self_test:
        found.append(
            (
                Code.KERNELS,
                f"the kernels' self-test differs: coordinator {ours.self_test.hex()}, worker {theirs.self_test.hex()}. "
                "One of them computes wrong noise: run fastes info on both, build fastes anew where it fails, and try "
                "FASTES_ISA=scalar.",
            )
        )
    for code, name, our, their in (
        (Code.FASTES, "fastes", ours.fastes, theirs.fastes),
        (Code.TORCH, "torch", ours.torch, theirs.torch),
        (Code.NUMPY, "numpy", ours.numpy, theirs.numpy),
    ):
        if our != their:
            tolerate = _TOLERATE.format(code.value)
            found.append(
                (
                    code,
                    f"the version of {name} differs: coordinator {our}, worker {in_a_line(their, NAME)}. Install the "
                    f"same on both, {tolerate}.",
                )
            )
    return found


def of_built(ours: Ready, theirs: Ready) -> list[Difference]:
    """ours: what the coordinator built from the same run, its forward empty where it lacks the device to try it on. The
    most telling comes first: sources before settings.
    """
    found = [
        (
            Code.SOURCE,
            f"the source of {in_a_line(module, NAME)} differs: coordinator {_short(ours.sources.get(module))}, worker "
            f"{_short(theirs.sources.get(module))} (SHA-256). Copy the coordinator's files to the worker.",
        )
        for module in sorted(ours.sources.keys() | theirs.sources.keys())
        if ours.sources.get(module) != theirs.sources.get(module)
    ]
    for code, what in (
        (Code.PROBLEM, "settings of the problem"),
        (Code.POLICY, "settings of the policy"),
        (Code.ALGORITHM, "settings of the algorithm"),
        (Code.OPTIMIZER, "settings of the optimizer"),
        (Code.LAYOUT, "names and shapes of the policy's parameters"),
    ):
        our, their = getattr(ours, code.value), getattr(theirs, code.value)
        if our != their:
            found.append(
                (
                    code,
                    f"the {what} differ: coordinator {_short(our)}, worker {_short(their)} (SHA-256). Install the same "
                    "versions of fastes, and of the packages that the run uses, on both.",
                )
            )
    if ours.forward and ours.forward != theirs.forward:
        tolerate = _TOLERATE.format(Code.FORWARD.value)
        found.append(
            (
                Code.FORWARD,
                f"the policy gives other bits for the same input: coordinator {ours.forward.hex()}, worker "
                f"{theirs.forward.hex()}. Evaluate on the same device everywhere (--device); where processors "
                "differ, set ATEN_CPU_CAPABILITY=default on all machines, or "
                f"take a policy that problem.forward = 'native' can evaluate, {tolerate}.",
            )
        )
    return found


def _short(hashed: bytes | None) -> str:
    return "none" if hashed is None else hashed.hex()[:12]
