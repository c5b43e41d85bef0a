"""The processes of one server: how many, how they are started, replaced and ended.

With more than one, the first process serves nobody. It stays a single thread without connections, so that it can fork a
successor for a process that ended at any time.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.silences import Silences
from api.tally import AWAY, Tally
from fhir_tracker import clock
from fhir_tracker.config import Settings
from fhir_tracker.errors import UsageError

MOST_BY_ITSELF = 4
END_SECONDS = 25.0
"""How long the processes may take to end: requests under way, then the step of the worker, then closing."""
_SHORT_LIFE_SECONDS = 10.0
_PAUSES = (0.0, 0.1, 1.0, 3.0, 10.0, 30.0)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One process that serves; `leash` can be read once the first process is gone, None where this is the first."""

    tally: Tally
    leash: int | None = None

    @property
    def has_worker(self) -> bool:
        """Whether the worker of this server runs here."""
        return self.tally.place == 0


def how_many(asked: int | None, settings: Settings) -> int:
    """The number of processes: what was `asked` for, else the setting; raises UsageError for several on SQLite."""
    wanted = settings.processes if asked is None else asked
    if settings.database_file is None:
        return wanted or min(MOST_BY_ITSELF, _cores())
    if wanted > 1:
        raise UsageError(
            f"{wanted} processes cannot share SQLite, whose writers take turns; use --processes 1, or PostgreSQL."
        )
    return 1


def spread(processes: int, listening: socket.socket, silent_seconds: float) -> Place | None:
    """Go on in so many processes, each at a place of its own; None in the first one, when all the others have ended.

    One that hangs for `silent_seconds`, while others go on, is ended and replaced.
    Call it with one thread and without connections to anything, which processes cannot share.
    """
    tally = Tally(processes)
    if processes == 1:
        return Place(tally=tally)
    gc.collect()
    gc.freeze()
    return _Keeper(tally, listening, silent_seconds).keep()


class _Keeper:
    """The first process: it waits for signals and for the end of the others, and nothing else."""

    def __init__(self, tally: Tally, listening: socket.socket, silent_seconds: float) -> None:
        self._tally = tally
        self._silences = Silences(tally, silent_seconds)
        self._listening = listening
        self._leash, self._end_of_leash = os.pipe()
        self._running: dict[int, tuple[int, float]] = {}
        self._due = dict.fromkeys(range(tally.processes), 0.0)
        self._failures = dict.fromkeys(range(tally.processes), 0)
        self._is_ending = False

    def keep(self) -> Place | None:
        """The place of a process that was started, or None at the end of all."""
        with _signals() as heard:
            while not self._is_ending:
                place = self._start_due()
                if place is not None:
                    return place
                if heard.wait(self._patience()) & {signal.SIGTERM, signal.SIGINT}:
                    self._is_ending = True
                self._reap()
                self._end_silent()
            self._end(heard)
        return None

    def _start_due(self) -> Place | None:
        now = clock.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            try:
                pid = self._fork()
            except OSError as error:
                self._put_off(number, 1)
                log.warning("no process can be started", extra={"fields": {"process": number, "error": error.strerror}})
                continue
            del self._due[number]
            if not pid:
                return Place(tally=self._tally.at(number), leash=self._leash)
            self._running[pid] = (number, now)
        return None

    def _fork(self) -> int:
        """A new process, in which no signal arrives before it is set up; 0 there."""
        sys.stdout.flush()
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if not pid:
                os.close(self._end_of_leash)
                _follow(parent)
                _forget_signals()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return pid

    def _patience(self) -> float:
        longest = self._silences.interval
        return max(0.0, min(longest, min(self._due.values()) - clock.monotonic())) if self._due else longest

    def _end_silent(self) -> None:
        pids = {number: pid for pid, (number, _) in self._running.items()}
        for number in self._silences.look(pids, clock.monotonic()):
            log.warning("a process of the server hangs and is ended", extra={"fields": {"process": number}})
            os.kill(pids[number], signal.SIGKILL)
            self._silences.forget(number)

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self._running:
                self._replace(*self._running.pop(pid), os.waitstatus_to_exitcode(status))

    def _replace(self, number: int, since: float, code: int) -> None:
        """Another takes the place of a process that ended: at once, or after a pause where that happens again and again."""
        self._tally.at(number).hold(AWAY)
        self._silences.forget(number)
        if self._is_ending:
            return
        lived = clock.monotonic() - since
        self._failures[number] = self._failures[number] + 1 if lived < _SHORT_LIFE_SECONDS else 0
        pause = self._put_off(number, self._failures[number])
        fields = {"process": number, "code": code, "pause": pause}
        log.warning("a process of the server ended, another takes its place", extra={"fields": fields})

    def _put_off(self, number: int, failures: int) -> float:
        """Start a process again after a pause, which is longer the more often that failed; how long it is."""
        pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
        self._due[number] = clock.monotonic() + pause
        return pause

    def _end(self, heard: _Heard) -> None:
        """Let no one in any more, ask all to end, and insist after a while."""
        self._listening.close()
        until = clock.monotonic() + END_SECONDS
        self._tell(signal.SIGTERM)
        while self._running and clock.monotonic() < until:
            heard.wait(until - clock.monotonic())
            self._reap()
        self._tell(signal.SIGKILL)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._running:
            os.kill(pid, number)


class _Heard:
    """The signals that have arrived, read from the socket where Python writes them."""

    def __init__(self, reading: socket.socket) -> None:
        self._reading = reading

    def wait(self, seconds: float | None) -> set[signal.Signals]:
        """What arrived, at the latest after so many seconds."""
        ready, _, _ = select.select([self._reading], [], [], seconds)
        return {signal.Signals(one) for one in self._reading.recv(4096)} if ready else set()


@contextmanager
def _signals() -> Iterator[_Heard]:
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        try:
            yield _Heard(reading)
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _follow(parent: int) -> None:
    """End when the first process does, however that comes about; Linux sees to it by itself, others read the leash."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
