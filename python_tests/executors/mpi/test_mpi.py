"""Jobs under mpirun: the same digests on any number of ranks, and whatever happens to a rank, no job hangs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import specimens
from conformance.ways import undisturbed
from specimens import changed, write_config

from fastes.errors import ExecutorError
from fastes.executors.mpi import Mpi
from fastes.executors.mpi.sync import Costs
from fastes.executors.mpi.world import world

HERE = Path(__file__).parent
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
SETTINGS = {
    "PYTHONPATH": str(HERE.parent.parent),
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "OMPI_MCA_osc": "^ucx",  # it complains where there is no such network
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
ONE_NODE = {"OMPI_MCA_btl": "self,sm"}  # it would look for networks, for a second
PATIENCE_S = 100

Job = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """Starts `mpirun -np RANKS python ARGUMENTS`; afterwards none of its processes may be left."""
    pytest.importorskip("mpi4py")
    if MPIRUN is None:
        pytest.skip("there is no mpirun")
    started: list[subprocess.Popen[str]] = []
    shared_before = segments()

    def start(ranks: int, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [MPIRUN, "-np", str(ranks), sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | SETTINGS | ONE_NODE | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            for each in [*psutil.Process(process.pid).children(recursive=True), process]:
                each.kill()
            process.communicate()
    _, left = psutil.wait_procs(ranks_of(tmp_path), timeout=10)  # mpirun does not wait for whom it kills
    assert left == []
    assert segments() - shared_before == set()


def segments() -> set[str]:
    """Shared memory of MPI jobs on this machine."""
    return {path.name for path in Path("/dev/shm").glob("*sm_segment*")}


def ranks_of(directory: Path) -> list[psutil.Process]:
    """Processes that work in a directory, as all of a job do, wherever their parents have gone."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def test_the_same_on_any_number_of_ranks(job: Job, tmp_path: Path) -> None:
    """The conformance suite, and digests: of runs that carry all there is to carry, and of every kind of update."""
    status, out, err = finished(job(4, HERE / "on_ranks.py", "found.json"))
    assert status == 0, out + err
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["suite"] == {"1 rank": 0, "4 ranks on 2 nodes": 0}, out
    assert found["nodes"] == {"1 rank": 1, "2 ranks": 1, "4 ranks": 1, "4 ranks on 2 nodes": 2}
    sys.path.insert(0, str(HERE))
    try:
        from digest_cases import CASES, RESUMED, UPDATES
    finally:
        sys.path.remove(str(HERE))
    assert found["digests"] == {name: undisturbed(tables) for name, tables in CASES.items()}
    check_choices(found["choices"])
    expected = {name: undisturbed(tables) for name, tables in UPDATES.items()}
    for digests in found["updates"].values():
        for sync in ("broadcast", "sharded"):
            assert {name: digests[f"{sync}, {name}"] for name in UPDATES} == expected
        assert [digests[f"resumed, {name}"] for name in RESUMED] == [expected[name] for name in RESUMED]


def check_choices(found: dict[str, tuple[int, list[str]]]) -> None:
    """Who took the five updates of a run; trials are of five updates with few rows and five with many."""
    updates = {choice: steps for choice, (steps, _) in found.items()}
    assert updates.pop("auto") in (10, 15)
    assert updates == {"broadcast": 0, "sharded": 5, "rank 0 is faster": 0, "all ranks are faster": 5}
    told = {choice: [text for text in messages if "theta" in text] for choice, (_, messages) in found.items()}
    assert told["broadcast"] == told["sharded"] == []
    assert told["rank 0 is faster"] == [Costs(1.0, 2.0).remark()]
    assert told["all ranks are faster"] == [Costs(2.0, 1.0).remark()]
    (remark,) = told["auto"]
    assert remark.startswith("MPI: all ranks update theta" if found["auto"][0] == 15 else "MPI: rank 0 updates theta")


def test_an_environment_that_fails(job: Job, tmp_path: Path) -> None:
    """One paragraph and status 2, as everywhere."""
    tables = changed(specimens.CARTPOLE, problem={"env": "specimens:Chain", "env_args": {"raise_in": "step"}})
    write_config(tmp_path / "run.toml", tables)
    status, _, err = finished(job(2, "-m", "fastes.cli", "train", "run.toml", "--executor", "mpi"))
    told = [line for line in err.splitlines() if line.startswith("fastes: ")]
    assert status == 2
    assert len(told) == 1
    assert "no mass" in told[0]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "failed"


def test_a_grid(job: Job, tmp_path: Path) -> None:
    """All ranks go from run to run, past those that fail, and end together."""
    given = changed(specimens.SPHERE, generations=2, problem={"function": ["specimens:sphere", "specimens:nowhere"]})
    del given["output"]["dir"]
    write_config(tmp_path / "g.toml", given | {"seed": [1, 2], "executor": {"kind": "mpi"}})
    status, out, err = finished(job(2, "-m", "fastes.cli", "grid", "g.toml"))
    assert status == 1, out + err
    assert [json.loads(path.read_text())["digest"] for path in sorted(tmp_path.glob("runs/g/*/result.json"))] == [
        undisturbed(changed(specimens.SPHERE, generations=2) | {"seed": seed}) for seed in (1, 2)
    ]
    assert out.count(": failed: ") == 2
    assert "MPI: 2 ranks on 1 node" in out
    assert "Traceback" not in out + err


@pytest.mark.parametrize(("ranks", "number"), [("1", signal.SIGKILL), ("", signal.SIGINT), ("01", signal.SIGTERM)])
def test_a_signal_in_a_generation(job: Job, tmp_path: Path, ranks: str, number: signal.Signals) -> None:
    """To some ranks, or as Ctrl-C to mpirun. All told to stop, as by a batch system, finish their generation."""
    write_config(tmp_path / "run.toml", changed(specimens.SPHERE, problem={"function": "specimens:gated_sphere"}))
    gate = tmp_path / "gate"
    command = ("-m", "fastes.cli", "train", "run.toml", "--executor", "mpi")
    process = job(2, *command, GATE=str(gate), GATE_CALL="9")
    deadline = time.monotonic() + PATIENCE_S
    while not gate.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    victims = [p for p in ranks_of(tmp_path) if p.environ().get("OMPI_COMM_WORLD_RANK", "mpirun") in ranks]
    assert len(victims) == len(ranks)
    for victim in victims or [process]:
        victim.send_signal(number)
    if number == signal.SIGTERM:
        gate.unlink()
    status, out, err = finished(process)
    assert status != 0
    if number == signal.SIGTERM:
        assert "Stopping after this generation" in err
        assert "interrupted after" in out
        assert status == 130


@pytest.mark.parametrize(
    ("how", "messages"),
    [
        ("bug_on_rank_1", ["rank 1 ends the job", "KeyError: 'a bug'"]),
        ("another_policy", ["ExecutorError: rank 1 has made another policy"]),
        ("two_runs", ["rank 0 goes on", "one run for each mpirun"]),
    ],
)
def test_what_a_rank_should_not_do(job: Job, how: str, messages: list[str]) -> None:
    status, out, err = finished(job(2, HERE / "misbehaves.py", how))
    assert status == 1
    for message in messages:
        assert message in out + err
    assert "rank 1 goes on" not in out


@pytest.fixture
def no_world() -> Iterator[None]:
    world.cache_clear()
    yield
    world.cache_clear()


class NoLibrary:
    """mpi4py where there is no libmpi."""

    rc = type("rc", (), {})()

    def __init__(self, error: Exception) -> None:
        self.__path__: list[str] = []
        self._error = error

    def __getattr__(self, name: str) -> Any:
        if name == "MPI":
            raise self._error
        raise AttributeError(name)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, r"needs mpi4py.*pip install 'fastes\[mpi\]'"),
        (NoLibrary(RuntimeError("cannot load MPI library\nlibmpi.so: no")), "no MPI library: cannot load MPI library"),
        (NoLibrary(ImportError("libmpi.so.12: no such file")), r"cannot be loaded: libmpi.so.12: no such file"),
    ],
)
@pytest.mark.usefixtures("no_world")
def test_without_mpi(monkeypatch: pytest.MonkeyPatch, module: Any, message: str) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", module)
    with pytest.raises(ExecutorError, match=message):
        Mpi().create()


def test_alone(job: Job, tmp_path: Path, start_fastes: Any) -> None:
    """Without mpirun there is one rank, and nothing of it stays in shared memory."""
    write_config(tmp_path / "run.toml", changed(specimens.SPHERE, executor={"kind": "mpi"}))
    out, err = start_fastes("train", "run.toml", **SETTINGS).communicate(timeout=PATIENCE_S)
    assert err == ""
    assert undisturbed(specimens.SPHERE) in out


def test_mpi_is_loaded_only_when_it_is_needed() -> None:
    code = "import sys, fastes.executors, fastes.executors.mpi; print('mpi4py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
