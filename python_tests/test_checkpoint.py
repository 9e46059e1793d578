"""fastes.checkpoint: exact round trips, and no damage that goes unnoticed or spreads."""

from __future__ import annotations

import errno
import math
import os
import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from fastes.checkpoint import Checkpoint, load, load_newest, save
from fastes.errors import StorageError

DTYPES = ["bool", "float16", "float32", "float64"]
DTYPES += [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]


def state(generation: int) -> Checkpoint:
    theta = np.linspace(-1, 1, 5, dtype=np.float32)
    return Checkpoint(generation, {"theta": theta, "step": np.array(generation)}, {"best": 0.1 + 0.2})


def saved_generations(directory: Path) -> list[int]:
    return sorted(int(path.stem[-8:]) for path in (directory / "checkpoints").glob("*.safetensors"))


def fail(message: str) -> NoReturn:
    raise AssertionError(f"unexpected report: {message}")


def disk_full(*arguments: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_every_dtype_and_shape_survives(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {name: np.array([[0, 1, 0], [1, 1, 0]], dtype=name) for name in DTYPES}
    arrays |= {
        "scalar": np.array(-0.0),
        "empty": np.zeros((3, 0), np.float32),
        "nan payload": np.array([0x7FC12345], np.uint32).view(np.float32),
        "transposed": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "strided": np.arange(9, dtype=np.int16)[::2],
        "big endian": np.arange(3, dtype=">f8"),
        "naïve ε": np.ones(1, np.int8),
    }
    loaded = load(save(tmp_path, Checkpoint(12, arrays, {}))).arrays
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        expected = np.array(array, dtype=array.dtype.newbyteorder("<"), order="C")
        assert (loaded[name].dtype, loaded[name].shape) == (expected.dtype, expected.shape)
        assert loaded[name].tobytes() == expected.tobytes(), name


def test_arrays_are_owned_and_writable(tmp_path: Path) -> None:
    path = save(tmp_path, state(1))
    before = path.read_bytes()
    for array in load(path).arrays.values():
        assert array.flags.owndata
        array[...] = 7
    assert path.read_bytes() == before


def test_meta_floats_survive_to_the_bit(tmp_path: Path) -> None:
    floats = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, math.inf, -math.inf, 1 / 3]
    meta = {"floats": floats, "nested": {"text": "ε “quoted”", "none": None, "flag": True, "big": 2**70}}
    loaded = load(save(tmp_path, Checkpoint(3, {}, meta)))
    assert loaded.meta == meta
    assert [value.hex() for value in loaded.meta["floats"]] == [value.hex() for value in floats]
    assert loaded.generation == 3


def test_file_name_and_other_readers(tmp_path: Path) -> None:
    path = save(tmp_path, state(12))
    assert path == tmp_path / "checkpoints" / "generation-00000012.safetensors"
    np.testing.assert_array_equal(load_file(path)["theta"], state(12).arrays["theta"])


def test_saving_is_deterministic(tmp_path: Path) -> None:
    forward, backward = state(1), state(1)
    backward = Checkpoint(1, dict(reversed(backward.arrays.items())), backward.meta)
    assert save(tmp_path / "a", forward).read_bytes() == save(tmp_path / "b", backward).read_bytes()


def test_a_cut_at_every_byte_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, state(1))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match=re.escape(str(path))):
            load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(StorageError, match="not a whole checkpoint"):
        load(path)


def test_a_flipped_bit_at_every_byte_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path, state(1))
    whole = path.read_bytes()
    for position in range(len(whole)):
        altered = bytearray(whole)
        altered[position] ^= 1 << position % 8
        path.write_bytes(altered)
        with pytest.raises(StorageError, match="not a whole checkpoint"):
            load(path)


def test_foreign_and_missing_files(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"theta": np.zeros(3, np.float32)}, foreign)
    with pytest.raises(StorageError, match="not written by fastes"):
        load(foreign)
    with pytest.raises(StorageError, match="absent"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(StorageError, match="Cannot read"):
        load(tmp_path)


def test_a_newer_format_is_refused_but_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fastes.checkpoint._FORMAT", 2)
        path = save(tmp_path, state(1))
    with pytest.raises(StorageError, match="format 2"):
        load_newest(tmp_path, report=fail)
    assert path.exists()


@pytest.mark.parametrize(
    ("keep", "pinned", "left"),
    [(1, (), [6]), (2, (), [5, 6]), (2, (1, 3, 99), [1, 3, 5, 6]), (10, (), [1, 2, 3, 4, 5, 6])],
)
def test_pruning(tmp_path: Path, keep: int, pinned: tuple[int, ...], left: list[int]) -> None:
    for generation in range(1, 7):
        save(tmp_path, state(generation), keep=keep, pinned=pinned)
    assert saved_generations(tmp_path) == left


def test_pruning_spares_the_file_just_written(tmp_path: Path) -> None:
    for generation in (10, 20, 5):
        save(tmp_path, state(generation), keep=2)
    assert saved_generations(tmp_path) == [5, 10, 20]


def test_newest_is_by_number(tmp_path: Path) -> None:
    assert load_newest(tmp_path, report=fail) is None
    for generation in (99_999_999, 100_000_000, 3):
        save(tmp_path, state(generation))
    newest = load_newest(tmp_path, report=fail)
    assert newest is not None
    assert newest.generation == 100_000_000


def test_damaged_checkpoints_are_reported_once_and_set_aside(tmp_path: Path) -> None:
    paths = [save(tmp_path, state(generation)) for generation in (1, 2, 3)]
    paths[2].write_bytes(paths[2].read_bytes()[:-1])
    paths[1].write_bytes(b"")
    reports: list[str] = []
    newest = load_newest(tmp_path, report=reports.append)
    assert newest is not None
    assert newest.generation == 1
    assert [str(path) in report for path, report in zip(paths[:0:-1], reports, strict=True)] == [True, True]
    assert saved_generations(tmp_path) == [1]
    assert paths[2].with_name(paths[2].name + ".damaged").exists()
    assert load_newest(tmp_path, report=fail) is not None


def test_leftovers_are_removed_and_strangers_left(tmp_path: Path) -> None:
    path = save(tmp_path, state(1))
    leftover = path.with_name("generation-00000002.safetensors.tmp")
    leftover.write_bytes(path.read_bytes())
    stranger = path.with_name("notes.txt")
    stranger.touch()
    newest = load_newest(tmp_path, report=fail)
    assert newest is not None
    assert newest.generation == 1
    assert not leftover.exists()
    assert stranger.exists()


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = save(tmp_path, state(1), keep=1)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, call, disk_full)
        with pytest.raises(StorageError) as caught:
            save(tmp_path, state(2), keep=1)
    message = str(caught.value)
    assert "generation-00000002.safetensors" in message
    assert "No space left on device" in message
    assert "The earlier checkpoint generation-00000001.safetensors is intact." in message
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_bytes() == before
    save(tmp_path, state(2), keep=1)
    assert saved_generations(tmp_path) == [2]


def test_a_write_cut_short_is_cleaned_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills in the middle of the arrays: the kernel's own error, with half of the file written."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        with pytest.raises(StorageError, match=r"File too large\. There is no earlier checkpoint\."):
            save(tmp_path, Checkpoint(1, {"theta": np.zeros(1_000_000, np.float32)}, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Not a directory"):
        save(tmp_path / "file", state(1))
    with pytest.raises(StorageError, match="Not a directory"):
        load_newest(tmp_path / "file", report=fail)


def test_what_cannot_be_saved_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'z' has dtype complex64"):
        save(tmp_path, Checkpoint(1, {"z": np.zeros(1, np.complex64)}, {}))
    with pytest.raises(ValueError, match="keep is 0"):
        save(tmp_path, state(1), keep=0)
    with pytest.raises(TypeError):
        save(tmp_path, Checkpoint(1, {}, {"path": tmp_path}))
    assert not (tmp_path / "checkpoints").exists()
