"""`fastes worker HOST:PORT`, which is `python -m fastes.worker HOST:PORT`."""

from __future__ import annotations

import argparse

from fastes import worker

HELP = "Evaluate members for a coordinator on another machine."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    worker.parser(parser)


run = worker.run
