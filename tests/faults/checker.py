"""The invariants I1 to I9 over a tracker's database, its logs and the truth of its EHR; asked after every fault.

I1 what the EHR holds last is here or in quarantine; I2 no older version went over a newer one; I3 nothing took effect twice,
here or there; I4 each outbox row is done and really there, or waits for a moment, or says why not; I5 each version is told
once in the change log, and each write of a person or program in the audit trail; I6 no cursor is ahead of what was committed;
I7 no lease is left behind; I8 no trace of a mistake of ours; I9 no patient's data and no secret in logs, numbers and jobs.
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
from fhir_tracker.storage.outbox import STATES, Outgoing
from fhir_tracker.storage.running_tables import audit, job
from fhir_tracker.storage.tables import change, resource, resource_version
from fhir_tracker.storage.work_tables import firing
from tests.faults.ehr_server import CANARY, VERSION

VIEWER = open_viewer()
CONNECTION = "clinic"
_TRACE = re.compile(r"Traceback| trace=")
OVERLAP = timedelta(seconds=125)
WRITES = ("create", "update", "patch", "delete")
_ESCALATIONS = select(resource.c.body).where(resource.c.type == "Task", resource.c.deleted.is_(False))
Truth = Mapping[str, Mapping[str, Any]]


def check(
    database: Database,
    truth: Truth,
    *,
    now: datetime,
    logs: Iterable[Path] = (),
    texts: Iterable[str] = (),
    secrets: Iterable[str] = (),
) -> None:
    """All invariants, when everything has come to rest.

    `texts` are what else may hold no patient data, such as numbers; `secrets` what nothing but a request may hold.
    """
    with database.read() as tx:
        ours = {f"{one.remote_type}/{one.remote_id}" for one in _outbox(tx) if one.made_here and one.remote_id}
        truth_there = {key: one for key, one in truth.items() if key not in ours}
        held = _held(tx, truth_there)
    missing = [key for key, one in truth_there.items() if not _is_here(one, held[key])]
    assert not missing, f"I1: {[(key, truth[key], held[key]) for key in missing[:3]]} and {len(missing)} in all"
    check_always(database, truth, now=now, logs=logs, texts=texts, secrets=secrets)
    with database.read() as tx:
        running = tx.value(
            select(func.count()).select_from(job).where(job.c.state == "running", job.c.lease_until < now)
        )
    assert running == 0, "I7: a lease has run out and nobody took it over"


def check_always(
    database: Database,
    truth: Truth,
    *,
    now: datetime,
    logs: Iterable[Path] = (),
    texts: Iterable[str] = (),
    secrets: Iterable[str] = (),
) -> None:
    """The invariants that hold at any moment, also just after a kill."""
    forbidden = (CANARY, *secrets)
    with database.read() as tx:
        _check_order(tx, truth)
        _check_effects(tx)
        _check_outbox(tx, truth, now)
        _check_told_once(tx)
        _check_cursors(tx, truth)
        jobs = json.dumps([[row["key"], row["payload"]] for row in tx.rows(select(job.c.key, job.c.payload))])
    check_logs(logs, secrets)
    assert not [one for one in (*texts, jobs) if any(word in one for word in forbidden)], "I9"


def check_logs(logs: Iterable[Path], secrets: Iterable[str] = ()) -> None:
    """I8 and I9 for what processes wrote."""
    for path in logs:
        text = path.read_text(errors="replace")
        traced = _TRACE.search(text)
        assert traced is None, f"I8: {text[max(traced.start() - 300, 0) :][:3000]}"
        for word in (CANARY, *secrets):
            assert word not in text, f"I9: {path}: {text[max(text.index(word) - 300, 0) :][:600]}"


def check_audited(database: Database) -> None:
    """I5 where all was written through the API: a row of the audit trail for each version, told in its transaction."""
    with database.read() as tx:
        versions = Counter(
            f"{row['type']}/{row['id']}"
            for row in tx.rows(select(change.c.type, change.c.id).where(change.c.origin == "api"))
        )
        is_write = audit.c.action.in_(WRITES) & (audit.c.outcome == "success")
        told = Counter(row["ref"] for row in tx.rows(select(audit.c.ref).where(is_write)))
    assert versions, "nothing was written through the API"
    assert not versions - told, f"I5: without an audit row: {list((versions - told).items())[:5]}"


def _check_told_once(tx: Tx) -> None:
    """I5: the versions and the changes are the same."""
    kept = Counter(
        (row["k"], row["version"]) for row in tx.rows(select(resource_version.c.k, resource_version.c.version))
    )
    told = Counter((row["k"], row["version"]) for row in tx.rows(select(change.c.k, change.c.version)))
    assert kept == told, (
        f"I5: kept and not told {list((kept - told).items())[:5]}, told {list((told - kept).items())[:5]}"
    )


def _check_effects(tx: Tx) -> None:
    """I3 here: one Task for each firing of a rule, and no second firing of the same."""
    fired = tx.rows(select(firing))
    keys = Counter((row["item"], row["rule"], row["cycle"], row["level"]) for row in fired)
    assert not [one for one, times in keys.items() if times > 1], "I3: a rule fired twice"
    tasks = Counter(row["task"] for row in fired if row["task"])
    assert not [one for one, times in tasks.items() if times > 1], "I3: one Task for two firings"
    made = Counter(one for row in tx.rows(_ESCALATIONS) for one in [_escalates(row["body"])] if one)
    assert not [one for one, times in made.items() if times > 1], f"I3: escalated twice: {made.most_common(3)}"


def _escalates(body: str) -> tuple[str, str] | None:
    """Which item a Task escalates, with level, rule and cycle; None where it is another Task."""
    task = json.loads(body)
    focus = task.get("focus", {}).get("reference")
    return (focus, json.dumps(task["input"])) if focus and "input" in task else None


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


def _outbox(tx: Tx) -> list[Outgoing]:
    return outbox.listed(tx, VIEWER, states=STATES, limit=10_000)


def _check_outbox(tx: Tx, truth: Truth, now: datetime) -> None:
    """I4, and I3 there: what is done is there once, whatever else has a next try or a reason."""
    texts = [one["text"] for one in truth.values() if one["text"]]
    named = Counter(one["value"] for text in texts for one in _identifiers(text) if one.get("system") != VERSION)
    for row in _outbox(tx):
        if row.state == "waiting":
            assert row.due_at <= now + timedelta(days=1), f"I4: {row.ref} waits until {row.due_at}"
        elif row.state != "done":
            assert row.reason, f"I4: {row.ref} is {row.state} and nobody knows why"
        elif row.remote_id is None:
            assert row.reason, f"I4: {row.ref} is done, is not there, and nobody knows why"
        if row.made_here:
            assert named[row.local_id] <= 1, f"I3: {row.ref} is there {named[row.local_id]} times"
        if row.state == "done" and row.remote_id and truth:
            there = truth.get(f"{row.remote_type}/{row.remote_id}")
            assert there is not None, f"I4: {row.ref} is done and was never there"
            assert not (row.made_here and there["text"]) or named[row.local_id] == 1, f"I4: {row.ref} is not there"


def _identifiers(text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    found = value.get("identifier", []) if isinstance(value, dict) else []
    return [one for one in found if isinstance(one, dict) and "value" in one] if isinstance(found, list) else []


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
