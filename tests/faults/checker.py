"""The invariants I1 to I9 over a tracker's database, its logs and the truth of its EHR; asked after every fault.

I1 what the EHR holds last is here or in quarantine; I2 no older version went over a newer one; I3 nothing took effect twice;
I4 each outbox row is done or says why not; I5 each change of state is in the change log, once; I6 no cursor is ahead of what
was committed; I7 no lease is left behind; I8 no trace of a mistake of ours; I9 no patient's data in logs and numbers.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import cursors, outbox, quarantine, resources
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.outbox import STATES
from fhir_tracker.storage.running_tables import job
from fhir_tracker.storage.tables import change, resource_version
from tests.faults.ehr_server import CANARY, VERSION

VIEWER = open_viewer()
CONNECTION = "clinic"
_TRACE = re.compile(r"Traceback| trace=")
OVERLAP = timedelta(seconds=125)
Truth = Mapping[str, Mapping[str, Any]]


def check(
    database: Database, truth: Truth, *, now: datetime, logs: Iterable[Path] = (), texts: Iterable[str] = ()
) -> None:
    """All invariants, when everything has come to rest; `texts` are what else may hold no patient data, such as numbers."""
    with database.read() as tx:
        held = _held(tx, truth)
    missing = [key for key, one in truth.items() if not _is_here(one, held[key])]
    assert not missing, f"I1: {[(key, truth[key], held[key]) for key in missing[:3]]} and {len(missing)} in all"
    check_always(database, truth, now=now, logs=logs, texts=texts)
    with database.read() as tx:
        running = tx.value(
            select(func.count()).select_from(job).where(job.c.state == "running", job.c.lease_until < now)
        )
    assert running == 0, "I7: a lease has run out and nobody took it over"


def check_always(
    database: Database, truth: Truth, *, now: datetime, logs: Iterable[Path] = (), texts: Iterable[str] = ()
) -> None:
    """The invariants that hold at any moment, also just after a kill."""
    with database.read() as tx:
        _check_order(tx, truth)
        _check_outbox(tx, now)
        counted = [tx.value(select(func.count()).select_from(one)) for one in (resource_version, change)]
        assert counted[0] == counted[1], f"I5: versions and changes: {counted}"
        told = Counter((row["k"], row["version"]) for row in tx.rows(select(change.c.k, change.c.version)))
        assert not [one for one, times in told.items() if times > 1], "I5: a change is told twice"
        _check_cursors(tx, truth)
    for path in logs:
        text = path.read_text(errors="replace")
        traced = _TRACE.search(text)
        assert traced is None, f"I8: {text[max(traced.start() - 300, 0) :][:3000]}"
        assert CANARY not in text, f"I9: {path}"
    assert not [one for one in texts if CANARY in one], "I9"


def _held(tx: Tx, truth: Truth) -> dict[str, tuple[str | None, bool, list[str]]]:
    """`Type/id` -> the EHR's text as it is kept here, whether it is alive here, and what is in quarantine of it."""
    aside: dict[str, list[str]] = {}
    for one in quarantine.list(tx, VIEWER):
        aside.setdefault(one.type, []).append(one.body)
    found = {}
    for key in truth:
        type_, id_ = key.split("/")
        stored = resources.find(tx, VIEWER, type_, f"{CONNECTION}-{id_}")
        text = resources.remote_body(tx, VIEWER, type_, f"{CONNECTION}-{id_}")
        found[key] = (text, stored is not None and not stored.deleted, aside.get(type_, []))
    return found


def _is_here(true: Mapping[str, Any], held: tuple[str | None, bool, list[str]]) -> bool:
    text, alive, aside = held
    if true["text"] is None:
        return not alive
    return true["text"] in aside or (alive and text == true["text"])


def _check_order(tx: Tx, truth: Truth) -> None:
    """I2 and I3: along our versions those of the EHR go up, and none comes twice."""
    for key in truth:
        type_, id_ = key.split("/")
        versions = resources.history(tx, VIEWER, type_, f"{CONNECTION}-{id_}", count=1000)
        numbers = [number for one in reversed(versions) if one.body and (number := _number(one.body)) is not None]
        assert numbers == sorted(set(numbers)), f"I2, I3: {key} went through {numbers}"


def _check_outbox(tx: Tx, now: datetime) -> None:
    for row in outbox.listed(tx, VIEWER, states=STATES):
        settled = row.state == "done" or row.reason
        assert settled or row.due_at <= now + timedelta(days=1), f"I4: {row.state} {row.ref}"


def _check_cursors(tx: Tx, truth: Truth) -> None:
    """I6: what was stamped well before a watermark is here."""
    for cursor in cursors.of_connection(tx, CONNECTION):
        if cursor.watermark is None or not cursor.type.isalpha():
            continue
        some = {key: one for key, one in truth.items() if key.startswith(f"{cursor.type}/") and one["text"]}
        passed = {key: one for key, one in some.items() if _is_before(one["text"], cursor.watermark - OVERLAP)}
        held = _held(tx, passed)
        ahead = [key for key, one in passed.items() if not _is_here(one, held[key])]
        assert not ahead, f"I6: the cursor of {cursor.type} stands at {cursor.watermark}, without {ahead[:5]}"


def _is_before(text: str, moment: datetime) -> bool:
    try:
        return parse_datetime(json.loads(text)["meta"]["lastUpdated"]) < moment
    except (ValueError, KeyError, TypeError):
        return False


def _number(body: str) -> int | None:
    named = json.loads(body).get("identifier", [])
    return next((int(one["value"]) for one in named if one.get("system") == VERSION), None)
