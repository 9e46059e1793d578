"""Ways to come to the end of a run, all of which have to give the same digest: `WAYS` is the one list of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conformance.faults import harmed
from conformance.processes import Processes
from conformance.tcp_run import TcpRun
from specimens import Recorder, Tables, changed, run

from fastes import config, kernels
from fastes.run_directory import replay

Way = Callable[[Tables, Path], str]
"""From the tables of a run and an empty directory to the digest at its end."""


def undisturbed(tables: Tables) -> str:
    """The digest of a run in one process with one thread, nothing written."""
    with_threads = kernels.num_threads()
    kernels.set_num_threads(1)
    try:
        tables = changed(tables)
        tables.pop("output", None)
        return run(tables).digest
    finally:
        kernels.set_num_threads(with_threads)


def on_executor(**executor: str | int) -> Way:
    return lambda tables, directory: run(at(tables, directory, executor=executor)).digest


def on_threads(threads: int) -> Way:
    def way(tables: Tables, directory: Path) -> str:
        before = kernels.num_threads()
        kernels.set_num_threads(threads)
        try:
            return run(at(tables, directory)).digest
        finally:
            kernels.set_num_threads(before)

    return way


def on_isa(isa: str) -> Way:
    def way(tables: Tables, directory: Path) -> str:
        info = kernels.info()
        if isa not in info["isas_usable"]:
            pytest.skip(f"this processor has no {isa}")
        kernels.select_isa(isa)
        try:
            assert kernels.info()["isa"] == isa
            return run(at(tables, directory)).digest
        finally:
            kernels.select_isa(info["isa"])

    return way


def interrupted(number: signal.Signals, executor: str) -> Way:
    """The signal comes in the middle of every second session, until the run is done."""

    def way(tables: Tables, directory: Path) -> str:
        tables = at(tables, directory, executor={"kind": executor})
        for generation in (1, 2, tables["generations"] - 1):
            recorder = Recorder(generation, lambda: signal.raise_signal(number))
            result = run(tables, reporters=[recorder], resume=directory / "run")
            assert (result.status, result.state.generation) == ("interrupted", generation)
        result = run(tables, resume=directory / "run")
        assert result.status == "finished"
        return result.digest

    return way


def killed_between_checkpoints(tables: Tables, directory: Path) -> str:
    """The process ends with the journal written and the checkpoint not; the journal leads on from an older one."""
    tables = at(tables, directory, output={"checkpoint_every": 100})

    class PowerCutError(BaseException):
        pass

    def power_cut() -> None:
        raise PowerCutError

    with pytest.raises(PowerCutError):
        run(tables, reporters=[Recorder(3, power_cut)])
    assert [path.name for path in (directory / "run" / "checkpoints").iterdir()] == ["generation-00000000.safetensors"]
    recorder = Recorder()
    result = run(tables, resume=directory / "run", reporters=[recorder])
    assert recorder.reports[0].generation == 4
    return result.digest


def damaged(*damage: Callable[[Path], None]) -> Way:
    """Three generations, then damage to the run's directory, then on to the end."""

    def way(tables: Tables, directory: Path) -> str:
        tables = at(tables, directory, output={"checkpoint_every": 1, "keep": 2})
        run(changed(tables, generations=3))
        for harm in damage:
            harm(directory / "run")
        recorder = Recorder()
        result = run(tables, resume=directory / "run", reporters=[recorder])
        assert len(recorder.messages) >= 1
        assert recorder.reports[-1].generation == tables["generations"]
        return result.digest

    return way


def flip_bit_of_newest_checkpoint(run_directory: Path, newest: int = 1) -> None:
    path = sorted((run_directory / "checkpoints").glob("*.safetensors"))[-newest]
    data = bytearray(path.read_bytes())
    data[-3] ^= 16
    path.write_bytes(data)


def flip_bit_of_second_newest(run_directory: Path) -> None:
    flip_bit_of_newest_checkpoint(run_directory, 2)


def cut_newest_checkpoint(run_directory: Path) -> None:
    path = max((run_directory / "checkpoints").glob("*.safetensors"))
    os.truncate(path, path.stat().st_size // 2)


def cut_journal(run_directory: Path) -> None:
    path = run_directory / "journal.bin"
    os.truncate(path, path.stat().st_size - 5)


def flip_bit_of_journal_header(run_directory: Path) -> None:
    path = run_directory / "journal.bin"
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)


def delete_journal(run_directory: Path) -> None:
    (run_directory / "journal.bin").unlink()


def damaged_twice(tables: Tables, directory: Path) -> str:
    """The journal is lost; after the run went on with a new one, so is the checkpoint that this one starts from."""
    tables = at(tables, directory, output={"checkpoint_every": 1, "keep": 2})
    run(changed(tables, generations=2))
    delete_journal(directory / "run")
    run(changed(tables, generations=3), resume=directory / "run")
    for generation in (2, 3):
        os.truncate(directory / "run" / "checkpoints" / f"generation-{generation:08d}.safetensors", 100)
    result = run(tables, resume=directory / "run")
    assert result.status == "finished"
    return result.digest


def replayed(tables: Tables, directory: Path) -> str:
    run(at(tables, directory, executor={"kind": "local", "workers": 2}))
    algorithm = config.algorithm(config.read_tables(directory / "run" / "config.toml"))
    notes: list[str] = []
    digest = replay(directory / "run" / "journal.bin", algorithm, None, notes.append).digest()
    assert notes == []
    return digest


def over_tcp(workers: int, procs: int = 1, **executor: object) -> Way:
    """A coordinator and workers that nobody disturbs; all of them are told of the end."""

    def way(tables: Tables, directory: Path) -> str:
        with Processes(directory) as processes:
            tcp = TcpRun(processes, tables, directory, min_workers=workers, **executor)
            tcp.coordinate()
            for _ in range(workers):
                tcp.worker(procs=procs)
            digest = tcp.digest()
            assert [worker.wait() for worker in tcp.workers] == [0] * workers, tcp.told()
        return digest

    return way


def over_tcp_with(kind: str, *, seed: int, most: int, **settings: object) -> Way:
    """The same with harm of a kind, see `faults.harmed`; at most so often, and at least once."""

    def way(tables: Tables, directory: Path) -> str:
        ended = harmed(tables, directory, kind, seed, most=most, **settings)
        assert ended.faults.total() >= 1
        return ended.digest

    return way


WAYS: dict[str, Way] = {
    "inline": on_executor(kind="inline"),
    "local, 1 process": on_executor(kind="local", workers=1),
    "local, 2 processes": on_executor(kind="local", workers=2),
    "local, 3 processes": on_executor(kind="local", workers=3),
    "local, spawned": on_executor(kind="local", workers=2, start_method="spawn"),
    "1 thread": on_threads(1),
    "2 threads": on_threads(2),
    "7 threads": on_threads(7),
    "scalar": on_isa("scalar"),
    "avx2": on_isa("avx2"),
    "avx512": on_isa("avx512"),
    "avx512vbmi": on_isa("avx512vbmi"),
    "neon": on_isa("neon"),
    "interrupted": interrupted(signal.SIGINT, "inline"),
    "terminated, local": interrupted(signal.SIGTERM, "local"),
    "killed between checkpoints": killed_between_checkpoints,
    "checkpoint with a flipped bit": damaged(flip_bit_of_newest_checkpoint),
    "checkpoint and journal cut off": damaged(cut_newest_checkpoint, cut_journal),
    "two checkpoints with flipped bits": damaged(flip_bit_of_newest_checkpoint, flip_bit_of_second_newest),
    "journal cut off": damaged(cut_journal),
    "journal without a header": damaged(flip_bit_of_journal_header),
    "damaged twice": damaged_twice,
    "replayed": replayed,
    "tcp, 1 worker": over_tcp(1, procs=2),
    "tcp, 3 workers": over_tcp(3),
    "tcp, 8 workers": over_tcp(8),
    "tcp, replay": over_tcp(2, sync="replay"),
    "tcp, broadcast": over_tcp(2, sync="broadcast"),
    "tcp, kills": over_tcp_with("kills", seed=1, most=5),
    "tcp, killed children": over_tcp_with("killed children", seed=2, most=5),
    "tcp, stops": over_tcp_with("stops", seed=3, most=3, workers=3),
    "tcp, drains": over_tcp_with("drains", seed=4, most=4),
    "tcp, late joiners": over_tcp_with("late joiners", seed=5, most=3, workers=1),
    "tcp, slow links": over_tcp_with("slow links", seed=6, most=5, sync="broadcast"),
    "tcp, broken links": over_tcp_with("broken links", seed=7, most=5),
    "tcp, broken links, broadcast": over_tcp_with("broken links", seed=8, most=5, sync="broadcast"),
    "tcp, half-open link": over_tcp_with("half-open links", seed=9, most=1, workers=1),
    "tcp, coordinator killed twice": over_tcp_with("coordinator killed", seed=10, most=2),
    "tcp, coordinator killed, broadcast": over_tcp_with("coordinator killed", seed=11, most=2, sync="broadcast"),
    "tcp, coordinator interrupted": over_tcp_with("coordinator interrupted", seed=12, most=2),
    "tcp, everything": over_tcp_with("everything", seed=15, most=8, workers=3),
}


def at(tables: Tables, directory: Path, **changes: object) -> Tables:
    """The tables with their output in `directory`."""
    here = changed(tables, output={"dir": str(directory / "run")})
    if "executor" in changes:
        here["executor"] = changes.pop("executor")
    return changed(here, **changes)
