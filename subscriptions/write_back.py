"""Writing back: what waits in the outbox is brought to its EHR, row by row, under a lease of the connection's own.

Steps: take the lease; note what processes wrote that did not know of the connection yet (once); ask what the EHR takes (at
most once an hour); for each row that is due put its next try ahead, then write it. So a row that cannot be written, or that
ends the process, is passed over until its next try and holds up no other.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fhir_tracker import outgoing, records
from fhir_tracker.config import Settings
from fhir_tracker.errors import Busy, RemoteFailure, TrackerError, Unavailable, Unsupported, UsageError, VersionConflict
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.storage import audit, connections, cursors, outbox
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.outbox import Outgoing
from mappings import mapping_named
from subscriptions import leases
from subscriptions.client import EhrClient
from subscriptions.code_files import tables_of
from subscriptions.rounds import Round
from subscriptions.sync import client_of, keys_of, limits_of
from subscriptions.ways import Abilities, abilities_from, read_abilities
from subscriptions.writing import write

STATE = "*write-back"
"""Under which name the state of writing back is kept among a connection's cursors."""
ROWS = 50
AT_ONCE = 8
"""To how many connections one process writes at the same time."""
SLICE = timedelta(seconds=20)
"""After how long in one round nothing more is begun: other things of the process have their turn."""
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=15)
LONGEST_SILENCE = timedelta(minutes=1)
"""How long an EHR that cannot be reached is left alone, at most; when it is back, all that waits is due at once."""
FAILURES_TO_STOP = 3
"""After how many rows in a row that failed for now the others are not tried."""
MOST_TRIES = 200
"""With the pauses above: two days."""
ABILITIES_FOR = timedelta(hours=1)
KNOWN_EVERYWHERE = timedelta(seconds=5)
"""How long after a connection was added every process surely knows of it."""
_ASKED = ("The server answered 429", "The server answered 503")
_TROUBLE = ("The server answered 5", "The connection broke", "The answer was")
_WHOLE = (
    "The server cannot be reached",
    "Requests to this server are held back",
    "Too many requests to this server are under way",
    "The server failed",
    *_ASKED,
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WriteReport:
    """How many rows came to which state in one round; `error` when the EHR could not be reached at all."""

    connection: str
    counts: Mapping[str, int] = field(default_factory=dict)
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {"connection": self.connection, "rows": dict(self.counts), "error": self.error}


def write_back_due(
    database: Database, settings: Settings, now: Callable[[], datetime], jitter: Callable[[], float] = random.random
) -> list[WriteReport]:
    """Write what is due to every connection that takes writes, to several at a time, so that none waits for another.

    Those that another process writes to are passed over.
    """
    with database.read() as tx:
        chosen = [one for one in connections.all(tx) if _is_due(tx, one, now())]
    if len(chosen) < 2:
        return [made for one in chosen if (made := _written(database, settings, one, now, jitter))]
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="write-back") as pool:
        reports = list(pool.map(lambda one: _written(database, settings, one, now, jitter), chosen))
    return [one for one in reports if one is not None]


def ask_at_once(tx: Tx, key: str, now: datetime) -> None:
    """A person wants it tried now: an EHR that is left alone after failures is asked again."""
    detail = _detail(tx, key)
    if detail.get("not_before"):
        _put(tx, key, now, {**detail, "not_before": None, "abilities_at": None})


def _written(
    database: Database,
    settings: Settings,
    connection: Connection,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> WriteReport | None:
    try:
        with client_of(
            connection, limits_of(settings), database=database, keys=keys_of(database, settings), now=now
        ) as client:
            return write_back_to(database, connection, client=client, now=now, jitter=jitter)
    except Busy:
        return None
    except UsageError as error:
        return WriteReport(connection=connection.key, error=error.message)


def write_back_to(
    database: Database,
    connection: Connection,
    *,
    client: EhrClient,
    now: Callable[[], datetime],
    jitter: Callable[[], float] = random.random,
) -> WriteReport:
    """Write what is due to one connection, for about SLICE at most. Raises Busy when another process is at it."""
    lease = leases.take(database, f"{connection.key} (write-back)", now())
    try:
        hold: Callable[[Tx], None] = lambda tx: leases.hold(tx, lease, now())  # noqa: E731
        return _rows(database, connection, client, now, hold, jitter)
    finally:
        leases.release(database, lease, now())


def _is_due(tx: Tx, connection: Connection, now: datetime) -> bool:
    if not connection.options.get("write_back"):
        return False
    detail = _detail(tx, connection.key)
    if (until := detail.get("not_before")) and parse_datetime(until) > now:
        return False
    return _is_to_catch_up(detail, connection, now) or bool(outbox.due(tx, connection.key, now, 1))


def _rows(
    database: Database,
    connection: Connection,
    client: EhrClient,
    now: Callable[[], datetime],
    hold: Callable[[Tx], None],
    jitter: Callable[[], float],
) -> WriteReport:
    system = _begun(database, connection, now(), hold)
    with database.read() as tx:
        rows = outbox.due(tx, connection.key, now(), ROWS)
    if not rows:
        return WriteReport(connection=connection.key)
    try:
        abilities = _abilities(database, connection, client, now(), hold)
    except RemoteFailure as failure:
        return _left_alone(database, connection, failure, now(), hold, {})
    round_ = Round(
        database=database,
        connection=connection,
        client=client,
        mapping=mapping_named(connection.mapping),
        abilities=abilities,
        system=system,
        now=now,
        hold=hold,
        tables=tables_of(connection),
    )
    return _all_due(round_, rows, now() + SLICE, jitter)


def _all_due(round_: Round, rows: list[Outgoing], until: datetime, jitter: Callable[[], float]) -> WriteReport:
    key, counts, failing = round_.connection.key, Counter[str](), 0
    seen: set[int] = set()
    while rows:
        for row in rows:
            state, problem = _one(round_, row, jitter)
            counts[state] += 1
            failing = failing + 1 if problem is not None and problem.message.startswith(_TROUBLE) else 0
            if problem is not None and (_concerns_all(problem) or failing >= FAILURES_TO_STOP):
                return _left_alone(round_.database, round_.connection, problem, round_.now(), round_.hold, counts)
        seen |= {row.id for row in rows}
        full = len(rows) == ROWS and round_.now() < until
        with round_.database.read() as tx:
            rows = outbox.due(tx, key, round_.now(), ROWS) if full else []
        rows = [row for row in rows if row.id not in seen]
    _back(round_)
    return WriteReport(connection=key, counts=counts)


def _back(round_: Round) -> None:
    """It answers. When it did not before, what was put off is due now."""
    key = round_.connection.key
    with round_.database.read() as tx:
        was_away = _detail(tx, key).get("failures", 0)
    if was_away:
        with round_.database.begin() as tx:
            round_.hold(tx)
            outbox.hurry(tx, key, round_.now())
    _keep(round_.database, key, round_.now(), round_.hold, failures=0, not_before=None)


def _one(round_: Round, row: Outgoing, jitter: Callable[[], float]) -> tuple[str, RemoteFailure | None]:
    """Write one row; the state it came to, and the failure of the EHR that kept it waiting."""
    attempts = row.attempts + 1
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.note(tx, row, attempts=attempts, due_at=round_.now() + _pause(attempts, jitter()))
        _tell(tx, round_, row, "success", {"attempt": attempts})
    try:
        write(round_, row)
    except VersionConflict:
        return _again(round_, row, "It was changed here meanwhile.", timedelta(seconds=1)), None
    except RemoteFailure as failure:
        if failure.permanent and not failure.auth and not failure.unknown:
            return _ended(round_, row, "dead", failure.message, failure.said), None
        if attempts >= MOST_TRIES:
            return _ended(round_, row, "dead", f"Tried {attempts} times. {failure.message}", failure.said), None
        asked = timedelta(seconds=failure.retry_after) if failure.retry_after else _pause(attempts, jitter())
        return _again(round_, row, failure.message, asked), failure
    except (Busy, Unavailable):
        raise
    except Unsupported as refusal:
        return _ended(round_, row, "unsupported", refusal.message), None
    except TrackerError as error:
        return _ended(round_, row, "dead", error.message), None
    with round_.database.read() as tx:
        found = outbox.find(tx, round_.author().viewer, row.id)
    return found.state if found else "done", None


def _again(round_: Round, row: Outgoing, reason: str, pause: timedelta) -> str:
    with round_.database.begin() as tx:
        round_.hold(tx)
        outbox.change(tx, row, reason=reason, due_at=round_.now() + pause)
    return "waiting"


def _ended(round_: Round, row: Outgoing, state: str, reason: str, said: str = "") -> str:
    """Keep the row with the reason; what the EHR itself `said` is for who may see patient data."""
    _log.warning("not written back", extra={"fields": {"connection": row.connection, "type": row.type, "state": state}})
    with round_.database.begin() as tx:
        round_.hold(tx)
        held = outbox.find(tx, round_.author().viewer, row.id)
        kept = {name: one for name, one in (held.detail if held else {}).items() if name != "said"}
        detail = kept | ({"said": said} if said else {})
        outbox.change(tx, row, state=state, reason=reason, detail=detail, updated_at=round_.now())
        _tell(tx, round_, row, "error", {"state": state})
    return state


def _tell(tx: Tx, round_: Round, row: Outgoing, outcome: str, detail: Mapping[str, object]) -> None:
    """The row of the audit trail: that something of a patient is about to leave for the EHR, or did not arrive."""
    viewer = round_.author().viewer
    told = {"connection": row.connection, **detail}
    audit.add(
        tx,
        at=round_.now(),
        viewer=viewer,
        action="write-back",
        ref=row.ref,
        patient=row.patient,
        outcome=outcome,
        kind="worker",
        detail=told,
    )


def _pause(attempts: int, chance: float) -> timedelta:
    """Doubling, with half of it left to chance, so that many rows do not come back at once."""
    whole: timedelta = min(FIRST_PAUSE * (1 << min(attempts - 1, 12)), LONGEST_PAUSE)
    return whole * (0.5 + chance / 2)


def _concerns_all(failure: RemoteFailure) -> bool:
    """Whether the EHR as a whole cannot be written to now; what became of one write concerns that row alone."""
    return failure.auth or failure.message.startswith(_WHOLE)


def _left_alone(
    database: Database,
    connection: Connection,
    failure: RemoteFailure,
    now: datetime,
    hold: Callable[[Tx], None],
    counts: Mapping[str, int],
) -> WriteReport:
    with database.read() as tx:
        failures = int(_detail(tx, connection.key).get("failures", 0)) + 1
    pause = min(_pause(failures, 1.0), LONGEST_SILENCE)
    if failure.retry_after and failure.message.startswith(_ASKED):
        pause = timedelta(seconds=failure.retry_after)
    _keep(database, connection.key, now, hold, failures=failures, not_before=instant(now + pause))
    return WriteReport(connection=connection.key, counts=counts, error=failure.message)


def _begun(database: Database, connection: Connection, now: datetime, hold: Callable[[Tx], None]) -> str:
    """Our system of identifiers; once for a connection also what was written before every process knew of it is noted."""
    with database.begin() as tx:
        hold(tx)
        detail = _detail(tx, connection.key)
        if _is_to_catch_up(detail, connection, now):
            target = outgoing.targets(tx, now).get(connection.key)
            if target is not None:
                outgoing.catch_up(tx, target, connection.created_at, now)
            _put(tx, connection.key, now, {**detail, "caught_up": instant(connection.created_at)})
        return outgoing.identifier_system(tx, records.fresh_id(now)) or ""


def _is_to_catch_up(detail: Mapping[str, Any], connection: Connection, now: datetime) -> bool:
    known = detail.get("caught_up") == instant(connection.created_at)
    return not known and now >= connection.created_at + KNOWN_EVERYWHERE


def _abilities(
    database: Database, connection: Connection, client: EhrClient, now: datetime, hold: Callable[[Tx], None]
) -> Abilities:
    with database.read() as tx:
        detail = _detail(tx, connection.key)
    read_at = detail.get("abilities_at")
    if read_at and timedelta() <= now - parse_datetime(read_at) < ABILITIES_FOR:
        return abilities_from(detail["abilities"])
    found = read_abilities(client)
    _keep(database, connection.key, now, hold, abilities=found.as_detail(), abilities_at=instant(now))
    return found


def _keep(database: Database, key: str, now: datetime, hold: Callable[[Tx], None], **told: Any) -> None:
    with database.begin() as tx:
        hold(tx)
        before = _detail(tx, key)
        if any(before.get(name) != one for name, one in told.items()):
            _put(tx, key, now, {**before, **told})


def _put(tx: Tx, key: str, now: datetime, detail: Mapping[str, Any]) -> None:
    cursors.save(tx, Cursor(connection=key, type=STATE, updated_at=now, detail=detail))


def _detail(tx: Tx, key: str) -> Mapping[str, Any]:
    state = cursors.find(tx, key, STATE)
    return state.detail if state else {}
