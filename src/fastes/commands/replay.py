"""`fastes replay JOURNAL`: the parameters of a run made again from fitness alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fastes.errors import StorageError

HELP = "Make the parameters of a run again from its journal, to the bit."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("journal", type=Path, metavar="JOURNAL", help="the run's journal.bin, or the run's directory")
    parser.add_argument("--generation", type=int, metavar="G", help="after this many generations (default: all)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write theta there as safetensors")


def run(options: argparse.Namespace) -> None:
    """Replays, and prints the digest."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    from fastes import config
    from fastes.run_directory import replay

    if options.journal.is_dir():
        options.journal /= "journal.bin"
    directory = options.journal.parent
    algorithm = config.algorithm(config.read_tables(directory / "config.toml"))
    state = replay(options.journal, algorithm, options.generation, lambda text: print(text, file=sys.stderr))
    if options.out is not None:
        try:
            save_file({"theta": state.theta}, options.out)
        except (OSError, SafetensorError) as error:
            raise StorageError(f"theta cannot be written to {options.out}: {error}. Choose another file.") from error
    print(f"generation {state.generation}: digest {state.digest()}")
