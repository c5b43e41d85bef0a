"""Who may write what, type by type: the tracker's own always, the EHR's only where no EHR is followed, the trail never."""

from __future__ import annotations

import pytest

from api.context import Access
from api.fhir.capability import EACH, MEMBER, OF_TYPE, supported_parameters
from api.fhir.policy import OWNERS, Owner, all_types, is_writable, owner_of, why_read_only
from api.fhir.routes import ROUTES, STATEMENT
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.query import MODIFIERS, parse_query
from fhir_tracker.fhir.search_values import COLUMNS, indexed_parameters
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import outcome, post
from tests.support.systems import let_in_with

# The table of the design: who owns each type it names. What it does not name is mirrored from EHRs.
DESIGN = {
    "EHR": "Patient Practitioner PractitionerRole Organization Location Encounter Observation Condition ServiceRequest "
    "DocumentReference Coverage Appointment Schedule Slot",
    "both": "CarePlan CareTeam ChargeItem Goal EpisodeOfCare",
    "tracker": "Task Communication Flag QuestionnaireResponse Subscription MeasureReport",
    "program": "Questionnaire PlanDefinition ActivityDefinition CodeSystem ValueSet SearchParameter Measure",
    "never": "Provenance AuditEvent",
}
MEANT = {
    "EHR": Owner.EHR,
    "both": Owner.SHARED,
    "tracker": Owner.TRACKER,
    "program": Owner.PROGRAM,
    "never": Owner.TRAIL,
}
WRITABLE = {
    Access.LOCKED: {"both", "tracker"},
    Access.OPEN: {"both", "tracker", "EHR", "program"},
}
NAMED = [(owner, type_) for owner, types in DESIGN.items() for type_ in types.split()]
OTHERS = sorted(resource_types() - {type_ for _, type_ in NAMED})


@pytest.mark.parametrize(("owner", "type_"), NAMED)
def test_each_type_the_design_names_has_its_owner_and_its_writers(owner: str, type_: str) -> None:
    assert owner_of(type_) is MEANT[owner]
    assert {access for access in Access if is_writable(type_, access)} == {
        access for access, owners in WRITABLE.items() if owner in owners
    }


@pytest.mark.parametrize("type_", OTHERS)
def test_what_the_design_does_not_name_is_the_ehrs(type_: str) -> None:
    assert owner_of(type_) is Owner.EHR
    assert [access for access in Access if is_writable(type_, access)] == [Access.OPEN]


def test_the_table_names_each_type_once_and_only_types_there_are() -> None:
    named = [type_ for types in OWNERS.values() for type_ in types]
    assert len(named) == len(set(named)) == len(NAMED)
    assert set(named) <= set(all_types())
    assert len(all_types()) == 146


@pytest.mark.parametrize("type_", all_types())
def test_a_refusal_names_the_type_and_why(type_: str) -> None:
    told = why_read_only(type_)
    assert told.startswith(type_)
    assert told.endswith(".")
    if not is_writable(type_, Access.LOCKED):
        assert "read-only" not in told


@pytest.mark.requirement(1)
@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("type_", all_types())
def test_the_interactions_claimed_are_those_of_the_routes_and_the_policy(type_: str, access: Access) -> None:
    of_type = [route for route in ROUTES if route.template[:1] in ((EACH,), (type_,)) and MEMBER not in route.template]
    actions = [one for route in of_type for one in route.actions.values() if not one.operation]
    unwritten = (
        {"history-type", "history-instance"} if type_ == "AuditEvent" else set()
    )  # It has one version, for ever.
    routed = {one.interaction for one in actions} - unwritten
    writing = {one.interaction for one in actions if one.writes}
    assert routed <= set(OF_TYPE)
    assert set(STATEMENT.interactions(type_, access)) == (routed if is_writable(type_, access) else routed - writing)


@pytest.mark.requirement(1, 23)
@pytest.mark.parametrize("type_", all_types())
def test_the_parameters_claimed_are_those_that_the_parser_takes(type_: str) -> None:
    claimed = {one.code for one in supported_parameters(type_)}
    values = {"date": "2026", "number": "1", "quantity": "1", "reference": "x", "special": "1|1"}
    for code, parameter in parameters_of(type_).items():
        value = values.get(parameter.type, "2026")
        name = f"{code}:missing" if parameter.type == "composite" else code
        query = parse_query(type_, [(name, "true" if ":" in name else value)], strict=False)
        assert bool(query.filters) == (code in claimed), code
    assert claimed <= indexed_parameters(type_) | COLUMNS
    assert all(one.type in MODIFIERS for one in supported_parameters(type_))


def test_our_own_parameters_are_claimed_like_the_official_ones(serve: Serve) -> None:
    rows = serve(Access.OPEN).get("/fhir/metadata").json()["rest"][0]["resource"]
    task = next(one for one in rows if one["type"] == "Task")
    due = next(one for one in task["searchParam"] if one["name"] == "due")
    assert due == {"name": "due", "definition": "https://fhir-tracker.example/SearchParameter/Task-due", "type": "date"}
    assert [one["name"] for one in task["searchParam"]] == sorted(one["name"] for one in task["searchParam"])


@pytest.mark.requirement(2)
@pytest.mark.parametrize("access", list(Access))
def test_over_http_a_stranger_writes_nothing_and_others_what_the_table_says(serve: Serve, access: Access) -> None:
    client = serve(access)
    for owner, type_ in NAMED:
        status = post(client, type_, f'{{"resourceType":"{type_}","nonsense":1}}').status_code
        allowed = 400 if owner in WRITABLE[access] else 405
        assert status == (401 if access is Access.LOCKED else allowed), type_


def test_the_reason_reaches_the_caller(serve: Serve, database: Database) -> None:
    client = let_in_with(serve(Access.LOCKED), database)
    for type_, words in (
        ("Patient", "EHR"),
        ("PlanDefinition", "published programs"),
        ("AuditEvent", "tracker itself"),
    ):
        assert words in outcome(post(client, type_, "{}"), 405)["details"]["text"]
