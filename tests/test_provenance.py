"""What a Provenance says of who, when, why and by which rule, for people, roles, workers and clients."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from fhir_tracker import provenance, records
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Why
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer, open_viewer, worker_viewer
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.indexing import index_rows
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs
from tests.support.clinic import COORDINATOR, MONDAY, NURSE, Clinic

HOUR = timedelta(hours=1)


def indexed(tx: Tx, k: int) -> tuple[set[tuple[object, ...]], ...]:
    """What the index holds of one resource, table by table."""
    named = {ix: ("h",), ixd: ("h", "lo", "hi"), ixs: ("h", "v", "exact"), ixn: ("h", "lo", "hi")}
    return tuple(
        {tuple(row[name] for name in names) for row in tx.rows(select(table).where(table.c.k == k))}
        for table, names in named.items()
    )


@pytest.mark.parametrize("activity", ["CREATE", "UPDATE", "DELETE"])
@pytest.mark.parametrize(
    "viewer", [NURSE, open_viewer(), Viewer(who='odd "name" \\ ä', name="'\n<b>", sight=EVERYTHING)]
)
@pytest.mark.parametrize("target", ["Goal", "Patient", "Task"])
def test_a_plain_provenance_is_written_and_indexed_as_any_resource(
    clinic: Clinic, viewer: Viewer, activity: str, target: str
) -> None:
    with clinic.acting(MONDAY + timedelta(microseconds=1234), viewer) as (tx, by):
        written = records.create(tx, {"resourceType": target, "status": "requested"}, by)
        stored = provenance.record(tx, [written], by, activity=activity)
        body = records.resource_of(stored)
        rows = index_rows("Provenance", extract(body))
        whole: tuple[set[tuple[object, ...]], ...] = (
            {(key,) for key in rows.keys},
            set(rows.dates),
            set(rows.strings),
            set(rows.numbers),
        )
        assert indexed(tx, stored.k) == whole
        general = provenance.record(tx, [written], by, Why(), activity=activity)
        assert records.resource_of(general) | {"id": stored.id} == body
        assert stored.body == general.body.replace(general.id, stored.id)
        assert stored == replace(general, k=stored.k, id=stored.id, body=stored.body)


@pytest.fixture
def clinic(database: Database) -> Clinic:
    return Clinic(database)


def proof(clinic: Clinic, viewer: Viewer = NURSE, why: Why | None = None, activity: str = "UPDATE") -> Resource:
    with clinic.acting(MONDAY, viewer) as (tx, by):
        goals = [records.create(tx, {"resourceType": "Goal", "lifecycleStatus": "active"}, by) for _ in range(2)]
        stored = provenance.record(tx, goals, by, why, activity=activity)
    body = clinic.resource(stored.ref)
    assert [issue for issue in check(body) if issue.severity in ("error", "fatal")] == []
    assert [one["reference"] for one in body["target"]] == [f"{one.ref}/_history/1" for one in goals]
    return body


@pytest.mark.parametrize(
    ("viewer", "who"),
    [
        (NURSE, {"display": "The nurse", "reference": "Practitioner/nurse"}),
        (
            Viewer(who="PractitionerRole/7", name="On call", sight=EVERYTHING),
            {"display": "On call", "reference": "PractitionerRole/7"},
        ),
        (Viewer(who="Practitioner/x", sight=EVERYTHING), {"display": "Practitioner/x", "reference": "Practitioner/x"}),
        (
            worker_viewer("rule-worker"),
            {"type": "Device", "identifier": {"value": "rule-worker"}, "display": "rule-worker"},
        ),
        (open_viewer(), {"type": "Device", "identifier": {"value": "open-mode"}, "display": "Open mode"}),
        (Viewer(who="client-7", sight=EVERYTHING), {"display": "client-7"}),
    ],
)
def test_who_did_it_is_a_reference_where_there_is_one(clinic: Clinic, viewer: Viewer, who: Resource) -> None:
    (agent,) = proof(clinic, viewer)["agent"]
    assert agent["who"] == who
    assert agent["type"]["coding"][0]["code"] == "author"


@pytest.mark.requirement(142)
def test_the_client_through_which_a_person_acts_is_an_agent_on_their_behalf(clinic: Clinic) -> None:
    person, client = proof(clinic, replace(NURSE, client="tracker-app"))["agent"]
    assert person["who"]["reference"] == "Practitioner/nurse"
    assert client["type"]["coding"][0]["code"] == "assembler"
    assert client["who"] == {"type": "Device", "identifier": {"value": "tracker-app"}, "display": "tracker-app"}
    assert client["onBehalfOf"] == person["who"]


@pytest.mark.parametrize(
    ("why", "reason", "policy", "occurred"),
    [
        (None, None, None, MONDAY),
        (Why(), None, None, MONDAY),
        (Why(reason="Asked for it"), "Asked for it", None, MONDAY),
        (Why(note="a note is not a reason"), None, None, MONDAY),
        (Why(effective_at=MONDAY - HOUR), None, None, MONDAY - HOUR),
        (
            Why(reason="late", rule="ring|1#late"),
            "late",
            ["https://fhir-tracker.example/PlanDefinition/ring|1#late"],
            MONDAY,
        ),
    ],
)
def test_why_and_since_when(
    clinic: Clinic, why: Why | None, reason: str | None, policy: list[str] | None, occurred: object
) -> None:
    body = proof(clinic, why=why)
    assert [one["text"] for one in body.get("reason", ())] == ([reason] if reason else [])
    assert body.get("policy") == policy
    assert body["occurredDateTime"] == instant(why.effective_at if why and why.effective_at else MONDAY)
    assert body["recorded"] == instant(MONDAY)
    assert (occurred == MONDAY) == (body["occurredDateTime"] == body["recorded"])


@pytest.mark.parametrize("activity", ["CREATE", "UPDATE", "DELETE"])
def test_the_activity_is_a_code_of_the_standard(clinic: Clinic, activity: str) -> None:
    (coding,) = proof(clinic, activity=activity)["activity"]["coding"]
    assert coding == {"system": "http://terminology.hl7.org/CodeSystem/v3-DataOperation", "code": activity}


def test_every_escalation_and_enrolment_of_a_day_is_proven_by_its_rule(clinic: Clinic) -> None:
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    clinic.sweep(MONDAY + 48 * HOUR)
    policies = {one["policy"][0].rpartition("#")[2] for one in clinic.stored("Provenance") if "policy" in one}
    assert policies == {"eligible", "late"}
    proven = {target["reference"] for one in clinic.stored("Provenance") for target in one["target"]}
    for body in clinic.stored("Task", "CarePlan"):
        versions = range(1, int(body["meta"]["versionId"]) + 1)
        assert {f"{body['resourceType']}/{body['id']}/_history/{n}" for n in versions} <= proven


def test_a_note_and_an_attempt_by_two_people_name_each_of_them(clinic: Clinic) -> None:
    clinic.patient("ann")
    clinic.discharge("ann", MONDAY)
    ref = clinic.task("ann", "first-call").ref
    attempt = clinic.attempt(ref, MONDAY + HOUR)
    clinic.move(ref, "calling", MONDAY + 2 * HOUR, NURSE)
    (tried,) = clinic.provenance(attempt.ref)
    assert tried["agent"][0]["who"]["reference"] == COORDINATOR.who
    moved = [one for one in clinic.provenance(ref) if one["recorded"] == instant(MONDAY + 2 * HOUR)]
    assert [one["agent"][0]["who"]["reference"] for one in moved] == [NURSE.who]
