"""Coroutines run by tests that are not coroutines themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def in_own_loop(
    work: Callable[[], Coroutine[Any, Any, T]],
    *,
    seconds: float = 60,
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> T:
    """Run `work()` in an event loop on a thread of its own: the browser tests leave one running on the test's thread."""

    def run() -> T:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(work(), seconds))

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()
