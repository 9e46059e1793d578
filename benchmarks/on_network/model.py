"""A generation over many nodes, simulated: who waits for what, and which resource is busy most of the time.

The coordinator is one processor that handles leases, results and commits one after the other, and one link in each
direction. A node has `processes` that evaluate, holds two leases for each, and makes its update with all of them. All
times come from `Constants`, which are measured or stated.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass, replace

RESULT_BYTES = 52  # and 8 for each member
LEASE_BYTES = 41
COMMIT_BYTES = 78
SNAPSHOT_BYTES = 400


@dataclass(frozen=True, slots=True)
class Constants:
    """unit_s: of the coordinator's processor for a unit, its result and its lease; commit_s, commit_byte_s: for a
    commit to one node, and each of its bytes; row_s: for a member at the end of a generation; round_trip_s: of the
    network; link: bytes a second of the coordinator's, each way; noise: elements that one processor sums a second;
    made: that it makes for perturbed parameters; step_s, parameter_s: for one environment step of one member, and each
    parameter.
    """

    unit_s: float
    commit_s: float
    commit_byte_s: float
    row_s: float
    round_trip_s: float
    link: float
    noise: float
    made: float
    step_s: float
    parameter_s: float


@dataclass(frozen=True, slots=True)
class Cluster:
    """nodes: connections; processes: that evaluate on each; coordinator_cores: that make its update."""

    nodes: int
    processes: int = 1
    coordinator_cores: int = 1


@dataclass(frozen=True, slots=True)
class Work:
    """members: N; unit: members of a unit; dim: D; steps: of an episode; spread: of a unit's time, up and down."""

    members: int
    unit: int
    dim: int
    steps: int = 500
    spread: float = 0.1
    sync: str = "replay"


@dataclass(frozen=True, slots=True)
class Simulated:
    """seconds: of a generation; shares: of them in which each resource was busy; bottleneck: the busiest."""

    seconds: float
    shares: dict[str, float]

    @property
    def bottleneck(self) -> str:
        return max(self.shares, key=lambda name: self.shares[name])

    def efficiency(self) -> float:
        """Share of the nodes' processors that evaluates."""
        return self.shares["evaluation"]


def evaluation_s(work: Work, constants: Constants) -> float:
    """Of one unit on one processor."""
    return work.unit * (work.dim / constants.made + work.steps * (constants.step_s + work.dim * constants.parameter_s))


def update_s(work: Work, constants: Constants, cores: int) -> float:
    """K D / r, with K pairs."""
    return work.members / 2 * work.dim / (constants.noise * cores)


def simulate(cluster: Cluster, work: Work, constants: Constants, seed: int = 0) -> Simulated:
    """One generation, from the state's being known here to the next one's being known here and at all nodes."""
    draw = random.Random(seed)
    units = math.ceil(work.members / work.unit)
    half, lag = constants.unit_s / 2, constants.round_trip_s / 2
    cpu = up = down = 0.0  # until when the coordinator's processor and links are taken
    cpu_busy = up_busy = down_busy = evaluating = 0.0
    base_s = evaluation_s(work, constants)
    waiting = units
    queue: list[list[float]] = [[] for _ in range(cluster.nodes)]  # leases that wait at a node, when they came
    idle = [cluster.processes] * cluster.nodes
    events: list[tuple[float, int, str, int]] = []
    count = 0

    def at(time: float, what: str, node: int) -> None:
        nonlocal count
        count += 1
        heapq.heappush(events, (time, count, what, node))

    def lease(now: float, node: int) -> None:
        nonlocal cpu, up, cpu_busy, up_busy, waiting
        waiting -= 1
        cpu = max(cpu, now) + half
        cpu_busy += half
        taken = LEASE_BYTES / constants.link
        up = max(up, cpu) + taken
        up_busy += taken
        at(up + lag, "lease", node)

    for _ in range(2 * cluster.processes):
        for node in range(cluster.nodes):
            if waiting:
                lease(0.0, node)
    done, end = 0, 0.0
    while events:
        now, _, what, node = heapq.heappop(events)
        if what == "lease":
            queue[node].append(now)
        elif what == "evaluated":
            idle[node] += 1
            taken = (RESULT_BYTES + 8 * work.unit) / constants.link
            down = max(down, now) + taken
            down_busy += taken
            at(down + lag, "result", node)
        else:
            cpu = max(cpu, now) + half
            cpu_busy += half
            done += 1
            end = max(end, cpu)
            if waiting:
                lease(cpu, node)
            continue
        if idle[node] and queue[node]:
            queue[node].pop()
            idle[node] -= 1
            took = base_s * (1 + work.spread * draw.uniform(-1, 1))
            evaluating += took
            at(now + took, "evaluated", node)
    assert done == units
    gathered_s = work.members * constants.row_s
    own = update_s(work, constants, cluster.coordinator_cores)
    theirs = update_s(work, constants, cluster.processes)
    if work.sync == "replay":
        size = COMMIT_BYTES + 4 * work.members
        each = constants.commit_s + size * constants.commit_byte_s
        sent = max(cluster.nodes * each, cluster.nodes * size / constants.link)
        cpu_busy += gathered_s + cluster.nodes * each
        up_busy += cluster.nodes * size / constants.link
        after = gathered_s + max(own, sent + lag + theirs)
        updating = theirs
    else:
        size = SNAPSHOT_BYTES + 4 * work.dim
        each = constants.commit_s + size * constants.commit_byte_s
        sent = max(cluster.nodes * each, cluster.nodes * size / constants.link)
        cpu_busy += gathered_s + cluster.nodes * each
        up_busy += cluster.nodes * size / constants.link
        after = gathered_s + own + sent + lag
        updating = own
    seconds = end + after
    return Simulated(
        seconds,
        {
            "evaluation": evaluating / (cluster.nodes * cluster.processes * seconds),
            "update": updating / seconds,
            "coordinator's processor": cpu_busy / seconds,
            "link out": up_busy / seconds,
            "link in": down_busy / seconds,
            "round trips": 2 * constants.round_trip_s / seconds,
        },
    )


def best(cluster: Cluster, work: Work, constants: Constants) -> tuple[str, Simulated]:
    """The faster of replay and broadcast."""
    ways = {sync: simulate(cluster, replace(work, sync=sync), constants) for sync in ("replay", "broadcast")}
    name = min(ways, key=lambda sync: ways[sync].seconds)
    return name, ways[name]
