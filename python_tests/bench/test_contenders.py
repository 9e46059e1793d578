"""Every contender answers, knows its answer, and knows a wrong one; at tiny sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastes import kernels
from fastes.bench import noise, steps
from fastes.bench.contender import Contender, Size, settings
from fastes.bench.noise_table import NoiseTable
from fastes.bench.weighted_sum import weighted_sum, words_only

TINY = Size(rows=8, dim=256, table=4096, small_table=512)
LONG = Size(rows=2, dim=150_001, table=200_000)
GROUPS = (noise.normal, weighted_sum, noise.perturb, steps.sgd_step, steps.adam_step)
CONTENDERS = [contender for group in GROUPS for contender in group(TINY)]
CONTENDERS += [words_only(TINY), steps.generation(TINY), *weighted_sum(LONG)]


@pytest.fixture(autouse=True)
def _torch_noise() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def test_every_contender_knows_its_answer(contender: Contender) -> None:
    with settings(contender.isa, contender.threads):
        assert contender.right(contender.work())
        assert contender.right(contender.work())


@pytest.mark.parametrize("contender", [c for c in CONTENDERS if c.name != "ask + tell"], ids=str)
def test_every_contender_knows_a_wrong_answer(contender: Contender) -> None:
    with settings(contender.isa, contender.threads):
        answer = contender.work()
        if isinstance(answer, int):
            wrong = answer ^ 1
        elif "torch" in contender.name or "numpy" in contender.name or "table" in contender.name:
            wrong = answer * 1.5
        else:  # ours: the last bit of one element
            wrong = answer.copy()
            wrong.reshape(-1).view(np.int32)[-1] ^= 1
        assert not contender.right(wrong)


def test_a_generation_is_judged_by_its_members_and_its_step() -> None:
    contender = steps.generation(TINY)
    members, theta = contender.work()
    assert contender.right((members, theta))
    assert not contender.right((members[::-1], theta))
    assert not contender.right((members, theta + np.float32(1e-3)))


def test_the_weighted_sum_has_every_kind_on_every_instruction_set() -> None:
    ours = {contender.name for contender in weighted_sum(TINY) if contender.ours}
    isas = kernels.info()["isas_usable"]
    assert ours == {isa if kind == "normal" else f"{isa} {kind}" for isa in isas for kind in kernels.KINDS}
    assert len(ours) == len(isas) * len(kernels.KINDS)


def test_no_table_takes_part_that_is_too_small() -> None:
    names = [contender.name for contender in weighted_sum(Size(rows=2, dim=600, table=599, small_table=600))]
    assert [name for name in names if "table" in name] == ["small table, np.dot", "small table, in place"]


def test_windows_are_the_whole_or_its_ends() -> None:
    assert Size(dim=131_072).windows == [slice(0, 131_072)]
    assert Size(dim=131_073).windows == [slice(0, 4099), slice(131_073 - 4099, 131_073)]


def test_a_long_table_is_one_block_over_and_over() -> None:
    taken = NoiseTable(rows=1, dim=2**22 + 3, length=2**22 + 3).take()[0]
    block = kernels.normal(2**22, seed=0, stream=256)
    assert np.array_equal(taken[: 2**22], block)
    assert np.array_equal(taken[2**22 :], block[:3])
