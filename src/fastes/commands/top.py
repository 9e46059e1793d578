"""`fastes top HOST:PORT`: a run with workers on other machines, as it goes on."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "Show how a run with workers on other machines goes on."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("address", metavar="HOST:PORT", help="of the coordinator")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="the shared secret (else FASTES_TOKEN)")
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="TLS: the certificate to trust, PEM")
    parser.add_argument("--once", action="store_true", help="print it once, as is done where there is no terminal")


def run(options: argparse.Namespace) -> int:
    """Shows it. 0 when the run is done, 1 if it failed, 130 after Ctrl-C."""
    from fastes import top

    return top.run(options)
