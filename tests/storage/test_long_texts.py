"""Texts that no index of PostgreSQL can hold, wherever a client, an EHR or a staff directory may put them.

A text that compresses well slips through; these are drawn by chance from letters of one, two, three and four bytes.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from fhir_tracker import intake, staffing
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import ROLE_SYSTEM
from fhir_tracker.model.work import LONGEST, WorkItem, cut
from fhir_tracker.storage import quarantine, rollups, staff, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.flow_facts import Period
from tests.storage.samples import item
from tests.support.clinic import MONDAY, SYSTEM, Clinic

HOUR = timedelta(hours=1)
ALPHABETS = {
    1: "".join(map(chr, range(0x30, 0x7B))),
    2: "".join(map(chr, range(0x400, 0x480))),
    3: "".join(map(chr, range(0x4E00, 0x9000))),
    4: "".join(map(chr, range(0x20000, 0x2A000))),
}
CUT = ("plan", "code", "status", "fhir_status", "role", "owner", "priority", "focus", "site")


def long(width: int, seed: int, length: int = 3000) -> str:
    """A text that cannot be made shorter, of letters of `width` bytes."""
    return "".join(random.Random(f"{width}-{seed}").choices(ALPHABETS[width], k=length))


def coded(text: str) -> dict[str, Any]:
    return {"coding": [{"system": ROLE_SYSTEM, "code": text}]}


def task(width: int, **members: Any) -> dict[str, Any]:
    """A Task that is long wherever it may be."""
    return {
        "resourceType": "Task",
        "id": "t",
        "status": "requested",
        "intent": "order",
        "priority": long(width, 1),
        "authoredOn": instant(MONDAY),
        "for": {"reference": "Patient/ann"},
        "code": coded(long(width, 2)),
        "performerType": [coded(long(width, 3))],
        "owner": {"reference": f"Practitioner/{long(width, 4)}"},
        "focus": {"reference": f"CarePlan/{long(width, 5)}"},
        "basedOn": [{"reference": f"CarePlan/{long(width, 6)}"}],
        "businessStatus": coded(long(width, 7)),
        "restriction": {"period": {"end": "2026-03-10T00:00:00Z"}},
    } | members


@pytest.mark.parametrize("width", [1, 4])
def test_a_task_that_is_long_everywhere_is_kept_found_changed_and_counted(database: Database, width: int) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.put(task(width), MONDAY)
    kept = clinic.item("Task/t")
    assert kept.owner == cut(f"Practitioner/{long(width, 4)}")
    assert kept.owner.startswith(f"Practitioner/{long(width, 4)[:100]}")
    clinic.put(task(width, owner={"reference": f"Practitioner/{long(width, 8)}"}), MONDAY + HOUR)
    clinic.put(task(width, status="completed", businessStatus=coded(long(width, 9))), MONDAY + 2 * HOUR)
    assert not clinic.item("Task/t").open
    rollups.fold(database, MONDAY + 5 * HOUR)
    with database.read() as tx:
        period = Period(start=MONDAY - HOUR, end=MONDAY + 4 * HOUR)
        handed = rollups.sums(tx, SYSTEM, "handed", period, by=("a", "b"))
        closed = rollups.sums(tx, SYSTEM, "closed", period, by=("a",))
    assert [(one.by, one.n) for one in handed] == [((kept.code, "owner"), 1)]
    assert [(one.by, one.n) for one in closed] == [((kept.code,), 1)]


@pytest.mark.parametrize("width", ALPHABETS)
@pytest.mark.parametrize("name", CUT)
def test_a_cut_text_has_as_many_bytes_as_fit_and_no_half_letter(width: int, name: str) -> None:
    fields: dict[str, Any] = {name: long(width, 1, 600)}
    told = str(getattr(item("Task/t", **fields).fitted(), name))
    assert long(width, 1, 600).startswith(told)
    assert LONGEST - width < len(told.encode()) <= LONGEST


@pytest.mark.parametrize("width", ALPHABETS)
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_what_just_fits_is_kept_whole_and_a_letter_more_is_not(width: int, over: int) -> None:
    text = long(width, 2, LONGEST // width + over)
    assert (cut(text) == text) is (over <= 0)
    assert item("Task/t", owner=text).fitted().owner == cut(text)


def test_an_item_of_short_texts_is_left_as_it_is() -> None:
    short = item("Task/t", owner="Practitioner/ü", role=None, code="")
    assert short.fitted() is short


def test_half_of_a_pair_does_not_stop_the_cutting() -> None:
    assert cut("\ud800" + "x" * 10) == "\ud800" + "x" * 10
    assert len(cut("\ud800" * 600)) <= LONGEST
    assert cut("x" * 499 + "\ud800") == "x" * 499


@pytest.mark.parametrize("width", [1, 4])
def test_an_item_as_long_as_it_may_be_fits_every_index_with_every_way_to_write_it(
    database: Database, width: int
) -> None:
    texts: dict[str, Any] = {name: cut(long(width, seed)) for seed, name in enumerate(CUT)}
    whole: WorkItem = item("Task/a", program="p" * 64, due_at=MONDAY, title=long(width, 99), **texts)
    with database.begin() as tx:
        work_items.add(tx, whole)
    with database.begin() as tx:
        work_items.save(tx, whole.having(ref="Task/b"))
    turned: dict[str, Any] = {name: cut(long(width, seed)) for seed, name in enumerate(reversed(CUT))}
    changed = [whole.having(ref=ref, **turned) for ref in ("Task/a", "Task/b")]
    with database.begin() as tx:
        work_items.save_many(tx, changed)
    with database.read() as tx:
        assert [one for _, one in work_items.scan(tx, SYSTEM)] == changed


def test_a_text_that_no_index_holds_is_the_senders_mistake_and_not_an_outage(database: Database) -> None:
    """An outage is tried again for ever, and whatever waits behind waits as long."""
    too_long = item("Task/t", owner=long(3, 1), role=long(3, 2), due_at=MONDAY)
    if database.dialect == "sqlite":
        with database.begin() as tx:
            work_items.save(tx, too_long)
        return
    for write in (work_items.save, work_items.add):
        with pytest.raises(Incorrect, match="cannot be held"), database.begin() as tx:
            write(tx, too_long)
    with database.read() as tx:
        assert work_items.scan(tx, SYSTEM) == []


@pytest.mark.parametrize("width", [1, 4])
def test_a_staff_directory_with_a_long_reference_stops_nobody_from_being_read(database: Database, width: int) -> None:
    clinic = Clinic(database)
    clinic.put({"resourceType": "Practitioner", "id": "nurse", "active": True}, MONDAY)
    hostile: dict[str, Any] = {"resourceType": "PractitionerRole", "id": "bad", "code": [coded(long(width, 1))]}
    hostile |= {"practitioner": {"reference": f"Practitioner/{long(width, 2)}"}}
    clinic.put(hostile, MONDAY)
    mail = [{"system": "email", "value": f"{long(width, 3)}@example.org"}]
    clinic.put(
        {"resourceType": "Practitioner", "id": "late", "name": [{"text": long(width, 4)}], "telecom": mail}, MONDAY
    )
    report = staffing.keep_owned(database, MONDAY + HOUR)
    assert report.changes >= 3
    again = staffing.keep_owned(database, MONDAY + 2 * HOUR)
    assert again.changes == 0
    with database.read() as tx:
        found = staff.people(tx, ["Practitioner/late", "PractitionerRole/bad"])
    assert found["Practitioner/late"].name == long(width, 4)
    assert found["PractitionerRole/bad"].ref == cut(f"Practitioner/{long(width, 2)}")


BAD: Mapping[str, Any] = {
    "type": {"resourceType": "{}", "id": "a"},
    "id": {"resourceType": "Task", "id": "{}", "status": "requested", "intent": "order"},
    "member": {"resourceType": "Task", "id": "a", "status": "requested", "intent": "order", "{}": 1},
    "deep member": {"resourceType": "Task", "id": "a", "status": "requested", "intent": "order", "for": {"{}": [None]}},
    "status": {"resourceType": "Task", "id": "a", "status": "{}", "intent": ["{}"]},
    "version": {
        "resourceType": "Task",
        "id": "a",
        "meta": {"versionId": "{}"},
        "status": "requested",
        "intent": "order",
    },
    "patient": {
        "resourceType": "Task",
        "id": "a",
        "for": {"reference": "Patient/{}"},
        "status": "x",
        "intent": "order",
    },
    "date": {"resourceType": "Task", "id": "a", "authoredOn": "{}", "status": "requested", "intent": "order"},
}


def as_it_is(resource: Resource) -> Resource:
    return {**resource, "id": f"ehr-{resource['id']}"}


@pytest.mark.parametrize("name", BAD)
def test_a_page_of_an_ehr_goes_on_past_what_is_too_long_in_it(database: Database, name: str) -> None:
    raw = json.dumps(BAD[name], ensure_ascii=False).replace("{}", long(4, 5, 9000))
    good = {"resourceType": "Task", "id": "good", "status": "requested", "intent": "order"}
    entries = [intake.read_entry(one.encode(), "Task", as_it_is) for one in (raw, json.dumps(good), raw)]
    author = Author(viewer=worker_viewer("sync"), origin="ehr:ehr", at=MONDAY)
    for _ in range(2):
        with database.begin() as tx:
            done = intake.take_page(tx, entries, "ehr", author)
        assert done.quarantined + done.applied + done.unchanged + done.stale + done.deleted >= 2
    with database.read() as tx:
        assert work_items.find(tx, SYSTEM, "Task/ehr-good") is not None
        for waiting in quarantine.list(tx, SYSTEM):
            assert waiting.times >= 1
            assert waiting.body
