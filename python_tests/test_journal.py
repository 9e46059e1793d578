"""fastes.journal: what was appended is read back, and any damage ends exactly at the record that it hit."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import itertools
import os
import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from fastes.conditions import Moments
from fastes.errors import StorageError
from fastes.journal import Journal, JournalWriter, Record, read, repair

HEADER = {"seed": 1, "dim": 3, "sigma": 0.1 + 0.2, "base_digest": "00" * 16}


def record(generation: int, members: int = 2) -> Record:
    fitness = np.linspace(-1, generation, members, dtype=np.float32)
    return Record(generation, f"{generation:032x}", fitness, np.arange(members, dtype=np.uint32) + generation)


def write(path: Path, generations: range = range(3)) -> list[int]:
    """A journal of `generations`; returns where its header and each of its records end."""
    ends = []
    with JournalWriter.create(path, HEADER) as writer:
        ends.append(path.stat().st_size)
        for generation in generations:
            writer.append(record(generation))
            ends.append(path.stat().st_size)
    return ends


def assert_holds(journal: Journal, generations: range) -> None:
    assert journal.header == HEADER
    assert [found.generation for found in journal.records] == list(generations)
    for found in journal.records:
        expected = record(found.generation)
        assert found.digest == expected.digest
        assert found.fitness.dtype == np.float32
        assert found.steps.dtype == np.uint32
        assert found.fitness.tobytes() == expected.fitness.tobytes()
        assert found.steps.tobytes() == expected.steps.tobytes()


def whole_before(ends: list[int], position: int) -> int:
    """How many generations end at or before byte `position`."""
    return sum(end <= position for end in ends[1:])


def fail(message: str) -> NoReturn:
    raise AssertionError(f"unexpected report: {message}")


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    ends = write(path, range(7, 10))
    journal = read(path)
    assert_holds(journal, range(7, 10))
    assert (journal.damage, journal.good_bytes) == (None, ends[-1])
    journal.records[0].fitness[:] = 0  # owned and writable


def test_special_values_and_sizes_survive(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    fitness = np.array([0x7FC12345, 0x80000000, 0xFF800000, 1], np.uint32).view(np.float32)
    steps = np.array([0, 2**32 - 1, 1, 2], np.uint32)
    empty = Record(2**63, "ff" * 16, np.zeros(0, np.float32), np.zeros(0, np.uint32))
    with JournalWriter.create(path, {}) as writer:
        writer.append(Record(2**63 - 1, "0a" * 16, fitness, steps))
        writer.append(empty)
    first, second = read(path).records
    assert first.fitness.tobytes() == fitness.tobytes()
    assert first.steps.tobytes() == steps.tobytes()
    assert (second.generation, second.digest, len(second.fitness)) == (2**63, "ff" * 16, 0)


def test_the_documented_layout(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    header_end, end = write(path, range(5, 6))
    data = path.read_bytes()
    assert data[:8] == b"FESJ\1\0\0\0"
    assert struct.unpack_from("<IB", data, 8) == (0x4345524A, 1)
    magic, kind, length = struct.unpack_from("<IBI", data, header_end)
    assert (magic, kind, length) == (0x4345524A, 2, end - header_end - 9 - 8)
    generation, members, digest = struct.unpack_from("<QI16s", data, header_end + 9)
    assert (generation, members, digest.hex()) == (5, 2, f"{5:032x}")
    assert struct.unpack_from("<2f2I", data, header_end + 9 + 28) == (-1.0, 5.0, 5, 6)


def test_appending_continues_the_chain(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole.bin", tmp_path / "parts.bin"
    write(whole, range(6))
    write(parts, range(0))
    for start in (0, 2, 4):
        with JournalWriter.append_to(parts) as writer:
            writer.append(record(start))
            writer.append(record(start + 1))
    assert parts.read_bytes() == whole.read_bytes()


def test_a_cut_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    ends = write(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        if length < ends[0]:
            with pytest.raises(StorageError, match="not a readable journal"):
                read(path)
            continue
        journal = read(path)
        count = whole_before(ends, length)
        assert_holds(journal, range(count))
        assert journal.good_bytes == ends[count]
        assert (journal.damage is None) == (length == ends[count])


def test_a_flipped_bit_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    ends = write(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        altered = bytearray(whole)
        altered[position] ^= 1 << position % 8
        path.write_bytes(altered)
        if position < ends[0]:
            with pytest.raises(StorageError, match="not a readable journal"):
                read(path)
            continue
        journal = read(path)
        count = whole_before(ends, position)
        assert_holds(journal, range(count))
        assert journal.good_bytes == ends[count]
        assert f"at byte {ends[count]}" in str(journal.damage)
        assert f"the {count} records before it" in str(journal.damage)


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2), (1, 2), (0, 0, 1, 2), (0, 1, 1, 2), (2, 1, 0)])
def test_moved_records_are_noticed(tmp_path: Path, order: tuple[int, ...]) -> None:
    path = tmp_path / "journal.bin"
    ends = write(path)
    data = path.read_bytes()
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    path.write_bytes(data[: ends[0]] + b"".join(pieces[index] for index in order))
    in_place = next(place for place, index in enumerate(order) if place != index)
    journal = read(path)
    assert_holds(journal, range(in_place))
    assert "does not match its checksum" in str(journal.damage)


def test_a_record_of_another_journal_is_noticed(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours.bin", tmp_path / "other.bin"
    ends = write(ours)
    with JournalWriter.create(other, HEADER | {"seed": 2}) as writer:
        for generation in range(3):
            writer.append(record(generation))
    data = ours.read_bytes()
    ours.write_bytes(data[: ends[2]] + other.read_bytes()[ends[2] :])
    assert_holds(read(ours), range(2))


def test_a_huge_length_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    ends = write(path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, ends[0] + 5, 2**32 - 1)
    path.write_bytes(data)
    journal = read(path)
    assert_holds(journal, range(0))
    assert "cut off" in str(journal.damage)


def test_only_a_new_file_is_created(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    write(path)
    before = path.read_bytes()
    with pytest.raises(StorageError, match="exists already"):
        JournalWriter.create(path, HEADER)
    assert path.read_bytes() == before
    with pytest.raises(StorageError, match="Cannot start the journal"):
        JournalWriter.create(tmp_path / "absent" / "journal.bin", HEADER)
    with pytest.raises(StorageError, match="Cannot read the journal"):
        read(tmp_path / "absent.bin")


@pytest.mark.parametrize("start", [4, 6])
def test_generations_are_consecutive(tmp_path: Path, start: int) -> None:
    path = tmp_path / "journal.bin"
    write(path, range(3, 5))
    with JournalWriter.append_to(path) as writer, pytest.raises(ValueError, match="cannot follow 4"):
        writer.append(record(start))
    assert_holds(read(path), range(3, 5))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"digest": "ab"}, "32 hex digits"),
        ({"fitness": np.zeros(2)}, "fitness must be float32"),
        ({"steps": np.zeros(2, np.int64)}, "steps must be uint32"),
        ({"steps": np.zeros(3, np.uint32)}, r"steps must be uint32 \[2\]"),
    ],
)
def test_malformed_records_are_refused(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    good = record(0)
    fields = {"digest": good.digest, "fitness": good.fitness, "steps": good.steps} | change
    with JournalWriter.create(tmp_path / "journal.bin", HEADER) as writer:
        with pytest.raises(ValueError, match=match):
            writer.append(Record(0, **fields))
        writer.append(good)
    assert_holds(read(tmp_path / "journal.bin"), range(1))


@pytest.mark.parametrize("written", [0, 1, 20, None])
def test_a_full_disk_costs_only_the_new_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int | None
) -> None:
    """The disk takes `written` bytes of the record, or all of them and then fails to sync."""
    path = tmp_path / "journal.bin"
    ends = write(path)
    real_write, left = os.write, written

    def short_write(descriptor: int, data: memoryview) -> int:
        nonlocal left
        if left is None:
            return real_write(descriptor, data)
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = real_write(descriptor, data[:left])
        left -= taken
        return taken

    def failing_sync(descriptor: int) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with JournalWriter.append_to(path) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", short_write)
            patch.setattr(os, "fsync", failing_sync)
            with pytest.raises(StorageError, match=r"Cannot write generation 3 .* is intact"):
                writer.append(record(3))
        assert path.stat().st_size == ends[-1]
        writer.append(record(3))
    journal = read(path)
    assert_holds(journal, range(4))
    assert journal.damage is None


def test_writes_that_take_less_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, dribbled = tmp_path / "whole.bin", tmp_path / "dribbled.bin"
    write(whole)
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(descriptor, data[:3]))
    write(dribbled)
    assert dribbled.read_bytes() == whole.read_bytes()


def test_a_failed_start_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(descriptor: int, data: memoryview) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", disk_full)
        with pytest.raises(StorageError, match="No space left on device"):
            JournalWriter.create(tmp_path / "journal.bin", HEADER)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "journal.bin")


def test_repair_at_every_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # hundreds of repairs, none of them after a crash
    path = tmp_path / "journal.bin"
    ends = write(path)
    whole = path.read_bytes()
    for length in set(range(ends[0], ends[-1])) - set(ends):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match="Repair it first"):
            JournalWriter.append_to(path)
        reports: list[str] = []
        journal = repair(path, reports.append)
        count = whole_before(ends, length)
        assert len(reports) == 1
        assert f"at byte {ends[count]}" in reports[0]
        assert path.read_bytes() == whole[: ends[count]]
        assert_holds(journal, range(count))
        assert journal.damage is None
        copy = path.with_name("journal.bin.damaged")
        assert copy.read_bytes() == whole[:length]
        copy.unlink()
        with JournalWriter.append_to(path) as writer:
            for generation in range(count, 3):
                writer.append(record(generation))
        assert path.read_bytes() == whole


def test_repair_leaves_a_whole_journal_and_earlier_copies_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    write(path)
    repair(path, fail)
    whole = path.read_bytes()
    for number, suffix in enumerate(("", "-2", "-3"), start=1):
        path.write_bytes(whole[:-number])
        repair(path, lambda text: None)
        copy = path.with_name(f"journal.bin.damaged{suffix}")
        assert copy.read_bytes() == whole[:-number]


def test_a_failed_repair_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.bin"
    write(path)
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)

    def failing_sync(descriptor: int) -> NoReturn:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_sync)
        with pytest.raises(StorageError, match="Nothing was lost"):
            repair(path, fail)
    assert path.read_bytes() == damaged
    assert list(tmp_path.iterdir()) == [path]


def with_moments(generation: int, elements: int) -> Record:
    sums = np.random.default_rng(generation).normal(0, 1e6, (2, elements))
    return dataclasses.replace(record(generation), moments=Moments(float(2**40 + generation), sums[0], sums[1]))


def write_mixed(path: Path) -> tuple[list[int], list[Record]]:
    """Records with moments of 3, 0 and 5 elements, and one without between them; where each ends."""
    records = [with_moments(0, 3), record(1), with_moments(2, 0), with_moments(3, 5)]
    with JournalWriter.create(path, HEADER) as writer:
        ends = [path.stat().st_size]
        for each in records:
            writer.append(each)
            ends.append(path.stat().st_size)
    return ends, records


def assert_same(found: Record, expected: Record) -> None:
    assert (found.generation, found.digest) == (expected.generation, expected.digest)
    assert found.fitness.tobytes() == expected.fitness.tobytes()
    assert found.steps.tobytes() == expected.steps.tobytes()
    assert (found.moments is None) == (expected.moments is None)
    if found.moments is not None and expected.moments is not None:
        assert found.moments.count == expected.moments.count
        assert found.moments.total.dtype == found.moments.squares.dtype == np.float64
        assert found.moments.total.tobytes() == expected.moments.total.tobytes()
        assert found.moments.squares.tobytes() == expected.moments.squares.tobytes()


def test_moments_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    ends, records = write_mixed(path)
    journal = read(path)
    assert (journal.damage, journal.good_bytes) == (None, ends[-1])
    for found, expected in zip(journal.records, records, strict=True):
        assert_same(found, expected)
    moments = journal.records[0].moments
    assert moments is not None
    moments.total[:] = 0  # owned and writable


def test_the_documented_layout_of_moments(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    ends, records = write_mixed(path)
    data, moments = path.read_bytes(), records[3].moments
    assert moments is not None
    _, kind, length = struct.unpack_from("<IBI", data, ends[3])
    assert (kind, length) == (3, 28 + 2 * 8 + 12 + 16 * 5)
    assert ends[4] - ends[3] == 9 + length + 8
    count, elements = struct.unpack_from("<dI", data, ends[3] + 9 + 28 + 16)
    assert (count, elements) == (2.0**40 + 3, 5)
    sums = struct.unpack_from("<10d", data, ends[3] + 9 + 28 + 16 + 12)
    assert sums == (*moments.total.tolist(), *moments.squares.tolist())
    assert struct.unpack_from("<IB", data, ends[1])[1] == 2


def test_any_cut_and_every_third_byte_flipped_with_moments(tmp_path: Path) -> None:
    path = tmp_path / "journal.bin"
    ends, records = write_mixed(path)
    whole = path.read_bytes()
    for position in range(ends[0], len(whole)):
        altered = bytearray(whole)
        altered[position] ^= 1 << position % 8
        damaged = whole[:position] if position % 3 or position in ends else bytes(altered)
        path.write_bytes(damaged)
        journal, count = read(path), whole_before(ends, position)
        assert len(journal.records) == count
        assert journal.good_bytes == ends[count]
        assert (journal.damage is None) == (len(damaged) == ends[count])
        for found, expected in zip(journal.records, records, strict=False):
            assert_same(found, expected)


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        struct.pack("<dI", 1.0, 1),
        struct.pack("<dI", 1.0, 0)[:-1],
        struct.pack("<dI2d", 1.0, 1, 0.0, 0.0)[:-1],
        struct.pack("<dI2d", 1.0, 2**32 - 1, 0.0, 0.0),
        struct.pack("<dI2d", 1.0, 0, 0.0, 0.0),
    ],
)
def test_a_record_whose_moments_do_not_fill_it(tmp_path: Path, tail: bytes) -> None:
    """Its checksum is right, so that no other check comes before."""
    path = tmp_path / "journal.bin"
    (end,) = write(path, range(0))
    payload = struct.pack("<QI16s", 0, 1, bytes(16)) + struct.pack("<fI", 1.0, 1) + tail
    head = struct.pack("<4sBI", b"JREC", 3, len(payload))
    before = path.read_bytes()
    check = hashlib.blake2b(before[-8:] + head[4:] + payload, digest_size=8).digest()
    path.write_bytes(before + head + payload + check)
    journal = read(path)
    assert journal.records == ()
    assert journal.good_bytes == end
    assert "1 members do not fill a record" in str(journal.damage)


@pytest.mark.parametrize(
    ("moments", "match"),
    [
        (Moments(1.0, np.zeros(2, np.float32), np.zeros(2)), r"moments.total must be float64 \[2\], not float32"),
        (Moments(1.0, np.zeros(2), np.zeros(3)), r"moments.squares must be float64 \[2\], not float64 \(3,\)"),
        (Moments(1.0, np.zeros((2, 1)), np.zeros(2)), r"moments.total must be float64 \[2\], not float64 \(2, 1\)"),
    ],
)
def test_malformed_moments_are_refused(tmp_path: Path, moments: Moments, match: str) -> None:
    with JournalWriter.create(tmp_path / "journal.bin", HEADER) as writer:
        with pytest.raises(ValueError, match=match):
            writer.append(dataclasses.replace(record(0), moments=moments))
        writer.append(record(0))
    assert_holds(read(tmp_path / "journal.bin"), range(1))
