"""What one EHR server is asked to bear: requests a minute, requests at a time, and none while it is down.

The state is a row that all processes share. A process takes several requests out of it at once where the allowance is
large, and writes nothing at all for a server without an allowance that answers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker import clock
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.model.allowance import Allowance, read_allowance
from fhir_tracker.storage import budgets
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from mappings import mapping_named

AT_A_TIME = 5
FAILURES_TO_OPEN = 8
"""Requests in a row without a usable answer; two types that failed with all their repeats."""
FIRST_OPEN = timedelta(seconds=30)
LONGEST_OPEN = timedelta(minutes=15)
PROBE = timedelta(seconds=60)
LONGEST_TURN = 60.0
BURST_SECONDS = 10.0
FRESH_SECONDS = 5.0
MINUTE = 60.0

State = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is shown of a budget: `circuit` is closed, open or half-open; `until` the moment before which nothing is asked."""

    circuit: str
    failures: int
    until: datetime | None
    per_minute: int | None
    aligned: bool
    used: int | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "circuit": self.circuit,
            "failuresInARow": self.failures,
            "notBefore": instant(self.until) if self.until else None,
            "requestsPerMinute": self.per_minute,
            "minuteAligned": self.aligned,
            "takenOfMinute": self.used,
        }


class SharedBudget:
    """The budget of one connection, for `EhrClient`; safe for several threads.

    One that `insists` asks also while the circuit is open, for a person who wants to know.
    """

    def __init__(
        self,
        database: Database,
        connection: str,
        allowance: Allowance | None,
        now: Callable[[], datetime],
        *,
        monotonic: Callable[[], float] = clock.monotonic,
        longest_open: timedelta = LONGEST_OPEN,
        insists: bool = False,
    ) -> None:
        self._insists = insists
        self._database = database
        self._connection = connection
        self._allowance = allowance
        self._now = now
        self._monotonic = monotonic
        self._longest_open = longest_open
        self._guard = threading.Lock()
        self._slots = _slots(connection)
        self._left = 0
        self._left_until = 0.0
        self._state: State = {}
        self._looked_at: float | None = None

    def take(self) -> float:
        """Take one request; the seconds to wait before it may be made, more than LONGEST_TURN when none was taken.

        Waits itself while too many are under way. Raises RemoteFailure with `retry_after` while the circuit is open.
        """
        self._slots.enter()
        try:
            with self._guard:
                wait = self._wait()
                if wait > 0:
                    self._note_wait(wait)
        except BaseException:
            self._slots.leave()
            raise
        if wait > LONGEST_TURN:
            self._slots.leave()
        return wait

    def served(self, status: int, retry_after: float | None) -> None:
        """What came of a request that was taken: the status, 0 for no answer, and the seconds the server asks us to wait."""
        self._slots.leave()
        with self._guard:
            failed = status == 0 or (status >= 500 and retry_after is None)
            asked = self._asked(status, retry_after)
            if not failed and asked is None and not self._state.get("failures") and not self._state.get("open_until"):
                return
            with self._database.begin() as tx:
                state = budgets.hold(tx, self._connection)
                _note(state, failed, asked, self._now(), self._longest_open)
                budgets.save(tx, self._connection, state)
            self._state, self._left = state, 0 if asked is not None else self._left

    def _asked(self, status: int, retry_after: float | None) -> float | None:
        if status not in (429, 503):
            return None
        if retry_after is None and status == 429 and self._allowance is not None and self._allowance.aligned:
            return MINUTE - self._now().timestamp() % MINUTE
        return retry_after

    def _note_wait(self, wait: float) -> None:
        """Count a request that is held back, for the numbers; the seconds up to the longest that one waits its turn."""
        with self._database.begin() as tx:
            state = budgets.hold(tx, self._connection)
            state["waits"] = int(state.get("waits", 0)) + 1
            state["waited"] = round(float(state.get("waited", 0.0)) + min(wait, LONGEST_TURN), 3)
            budgets.save(tx, self._connection, state)
        self._state = state

    def _wait(self) -> float:
        at = self._monotonic()
        if self._left > 0 and at < self._left_until:
            self._left -= 1
            return 0.0
        if self._allowance is None:
            self._look(at)
            now = self._now()
            if not _is_closed(self._state, now):
                return self._through_circuit()
            return _until(self._state, now)
        return self._reserve(self._allowance, at)

    def _look(self, at: float) -> None:
        if self._looked_at is None or at - self._looked_at >= FRESH_SECONDS:
            with self._database.read() as tx:
                self._state = dict(budgets.find(tx, self._connection))
            self._looked_at = at

    def _through_circuit(self) -> float:
        with self._database.begin() as tx:
            state = budgets.hold(tx, self._connection)
            refused = None if self._insists else _enter(state, self._now())
            budgets.save(tx, self._connection, state)
        self._state = state
        if refused is not None:
            raise refused
        return _until(state, self._now())

    def _reserve(self, allowance: Allowance, at: float) -> float:
        now = self._now()
        with self._database.begin() as tx:
            state = budgets.hold(tx, self._connection)
            refused = None if self._insists else _enter(state, now)
            asked = _until(state, now)
            wait, taken = (asked, 0) if refused or asked > 0 else _taken(state, allowance, now)
            budgets.save(tx, self._connection, state)
        self._state = state
        if refused is not None:
            raise refused
        self._left = max(taken - 1, 0)
        self._left_until = at + min(FRESH_SECONDS, MINUTE - now.timestamp() % MINUTE)
        return wait


def allowance_of(connection: Connection) -> Allowance | None:
    """What the connection allows, by its own option or else by what its mapping knows of the vendor."""
    own = connection.options.get("budget")
    told = own if own is not None else getattr(mapping_named(connection.mapping), "budget", None)
    return read_allowance(told)


def longest_open(connection: Connection) -> timedelta:
    """How long the circuit of a connection stays open: each poll finds it half-open, and with it a server that is back."""
    return min(LONGEST_OPEN, timedelta(seconds=connection.poll_seconds) / 2)


def standing(state: Mapping[str, Any], allowance: Allowance | None, now: datetime) -> Standing:
    """How a budget stands at `now`."""
    until = max((parse_datetime(state[name]) for name in ("open_until", "until") if state.get(name)), default=None)
    circuit = "closed"
    if state.get("open_until"):
        circuit = "open" if parse_datetime(state["open_until"]) > now else "half-open"
    minute = int(now.timestamp() // MINUTE)
    used = int(state.get("used", 0)) if state.get("minute") == minute else 0
    return Standing(
        circuit=circuit,
        failures=int(state.get("failures", 0)),
        until=until if until and until > now else None,
        per_minute=allowance.at(now) if allowance else None,
        aligned=allowance is not None and allowance.aligned,
        used=used if allowance else None,
    )


def _note(state: State, failed: bool, asked: float | None, now: datetime, longest: timedelta) -> None:
    state.pop("probe_until", None)
    if asked is not None:
        state["until"] = instant(now + timedelta(seconds=asked))
    if not failed:
        state.pop("open_until", None)
        state["failures"] = 0
        return
    state["failures"] = int(state.get("failures", 0)) + 1
    if state["failures"] >= FAILURES_TO_OPEN:
        times = min(state["failures"] - FAILURES_TO_OPEN, 10)
        doubled: timedelta = FIRST_OPEN * (1 << times)
        state["open_until"] = instant(now + min(doubled, longest))


def _is_closed(state: Mapping[str, Any], now: datetime) -> bool:
    return not state.get("open_until")


def _enter(state: State, now: datetime) -> RemoteFailure | None:
    """Why nothing is asked now; None when the circuit is closed, or this is the one request that tries it."""
    if _is_closed(state, now):
        return None
    opens = parse_datetime(state["open_until"])
    if opens <= now and state.get("probe_until"):
        opens = parse_datetime(state["probe_until"])
    if opens > now:
        return RemoteFailure(
            f"The server failed {state.get('failures', 0)} times in a row and is left alone for a while.",
            retry_after=(opens - now).total_seconds(),
        )
    state["probe_until"] = instant(now + PROBE)
    return None


def _until(state: Mapping[str, Any], now: datetime) -> float:
    """The seconds that the server asked us to wait."""
    return max((parse_datetime(state["until"]) - now).total_seconds(), 0.0) if state.get("until") else 0.0


def _taken(state: State, allowance: Allowance, now: datetime) -> tuple[float, int]:
    """Seconds to wait, and how many requests were taken out of the state."""
    rate = allowance.at(now)
    minute = int(now.timestamp() // MINUTE)
    held = state.get("minute", minute)
    used = int(state.get("used", 0)) if held >= minute else 0
    held = max(held, minute)
    if not allowance.aligned:
        wait, taken = _from_bucket(state, rate, now)
    else:
        if used >= rate:
            held, used = held + 1, 0
        wait = max(held * MINUTE - now.timestamp(), 0.0)
        taken = 0 if wait > LONGEST_TURN else min(_share(rate), rate - used) if wait == 0 else 1
    if taken:
        state["minute"], state["used"] = held, used + taken
    return wait, taken


def _from_bucket(state: State, rate: int, now: datetime) -> tuple[float, int]:
    """Out of a bucket that fills with `rate` requests a minute and holds those of ten seconds; it may be owed ahead."""
    each = rate / MINUTE
    full = max(1.0, each * BURST_SECONDS)
    filled = (now - parse_datetime(state["at"])).total_seconds() * each if state.get("at") else full
    level = min(full, float(state.get("level", full)) + max(filled, 0.0))
    taken = max(1, min(_share(rate), int(level)))
    wait = 0.0 if level >= taken else (taken - level) / each
    if wait > LONGEST_TURN:
        return wait, 0
    state["level"], state["at"] = level - taken, instant(now)
    return wait, taken


def _share(rate: int) -> int:
    """How many requests one process takes at once."""
    return max(1, min(rate // 60, 10))


class _Slots:
    """How many requests to one server are under way in this process."""

    def __init__(self) -> None:
        self._free = threading.BoundedSemaphore(AT_A_TIME)

    def enter(self) -> None:
        if not self._free.acquire(timeout=LONGEST_TURN):
            raise RemoteFailure("Too many requests to this server are under way.", retry_after=1.0)

    def leave(self) -> None:
        self._free.release()


_SLOTS: dict[str, _Slots] = {}
_SLOTS_GUARD = threading.Lock()


def _slots(connection: str) -> _Slots:
    with _SLOTS_GUARD:
        return _SLOTS.setdefault(connection, _Slots())
