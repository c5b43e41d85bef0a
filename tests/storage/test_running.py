"""Jobs, quarantine, connections, cursors, programs, firings and the other small tables."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from fhir_tracker.errors import Conflict
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition
from fhir_tracker.storage import (
    audit,
    connections,
    cursors,
    enrolments,
    events,
    firings,
    heartbeats,
    jobs,
    notifications,
    patients,
    programs,
    quarantine,
    rebuild,
    settings,
    transitions,
    work_items,
)
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.heartbeats import Heartbeat
from fhir_tracker.storage.patients import PatientSummary
from tests.storage.samples import NOW, VIEWER, item

MINUTE = timedelta(minutes=1)


def claim(database: Database, after: timedelta = timedelta(0), kind: str = "poll") -> jobs.Lease | None:
    with database.begin() as tx:
        return jobs.claim(tx, [kind], NOW + after, MINUTE)


def test_a_job_waits_once_and_runs_at_the_sooner_time(database: Database) -> None:
    with database.begin() as tx:
        assert jobs.enqueue(tx, "poll", "a", {"n": 1}, NOW + MINUTE)
        assert not jobs.enqueue(tx, "poll", "a", {"n": 2}, NOW)
        assert not jobs.enqueue(tx, "poll", "a", {"n": 3}, NOW + 2 * MINUTE)
        assert jobs.enqueue(tx, "poll", "b", {}, NOW + MINUTE)
        assert jobs.next_run_at(tx, ["poll"]) == NOW
        assert jobs.next_run_at(tx, ["other"]) is None
    held = claim(database)
    assert held is not None
    assert (held.key, held.payload, held.attempts) == ("a", {"n": 1}, 1)
    assert claim(database) is None
    assert claim(database, kind="other") is None


def test_what_a_worker_says_after_its_lease_went_to_another_does_not_count(database: Database) -> None:
    with database.begin() as tx:
        jobs.enqueue(tx, "poll", "a", {}, NOW)
    slow, quick = claim(database), claim(database, 2 * MINUTE)
    assert slow is not None
    assert quick is not None
    assert (quick.id, quick.attempts) == (slow.id, 2)
    with database.begin() as tx:
        assert not jobs.complete(tx, slow, NOW)
        assert not jobs.renew(tx, slow, NOW + 9 * MINUTE)
        assert not jobs.fail(tx, slow, "late", None, NOW)
        assert jobs.renew(tx, quick, NOW + 9 * MINUTE)
    assert claim(database, 8 * MINUTE) is None
    with database.begin() as tx:
        assert jobs.complete(tx, quick, NOW)
        assert not jobs.complete(tx, quick, NOW)
        assert jobs.forget_done(tx, NOW + MINUTE) == 1


def test_a_failed_job_is_tried_again_until_it_is_given_up(database: Database) -> None:
    with database.begin() as tx:
        jobs.enqueue(tx, "poll", "a", {}, NOW)
    held = claim(database)
    assert held is not None
    with database.begin() as tx:
        assert jobs.fail(tx, held, "no answer", NOW + MINUTE, NOW)
    assert claim(database) is None
    again = claim(database, MINUTE)
    assert again is not None
    with database.begin() as tx:
        assert jobs.fail(tx, again, "no answer", None, NOW)
        state = jobs.states(tx)[0]
    assert (again.attempts, state.dead, state.waiting, state.oldest_due) == (2, 1, 0, None)


def test_a_job_asked_for_while_it_runs_runs_again(database: Database) -> None:
    with database.begin() as tx:
        jobs.enqueue(tx, "poll", "a", {"n": 1}, NOW)
    first = claim(database)
    assert first is not None
    with database.begin() as tx:
        assert jobs.enqueue(tx, "poll", "a", {"n": 2}, NOW)
        assert jobs.states(tx)[0].oldest_due == NOW
        assert jobs.fail(tx, first, "odd", NOW, NOW)
    second = claim(database)
    assert second is not None
    assert (second.payload, claim(database)) == ({"n": 2}, None)


def test_eight_workers_take_each_job_once(database: Database) -> None:
    with database.begin() as tx:
        for number in range(40):
            jobs.enqueue(tx, "poll", str(number), {}, NOW)
    taken: list[str] = []

    def work() -> None:
        while held := claim(database):
            taken.append(held.key)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(taken, key=int) == [str(number) for number in range(40)]


def test_what_cannot_be_applied_is_counted_and_not_repeated(database: Database) -> None:
    def put(reason: str, body: str, minutes: int) -> None:
        with database.begin() as tx:
            quarantine.put(
                tx, connection="c", type_="Task", remote_id="1", reason=reason, detail="odd", body=body,
                at=NOW + minutes * MINUTE,
            )  # fmt: skip

    put("shape", "{1}", 0)
    put("shape", "{2}", 1)
    put("code", "{2}", 1)
    with database.begin() as tx:
        first, second = quarantine.list(tx, VIEWER, connection="c")
        assert (first.times, first.body, first.first_seen_at, first.last_seen_at) == (2, "{2}", NOW, NOW + MINUTE)
        assert quarantine.list(tx, VIEWER, connection="d") == []
        assert quarantine.list(tx, VIEWER, after=first.id) == [second]
        assert quarantine.resolve(tx, first.id, "applied", NOW)
        assert not quarantine.resolve(tx, first.id, "applied", NOW)
        assert quarantine.open_count(tx) == quarantine.open_count(tx, "c") == 1
        found = quarantine.find(tx, VIEWER, first.id)
        assert found is not None
        assert found.resolution == "applied"
    put("shape", "{3}", 2)
    with database.begin() as tx:
        assert [one.times for one in quarantine.list(tx, VIEWER)] == [1, 1]
        closed = quarantine.resolve_all(tx, connection="c", type_="Task", remote_id="1", resolution="applied", at=NOW)
        assert (closed, quarantine.open_count(tx)) == (2, 0)


def test_connections_and_their_cursors(database: Database) -> None:
    made = Connection(key="c", base_url="http://e/fhir", types=("Task",), options={"a": [1]}, created_at=NOW)
    place = Cursor(connection="c", type="Task", watermark=NOW, updated_at=NOW, detail={"pages": 3})
    with database.begin() as tx:
        connections.add(tx, made)
        cursors.save(tx, place)
        moved = replace(place, watermark=NOW + MINUTE, next_url="http://e/fhir?page=2")
        cursors.save(tx, moved)
        assert connections.all(tx) == [made]
        assert cursors.find(tx, "c", "Task") == moved
        assert cursors.of_connection(tx, "c") == [moved]
        connections.note_failure(tx, "c", NOW, "timeout")
        failed = connections.find(tx, "c")
        connections.note_success(tx, "c", NOW + MINUTE)
        followed = connections.find(tx, "c")
    assert failed == replace(made, last_attempt_at=NOW, last_error="timeout", state="failing")
    assert followed == replace(made, last_attempt_at=NOW + MINUTE, last_success_at=NOW + MINUTE, state="ok")
    with pytest.raises(Conflict), database.begin() as tx:
        connections.add(tx, made)
    with database.begin() as tx:
        assert connections.remove(tx, "c")
        assert not connections.remove(tx, "c")
        assert cursors.find(tx, "c", "Task") is None


def test_one_version_of_a_program_is_active(database: Database) -> None:
    with database.begin() as tx:
        first = programs.add(tx, "tcm", title="TCM", source="v1", at=NOW, by="me")
        second = programs.add(tx, "tcm", title="TCM", source="v2", at=NOW, by="me")
        other = programs.add(tx, "ccm", title="CCM", source="v1", at=NOW, by="me")
        assert programs.active(tx, "tcm") == second
        assert programs.find(tx, "tcm", 1) == replace(first, status="retired", retired_at=NOW)
        assert programs.find(tx, "tcm", 9) is programs.active(tx, "none") is None
        assert programs.all(tx) == [other, second]
        assert [one.version for one in programs.versions(tx, "tcm")] == [2, 1]


def test_a_level_fires_once(database: Database) -> None:
    key = FiringKey(item="Task/a", rule="late", cycle="0", level=1)
    fired = Firing(key=key, fired_at=NOW, kind=firings.ESCALATE, to_role="rn", reason="2 h late")
    outcomes: list[bool] = []

    def fire() -> None:
        with database.begin() as tx:
            outcomes.append(firings.fire(tx, fired, "ann"))

    threads = [threading.Thread(target=fire) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(outcomes) == [False] * 7 + [True]
    with database.begin() as tx:
        assert firings.fire(tx, replace(fired, key=replace(key, cycle="1")), "ann")
        firings.link_task(tx, key, "Task/x")
        assert firings.set_state(tx, key, "acknowledged")
        assert not firings.set_state(tx, replace(key, level=2), "resolved")
        told = replace(fired, task="Task/x", state="acknowledged")
        assert firings.of_task(tx, VIEWER, "Task/x") == told
        assert firings.of_items(tx, VIEWER, ["Task/a", "Task/b"])["Task/b"] == ()
        assert told in firings.of_items(tx, VIEWER, ["Task/a"])["Task/a"]


def test_an_enrolment_is_made_once(database: Database) -> None:
    with database.begin() as tx:
        assert enrolments.reserve(tx, "tcm", "ann", "Encounter/e", NOW)
        assert not enrolments.reserve(tx, "tcm", "ann", "Encounter/e", NOW)
        assert enrolments.reserve(tx, "tcm", "ann", "Encounter/f", NOW)
        enrolments.attach(tx, "tcm", "ann", "Encounter/e", "CarePlan/p")
        made = enrolments.of_plan(tx, VIEWER, "CarePlan/p")
        assert made is not None
        assert made.trigger == "Encounter/e"
        assert len(enrolments.of_patient(tx, VIEWER, "ann")) == 2


def test_events_transitions_and_summaries_are_given_back_as_written(database: Database) -> None:
    seen = Event(
        ref="Encounter/e", type="Encounter", status="finished", patient="ann", codes=("s|IMP",), start=NOW,
        end=NOW + MINUTE, seen_at=NOW, about=("Appointment/x",), detail={"reason": "fall"},
    )  # fmt: skip
    moved = Transition(
        item="Task/a", what="status", before="x", after="y", recorded_at=NOW, effective_at=NOW - MINUTE, who="me",
        reason="r", note="n", rule="tcm|1#late", cycle=2,
    )  # fmt: skip
    person = PatientSummary(patient="ann", name="Ann", birth_date="1950", mrn="7", deceased=True, flags=("frail",))
    with database.begin() as tx:
        events.save(tx, replace(seen, status="planned"))
        events.save(tx, seen)
        events.save(tx, replace(seen, ref="Flag/f", type="Flag", start=NOW - MINUTE))
        transitions.add(tx, moved, "ann")
        transitions.add(tx, replace(moved, recorded_at=NOW - MINUTE), "ann")
        patients.save(tx, person)
        patients.save(tx, replace(person, name="Anna", flags=()))
        assert events.find(tx, VIEWER, "Encounter/e") == seen
        assert [one.ref for one in events.of_patients(tx, VIEWER, ["ann"])["ann"]] == ["Flag/f", "Encounter/e"]
        assert events.of_patients(tx, VIEWER, ["ann", "bob"], ["Encounter"]) == {"ann": (seen,), "bob": ()}
        assert transitions.of_items(tx, VIEWER, ["Task/a"])["Task/a"][1] == moved
        assert transitions.of_patient(tx, VIEWER, "ann")[0] == moved
        assert patients.find(tx, VIEWER, "ann") == replace(person, name="Anna")
        events.drop(tx, "Encounter/e")
        patients.drop(tx, "ann")
        assert events.find(tx, VIEWER, "Encounter/e") is None
        assert patients.find(tx, VIEWER, "ann") is None


def test_heartbeats_add_up_and_settings_stay(database: Database) -> None:
    beat = Heartbeat(program="tcm", rule="late", last_evaluated=NOW, matched=2, fired=1)
    with database.begin() as tx:
        heartbeats.note(tx, beat)
        heartbeats.note(tx, replace(beat, last_evaluated=NOW + MINUTE, failed=1))
        assert heartbeats.all(tx) == [replace(beat, last_evaluated=NOW + MINUTE, matched=4, fired=2, failed=1)]
        settings.put(tx, "brake", "on")
        settings.put(tx, "brake", "off")
        assert settings.get(tx, "brake") == "off"
        settings.put(tx, "brake", None)
        assert settings.get(tx, "brake") is None


def test_a_notification_reaches_roles_and_persons(database: Database) -> None:
    with database.begin() as tx:
        for role, person in (("rn", None), (None, "Practitioner/x"), ("provider", None)):
            notifications.add(
                tx,
                to_role=role,
                to_person=person,
                channel="in-app",
                subject="Task/a",
                patient="ann",
                text="late",
                at=NOW,
            )
        told = notifications.of_role(tx, VIEWER, ["rn"], person="Practitioner/x")
        assert [(one.to_role, one.to_person) for one in told] == [(None, "Practitioner/x"), ("rn", None)]
        assert notifications.of_role(tx, VIEWER, ["rn"], person="Practitioner/x", before=told[0].id) == told[1:]
        assert notifications.mark_read(tx, VIEWER, told[0].id, NOW)
        assert notifications.unread_count(tx, VIEWER, ["rn"], person="Practitioner/x") == 1


def test_audit_rows_are_listed_newest_first(database: Database) -> None:
    with database.begin() as tx:
        for number in range(3):
            audit.add(
                tx,
                at=NOW,
                viewer=Viewer(who="me"),
                action="read",
                ref=f"Task/{number}",
                patient="ann",
                detail={"n": number},
            )
        rows = audit.list(tx, VIEWER, patient="ann")
        assert [one.ref for one in rows] == ["Task/2", "Task/1", "Task/0"]
        assert audit.list(tx, VIEWER, before=rows[0].seq, limit=1) == [rows[1]]
        assert audit.list(tx, VIEWER, patient="bob") == []


def test_clearing_read_models_keeps_the_records(database: Database) -> None:
    with database.begin() as tx:
        work_items.save(tx, item("Task/a"))
        patients.save(tx, PatientSummary(patient="ann", name="Ann"))
        enrolments.reserve(tx, "tcm", "ann", "", NOW)
        rebuild.clear_read_models(tx)
        assert work_items.find(tx, VIEWER, "Task/a") is None
        assert patients.find(tx, VIEWER, "ann") is None
        assert len(enrolments.of_patient(tx, VIEWER, "ann")) == 1
