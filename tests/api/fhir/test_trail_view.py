"""The trail as AuditEvents: what each row becomes, how they are searched, who may, and that looking at it is told."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from api.context import Access as Mode
from api.fhir import trail_view
from fhir_tracker import audit_events
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import search_parameters
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import EVERYTHING, NOTHING, sight_of
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.model.vocabulary import ROLE_SYSTEM
from fhir_tracker.storage import audit, trail
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_chain import Sealer
from fhir_tracker.storage.audit_rows import Access
from fhir_tracker.storage.database import Database
from tests.api.conftest import Serve
from tests.api.fhir.talk import JSON

BASE = "http://testserver/fhir"
OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
NOW = datetime(2026, 3, 9, 14, 0, tzinfo=UTC)
ANN = Viewer(
    who="Practitioner/clinic-ann",
    name="Ann Rivers",
    roles=frozenset({"rn"}),
    client="tracker-app",
    issuer="https://ehr.example.org/fhir",
    address="192.0.2.7",
    session="s-1",
)
BOT = Viewer(who="Device/warehouse", name="Warehouse", client="warehouse", address="192.0.2.9")
ROWS = [
    Access(NOW, ANN, "read", "Task/t1", "p1", "success", "r-1", {}, (), "fhir", 3),
    Access(NOW, ANN, "vread", "Task/t1", "p1", "success", "r-2", {}, (), "fhir", 2),
    Access(NOW, ANN, "search", "Task", None, "success", "r-3",
           {"parameters": ["status"], "found": 2}, ("p1", "p2"), "fhir", None, "status=on"),
    Access(NOW, BOT, "search", "Patient", None, "success", "r-4", {"parameters": ["name"], "found": 1}, ("p1",), "fhir", None, "name=x"),
    Access(NOW, BOT, "search", "", None, "success", "r-5", {}, (), "fhir"),
    Access(NOW, BOT, "create", "Task/t2", "p2", "success", "r-6", {}, (), "fhir", 1),
    Access(NOW, ANN, "update", "Task/t2", "p2", "success", "r-7", {"operation": "move"}, (), "page", 2),
    Access(NOW, ANN, "patch", "Organization/o", None, "success", "r-8", {}, (), "fhir", 2),
    Access(NOW, ANN, "delete", "Task/t2", "p2", "success", "r-9", {}, (), "fhir", 3),
    Access(NOW, ANN, "read", "Task/none", None, "denied", "r-10", {"status": 404}, (), "fhir"),
    Access(NOW, ANN, "search-type", "Task", None, "error", "r-11", {"status": 400}, (), "fhir", None, "bad=1"),
    Access(NOW, ANN, "evaluate-measure", "Measure/m", None, "success", "r-12", {}, (), "fhir"),
    Access(NOW, replace(ANN, purpose="BTG"), "break-glass", "Patient/p1", "p1", "success", "r-13", {"reason": "fell"}, (), "page"),
    Access(NOW, ANN, "login", "", None, "success", "r-14", {}, (), "security"),
    Access(NOW, Viewer(who="nobody"), "login-refused", "", None, "denied", "", {"reason": "unmapped"}, (), "security"),
    Access(NOW, Viewer(who="Device/command-line", name="root"), "configure", "command/connection add", None, "success", "",
           {"arguments": {"key": "x"}}, (), "command"),
    Access(NOW, ANN, "export", "AuditEvent", None, "success", "", {"reason": "audit"}, (), "command"),
    Access(NOW, ANN, "a word nobody knows", "é", None, "success", "", {"x": ""}, (), "worker"),
    Access(NOW, Viewer(who="nobody"), "call", "", None, "denied", "r-19", {"status": 401}, (), "fhir"),
    Access(NOW, ANN, "history", "Task/t1", "p1", "success", "r-20", {"versions": 2}, (), "fhir"),
]  # fmt: skip


@pytest.fixture
def stocked(serve: Serve, database: Database) -> TestClient:
    """A server whose trail has ROWS, as numbers 1 to 20."""
    trail.add(database, ROWS)
    return serve(Mode.OPEN)


def rows(database: Database) -> list[AuditRow]:
    with database.read() as tx:
        return list(reversed(audit.list(tx, open_viewer(), limit=1000)))


def found(client: TestClient, query: str) -> list[int]:
    """The numbers of the rows of ROWS that a search finds."""
    answer = client.get(f"/fhir/AuditEvent?_count=200&{query}")
    assert answer.status_code == 200, answer.text
    numbers = [number_of(entry) for entry in answer.json().get("entry", [])]
    return sorted(number for number in numbers if number <= len(ROWS))


def number_of(entry: dict[str, Any]) -> int:
    """The number of the row that an entry of a searchset tells of, wholly or of one patient."""
    return int(entry["resource"]["id"].partition(".")[0])


def event(client: TestClient, number: int | str) -> dict[str, Any]:
    answer = client.get(f"/fhir/AuditEvent/{number}")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.requirement(139)
@pytest.mark.security("S52")
@pytest.mark.parametrize("number", range(1, len(ROWS) + 1))
def test_every_row_is_a_valid_event(stocked: TestClient, number: int) -> None:
    told = event(stocked, number)
    assert [issue.message for issue in check(told)] == []
    answer = stocked.post("/fhir/AuditEvent/$validate", json=told, headers=JSON)
    worst = {issue["severity"] for issue in answer.json()["issue"]}
    assert not worst & {"error", "fatal"}, answer.text


PROFILED = {
    1: "PatientRead", 2: "PatientRead", 3: "Query", 4: "PatientQuery", 5: "Query", 6: "PatientCreate", 7: "PatientUpdate",
    8: "Update", 9: "PatientDelete",
}  # fmt: skip


@pytest.mark.requirement(139)
@pytest.mark.parametrize("number", range(1, len(ROWS) + 1))
def test_the_profile_of_the_pattern_is_named_where_it_is_met(stocked: TestClient, number: int) -> None:
    told = event(stocked, number)
    named = [one.rpartition("IHE.BasicAudit.")[2] for one in told["meta"].get("profile", [])]
    assert named == ([PROFILED[number]] if number in PROFILED else [])
    if not named:
        return
    ends = {
        "Read": ("110152", "110153"), "Query": ("110153", "110152"), "Create": ("110153", "110152"),
        "Update": ("110153", "110152"), "Delete": ("110150", "custodian"),
    }[named[0].removeprefix("Patient")]  # fmt: skip
    agents = {one["type"]["coding"][0]["code"]: one for one in told["agent"]}
    assert all("network" in agents[code] and "who" in agents[code] for code in ends)
    assert sum(one["requestor"] for one in told["agent"]) == 1
    persons = [one for one in told["entity"] if one.get("type", {}).get("code") == "1"]
    assert (len(persons) == 1) == named[0].startswith("Patient")


@pytest.mark.requirement(139, 140)
def test_a_read_names_user_client_server_patient_version_and_request(stocked: TestClient) -> None:
    told = event(stocked, 1)
    assert (told["action"], told["outcome"], told["subtype"][0]["code"], told["type"]["code"]) == (
        "R",
        "0",
        "read",
        "rest",
    )
    user, client, server = told["agent"]
    assert user["who"]["reference"] == "Practitioner/clinic-ann"
    assert user["who"]["identifier"] == {"system": "https://ehr.example.org/fhir", "value": "Practitioner/clinic-ann"}
    assert (user["name"], user["altId"], user["role"], user["requestor"]) == (
        "Ann Rivers",
        "s-1",
        [{"coding": [{"system": "https://fhir-tracker.example/CodeSystem/role", "code": "rn"}], "text": "rn"}],
        True,
    )
    assert "network" not in user
    assert client["who"]["identifier"]["value"] == "tracker-app"
    assert client["network"] == {"address": "192.0.2.7", "type": "2"}
    assert server["network"]["address"] == BASE
    references = [one["what"].get("reference") for one in told["entity"]]
    assert references == ["Patient/p1", "Task/t1/_history/3", None]
    assert told["entity"][2]["what"]["identifier"]["value"] == "r-1"


@pytest.mark.requirement(139)
def test_a_search_holds_what_was_asked_in_base64_and_whom_it_returned(stocked: TestClient) -> None:
    told = event(stocked, 3)
    people = [one["what"]["reference"] for one in told["entity"] if "reference" in one.get("what", {})]
    assert people == ["Patient/p1", "Patient/p2"]
    (query,) = [one for one in told["entity"] if "query" in one]
    assert b64decode(query["query"]) == b"Task?status=on"
    assert not {"what", "name", "detail"} & query.keys()
    assert event(stocked, 4)["agent"][0]["who"]["reference"] == "Device/warehouse"


@pytest.mark.requirement(139)
@pytest.mark.parametrize(("number", "outcome"), [(10, "8"), (11, "4"), (15, "8"), (1, "0")])
def test_what_failed_has_another_outcome(stocked: TestClient, number: int, outcome: str) -> None:
    told = event(stocked, number)
    assert told["outcome"] == outcome
    assert ("outcomeDesc" in told) == (outcome != "0")


SEARCHES = [
    ("patient=Patient/p1", {1, 2, 3, 4, 13, 20}), ("patient=p2", {3, 6, 7, 9}), ("patient=p", set()),
    ("patient=p1,p2", {1, 2, 3, 4, 6, 7, 9, 13, 20}),
    ("agent=Practitioner/clinic-ann", {1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 20}), ("agent=Device/warehouse", {4, 5, 6}),
    ("agent=Practitioner/other", set()), ("agent-name=ann", {1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 17, 18, 20}),
    ("agent-name:contains=house", {4, 5, 6}), ("agent-name:exact=Warehouse", {4, 5, 6}), ("agent-name:exact=warehouse", set()),
    ("agent-name=%25", set()), ("agent-name=_nn", set()), ("address=192.0.2.9", {4, 5, 6}), ("altid=s-1&action=C", set()),
    ("altid=s-1&action=D", {9}), ("action=C", {6}), ("action=R", {1, 2, 10, 17, 20}), ("action=U", {7, 8, 16}), ("action=D", {9}),
    ("action=E", {3, 4, 5, 11, 12, 13, 14, 15, 18, 19}), ("action=C,D", {6, 9}), ("action=X", set()),
    ("action:not=E", {1, 2, 6, 7, 8, 9, 10, 16, 17, 20}), ("outcome=8", {10, 15, 19}), ("outcome=4", {11}),
    ("outcome=0&action=D", {9}), ("outcome=12", set()), ("subtype=read", {1, 10}), ("subtype=vread", {2}),
    ("subtype=search-type", {3, 4, 11}), ("subtype=search-system", {5}), ("subtype=http://hl7.org/fhir/restful-interaction|patch", {8}),
    ("subtype=http://elsewhere|patch", set()), ("subtype=operation", {12, 18, 19}), ("subtype=110122", {14, 15}),
    ("subtype=history-instance", {20}),
    ("subtype=http://dicom.nema.org/resources/ontology/DCM|110127", {13}), ("subtype=login-refused", {15}),
    ("type=rest", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18, 19, 20}), ("type=110114", {14, 15}),
    ("type=110113", {13, 16}), ("type=110106", {17}),
    ("entity=Task/t1", {1, 2, 20}), ("entity=Task/t2", {6, 7, 9}), ("entity=Patient/p1", {1, 2, 3, 4, 13, 20}),
    ("agent-role=rn&action=D", {9}), ("agent-role=r", set()), ("agent-role=rn%25", set()), ("agent-role=http://elsewhere|rn", set()),
    (f"agent-role={ROLE_SYSTEM}|rn&action=C,D", {9}), (f"agent-role={ROLE_SYSTEM}|&action=D", {9}),
    ("agent-role:missing=true", {4, 5, 6, 15, 16, 19}), ("agent-role:not=rn", {4, 5, 6, 15, 16, 19}),
    ("entity-name=command", {16}), ("entity-name=Task", set()), ("entity-name:contains=ADD", {16}), ("entity-name:exact=é", {18}),
    ("entity-name:missing=false", {16, 18}), ("entity-role=24", {3, 4, 5, 11}), ("entity-role=1", {1, 2, 3, 4, 6, 7, 9, 13, 20}),
    (f"entity-role={OBJECT_ROLE}|20", {16, 18}), ("entity-role=http://elsewhere|20", set()),
    ("entity-role=4", {1, 2, 6, 7, 8, 9, 10, 12, 13, 17, 20}), ("entity-role=99", set()), ("entity-role:missing=true", {14, 15, 19}),
    ("entity-role:not=1,4", {5, 11, 14, 15, 16, 18, 19}), (f"entity-role={OBJECT_ROLE}|&action=E", {3, 4, 5, 11, 12, 13, 18}),
    ("entity-type=1", {1, 2, 3, 4, 6, 7, 9, 13, 20}), ("entity-type=2&action=E", {3, 4, 5, 11, 12, 13, 18}),
    ("entity-type=XrequestId&action=U", {7, 8}), ("entity-type:missing=true", {15}), ("entity-type=http://elsewhere|1", set()),
    ("policy=http://example.org/policy", set()), ("policy:missing=false", set()), ("policy:missing=true&action=D", {9}),
    ("site=testserver&action=D", {9}), ("site=elsewhere", set()),
    ("site=http://example.org|testserver", set()), ("site:missing=true", set()),
    ("source=Device/x", set()), ("source:missing=true", set()), (f"source:identifier={BASE}&action=D", {9}), ("source:identifier=x", set()),
    ("agent:identifier=tracker-app&action=D", {9}), ("agent:identifier=https://ehr.example.org/fhir|Practitioner/clinic-ann&action=D", {9}),
    ("agent:identifier=http://elsewhere|Practitioner/clinic-ann", set()), ("agent:missing=true", set()),
    ("entity:identifier=r-7", {7}), ("entity:identifier=command/connection%20add", {16}), ("entity:identifier=Task/t1", set()),
    ("entity:identifier=x|r-7", set()), ("entity:missing=true", {15}),
    ("_id=4", {4}), ("_id=x", set()),
    ("date=2026-03-09&action=D", {9}), ("date=ge2026-03-09T14:00:00Z&action=D", {9}), ("date=gt2026-03-09T14:00:00Z&action=D", set()),
    ("date=lt2026-03-09&action=D", set()), ("date=le2026-03-09&action=D", {9}), ("date=ne2026-03-09&action=D", set()),
    ("date=sa2026-03-08&date=eb2026-03-10&action=D", {9}), ("_lastUpdated=2026-03&action=D", {9}), ("date=ap2026-03-09&action=D", {9}),
    ("patient:missing=true&action=U", {8, 16}), ("patient:missing=false&action=U", {7}), ("agent-name:missing=true", {15, 19}),
]  # fmt: skip


@pytest.mark.requirement(139)
@pytest.mark.parametrize("is_sealed", [False, True], ids=["not sealed", "sealed"])
@pytest.mark.parametrize(("query", "expected"), SEARCHES, ids=[query for query, _ in SEARCHES])
def test_events_are_found_by_what_they_say(
    stocked: TestClient, database: Database, query: str, expected: set[int], *, is_sealed: bool
) -> None:
    if is_sealed:
        Sealer(database).finish(NOW, 30)
    assert found(stocked, query) == sorted(expected)


@pytest.mark.security("S32")
@pytest.mark.parametrize(
    "query",
    [
        *("agent.name=x", "patient.name=x", "entity:Task.status=x", "_has:Task:focus:status=x", "_sort=agent", "patient:identifier=x"),
        *("_include=AuditEvent:patient", "_include=AuditEvent:entity", "_include=AuditEvent:*", "_include=*", "_include:iterate=*"),
        *("_revinclude=Provenance:target", "_revinclude=*", "_sort=date,action", "date=soon", "_page=x", "entity-role:missing=x"),
        *("_profile=x", "_tag=x", "_security=x", "_source=x"),
        *("_sort=date;drop", "_count=-1"),
    ],
)  # fmt: skip
def test_what_this_search_does_not_know_is_refused_and_never_widens_it(stocked: TestClient, query: str) -> None:
    assert stocked.get(f"/fhir/AuditEvent?{query}").status_code == 400


def entities(event: dict[str, Any], name: str) -> set[str]:
    return {one[name]["code"] for one in event.get("entity", []) if name in one}


SAID: dict[str, Callable[[dict[str, Any]], set[str]]] = {
    "action": lambda event: {event["action"]},
    "outcome": lambda event: {event["outcome"]},
    "type": lambda event: {event["type"]["code"]},
    "subtype": lambda event: {one["code"] for one in event["subtype"]},
    "agent-role": lambda event: {role["text"] for one in event["agent"] for role in one.get("role", [])},
    "agent-name:exact": lambda event: {one["name"] for one in event["agent"] if "name" in one},
    "altid": lambda event: {one["altId"] for one in event["agent"] if "altId" in one},
    "address:exact": lambda event: {one.get("network", {}).get("address") for one in event["agent"]} - {BASE, "unknown", None},
    "agent": lambda event: {one["who"]["reference"] for one in event["agent"] if "reference" in one["who"]},
    "entity-type": lambda event: entities(event, "type"),
    "entity-role": lambda event: entities(event, "role"),
    "entity-name:exact": lambda event: {one["name"] for one in event.get("entity", []) if "name" in one},
    "site": lambda event: {event["source"]["site"]},
}  # fmt: skip


@pytest.mark.requirement(139)
@pytest.mark.parametrize("param", SAID)
def test_what_an_event_says_finds_it_and_all_others_that_say_so_and_no_more(stocked: TestClient, param: str) -> None:
    said = {number: SAID[param](event(stocked, number)) for number in range(1, len(ROWS) + 1)}
    for value in sorted(set().union(*said.values())):
        expected = [number for number in said if value in said[number]]
        assert found(stocked, f"{quote(param)}={quote(value)}&_lastUpdated=2026-03-09") == expected, value


@pytest.mark.security("S32", "B3")
@pytest.mark.parametrize(
    "search",
    [
        "Task?_revinclude=AuditEvent:entity", "Patient?_revinclude=AuditEvent:patient", "Patient?_revinclude:iterate=AuditEvent:agent",
        "Task?_revinclude=AuditEvent:*", "Practitioner?_revinclude=AuditEvent:agent", "Patient?_has:AuditEvent:patient:action=R",
        "Patient?_has:Task:patient:_has:AuditEvent:entity:action=R", "Provenance?target:AuditEvent.action=R",
        "Provenance?_include=Provenance:target:AuditEvent", "?_type=AuditEvent,Task&_lastUpdated=gt2026",
        "?_has:AuditEvent:entity:action=R",
    ],
)  # fmt: skip
def test_nothing_leads_to_events_from_another_search(stocked: TestClient, search: str) -> None:
    answer = stocked.get(f"/fhir/{search}")
    assert answer.status_code == 400
    assert "AuditEvent" in answer.json()["issue"][0]["diagnostics"]


def test_every_parameter_of_the_standard_is_stated_and_works(stocked: TestClient) -> None:
    (told,) = [
        one for one in stocked.get("/fhir/metadata").json()["rest"][0]["resource"] if one["type"] == "AuditEvent"
    ]
    stated = {one["name"]: one["type"] for one in told["searchParam"]}
    known = {code for code in search_parameters("AuditEvent") if not code.startswith("_")}
    assert set(stated) == known | {"_id", "_lastUpdated"}
    given = {"date": "2026", "token": "x", "string": "x", "reference": "Device/x", "uri": "x"}
    for code, type_ in stated.items():
        assert stocked.get(f"/fhir/AuditEvent?{code}={given[type_]}").status_code == 200, code
    assert stocked.get("/fhir/AuditEvent?no-such=x&_id=1").json()["entry"][-1]["search"]["mode"] == "outcome"


def test_pages_follow_each_other_in_both_orders_without_loss(stocked: TestClient) -> None:
    for order, asked in (("-date", "_sort=-date&_count=3"), ("date", "_sort=date&_count=3"), ("-date", "_count=7")):
        url, seen = f"/fhir/AuditEvent?{asked}&_lastUpdated=2026-03-09", []
        while url:
            told = stocked.get(url).json()
            seen += [int(entry["resource"]["id"]) for entry in told["entry"]]
            url = next((link["url"] for link in told["link"] if link["relation"] == "next"), "")
        assert seen == sorted(range(1, 21), reverse=order == "-date")


def test_a_page_link_of_another_search_is_refused(stocked: TestClient) -> None:
    links = stocked.get("/fhir/AuditEvent?_count=2").json()["link"]
    following = next(link["url"] for link in links if link["relation"] == "next")
    assert stocked.get(following + "&action=R").status_code == 400


def test_they_are_counted_and_shortened_as_others(stocked: TestClient) -> None:
    told = stocked.get("/fhir/AuditEvent?_summary=count&date=2026-03-09").json()
    assert (told["total"], told.get("entry")) == (20, None)
    assert stocked.get("/fhir/AuditEvent?_total=accurate&_count=1&date=2026-03-09").json()["total"] == 20
    (entry,) = stocked.get("/fhir/AuditEvent?_id=1&_elements=recorded").json()["entry"]
    assert "recorded" in entry["resource"]
    assert "entity" not in entry["resource"]


@pytest.mark.parametrize(
    "path", ["AuditEvent/21000", "AuditEvent/x", "AuditEvent/1/_history/2", f"AuditEvent/{'9' * 40}", "AuditEvent/-1"]
)
def test_what_was_never_there_is_not_found(stocked: TestClient, path: str) -> None:
    assert stocked.get(f"/fhir/{path}").status_code == 404


def test_the_only_version_is_read_and_not_sent_twice(stocked: TestClient) -> None:
    answer = stocked.get("/fhir/AuditEvent/1/_history/1")
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"1"')
    assert stocked.get("/fhir/AuditEvent/1", headers={"If-None-Match": 'W/"1"'}).status_code == 304


def test_those_of_a_patient_are_in_the_compartment(stocked: TestClient) -> None:
    told = stocked.get("/fhir/Patient/p2/AuditEvent").json()
    assert {number_of(entry) for entry in told["entry"]} >= {3, 6, 7, 9}
    told = stocked.post(
        "/fhir/AuditEvent/_search", content="patient=p2", headers={"Content-Type": "application/x-www-form-urlencoded"}
    ).json()
    assert {number_of(entry) for entry in told["entry"]} >= {3, 6, 7, 9}


@pytest.mark.security("B3")
def test_looking_at_the_trail_is_told_in_the_trail(stocked: TestClient, database: Database) -> None:
    stocked.get("/fhir/AuditEvent/1")
    read = rows(database)[-1]
    assert (read.action, read.ref, read.patients) == ("read", "AuditEvent/1", ("p1",))
    stocked.get("/fhir/AuditEvent?patient=p2")
    search = rows(database)[-1]
    assert (search.action, search.ref, search.query) == ("search", "AuditEvent", "patient=p2")
    assert set(search.patients) == {"p2"}
    stocked.get("/fhir/AuditEvent?patient=p1,p2")
    assert set(rows(database)[-1].patients) == {"p1", "p2"}
    stocked.get("/fhir/AuditEvent/3.2")
    read = rows(database)[-1]
    assert (read.ref, read.patients) == ("AuditEvent/3.2", ("p2",))


def persons(event: dict[str, Any]) -> list[str]:
    return [one["what"]["reference"] for one in event["entity"] if one["type"]["code"] == "1"]


ABOUT_ONE = [
    ("patient=p2", ["Patient/p2"]),
    ("patient=Patient/p2&action=E", ["Patient/p2"]),
    ("entity=Patient/p2&entity-role=24", ["Patient/p2"]),
    ("patient=p2&_sort=date", ["Patient/p2"]),
    ("patient=p1,p2", ["Patient/p1", "Patient/p2"]),
    ("patient=p1&patient=p2", ["Patient/p1", "Patient/p2"]),
    ("_id=3", ["Patient/p1", "Patient/p2"]),
]


@pytest.mark.requirement(139)
@pytest.mark.security("B1", "B3")
def test_a_search_that_returned_several_patients_is_an_event_of_each_of_them(stocked: TestClient) -> None:
    """IHE BALP, PatientQuery: one AuditEvent for every Patient in the search set; none of them tells of another."""
    for query, expected in ABOUT_ONE:
        entries = stocked.get(f"/fhir/AuditEvent?{query}").json()["entry"]
        (one,) = [entry for entry in entries if number_of(entry) == 3]
        assert (query, persons(one["resource"])) == (query, expected)
        profile = one["resource"]["meta"]["profile"][0].rpartition(".")[2]
        assert profile == ("PatientQuery" if len(expected) == 1 else "Query"), query
        assert one["fullUrl"].endswith(f"/AuditEvent/{one['resource']['id']}")
        assert event(stocked, one["resource"]["id"]) == one["resource"]
        assert not check(one["resource"])
    whole, first, second = (event(stocked, id_) for id_ in ("3", "3.1", "3.2"))
    assert [persons(one) for one in (whole, first, second)] == [
        ["Patient/p1", "Patient/p2"],
        ["Patient/p1"],
        ["Patient/p2"],
    ]
    assert {one["id"] for one in (whole, first, second)} == {"3", "3.1", "3.2"}
    for id_ in ("3.0", "3.3", "3.01", "3.", "3.x", "3.1.1", "1.1", "5.1", "3.-1", f"3.{'1' * 30}"):
        assert stocked.get(f"/fhir/AuditEvent/{id_}").status_code == 404, id_


@pytest.mark.requirement(139)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "AuditEvent"), ("PUT", "AuditEvent/1"), ("DELETE", "AuditEvent/1"), ("PATCH", "AuditEvent/1")],
)
def test_nobody_writes_events(stocked: TestClient, database: Database, method: str, path: str) -> None:
    before = [row for row in rows(database) if row.seq == 1]
    body = '{"resourceType":"AuditEvent","id":"1"}'
    assert stocked.request(method, f"/fhir/{path}", content=body, headers=JSON).status_code in (403, 405)
    assert [row for row in rows(database) if row.seq == 1] == before


def scoped(*scopes: str, policy: Policy | None = None) -> Viewer:
    return Viewer(who="Device/x", sight=sight_of(grants_of(scopes), policy, None))


@pytest.mark.security("B3", "S51")
def test_only_auditors_and_scopes_that_name_it_read_the_trail() -> None:
    auditor = Policy(grants=grants_of(["system/AuditEvent.rs"]), acts=frozenset({"audit"}))
    nurse = Policy(grants=grants_of(["system/*.cruds"]), acts=frozenset({"queue"}))
    allowed = [
        open_viewer(), scoped("system/AuditEvent.rs"), scoped("system/AuditEvent.rs", "system/*.cruds"),
        Viewer(who="a", sight=sight_of(None, auditor, None)), scoped("user/*.rs", policy=auditor),
    ]  # fmt: skip
    denied = [
        scoped("system/*.rs"), scoped("system/*.cruds"), scoped("system/Task.rs"), scoped("patient/AuditEvent.rs"), scoped(),
        Viewer(who="n", sight=sight_of(None, nurse, None)), Viewer(who="x", sight=NOTHING), scoped("user/Task.rs", policy=auditor),
    ]  # fmt: skip
    for right in "rs":
        assert [trail_view.may_read(one, right) for one in allowed] == [True] * len(allowed)
        assert [trail_view.may_read(one, right) for one in denied] == [False] * len(denied)
    assert not trail_view.may_read(scoped("system/AuditEvent.r"), "s")
    assert EVERYTHING is open_viewer().sight


@pytest.mark.parametrize("action", [*audit_events.ACTIONS, *audit_events.SECURITY, "export", "x"])
def test_every_word_is_found_by_the_codes_it_is_told_with(action: str) -> None:
    row = AuditRow(seq=1, at=NOW, who="x", action=action, ref="Task/t", patient=None, outcome="success", request_id="")

    def holds(param: str, system: str | None, code: str) -> bool:
        meant = audit_events.coded(param, system, code)
        return (action in meant.words) != meant.others or action in meant.levels

    assert holds("action", None, audit_events.action_of(row))
    kind = audit_events.type_of(row)
    assert holds("type", kind["system"], kind["code"])
    for one in audit_events.subtypes_of(row):
        assert holds("subtype", one["system"], one["code"]) or action == "history"
