"""fastes.archive.novelty: against plain NumPy to the bit, by the tree and without it, and at every border."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fastes.archive import nearest, novelty, tree
from fastes.kernels import normal

NAN, INF = float("nan"), float("inf")
MOST = np.finfo(np.float32).max
DIGEST = "4ea98176665dd898"  # of `digest`


def f32(*rows: Any) -> np.ndarray:
    return np.array(rows, np.float32)


def drawn(count: int, width: int, row: int) -> np.ndarray:
    return normal(count * width, seed=7, row=row, stream=256).reshape(count, width)


def reference(behaviours: np.ndarray, archive: np.ndarray, k: int) -> np.ndarray:
    """Plain NumPy: float64 sums over B in order, the k least sorted, their roots added from the least on."""
    squares = np.zeros((len(behaviours), len(archive)))
    for here, there in zip(behaviours.T.astype(np.float64), archive.T.astype(np.float64), strict=True):
        squares += (here[:, np.newaxis] - there) ** 2
    least = np.sqrt(np.sort(squares, axis=1)[:, :k])
    total = np.zeros(len(behaviours))
    for distance in least.T:
        total += distance
    return np.minimum(total / least.shape[1], MOST).astype(np.float32)


def test_known_answers() -> None:
    archive = f32([0, 0], [3, 4], [0, 1], [6, 8])
    found = novelty(f32([0, 0], [3, 4], [0, 1], [-5, -12]), archive, k=3)
    root = np.sqrt
    expected = [(0 + 1 + 5) / 3, (0 + root(18) + 5) / 3, (0 + 1 + root(18)) / 3, (13 + root(25 + 169) + root(320)) / 3]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected, np.float32))
    np.testing.assert_array_equal(novelty(f32([0, 0]), archive, k=1), f32(0))


@pytest.mark.parametrize("width", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("size", [1, 2, 9, 255, 256, 257, 700])
def test_against_plain_numpy(size: int, width: int) -> None:
    behaviours, archive = drawn(13, width, 0), drawn(size, width, 1)
    for k in (1, 2, 10, 300):
        np.testing.assert_array_equal(novelty(behaviours, archive, k), reference(behaviours, archive, k))


COORDINATES = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([0.0, -0.0, 1.0, 2.0, 0.1])
)


@settings(deadline=None)  # the first example imports SciPy
@given(st.data())
def test_the_tree_gives_the_same_bits(data: st.DataObject) -> None:
    """Of grids and equal behaviours too, where its k-th neighbour is any of many."""
    width = data.draw(st.integers(1, 4))
    archive = data.draw(arrays(np.float32, (data.draw(st.integers(1, 60)), width), elements=COORDINATES))
    behaviours = data.draw(arrays(np.float32, (data.draw(st.integers(1, 8)), width), elements=COORDINATES))
    k = data.draw(st.integers(1, len(archive)))
    whole = nearest.mean_distances(behaviours, archive, k)
    np.testing.assert_array_equal(tree.mean_distances(behaviours, archive, k), whole)
    np.testing.assert_array_equal(np.minimum(whole, MOST).astype(np.float32), reference(behaviours, archive, k))


@pytest.mark.parametrize("width", [2, 3])
def test_the_tree_where_it_pays(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviours, archive = drawn(600, width, 0), drawn(tree.LEAST_ARCHIVE * 2**width, width, 1)
    assert tree.pays(600, width, len(archive))
    found = novelty(behaviours, archive)
    asked = []
    monkeypatch.setattr(tree, "_kd_tree", lambda: asked.append(1))
    np.testing.assert_array_equal(novelty(behaviours, archive), found)
    assert asked == [1]  # and there was none
    np.testing.assert_array_equal(found, reference(behaviours, archive, 10))


def test_candidates_are_not_believed_where_rounding_could_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a grid, whose distances are equal in heaps, some members are looked up in the whole archive; no others are."""
    whole = nearest.mean_distances
    looked_up = []

    def counted(behaviours: np.ndarray, archive: np.ndarray, k: int) -> np.ndarray:
        looked_up.append(len(behaviours))
        return whole(behaviours, archive, k)

    monkeypatch.setattr(nearest, "mean_distances", counted)
    tree.mean_distances(drawn(20, 2, 0), drawn(300, 2, 1), 5)
    grid = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2).astype(np.float32)
    between = grid[(grid > 4).all(axis=1) & (grid < 10).all(axis=1)] + np.float32(0.5)  # 4 are near, the next 8 as far
    found = tree.mean_distances(between, grid, 5)
    assert looked_up == [0, len(between)]
    np.testing.assert_array_equal(found, whole(between, grid, 5))


def test_when_the_tree_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tree.pays(500, 2, 2000)
    assert not tree.pays(499, 2, 2000)
    assert not tree.pays(500, 2, 1999)
    assert not tree.pays(500, 3, 2000)
    assert not tree.pays(10**6, 1000, 10**6)
    tree._kd_tree.cache_clear()
    monkeypatch.setitem(sys.modules, "scipy.spatial", None)  # as if it were not installed
    assert not tree.pays(500, 2, 2000)
    monkeypatch.undo()
    tree._kd_tree.cache_clear()


def test_archive_smaller_than_k() -> None:
    archive = f32([0], [2])
    np.testing.assert_array_equal(novelty(f32([0], [3]), archive, k=10), f32(1, 2))


def test_empty_archive() -> None:
    np.testing.assert_array_equal(novelty(f32([1, 2], [NAN, 0]), np.zeros((0, 0), np.float32)), f32(0, 0))
    np.testing.assert_array_equal(novelty(f32([1, 2]), np.zeros((0, 2), np.float32)), f32(0))


def test_no_members() -> None:
    assert novelty(np.zeros((0, 2), np.float32), f32([1, 2])).shape == (0,)


def test_all_behaviours_equal() -> None:
    same = np.full((40, 3), 0.1, np.float32)
    np.testing.assert_array_equal(novelty(same[:7], same), np.zeros(7, np.float32))
    np.testing.assert_array_equal(
        novelty(same[:7] + np.float32(1), same), reference(same[:7] + np.float32(1), same, 10)
    )


def test_what_is_not_finite_is_the_least_novel() -> None:
    archive = f32([0, 0], [0, 1])
    found = novelty(f32([5, 0], [NAN, NAN], [3, 0], [INF, 0], [0, -INF], [9, 0]), archive, k=1)
    np.testing.assert_array_equal(found, f32(5, 3, 3, 3, 3, 9))
    np.testing.assert_array_equal(novelty(f32([NAN, 0], [INF, 0]), archive), f32(0, 0))
    np.testing.assert_array_equal(novelty(np.zeros((3, 0), np.float32), archive), f32(0, 0, 0))  # all failed


def test_huge_behaviours() -> None:
    """Squares of float32 numbers do not overflow float64; a mean that float32 does not hold is its largest number."""
    far = f32([MOST, MOST], [MOST / 4, 0], [-MOST, -MOST])
    found = novelty(far, f32([0, 0], [-MOST, 0]), k=2)
    np.testing.assert_array_equal(found, reference(far, f32([0, 0], [-MOST, 0]), 2))
    assert found[0] == MOST  # (sqrt 2 + sqrt 5) / 2 of it
    assert found[1] == pytest.approx(0.75 * MOST)
    assert found[2] == MOST  # (sqrt 2 + 1) / 2 of it


def test_members_do_not_depend_on_their_neighbours() -> None:
    behaviours, archive = drawn(30, 3, 0), drawn(100, 3, 1)
    found = novelty(behaviours, archive)
    np.testing.assert_array_equal(novelty(behaviours[::-1], archive), found[::-1])  # and arrays need not be contiguous
    np.testing.assert_array_equal(np.concatenate([novelty(b[np.newaxis], archive) for b in behaviours]), found)
    np.testing.assert_array_equal(novelty(behaviours, archive[::-1]), found)
    np.testing.assert_array_equal(novelty(np.asfortranarray(behaviours), np.asfortranarray(archive)), found)


def test_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="must be at least 1, not 0"):
        novelty(f32([0]), f32([0]), k=0)
    with pytest.raises(ValueError, match="the archive holds behaviours of 2 numbers, not 1"):
        novelty(f32([0]), f32([0, 0]))
    with pytest.raises(ValueError, match=r"behaviours must be a float32 matrix, not float64 of shape \(1, 1\)"):
        novelty(np.zeros((1, 1)), f32([0]))
    with pytest.raises(ValueError, match=r"archive must be a float32 matrix, not float32 of shape \(1,\)"):
        novelty(f32([0]), f32(0))


def digest() -> str:
    """Digest of novelties in archives of several widths."""
    found = hashlib.sha256()
    for width in (1, 2, 5, 33):
        found.update(novelty(drawn(50, width, 0), drawn(1000, width, 1), 10).tobytes())
    return found.hexdigest()[:16]


def test_digest() -> None:
    assert digest() == DIGEST


@pytest.mark.timeout(120)
def test_digest_without_vector_instructions(tmp_path: Path) -> None:
    """Compiled afresh for the plainest processor that LLVM knows, without fused instructions."""
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", "import test_novelty; print(test_novelty.digest())"],
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
        env=os.environ | plain | {"PYTHONPATH": path},
    )
    assert done.stdout.strip() == DIGEST
    assert list(tmp_path.rglob("nearest._whole*.nbi"))


def test_numba_waits_until_it_is_needed() -> None:
    script = "import sys, fastes.archive; print('numba' in sys.modules, 'scipy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


def test_nowhere_to_keep_the_code() -> None:
    """What cannot be cached is compiled all the same; other failures are not hidden."""
    made: dict[str, Any] = {}
    exec(compile("def triple(x):\n    return 3.0 * x\n", "/nonexistent/kernel.py", "exec"), made)
    triple: Any = nearest._compiled("float64(float64)")(made["triple"])
    assert triple(2.0) == 6.0
    assert triple.stats.cache_path is None
    with pytest.raises(Exception, match="No implementation of function"):
        nearest._compiled("float64(unicode_type)")(made["triple"])
