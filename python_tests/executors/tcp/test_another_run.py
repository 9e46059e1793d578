"""A connection that goes on with another run: what is still under way of the last one is void."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from executors.tcp.connections import READY, SETUP, TABLES, Pair, pair

from fastes.executors.tcp import handshake
from fastes.executors.tcp.fingerprint import written_table
from fastes.executors.tcp.handshake import run_numbers
from fastes.executors.tcp.refusals import Code, ProtocolError
from fastes.executors.tcp.wire import Beat, Drain, Failed, Lease, Phase, Ready, Result, Resync, Returned, Setup

SECOND = msgspec.structs.replace(SETUP, run="cartpole-2", members=100, unit_size=50)
SECOND_READY = msgspec.structs.replace(READY, algorithm=bytes(32))
THIRD = msgspec.structs.replace(SETUP, run="cartpole-3")
RESULT = Result(0, 1, bytes(8), bytes(8))
OF_THE_LAST = [RESULT, Returned(0, [0]), Failed(0, 1, "ProblemError", "no mass"), Resync(0, bytes(16), bytes(16))]


def serving() -> Pair:
    met = pair()
    met.run()
    return met


def given(met: Pair, data: bytes) -> None:
    """The worker takes another Setup, as it does between two messages."""
    (setup,) = met.worker.decoder.feed(data)
    assert isinstance(setup, Setup)
    met.worker.take(setup)


def test_it_goes_on_with_another_run() -> None:
    met = serving()
    given(met, met.coordinator.another(SECOND, SECOND_READY, ()))
    assert met.worker.setup == SECOND
    assert not met.coordinator.done
    assert met.coordinator.feed(met.worker.ready(SECOND_READY)) == b""
    assert met.coordinator.done
    assert met.coordinator.ready == SECOND_READY
    lease, result = Lease(0, 1), Result(0, 1, bytes(200), bytes(200))
    assert met.worker.decoder.feed(met.coordinator.encoder.encode(lease)) == [lease]
    assert met.coordinator.decoder.feed(met.worker.encoder.encode(result)) == [result]


def test_what_is_under_way_of_the_last_run_is_void() -> None:
    met = serving()
    data = met.coordinator.another(SECOND, SECOND_READY, ())
    for message in [*OF_THE_LAST, Drain(), Beat(7, 0)]:
        assert met.coordinator.feed(met.worker.encoder.encode(message)) == b""
    assert met.coordinator.heard == 7
    assert met.coordinator.phase is Phase.AGAIN
    given(met, data)
    met.coordinator.feed(met.worker.ready(SECOND_READY))
    assert met.coordinator.done


def test_while_the_worker_builds_the_last_run() -> None:
    """Its first Ready answers the first Setup, and is not compared with what the second is to come to."""
    met = pair()
    met.worker.feed(met.coordinator.feed(met.worker.feed(met.coordinator.feed(met.worker.begin()))))
    assert met.coordinator.phase is Phase.BUILD
    second = met.coordinator.another(SECOND, SECOND_READY, ())
    third = met.coordinator.another(THIRD, READY, ())
    met.coordinator.feed(met.worker.ready(READY))
    assert not met.coordinator.done
    given(met, second)
    met.coordinator.feed(met.worker.ready(SECOND_READY))
    assert not met.coordinator.done
    given(met, third)
    met.coordinator.feed(met.worker.ready(READY))
    assert met.coordinator.done


def test_before_it_was_told_of_any_run() -> None:
    met = pair()
    challenge = met.coordinator.feed(met.worker.begin())
    assert met.coordinator.another(SECOND, SECOND_READY, ()) == b""
    met.worker.feed(met.coordinator.feed(met.worker.feed(challenge)))
    assert met.worker.setup == SECOND
    met.coordinator.feed(met.worker.ready(SECOND_READY))
    assert met.coordinator.done


def test_a_worker_of_the_first_version_connects_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    met = pair()
    with monkeypatch.context() as older:
        older.setattr(handshake, "PROTOCOL_MOST", 1)
        hello = met.worker.begin()
    answer = met.coordinator.feed(hello)
    with monkeypatch.context() as older:
        older.setattr(handshake, "PROTOCOL_MOST", 1)
        identity = met.worker.feed(answer)
    met.worker.feed(met.coordinator.feed(identity))
    met.coordinator.feed(met.worker.ready(READY))
    assert met.coordinator.done
    assert met.coordinator.another(SECOND, SECOND_READY, ()) == b""
    assert met.coordinator.is_left_behind


def refused_by_the_worker(met: Pair, **changes: Any) -> ProtocolError:
    data = met.coordinator.another(msgspec.structs.replace(SECOND, **changes), SECOND_READY, ())
    with pytest.raises(ProtocolError) as caught:
        given(met, data)
    return caught.value


def test_the_worker_runs_only_what_it_may() -> None:
    other = written_table(TABLES["problem"] | {"kind": "othermodule:make"})
    assert refused_by_the_worker(serving(), problem=other).code is Code.ALLOW
    met = pair(run="cartpole-1")
    met.run()
    assert refused_by_the_worker(met).code is Code.RUN


def test_what_it_builds_has_to_agree() -> None:
    met = serving()
    given(met, met.coordinator.another(SECOND, SECOND_READY, ()))
    with pytest.raises(ProtocolError, match="settings of the algorithm differ"):
        met.coordinator.feed(met.worker.ready(READY))


def test_if_it_cannot_build_it() -> None:
    met = serving()
    given(met, met.coordinator.another(SECOND, SECOND_READY, ()))
    with pytest.raises(ProtocolError, match="could not build the run: no module"):
        met.coordinator.feed(met.worker.encoder.encode(Failed(0, None, "ProblemError", "no module named x")))


def test_sizes_are_those_of_the_run_that_it_serves() -> None:
    """Until its Ready the worker may send what is under way of the last run, and no more."""
    met = serving()
    caps = met.coordinator.decoder._reader
    given(met, met.coordinator.another(SECOND, SECOND_READY, ()))
    assert caps.caps[Result.TYPE] == run_numbers(SETUP).result_frame() < run_numbers(SECOND).result_frame()
    assert Ready.TYPE in caps.caps
    met.coordinator.feed(met.worker.ready(SECOND_READY))
    assert caps.caps[Result.TYPE] == run_numbers(SECOND).result_frame()
    assert Ready.TYPE not in caps.caps
