"""No read of patient data goes round the viewer: every public function is called as one locked to another patient."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
from sqlalchemy import select

from fhir_tracker import storage
from fhir_tracker.errors import Fault, Forbidden
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.model.author import Author
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.spell import beginning
from fhir_tracker.model.staff import Person
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event, Firing, FiringKey, Transition
from fhir_tracker.storage import (
    audit,
    audit_search,
    caseloads,
    changes,
    enrolments,
    events,
    figures,
    firings,
    history,
    key_walk,
    notifications,
    outbox,
    owners,
    past,
    patients,
    quarantine,
    queue,
    referrers,
    resources,
    rollups,
    search,
    search_includes,
    search_plan,
    search_walks,
    spells,
    staff,
    standing,
    standing_work,
    tables,
    transitions,
    work_items,
)
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.drivers import Driver
from fhir_tracker.storage.flow_facts import Period
from fhir_tracker.storage.glance import Glance
from fhir_tracker.storage.outbox import Changed
from fhir_tracker.storage.patients import PatientSummary
from fhir_tracker.storage.queue import QueueFilter
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.scope import row_scope, row_scope_text
from fhir_tracker.storage.search_sorting import Sorting
from tests.storage.samples import NOW, VIEWER, item, locked, put, task

REFERRING = parse_query("Patient", [("_revinclude", "Task:patient")], strict=True)
CARE_TEAM = {
    "resourceType": "CareTeam", "id": "team", "subject": {"reference": "Patient/ann"},
    "participant": [{"member": {"reference": "Practitioner/p"}}],
}  # fmt: skip
ANN = Stored(
    k=0, type="Patient", id="ann", version=1, updated_at=NOW, deleted=False, body='{"resourceType":"Patient"}',
    patient="ann", connection=None, remote_id=None, remote_version=None, content_hash=None,
)  # fmt: skip


def by_glance(tx: Tx, viewer: Viewer) -> object:
    """What a plain search gives on a connection of its own."""
    driver = Driver(tx.connection.engine)
    try:
        return key_walk.matches(Glance(driver, tx.dialect), viewer, parse_query("Task", [], strict=True), None)
    finally:
        driver.close()


def sorted_walk(tx: Tx, viewer: Viewer) -> object:
    """What a search finds by walking along its sort."""
    query = parse_query("Task", [("_sort", "_id")], strict=True)
    found = search_plan.plan(tx, viewer, ("Task",), ())
    return search_walks.walked(tx, viewer, query, found, Sorting(("Task",), query.sort), None)


def no_code(parameter: str, system: str | None, code: str) -> audit_search.Words:
    """Nothing is searched by a code here."""
    raise AssertionError(parameter, system, code)


EVENTS = parse_query("AuditEvent", [], strict=True)
KEY = FiringKey(item="Task/a", rule="r", cycle="0", level=1)
PRESENT = standing.Moment(at=NOW, now=True)
YEAR = Period(start=NOW.replace(year=2025), end=NOW.replace(year=2027))
RULES = [("tcm", "r")]
READS: dict[str, Callable[[Tx, Viewer], object]] = {
    "audit.list": lambda tx, viewer: audit.list(tx, viewer),
    "audit_search.find": lambda tx, viewer: audit_search.find(
        tx, viewer, audit_search.listed(tx, VIEWER, audit_search.Wanted(), 1)[0].seq
    ),
    "audit_search.listed": lambda tx, viewer: audit_search.listed(tx, viewer, audit_search.Wanted(), 10),
    "audit_search.page": lambda tx, viewer: audit_search.page(tx, viewer, EVENTS, no_code, NOW).rows,
    "audit_search.rows_between": lambda tx, viewer: audit_search.rows_between(tx, viewer, None, None, (), 0, 9),
    "caseloads.given_back": lambda tx, viewer: caseloads.given_back(tx, viewer, ["Task/own"], "nobody"),
    "caseloads.open_counts": lambda tx, viewer: caseloads.open_counts(tx, viewer, ["Practitioner/p"])["Practitioner/p"],
    "caseloads.open_work_of": lambda tx, viewer: caseloads.open_work_of(tx, viewer, "Practitioner/p"),
    "caseloads.owners_gone": lambda tx, viewer: caseloads.owners_gone(tx, viewer, NOW),
    "changes.read_since": lambda tx, viewer: changes.read_since(tx, viewer, "test", 9),
    "enrolments.of_patient": lambda tx, viewer: enrolments.of_patient(tx, viewer, "ann"),
    "enrolments.of_patients": lambda tx, viewer: enrolments.of_patients(tx, viewer, ["ann"]),
    "enrolments.of_plan": lambda tx, viewer: enrolments.of_plan(tx, viewer, "CarePlan/p"),
    "events.find": lambda tx, viewer: events.find(tx, viewer, "Encounter/e"),
    "events.owners": lambda tx, viewer: events.owners(tx, viewer, ["Encounter/e"]),
    "events.of_patients": lambda tx, viewer: events.of_patients(tx, viewer, ["ann"])["ann"],
    "figures.aging": lambda tx, viewer: figures.aging(tx, viewer, NOW),
    "figures.escalations": lambda tx, viewer: figures.escalations(tx, viewer, NOW),
    "figures.overdue": lambda tx, viewer: figures.overdue(tx, viewer, NOW, "role"),
    "figures.totals": lambda tx, viewer: figures.totals(tx, viewer, NOW).open,
    "firings.recent_levels": lambda tx, viewer: firings.recent_levels(tx, viewer, NOW, NOW),
    "firings.levels": lambda tx, viewer: firings.levels(tx, viewer),
    "firings.of_items": lambda tx, viewer: firings.of_items(tx, viewer, ["Task/a"])["Task/a"],
    "firings.of_task": lambda tx, viewer: firings.of_task(tx, viewer, "Task/x"),
    "history.page": lambda tx, viewer: history.page(tx, viewer, history.Span(type="Task"), count=9).versions,
    "key_walk.matches": by_glance,
    "notifications.of_role": lambda tx, viewer: notifications.of_role(tx, viewer, ["rn"]),
    "notifications.of_subject": lambda tx, viewer: notifications.of_subject(tx, viewer, "Task/a"),
    "notifications.unread_count": lambda tx, viewer: notifications.unread_count(tx, viewer, ["rn"]),
    "outbox.find": lambda tx, viewer: outbox.find(tx, viewer, outbox.listed(tx, VIEWER)[0].id),
    "outbox.listed": lambda tx, viewer: outbox.listed(tx, viewer),
    "outbox.of_resource": lambda tx, viewer: outbox.of_resource(tx, viewer, "Task", "a"),
    "past.of_patients": lambda tx, viewer: past.of_patients(tx, viewer, ["ann"], ["Task", "Encounter"], NOW)["ann"],
    "past.with_work": lambda tx, viewer: past.with_work(tx, viewer, "tcm", NOW, "", 9),
    "patients.find": lambda tx, viewer: patients.find(tx, viewer, "ann"),
    "patients.find_many": lambda tx, viewer: patients.find_many(tx, viewer, ["ann"]),
    "quarantine.find": lambda tx, viewer: quarantine.find(tx, viewer, quarantine.list(tx, VIEWER)[0].id),
    "quarantine.labelled": lambda tx, viewer: quarantine.labelled(tx, viewer, "{"),
    "quarantine.list": lambda tx, viewer: quarantine.list(tx, viewer),
    "quarantine.waiting": quarantine.waiting,
    "owners.owners_of": lambda tx, viewer: owners.owners_of(tx, viewer, "Practitioner/p", NOW, teams=True)[1:],
    "queue.counts": lambda tx, viewer: queue.counts(tx, viewer, QueueFilter(), NOW).open,
    "queue.queue": lambda tx, viewer: queue.queue(tx, viewer, QueueFilter(), NOW).rows,
    "referrers.referrers": lambda tx, viewer: referrers.referrers(tx, viewer, ["Patient/ann"])["Patient/ann"].seen,
    "resources.find": lambda tx, viewer: resources.find(tx, viewer, "Task", "a"),
    "resources.find_many": lambda tx, viewer: resources.find_many(tx, viewer, ["Task/a"]),
    "resources.find_version": lambda tx, viewer: resources.find_version(tx, viewer, "Task", "a", 1),
    "resources.history": lambda tx, viewer: resources.history(tx, viewer, "Task", "a", count=9),
    "resources.naming": lambda tx, viewer: resources.naming(tx, viewer, "Task", "ann", ""),
    "resources.patients_of": lambda tx, viewer: resources.patients_of(tx, viewer, ["Task/a"]),
    "resources.reached": lambda tx, viewer: resources.reached(tx, viewer, "r", ["Task/a"]),
    "resources.remote_body": lambda tx, viewer: resources.remote_body(tx, viewer, "Task", "a"),
    "resources.scan": lambda tx, viewer: resources.scan(tx, viewer, []),
    "search.search": lambda tx, viewer: search.search(tx, viewer, parse_query("Task", [], strict=True)).matches,
    "search_includes.included": lambda tx, viewer: search_includes.included(tx, viewer, REFERRING, [ANN])[0],
    "search_walks.walked": sorted_walk,
    "search_plan.plan": lambda tx, viewer: tx.rows(
        search_plan.plan(tx, viewer, ("Task",), ()).of(select(tables.resource.c.k))
    ),
    "rollups.sums": lambda tx, viewer: rollups.sums(tx, viewer, "escalated", YEAR, by=("program",)),
    "spells.of_item": lambda tx, viewer: spells.of_item(tx, viewer, "CarePlan/gone"),
    "standing.aging": lambda tx, viewer: standing.aging(tx, viewer, PRESENT),
    "standing.doubles": lambda tx, viewer: standing.doubles(tx, viewer, PRESENT),
    "standing.endless_holds": lambda tx, viewer: standing.endless_holds(tx, viewer, PRESENT),
    "standing.first_firings": lambda tx, viewer: standing.first_firings(tx, viewer, YEAR.start, YEAR.end, RULES),
    "standing.holds": lambda tx, viewer: standing.holds(tx, viewer, PRESENT),
    "standing.left_open": lambda tx, viewer: standing.left_open(tx, viewer, PRESENT),
    "standing.overdue": lambda tx, viewer: standing.overdue(tx, viewer, PRESENT),
    "standing.owned_by": lambda tx, viewer: standing.owned_by(tx, viewer, PRESENT, ["Practitioner/p"]),
    "standing.owners": lambda tx, viewer: standing.owners(tx, viewer, PRESENT),
    "standing.open_cases": lambda tx, viewer: standing.open_cases(tx, viewer, PRESENT, RULES),
    "standing.unresolved": lambda tx, viewer: standing.unresolved(tx, viewer, PRESENT, RULES),
    "standing.waiting": lambda tx, viewer: standing.waiting(tx, viewer, PRESENT),
    "standing.without_due": lambda tx, viewer: standing.without_due(tx, viewer, PRESENT),
    "standing.without_owner": lambda tx, viewer: standing.without_owner(tx, viewer, PRESENT),
    "standing_work.next_items": lambda tx, viewer: standing_work.next_items(tx, viewer, "tcm", 0, "task", 0, 9),
    "standing_work.of_program": lambda tx, viewer: standing_work.of_program(tx, viewer, "tcm", 0),
    "transitions.of_items": lambda tx, viewer: transitions.of_items(tx, viewer, ["Task/a"])["Task/a"],
    "transitions.of_patient": lambda tx, viewer: transitions.of_patient(tx, viewer, "ann"),
    "work_items.about": lambda tx, viewer: work_items.about(tx, viewer, "Task/z"),
    "work_items.find": lambda tx, viewer: work_items.find(tx, viewer, "Task/a"),
    "work_items.find_many": lambda tx, viewer: work_items.find_many(tx, viewer, ["Task/a"]),
    "work_items.plans_of": lambda tx, viewer: work_items.plans_of(tx, viewer, "tcm", ["ann"]).get("ann", []),
    "work_items.of_patient": lambda tx, viewer: work_items.of_patient(tx, viewer, "ann"),
    "work_items.of_plan": lambda tx, viewer: work_items.of_plan(tx, viewer, "CarePlan/p"),
    "work_items.of_plans": lambda tx, viewer: work_items.of_plans(tx, viewer, ["CarePlan/p"])["CarePlan/p"],
    "work_items.scan": lambda tx, viewer: work_items.scan(tx, viewer),
    "work_items.open_count": lambda tx, viewer: work_items.open_count(tx, viewer),
    "work_items.open_up_to": lambda tx, viewer: work_items.open_up_to(tx, viewer, "task", "tcm", 10),
    "work_items.some_open": lambda tx, viewer: work_items.some_open(tx, viewer, "task", "tcm", 10),
}
WRITES = {
    "add", "advance", "all_due_now", "attach", "clear_index", "clear_read_models", "drop", "due_now", "fire", "forget_done", "link_task",
    "mark_read", "note", "note_remote", "note_failure", "note_success", "postpone", "put", "reindex", "remove", "reserve", "resolve",
    "resolve_all", "save", "set_flags", "set_state", "settle", "start_at_head", "wake", "wake_owned",
    "look_at", "change", "discard", "forget", "wake_all", "withdrawn", "save_indexed", "foresee",
    "glance", "in_step", "replace", "take_back", "save_many", "settle_many", "reserve_many", "fire_many", "skip", "add_missing", "add_new",
    "add_access",
}  # fmt: skip
WORKERS_OWN = {
    "changes.side_by_side": "names of readers of the log",
    "attempt_log.end": "a write",
    "titles.titled": "gives back the work it was given, which the row scope let through",
    "audit_search.of_patient": "a condition, added to the row scope",
    "audit_search.since": "a condition, added to the row scope",
    "changes.head": "a number",
    "rollups.rebuild": "a write",
    "rollups.touch": "a write",
    "changes.written_since": "references of what is to be written to an EHR, no content",
    "outbox.connection_options": "options of connections",
    "outbox.counts": "numbers",
    "outbox.due": "the worker writes everybody's changes back and shows them to nobody",
    "outbox.of_local": "as outbox.due",
    "outbox.of_remote": "as outbox.due",
    "outbox.oldest_waiting": "a moment",
    "outbox.written": "as outbox.due",
    "outbox.hurry": "a write",
    "changes.lag": "a number",
    "caseloads.roles_waiting": "roles and numbers",
    "caseloads.wait_no_more": "a write",
    "caseloads.waiting": "references of work that the worker finds an owner for, no content",
    "caseloads.want_owner": "a write",
    "absences.count": "a number",
    "absences.find": "remote ids of what the worker misses, no content",
    "inbox.done": "a write",
    "inbox.due": "what the worker is to read again; it shows it to nobody",
    "inbox.due_connections": "keys of connections",
    "inbox.room": "how much may still wait",
    "inbox.waiting": "a number",
    "quarantine.open_count": "a number",
    "quarantine.open_counts": "numbers",
    "quarantine.set_restricted": "a write",
    "resources.ids_of": "ids for reconciliation, no content",
    "resources.mirrored_connections": "keys of connections",
    "resources.known": "ids and hashes for the sync worker, no content",
    "rosters.all_due": "a write",
    "rosters.due": "whom the worker is to read next; it shows them to nobody",
    "rosters.held": "what the worker compares with what the EHR holds; it shows it to nobody",
    "rosters.leave": "a write",
    "rosters.missing": "remote ids for the worker, no content",
    "rosters.standing": "numbers",
    "rosters.was_read_since": "a yes or no",
    "work_items.due_spans": "moments and keys for the sweep, no content",
    "spells.last_end": "a moment",
    "work_items.claim_due": "the sweep works on everybody's items and shows them to nobody",
}
WAYS_IN = {
    "accounts", "clients", "epochs", "glass", "issuers", "launch_tabs", "launches", "local_logins", "role_files",
    "sealed_texts", "seen_jti", "tokens",
}  # fmt: skip
"""Who may come in and do what: read to know the viewer, before there is one."""
TRAIL = {"audit_chain", "audit_witness", "audit_guards", "audit_checking", "audit_pruning", "audit_work"}
"""The seal of the trail and its end: digests, numbers and writes."""
QUARANTINE = frozenset({"quarantine.find", "quarantine.labelled", "quarantine.list", "quarantine.waiting"})
OWN_WAYS = {"access_token", "audit_patient", "launch_session", "restricted_patient", "restricted_record", "roster"}
"""Tables that name a patient and have other keepers: who may do what, the trail, and what the sync worker goes by."""
WITHOUT_PATIENTS = {
    "budgets", "connections", "cursors", "dispatches", "heartbeats", "jobs", "leaders", "poisoned", "programs",
    "preferences", "remote_subscriptions", "settings", "signing_keys", "staff",
}  # fmt: skip


@pytest.fixture
def filled(database: Database) -> Database:
    with database.begin() as tx:
        put(tx, task("a", "ann"), remote_body="{}")
        put(tx, CARE_TEAM)
        made = item(
            "Task/a", plan="CarePlan/p", focus="Task/z", role="rn", program="tcm", due_at=NOW.replace(year=2025)
        )
        work_items.save(tx, made)
        patients.save(tx, PatientSummary(patient="ann", name="Ann"))
        events.save(tx, Event(ref="Encounter/e", type="Encounter", status="finished", patient="ann", seen_at=NOW))
        enrolments.reserve(tx, "tcm", "ann", "", NOW)
        enrolments.attach(tx, "tcm", "ann", "", "CarePlan/p")
        firings.fire(tx, Firing(key=KEY, fired_at=NOW, kind=firings.ESCALATE, task="Task/x", program="tcm"), "ann")
        moved = Transition(
            item="Task/a", what="status", before=None, after="x", recorded_at=NOW, effective_at=NOW, who="me"
        )
        transitions.add(tx, moved, "ann")
        notifications.add(
            tx, to_role="rn", to_person=None, channel="in-app", subject="Task/a", patient="ann", text="late", at=NOW
        )
        owned = item("Task/own", owner="Practitioner/p")
        work_items.save(tx, owned)
        work_items.save(tx, item("Task/ruled", program="tcm", program_version=1))
        staff.save_person(tx, Person(ref="Practitioner/p", active=False))
        left = Transition(
            item="Task/own",
            what="owner",
            before="Practitioner/p",
            after=None,
            recorded_at=NOW,
            effective_at=NOW,
            who="me",
        )
        transitions.add(tx, left, "ann")
        measured(tx)
        audit.add(tx, at=NOW, viewer=Viewer(who="me"), action="read", ref="Task/a", patient="ann")
        outbox.put(
            tx, Changed(connection="c", type="Task", local_id="a", patient="ann", made_here=True, version=1), NOW
        )
        quarantine.put(tx, connection="c", type_="Task", remote_id="1", reason="shape", detail="odd", body="{}", at=NOW)
    return database


def measured(tx: Tx) -> None:
    """What measures find something in: a closed plan with open work, a hold until nothing, doubles, an escalation."""
    plan = item("CarePlan/gone", kind="plan", plan="CarePlan/gone")
    by = Author(viewer=VIEWER, origin="test", at=NOW)
    spells.add(tx, beginning(plan, by, None))
    work_items.save(tx, item("CarePlan/open", kind="plan", plan="CarePlan/open"))
    work_items.save(tx, item("CarePlan/ruled", kind="plan", plan="CarePlan/ruled", program="tcm"))
    work_items.save(tx, item("Task/held", plan="CarePlan/gone", clock="paused"))
    work_items.save(tx, item("Task/x", kind="escalation", focus="Task/a"))
    for ref in ("Task/one", "Task/two"):
        work_items.save(tx, item(ref, code="same", focus="Task/none"))


def modules() -> list[ModuleType]:
    found = pkgutil.iter_modules(storage.__path__, f"{storage.__name__}.")
    return [importlib.import_module(one.name) for one in found]


def public_functions() -> dict[str, inspect.Signature]:
    """`module.function` -> signature of all that take a transaction."""
    found: dict[str, inspect.Signature] = {}
    for module in modules():
        for name, function in inspect.getmembers(module, inspect.isfunction):
            signature = inspect.signature(function)
            if function.__module__ == module.__name__ and not name.startswith("_") and "tx" in signature.parameters:
                found[f"{module.__name__.rpartition('.')[2]}.{name}"] = signature
    return found


def test_every_read_of_patient_data_takes_a_viewer_and_is_in_the_table() -> None:
    internal = {"indexing.write_index", "indexing.add_index", "scope_leads.few_seen"}
    reads = {
        name
        for name in public_functions()
        if name.partition(".")[2] not in WRITES
        and name.partition(".")[0] not in WITHOUT_PATIENTS | WAYS_IN | TRAIL
        and name not in WORKERS_OWN.keys() | internal
    }
    assert reads == set(READS)
    second = {name: list(public_functions()[name].parameters)[1] for name in READS}
    assert set(second.values()) == {"viewer"}


@pytest.mark.parametrize("patient", ["bob", "", "ann' OR '1'='1", "%"])
def test_a_viewer_locked_to_another_patient_gets_nothing(filled: Database, patient: str) -> None:
    with filled.read() as tx:
        given = {name: read(tx, locked(patient)) for name, read in READS.items()}
    assert {name: value for name, value in given.items() if value} == {}


def test_an_open_viewer_gets_something_from_each_read(filled: Database) -> None:
    with filled.read() as tx:
        assert [name for name, read in READS.items() if not read(tx, VIEWER)] == []


def test_the_patient_of_the_lock_is_seen(filled: Database) -> None:
    hidden = {*QUARANTINE, "search_walks.walked"}  # found among the patient's own records
    with filled.read() as tx:
        assert {name for name, read in READS.items() if not read(tx, locked("ann"))} == hidden


def test_a_notification_of_another_patient_cannot_be_marked(filled: Database) -> None:
    with filled.begin() as tx:
        told = notifications.of_role(tx, VIEWER, ["rn"])[0]
        assert not notifications.mark_read(tx, locked("bob"), told.id, NOW)
        assert notifications.mark_read(tx, locked("ann"), told.id, NOW)
        assert not notifications.mark_read(tx, VIEWER, told.id, NOW)
        assert notifications.unread_count(tx, VIEWER, ["rn"]) == 0


def of(*scopes: str, patient: str | None = None, policy: Policy | None = None) -> Viewer:
    """A client with these scopes, or a person with a policy."""
    return Viewer(who="Device/asker", sight=sight_of(grants_of(scopes) if scopes else None, policy, patient))


EVERY_RIGHT = grants_of(["user/*.cruds"])
WORK = "system/Task.rs", "system/CarePlan.rs"
OF_RECORDS = {
    "audit.list", "audit_search.find", "audit_search.listed", "audit_search.page", "audit_search.rows_between",
    "changes.read_since", "events.find", "events.of_patients", "events.owners", "patients.find",
    "patients.find_many", *QUARANTINE, "resources.scan", "outbox.find", "outbox.listed",
}  # fmt: skip
"""Reads of more than work."""


@pytest.mark.security("A3", "S44", "S48")
@pytest.mark.parametrize(
    "viewer",
    [
        Viewer(who="Device/asker"),
        of("openid", "system/Nothing.rs"),
        of("system/*.cud"),
        of("system/Medication.rs"),
        of("patient/*.cruds"),
        of("patient/*.cruds", patient="bob"),
        of("system/*.rs?_tag=none"),
        of("system/*.rs?status:not=none"),
        of("system/*.rs", policy=Policy()),
        of(policy=Policy(grants=EVERY_RIGHT, programs=frozenset())),
        of(policy=Policy(grants=EVERY_RIGHT, programs=frozenset({"other"}))),
        of(policy=Policy(grants=EVERY_RIGHT, locations=frozenset({"Location/none"}))),
    ],
    ids=["nobody", "no-scope", "writer", "other-type", "patient-of-none", "other-patient", "tag", "unheld", "empty-role",
         "no-program", "other-program", "other-place"],
)  # fmt: skip
def test_who_has_no_way_to_a_row_gets_nothing_from_any_read(filled: Database, viewer: Viewer) -> None:
    with filled.read() as tx:
        given = {name: value for name, read in READS.items() if (value := refused(read, tx, viewer))}
    assert given == {}


def refused(read: Callable[[Tx, Viewer], object], tx: Tx, viewer: Viewer) -> object:
    """What a read gives; nothing where a search is refused."""
    try:
        return read(tx, viewer)
    except Forbidden:
        return None


@pytest.mark.security("A3")
def test_rights_on_work_show_work_and_nothing_else(filled: Database) -> None:
    with filled.read() as tx:
        empty = {name for name, read in READS.items() if not refused(read, tx, of(*WORK))}
    # The team is a CareTeam; an included Task is found from a Patient.
    assert empty == {"owners.owners_of", *OF_RECORDS} - {"changes.read_since", "outbox.find", "outbox.listed",
                                                         *QUARANTINE, "resources.scan"}  # fmt: skip
    with filled.read() as tx:
        assert {one.type for one in changes.read_since(tx, of(*WORK), "test", 9)} == {"Task"}
        assert {one.type for one in resources.scan(tx, of(*WORK), [])} == {"Task"}
        assert not quarantine.list(tx, of("system/Observation.rs"))


@pytest.mark.security("A3", "S44")
def test_a_filter_of_a_scope_holds_for_everything_about_a_task(filled: Database) -> None:
    asked = {"status": "requested", "code": "none"}
    shown: dict[str, set[str]] = {}
    for name, value in asked.items():
        with filled.read() as tx:
            viewer = of(f"system/Task.rs?{name}={value}")
            shown[name] = {one for one, read in READS.items() if refused(read, tx, viewer)}
    assert shown["code"] == set()
    assert {"resources.find", "transitions.of_items", "firings.of_items", "work_items.find", "queue.queue"} <= shown[
        "status"
    ]
    with filled.read() as tx:
        viewer = of("system/Task.rs?status=requested")
        assert {row.item.ref for row in queue.queue(tx, viewer, QueueFilter(), NOW).rows} == {"Task/a"}
        assert queue.counts(tx, viewer, QueueFilter(), NOW).open == 1
        assert work_items.find(tx, viewer, "Task/own") is None


@pytest.mark.security("A3", "S50")
def test_a_role_of_one_program_sees_its_work_and_the_rest_of_the_records_of_its_patients(filled: Database) -> None:
    with filled.begin() as tx:
        put(tx, task("other", "bob"))
        put(tx, {"resourceType": "Patient", "id": "bob"})
        put(tx, {"resourceType": "Patient", "id": "ann"})
        put(tx, {"resourceType": "Practitioner", "id": "p"})
        work_items.save(tx, item("Task/other", patient="bob", program="other"))
    viewer = of(policy=Policy(grants=EVERY_RIGHT, programs=frozenset({"tcm"})))
    with filled.read() as tx:
        assert {row.item.program for row in queue.queue(tx, viewer, QueueFilter(), NOW).rows} == {"tcm"}
        seen = {one.ref for one in resources.scan(tx, viewer, [])}
        assert seen == {"Task/a", "CareTeam/team", "Patient/ann", "Practitioner/p"}
        other = of(policy=Policy(grants=EVERY_RIGHT, programs=frozenset({"other"})))
        assert {one.ref for one in resources.scan(tx, other, [])} == {"Task/other", "Patient/bob", "Practitioner/p"}
        assert patients.find(tx, other, "ann") is None
        assert not enrolments.of_patient(tx, other, "ann")
        assert not events.of_patients(tx, other, ["ann"])["ann"]


@pytest.mark.security("A3")
def test_a_role_of_one_place_sees_the_work_there(filled: Database) -> None:
    with filled.begin() as tx:
        work_items.save(tx, item("Task/here", patient="bob", site="Location/north"))
        work_items.save(tx, item("Task/there", patient="bob", site="Location/south"))
    viewer = of(policy=Policy(grants=EVERY_RIGHT, locations=frozenset({"Location/north"})))
    with filled.read() as tx:
        assert [row.item.ref for row in queue.queue(tx, viewer, QueueFilter(), NOW).rows] == ["Task/here"]
        assert queue.counts(tx, viewer, QueueFilter(), NOW).open == 1
        assert resources.find(tx, viewer, "Task", "a") is None


@pytest.mark.security("A5")
def test_a_restricted_patient_is_nobodys_to_see_but_for_the_broken_glass_and_roles_that_may(filled: Database) -> None:
    ordinary = of(policy=Policy(grants=EVERY_RIGHT))
    with filled.read() as tx:
        seen = {name for name, read in READS.items() if refused(read, tx, ordinary)}
    with filled.begin() as tx:
        tx.execute(tables.metadata.tables["restricted_patient"].insert().values(patient="ann"))
    with filled.read() as tx:
        given = {name for name, read in READS.items() if refused(read, tx, ordinary)}
        assert given <= {name for name in READS if name.startswith("audit")} | QUARANTINE
        opened = replace(ordinary, opened=frozenset({"ann"}))
        assert {name for name, read in READS.items() if refused(read, tx, opened)} == seen
        elsewhere = replace(ordinary, opened=frozenset({"bob"}))
        assert {name for name, read in READS.items() if refused(read, tx, elsewhere)} == given
        for free in (of(policy=Policy(grants=EVERY_RIGHT, restricted=True)), of("system/*.rs"), VIEWER):
            assert resources.find(tx, free, "Task", "a") is not None


@pytest.mark.security("S48")
def test_a_role_of_no_program_sees_no_work() -> None:
    assert sight_of(None, Policy(grants=EVERY_RIGHT, programs=frozenset()), None).is_bounded


@pytest.mark.security("S42", "S44")
def test_the_text_of_a_scope_is_one_for_all_patients_and_carries_no_value(database: Database) -> None:
    one, other = (of("patient/Task.rs", patient=name) for name in ("ann", "bob' OR 1=1"))
    texts = [row_scope_text(viewer, "r", database.dialect, types=["Task"]) for viewer in (one, other)]
    assert texts[0][0] == texts[1][0]
    assert [values for _, values in texts] == [("ann",), ("bob' OR 1=1",)]
    assert row_scope_text(of("system/*.rs"), "r", database.dialect) == ("", ())
    assert row_scope_text(VIEWER, "r", database.dialect) == ("", ())


def test_every_table_with_a_patient_is_known_to_the_row_scope(database: Database) -> None:
    unread = {"remote_body"}
    kept = {name for name, table in tables.metadata.tables.items() if "patient" in table.c} - unread
    nobody = Viewer(who="Device/asker")
    unknown = set()
    for name in sorted(kept):
        try:
            row_scope(nobody, tables.metadata.tables[name])
        except Fault:
            unknown.add(name)
    assert unknown <= OWN_WAYS


@pytest.mark.security("A3", "S43")
def test_a_queue_is_not_searched_by_what_its_viewer_may_not_see(filled: Database) -> None:
    with filled.begin() as tx:
        work_items.save(tx, item("Task/bare", title="A lump was found", code=""))
        put(tx, task("bare", description="A lump was found"))
        work_items.save(tx, item("Task/text", title="Book a visit", code=""))
        put(tx, task("text", code={"text": "Book a visit"}, description="A lump was found"))
        patients.set_flags(tx, "ann", ["fall"])
    hidden = {"Task": frozenset({"description"}), "Patient": frozenset({"name", "telecom"})}
    desk = of(policy=Policy(grants=grants_of(["user/Task.rs", "user/Patient.rs"]), hidden=hidden, restricted=True))

    def found(viewer: Viewer, **wanted: str) -> int:
        return len(queue.queue(tx, viewer, QueueFilter(**wanted), NOW).rows)  # type: ignore[arg-type]

    with filled.read() as tx:
        assert found(VIEWER, text="lump") == 1
        assert found(VIEWER, text="ann") == found(VIEWER, flag="fall") == found(VIEWER) == found(desk) > 1
        assert found(desk, text="lump") == found(desk, text="ann") == found(desk, flag="fall") == 0
        rows = queue.queue(tx, desk, QueueFilter(), NOW).rows
        titles = {row.item.ref: row.item.title for row in rows}
        assert (titles["Task/bare"], titles["Task/text"]) == ("Task", "Book a visit")
        assert {(row.patient.name, row.patient.flags) for row in rows if row.patient} == {("ann", ())}
        bare = work_items.find(tx, desk, "Task/bare")
        assert bare is not None
        assert bare.title == "Task"
        assert "A lump was found" not in {one.title for one in work_items.of_patient(tx, desk, "ann")}
        known = patients.find(tx, desk, "ann")
        assert known is not None
        assert (known.name, known.flags) == ("ann", ())
