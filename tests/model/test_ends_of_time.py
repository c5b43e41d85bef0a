"""Resources of the year 1 and of the year 9999, as typing mistakes and hostile senders make them: rules go on past all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from fhir_tracker import intake
from fhir_tracker.errors import TrackerError
from fhir_tracker.model.event import EVENT_TYPES, event_of
from fhir_tracker.model.vocabulary import HOLD_UNTIL
from fhir_tracker.model.work import Event
from fhir_tracker.storage import events, poisoned, rollups, work_items
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.flow_facts import Period
from tests.support.clinic import EVERYONE, MONDAY, SYSTEM, Clinic, appointment, author, encounter

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ENDS = (
    "0001", "0001-01", "0001-01-01", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00-12:00",
    "0026-03-09T10:00:00Z", "1899-12-30T00:00:00Z", "1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z",
    "2038-01-19T03:14:08Z", "9999", "9999-12", "9999-12-31", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-12:00", "9999-12-31T00:00:00+14:00",
)  # fmt: skip
FARTHEST = (ENDS[0], ENDS[4], ENDS[8], ENDS[11], ENDS[15], ENDS[16])
WHENS = {
    "Appointment": ("start", "end"),
    "CarePlan": ("period.start", "period.end", "created"),
    "Communication": ("sent", "received"),
    "Condition": ("onsetDateTime", "abatementDateTime", "recordedDate"),
    "Consent": ("dateTime", "provision.period.start", "provision.period.end"),
    "Coverage": ("period.start", "period.end"),
    "DiagnosticReport": ("effectiveDateTime", "issued"),
    "DocumentReference": ("date",),
    "Encounter": ("period.start", "period.end"),
    "Flag": ("period.start", "period.end"),
    "Observation": ("effectiveDateTime", "effectivePeriod.start", "issued"),
    "Procedure": ("performedDateTime", "performedPeriod.start", "performedPeriod.end"),
    "QuestionnaireResponse": ("authored",),
    "ServiceRequest": ("authoredOn",),
}


def with_member(resource: dict[str, Any], path: str, value: str) -> dict[str, Any]:
    """The same with a text at a path."""
    changed = deepcopy(resource)
    *outer, last = path.split(".")
    place = changed
    for name in outer:
        place = place.setdefault(name, {})
    place[last] = value
    return changed


def bare(type_: str, id_: str = "odd", patient: str = "ann") -> dict[str, Any]:
    """A resource of a patient with nothing but a status and whose it is."""
    whose = {"Appointment": "participant", "Coverage": "beneficiary", "Consent": "patient"}.get(type_, "subject")
    reference: Any = {"reference": f"Patient/{patient}"}
    member = [{"actor": reference, "status": "accepted"}] if whose == "participant" else reference
    return {"resourceType": type_, "id": id_, "status": "active", whose: member}


def read(resource: dict[str, Any]) -> Event:
    found = event_of(resource, seen_at=MONDAY)
    assert found is not None
    return found


@pytest.mark.parametrize("type_", WHENS)
def test_an_event_at_an_end_of_time_is_an_event(type_: str) -> None:
    """Its moments are those that can be said, and what is made of them needs no moment beyond."""
    assert type_ in EVENT_TYPES
    plain = read(bare(type_))
    for path, text in product(WHENS[type_], ENDS):
        seen = read(with_member(bare(type_), path, text))
        for moment in (seen.start, seen.end, seen.at, seen.began, *seen.order[:2]):
            assert moment is None or moment.tzinfo is not None
        told = {seen.start, seen.end} - {None}
        assert len(told) <= 1
        assert seen.at in {*told, MONDAY}
        assert (seen.ref, seen.patient, seen.status) == (plain.ref, plain.patient, plain.status)


@pytest.mark.parametrize("type_", WHENS)
def test_an_event_at_an_end_of_time_is_kept_as_it_is(database: Database, type_: str) -> None:
    given = [
        read(with_member(bare(type_, f"odd{number}"), path, text))
        for number, (path, text) in enumerate(product(WHENS[type_], ENDS))
    ]
    with database.begin() as tx:
        for number, one in enumerate(given):
            (events.add if number % 2 else events.save)(tx, one)
    with database.read() as tx:
        found = events.of_patients(tx, SYSTEM, ["ann"])["ann"]
    assert list(found) == sorted(given, key=lambda one: one.order)


def hostile_resources() -> Iterator[dict[str, Any]]:
    """One of each type and end, for a patient who has work."""
    number = 0
    for type_, paths in WHENS.items():
        for path, text in product(paths, ENDS):
            number += 1
            made = with_member(bare(type_, f"odd{number}"), path, text)
            if type_ == "Communication":
                made["status"] = "completed"
            yield made


def put_if_taken(clinic: Clinic, resource: dict[str, Any], at: Any) -> bool:
    """Whether the store took it."""
    try:
        clinic.put(resource, at)
    except TrackerError:
        return False
    return True


def poisons(database: Database) -> list[tuple[str, str]]:
    with database.read() as tx:
        return [(one.ref, one.reason) for one in poisoned.all(tx)]


def test_work_of_a_patient_with_every_end_of_time_is_swept_and_poisons_nothing(database: Database) -> None:
    clinic = Clinic(database)
    for name in ("ann", "bob"):
        clinic.patient(name)
        clinic.discharge(name, MONDAY)
    taken = [put_if_taken(clinic, one, MONDAY + HOUR) for one in hostile_resources()]
    assert sum(taken) > 100
    clinic.enrol(MONDAY + HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    assert poisons(database) == []
    late = MONDAY + 3 * DAY
    clinic.sweep(late)
    assert poisons(database) == []
    assert len(clinic.escalations("bob")) == len(clinic.escalations("ann")) == 1
    rollups.fold(database, late + HOUR)
    clinic.sweep(late + 30 * DAY)
    assert poisons(database) == []


@pytest.mark.parametrize("text", FARTHEST)
def test_a_stay_that_ended_at_an_end_of_time_stops_nobodys_enrolment(database: Database, text: str) -> None:
    clinic = Clinic(database)
    for name in ("ann", "bob"):
        clinic.patient(name)
    stay = with_member(encounter("ann", MONDAY, id_="odd"), "period.end", text)
    put_if_taken(clinic, stay, MONDAY)
    clinic.put(appointment("ann", MONDAY, id_="a", status="noshow") | {"start": text, "end": text}, MONDAY)
    clinic.discharge("bob", MONDAY)
    clinic.sweep(MONDAY + HOUR)
    clinic.sweep(MONDAY + 3 * DAY)
    assert poisons(database) == []
    assert len(clinic.escalations("bob")) == 1


@pytest.mark.parametrize("text", FARTHEST)
def test_a_task_due_or_held_until_an_end_of_time_is_work_like_any(database: Database, text: str) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    ref = clinic.task("ann", "first-call").ref
    body = clinic.resource(ref)
    put_if_taken(clinic, with_member(body, "restriction.period.end", text), MONDAY + HOUR)
    put_if_taken(clinic, with_member(body, "authoredOn", text), MONDAY + HOUR)
    clinic.sweep(MONDAY + 2 * HOUR)
    held = clinic.resource(ref)
    held["extension"] = [*held.get("extension", []), {"url": HOLD_UNTIL, "valueDateTime": text}]
    put_if_taken(clinic, held, MONDAY + 3 * HOUR)
    fields = {"hold.until": text, "reason": "Synthetic reason"}
    with suppress(TrackerError):
        clinic.move(ref, "waiting", MONDAY + 4 * HOUR, EVERYONE, fields)
    for days in (1, 3, 10):
        clinic.sweep(MONDAY + days * DAY)
    assert poisons(database) == []
    with database.read() as tx:
        found = work_items.find(tx, SYSTEM, ref)
    assert found is not None


@pytest.mark.parametrize("type_", ["Encounter", "Communication", "Appointment"])
def test_what_an_ehr_sends_of_the_ends_of_time_is_applied_or_put_aside_and_the_page_goes_on(
    database: Database, type_: str
) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    sent = [with_member(bare(type_, f"o{n}"), path, text) for n, (path, text) in enumerate(product(WHENS[type_], ENDS))]
    entries = [intake.read_entry(json.dumps(one).encode(), type_, lambda found: found) for one in sent]
    with database.begin() as tx:
        done = intake.take_page(tx, entries, "ehr", author(MONDAY, origin="ehr:ehr"))
    assert done.applied + done.quarantined == len(sent)
    assert done.applied > len(sent) // 2
    clinic.sweep(MONDAY + HOUR)
    assert poisons(database) == []


def test_attempts_at_the_ends_of_time_are_counted_in_their_hours_and_folding_them_ends(database: Database) -> None:
    clinic = Clinic(database)
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    about = {"about": [{"reference": clinic.task("ann", "first-call").ref}], "status": "completed"}
    told = [with_member(bare("Communication", f"c{n}") | about, "sent", text) for n, text in enumerate(ENDS)]
    taken = [one for one in told if put_if_taken(clinic, one, MONDAY + HOUR)]
    assert len(taken) > len(ENDS) // 2
    past, gone = (sum(read(one).began < MONDAY for one in some) for some in (taken, taken[:5]))

    def tried(at: datetime) -> int:
        period = Period(start=datetime(1, 1, 1, tzinfo=UTC), end=at)
        with database.read() as tx:
            return sum(one.n for one in rollups.sums(tx, SYSTEM, "tried", period, by=("a",)))

    before = tried(MONDAY + HOUR)
    assert before == past > 3
    for days in (1, 2):
        rollups.fold(database, MONDAY + days * DAY)
        assert tried(MONDAY + HOUR) == before
    for one in taken[:5]:
        clinic.remove(f"Communication/{one['id']}", MONDAY + 2 * DAY)
    assert tried(MONDAY + HOUR) == before - gone
    rollups.fold(database, MONDAY + 3 * DAY)
    assert tried(MONDAY + HOUR) == before - gone
    with database.begin() as tx:
        rollups.rebuild(tx)
    assert tried(MONDAY + HOUR) == before - gone
