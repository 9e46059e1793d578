"""A run's directory: what is written while it runs, and how a run is found again after it stopped.

config.toml    the run as resolved          journal.bin    fitness of every generation
checkpoints/   states, the first one kept   metrics.csv, TensorBoard events    from the reporters
policy.safetensors, policy.json, result.json    at the end
"""

from __future__ import annotations

import contextlib
import glob
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from fastes import checkpoint, journal
from fastes.algorithms import Algorithm, State
from fastes.errors import StorageError
from fastes.journal import DamagedJournalError, JournalWriter, Record
from fastes.messages import Evaluations
from fastes.storage import InUseError, lock_folder, unlock_folder, write_text

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Progress:
    """A state with what it took to get there: evaluations and environment steps so far, and seconds of work."""

    state: State
    evaluations: int = 0
    steps: int = 0
    seconds: float = 0.0

    def after(self, state: State, evaluations: Evaluations, seconds: float) -> Progress:
        """Progress after one more generation."""
        return Progress(
            state,
            self.evaluations + len(evaluations.fitness),
            self.steps + int(evaluations.steps.sum()),
            self.seconds + seconds,
        )


def holds_run(path: Path) -> bool:
    """Whether a run was started in this directory; where we may not look it was not."""
    checkpoints = glob.glob("checkpoints/generation-*.safetensors", root_dir=path)
    return bool(glob.glob("journal.bin", root_dir=path) or checkpoints)


class RunDirectory:
    """An open run, this process's alone: appends to its journal and saves its checkpoints."""

    def __init__(
        self, path: Path, lock: int, writer: JournalWriter, base_generation: int, saved: int, keep: int
    ) -> None:
        """Use `create` or `resume`."""
        self.path = path
        self._lock = lock
        self._writer = writer
        self._pinned = (0, base_generation)  # a journal replays from its base, so that checkpoint is never pruned
        self._saved = saved
        self._keep = keep

    @classmethod
    def create(
        cls, wanted: Path, config: dict[str, Any], header: dict[str, Any], state: State, keep: int
    ) -> RunDirectory:
        """Starts a run in `wanted`, or with -2, -3, ... behind it the first that neither holds a run nor is in use.

        Raises StorageError if that cannot be written.
        """
        for path in itertools.chain([wanted], (wanted.with_name(f"{wanted.name}-{i}") for i in itertools.count(2))):
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"the output directory {path} cannot be made: {error.strerror}. Choose another with "
                    "output.dir, or make its parent writable."
                ) from error
            with contextlib.suppress(InUseError):
                lock = lock_folder(path)
                if not holds_run(path):
                    break
                unlock_folder(lock)
        with _released_on_error(lock):
            _write_config(path, config)
            checkpoint.save(path, _checkpoint(Progress(state)), keep=keep)
            return cls(path, lock, _new_journal(path, header, state), state.generation, state.generation, keep)

    @classmethod
    def resume(
        cls,
        path: Path,
        algorithm: Algorithm,
        config: dict[str, Any],
        header: dict[str, Any],
        keep: int,
        report: Report,
    ) -> tuple[RunDirectory, Progress]:
        """Finds the last good state: the newest whole checkpoint, and the journal's generations after it.

        Damaged files are put aside and reported. Raises StorageError if another process runs it, no checkpoint is
        whole, or the journal does not lead from it to the states that it names.
        """
        lock = lock_folder(path)  # before anything is repaired: what looks torn may be being written
        with _released_on_error(lock):
            found = checkpoint.load_newest(path, report=report)
            if found is None:
                raise StorageError(
                    f"{path} holds no whole checkpoint to resume from. Start the run anew in another directory."
                )
            progress = _progress(found, algorithm)
            log = _read_journal(path, report)
            if log is not None:
                _check_header(path, log.header, header)
                base, last = _span(log)
                fits = base <= found.generation <= last
                if fits and (algorithm.replays or found.generation == last):
                    for record in log.records:
                        if record.generation > progress.state.generation:
                            progress = replayed(progress, record, algorithm)
                    _write_config(path, config)  # more generations, perhaps
                    writer = JournalWriter.append_to(path / "journal.bin")
                    return cls(path, lock, writer, base, found.generation, keep), progress
                _put_aside(path / "journal.bin")
                report(
                    f"{type(algorithm).__name__} cannot go on from the journal ({_reason(algorithm)}): generations "
                    f"{found.generation + 1} to {last} are trained again, and a new journal starts there."
                    if fits
                    else f"the journal leads from generation {base} to {last}, past or not as far as checkpoint "
                    f"{found.generation}; a new one starts there."
                )
            _write_config(path, config)
            writer = _new_journal(path, header, progress.state)
            return cls(path, lock, writer, found.generation, found.generation, keep), progress

    def append(self, state: State, evaluations: Evaluations, *, behaviours: bool = False) -> None:
        """Writes one generation to the journal, onto the disk. behaviours: whether the state depends on them. Raises
        StorageError.
        """
        told = evaluations
        shown = told.behaviours if behaviours else None
        self._writer.append(Record(state.generation, state.digest(), told.fitness, told.steps, told.moments, shown))

    def save(self, progress: Progress) -> None:
        """Saves a checkpoint, unless this one is the last saved. Raises StorageError, with earlier ones intact."""
        if progress.state.generation != self._saved:
            checkpoint.save(self.path, _checkpoint(progress), keep=self._keep, pinned=self._pinned)
            self._saved = progress.state.generation

    def close(self) -> None:
        """Closes the journal and lets others have the directory."""
        self._writer.close()
        unlock_folder(self._lock)


def replayed(progress: Progress, record: Record, algorithm: Algorithm) -> Progress:
    """Progress after one generation of the journal, made again from its fitness.

    Raises StorageError if the state is not the one that the journal names.
    """
    evaluations = Evaluations(
        record.generation - 1, record.fitness, record.steps, record.moments, behaviours=record.behaviours
    )
    state, _ = algorithm.tell(progress.state, evaluations)
    if state.digest() != record.digest:
        raise StorageError(
            f"generation {record.generation} does not replay: its state has digest {state.digest()}, the journal says "
            f"{record.digest}. The algorithm's settings, or the version of fastes, are not those of the run."
        )
    return progress.after(state, evaluations, 0.0)


def replay(path: Path, algorithm: Algorithm, generation: int | None, report: Report) -> State:
    """The state after `generation` generations (None: the last), made again from a journal's fitness alone.

    path: of the journal; its base checkpoint lies in `checkpoints` beside it.

    Raises StorageError if the journal or the checkpoint is damaged before that generation, or they do not fit, or if
    the algorithm's states do not follow from fitness.
    """
    for state, _ in replayed_states(path, algorithm, generation, report):
        last = state
    return last


def replayed_states(
    path: Path, algorithm: Algorithm, generation: int | None, report: Report
) -> Iterator[tuple[State, Record | None]]:
    """Every state from the journal's base to that of `replay`, each with the record of the generation that comes next,
    None if the journal has no more. Raises as `replay`, when the first is asked for or where one does not follow.
    """
    if not algorithm.replays:
        raise StorageError(
            f"a run of {type(algorithm).__name__} cannot be made again from the fitness in {path}: "
            f"{_reason(algorithm)}. They are in {path.parent / 'checkpoints'}."
        )
    log = journal.read(path)
    if log.damage is not None:
        report(log.damage)
    base, last = _span(log)
    wanted = last if generation is None else generation
    if not base <= wanted <= last:
        raise StorageError(f"{path} holds the generations {base} to {last}, not {wanted}.")
    start = checkpoint.load(path.parent / "checkpoints" / f"generation-{base:08d}.safetensors")
    progress = _progress(start, algorithm)
    if progress.state.digest() != log.header["base_digest"]:
        raise StorageError(f"the checkpoint of generation {base} beside {path} is not the one that it starts from.")
    for record in log.records:
        yield progress.state, record
        if record.generation > wanted:
            return
        progress = replayed(progress, record, algorithm)
    yield progress.state, None


def kept_states(directory: Path, algorithm: Algorithm) -> Iterator[tuple[State, Record | None]]:
    """The states of a run's checkpoints, from the first one on, each with the record of the generation that comes next
    where the journal has it. Raises StorageError if one cannot be read.
    """
    log = journal.read(directory / "journal.bin")
    records = {record.generation: record for record in log.records}
    for path in sorted((directory / "checkpoints").glob("generation-*.safetensors")):
        state = _progress(checkpoint.load(path), algorithm).state
        yield state, records.get(state.generation + 1)


def _reason(algorithm: Algorithm) -> str:
    """Why its states do not follow from a journal."""
    if algorithm.optimizer is not None and not algorithm.optimizer.replays:
        return "its states follow from steps of PyTorch's optimizers, which depend on the processor"
    return "its states follow from every step that was taken"


@contextlib.contextmanager
def _released_on_error(lock: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        unlock_folder(lock)
        raise


def _write_config(path: Path, config: dict[str, Any]) -> None:
    """Writes `config.toml`, naming the directory that the run really has; an earlier end's result goes."""
    if "output" in config:
        config = config | {"output": config["output"] | {"dir": str(path)}}
    write_text(path / "config.toml", tomli_w.dumps(config))
    (path / "result.json").unlink(missing_ok=True)


def _checkpoint(progress: Progress) -> checkpoint.Checkpoint:
    counts = {k: v for k, v in asdict(replace(progress, state=None)).items() if k != "state"}  # type: ignore[arg-type]
    meta = {"state": progress.state.scalars(), "progress": counts}
    return checkpoint.Checkpoint(progress.state.generation, progress.state.arrays(), meta)


def _progress(found: checkpoint.Checkpoint, algorithm: Algorithm) -> Progress:
    return Progress(algorithm.restore(found.arrays, found.meta["state"]), **found.meta["progress"])


def _new_journal(path: Path, header: dict[str, Any], state: State) -> JournalWriter:
    base = {"base_generation": state.generation, "base_digest": state.digest()}
    return JournalWriter.create(path / "journal.bin", header | base)


def _read_journal(path: Path, report: Report) -> journal.Journal | None:
    """The journal's whole records, damage cut off; None if there is none or its header is gone."""
    file = path / "journal.bin"
    if not file.exists():
        return None
    try:
        return journal.repair(file, report)
    except DamagedJournalError as error:
        report(str(error))
        _put_aside(file)
        return None


def _span(log: journal.Journal) -> tuple[int, int]:
    """The generation that a journal starts from, and the last that it leads to."""
    base = int(log.header["base_generation"])
    return base, log.records[-1].generation if log.records else base


def _put_aside(file: Path) -> None:
    names = (file.with_name(f"{file.name}.before-{i}") for i in itertools.count(1))
    try:
        file.rename(next(name for name in names if not name.exists()))
    except OSError as error:
        raise StorageError(f"{file} cannot be put aside: {error.strerror}. Make its directory writable.") from error


def _check_header(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        if key != "version" and key in found and found[key] != value:
            raise StorageError(
                f"the run in {path} has {key} = {found[key]}, but this one has {key} = {value}. "
                "Resume with the configuration that it was started with, or start a new run."
            )
