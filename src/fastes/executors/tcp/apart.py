"""What users' code does while a run is built, which may take for ever: beats go on, and no signal waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Callable
from typing import TypeVar

from fastes.executors.failure import Failure
from fastes.executors.pool import Answer, Pool
from fastes.messages import UnitResult
from fastes.noise import Generation

T = TypeVar("T")


async def apart(function: Callable[[], T]) -> T:
    """What the function gives or raises, on a thread that ends with the process (those of asyncio are waited for)."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def call() -> None:
        settle: Callable[[], None]
        try:
            settle = functools.partial(future.set_result, function())
        except Exception as error:
            settle = functools.partial(future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # nobody waits any more: the loop is closed
            loop.call_soon_threadsafe(lambda: None if future.done() else settle())

    threading.Thread(target=call, name="fastes-build", daemon=True).start()
    return await future


async def tried(pool: Pool, unit: Generation) -> UnitResult | Failure:
    """As `Pool.tried`. On the loop's own thread, because processes end with the thread that has forked them."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    pool.load(unit)
    pool.give(unit)
    answers: list[Answer] = []
    while not answers:
        ready.clear()
        connections = pool.connections
        for connection in connections:
            loop.add_reader(connection.fileno(), ready.set)
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pool.patience_s):
                    await ready.wait()
        finally:
            for connection in connections:
                loop.remove_reader(connection.fileno())
        answers = [*pool.answers([each for each in connections if each.poll()]), *pool.hung()]
    return answers[0].outcome
