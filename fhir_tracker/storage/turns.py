"""Turns at writing: a lock whose waiters are served in the order they came."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from fhir_tracker.errors import Busy, Fault


class Turns:
    """One holder at a time, first come first served; a second `take` by the holding thread is a mistake, not a wait."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._holder: int | None = None

    @contextmanager
    def take(self, timeout: float) -> Iterator[None]:
        """Hold the turn; raises Busy after `timeout` seconds of waiting."""
        self._enter(timeout)
        try:
            yield
        finally:
            self._leave()

    def _enter(self, timeout: float) -> None:
        me = threading.get_ident()
        with self._guard:
            if self._holder == me:
                raise Fault("A write transaction was opened inside another one.")
            if self._holder is None:
                self._holder = me
                return
            turn = threading.Event()
            self._waiting.append(turn)
        if not turn.wait(timeout):
            self._give_up(turn)
        self._holder = me

    def _give_up(self, turn: threading.Event) -> None:
        with self._guard:
            if turn.is_set():
                return
            self._waiting.remove(turn)
        raise Busy("The database is busy writing; try again.")

    def _leave(self) -> None:
        with self._guard:
            if self._waiting:
                self._holder = -1
                self._waiting.popleft().set()
            else:
                self._holder = None
