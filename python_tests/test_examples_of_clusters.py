"""examples/slurm and examples/systemd: as far as they can be checked without either."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
BATCH = sorted((EXAMPLES / "slurm").glob("*.sbatch"))
FAKE_SRUN = """#!/bin/bash
printf '%s\\n' "$@" > "$TOLD.$(ls "$TOLD".* 2>/dev/null | wc -l)"
exit "$(sed -n "$(ls "$TOLD".* | wc -l)p" "$STATUSES")"
"""


@pytest.mark.parametrize("script", BATCH, ids=lambda path: path.stem)
def test_scripts_are_bash(script: Path) -> None:
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("statuses", "wanted"), [([0], 0), ([1], 1), ([2, 2, 0], 0), ([143], 143)])
def test_workers_of_a_batch_system(statuses: list[int], wanted: int, tmp_path: Path) -> None:
    """They read the line of the coordinator again when it is gone, and end as the worker does."""
    run = tmp_path / "a run"
    run.mkdir()
    (run / "connection.txt").write_text("python -m fastes.worker node0:5555 --token-file '/a b/token' --allow mine\n")
    (tmp_path / "statuses").write_text("".join(f"{status}\n" for status in statuses))
    for name, text in {"srun": FAKE_SRUN, "sleep": "#!/bin/bash\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", EXAMPLES / "slurm" / "workers.sbatch", run],
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "SLURM_CPUS_PER_TASK": "16",
            "TOLD": str(tmp_path / "told"),
            "STATUSES": str(tmp_path / "statuses"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (wanted, "")
    told = sorted(tmp_path.glob("told.*"))
    assert len(told) == len(statuses)
    command = ["python", "-m", "fastes.worker", "node0:5555", "--token-file", "/a b/token", "--allow", "mine"]
    ours = ["--procs", "16", "--retry-for", "300"]
    assert all(path.read_text().splitlines() == ["--cpus-per-task=16", *command, *ours] for path in told)


def test_workers_of_a_batch_system_give_up(tmp_path: Path) -> None:
    """Where no run ever begins."""
    (tmp_path / "sleep").write_text("#!/bin/bash\n")
    (tmp_path / "sleep").chmod(0o755)
    done = subprocess.run(
        ["bash", EXAMPLES / "slurm" / "workers.sbatch", tmp_path],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CPUS_PER_TASK": "16"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "there is no" in done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit(tmp_path: Path) -> None:
    text = (EXAMPLES / "systemd" / "fastes-worker.service").read_text(encoding="utf-8")
    unit = tmp_path / "fastes-worker.service"

    def verified(text: str) -> tuple[int, str]:
        unit.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", unit],
            env={"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stderr

    there = text.replace("%h/.venv/bin/python", sys.executable)
    assert verified(there) == (0, "")
    assert "restart specifier" in verified(there.replace("Restart=always", "Restart=often"))[1]  # it does look
