"""Dropping every read model and building it again gives the same rows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table, select

from fhir_tracker import escalation, rebuilding, records, transitions
from fhir_tracker.fhir.dates import instant
from fhir_tracker.records import Remote
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.rebuild import READ_MODELS
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs
from fhir_tracker.storage.work_tables import firing, transition
from tests.support.clinic import MONDAY, NURSE, Clinic, appointment, author, encounter

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LATE = MONDAY + 2 * DAY
END = LATE + DAY
INDEX = (ix, ixd, ixs, ixn)


def dump(database: Database, table: Table, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    with database.read() as tx:
        rows = [{name: value for name, value in row.items() if name not in without} for row in tx.rows(select(table))]
    return sorted(rows, key=repr)


def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows; a work item's surrogate key `k` is left out, for rebuilding gives out new ones in the same order."""
    found = {table.name: dump(database, table, without=("k",)) for table in READ_MODELS}
    return found | {table.name: dump(database, table) for table in (*INDEX, transition, firing)}


def mirror(clinic: Clinic, body: dict[str, Any], at: datetime) -> None:
    remote = Remote(connection="ehr", id=body["id"], version="1", body="{}", content_hash="h")
    with clinic.database.begin() as tx:
        records.save(tx, body, author(at, origin="ehr:ehr"), remote=remote)


@pytest.fixture
def busy(database: Database) -> Clinic:
    """Three days of a clinic where everything happened that leaves a trace in a read model."""
    clinic = Clinic(database)
    for name in ("ann", "bob", "eve", "gone"):
        mirror(
            clinic, {"resourceType": "Patient", "id": name, "name": [{"family": "Synthetic", "given": [name]}]}, MONDAY
        )
    for name in ("ann", "bob", "eve"):
        mirror(clinic, encounter(name, MONDAY, id_=f"stay-{name}"), MONDAY)
    clinic.enrol(MONDAY)
    call = {name: clinic.task(name, "first-call").ref for name in ("ann", "bob", "eve")}
    mirror(clinic, appointment("ann", MONDAY + DAY, id_="visit", status="noshow"), MONDAY + DAY)
    mirror(clinic, {"resourceType": "Task", "id": "outside", "status": "requested", "intent": "order"}, MONDAY)
    flag = {"status": "active", "code": {"coding": [{"code": "fall"}]}, "subject": {"reference": "Patient/gone"}}
    mirror(clinic, flag | {"resourceType": "Flag", "id": "f"}, MONDAY)
    clinic.attempt(call["ann"], MONDAY + HOUR)
    clinic.attempt(call["ann"], MONDAY + 2 * HOUR, channel="sms", outcome="left-message")
    clinic.move(call["bob"], "waiting", MONDAY, NURSE, {"hold.until": instant(END + DAY), "reason": "Records"})
    with clinic.acting(MONDAY, NURSE) as (tx, by):
        transitions.claim(tx, call["eve"], by)
    clinic.put({"resourceType": "Task", "id": "plain", "status": "requested", "intent": "order"}, MONDAY)
    clinic.put({"resourceType": "Task", "id": "deleted", "status": "requested", "intent": "order"}, MONDAY)
    clinic.remove("Task/deleted", MONDAY)
    clinic.sweep(LATE)
    with clinic.acting(LATE, NURSE) as (tx, by):
        escalation.acknowledge(tx, clinic.escalations("eve")[0].ref, by)
    clinic.sweep(LATE + 5 * HOUR)
    clinic.move(call["eve"], "reached", LATE + 6 * HOUR, NURSE, {"outreach.outcome": "reached", "note": "n"})
    mirror(clinic, {"resourceType": "Patient", "id": "left"}, MONDAY)
    clinic.remove("Patient/left", MONDAY)
    clinic.sweep(END)
    return clinic


def test_rebuilding_gives_the_same_rows(busy: Clinic) -> None:
    before = everything(busy.database)
    assert all(before[name] for name in ("work_item", "event", "patient_summary", "ix", "transition", "firing"))
    counts = rebuilding.rebuild_all(busy.database, END)
    after = everything(busy.database)
    for name in before:
        assert after[name] == before[name], name
    assert counts["work_items"] == len(before["work_item"])


def test_rebuilding_twice_and_in_small_pieces_gives_the_same(busy: Clinic) -> None:
    told = list[str]()
    rebuilding.rebuild_all(busy.database, END, told.append)
    first = everything(busy.database)
    rebuilding.rebuild_all(busy.database, END)
    assert everything(busy.database) == first
    assert told


def test_rebuilding_fires_nothing_again_and_the_ladder_goes_on(busy: Clinic) -> None:
    rebuilding.rebuild_all(busy.database, END)
    before = len(busy.escalations("ann"))
    busy.sweep(END)
    assert len(busy.escalations("ann")) == before
    hold = busy.task("bob", "first-call")
    assert (hold.status, hold.next_action_at) == ("waiting", END + DAY)


def test_lost_read_models_come_back(busy: Clinic) -> None:
    before = everything(busy.database)
    with busy.database.begin() as tx:
        for table in (*READ_MODELS, *INDEX):
            tx.execute(table.delete())
    rebuilding.rebuild_all(busy.database, END)
    assert everything(busy.database) == before
