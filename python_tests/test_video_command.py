"""`fastes evaluate --video` through the console script: the first episode of those that are evaluated."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from run_folders import fastes
from specimens import CARTPOLE, changed, run


def test_an_episode_of_a_gym_environment(tmp_path: Path) -> None:
    for package in ("imageio", "imageio_ffmpeg", "pygame"):
        pytest.importorskip(package)
    import imageio.v2

    run(changed(CARTPOLE, generations=1, output={"dir": str(tmp_path / "run")}))
    done = fastes("evaluate", "run", "--episodes", 1, "--video", "films/cart.mp4", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    told = re.match(r"films/cart\.mp4: (\d+) frames, returns (\d+)\n1 episode: mean (\d+)\n", done.stdout)
    assert told is not None, done.stdout
    frames, shown, evaluated = map(int, told.groups())
    assert frames == shown + 1  # the first observation's, and one after each step, whose reward is 1
    assert shown == evaluated
    with imageio.v2.get_reader(tmp_path / "films" / "cart.mp4") as film:
        assert film.count_frames() == frames
        picture = np.asarray(film.get_data(0))
        moved = np.asarray(film.get_data(frames - 1))
    assert picture.shape == (400, 600, 3)
    dark = (picture < 60).all(axis=2)
    assert 500 < dark.sum() < 20_000  # the cart and its track on a white ground
    assert (picture > 230).all(axis=2).mean() > 0.9
    assert np.abs(picture.astype(int) - moved.astype(int)).max() > 100
