"""Runs over links of limited speed: network namespaces, the coordinator's cable slowed by `tc`. Needs root."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from on_network.costs import Seen, null_workers, observed

sys.path.insert(0, str(Path(__file__).parents[2] / "python_tests"))


def limited(run: dict[str, Any], nodes: int, bytes_per_s: float) -> Seen:
    """The run with so many nodes, each on a host of its own, behind the coordinator's one cable."""
    from conformance.namespaces import Namespaces

    with Namespaces(workers=nodes) as network:
        address = network.coordinator.address
        run = run | {"executor": run["executor"] | {"listen": f"{address}:0"}}
        network.coordinator.limit(bytes_per_s=bytes_per_s)
        hosts = [host.command for host in network.workers]
        commands = [command for _ in range(nodes) for command in null_workers(1)]
        return observed(run, commands, network.coordinator.command, hosts)
