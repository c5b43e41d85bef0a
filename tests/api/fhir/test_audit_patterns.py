"""The trail as it is exported after real acts, judged by HL7's validator against IHE Basic Audit Log Patterns.

https://profiles.ihe.net/ITI/BALP/content.html
"""

from __future__ import annotations

import json
import shutil
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stdout
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from api.app import create_app
from api.cli import main
from api.context import Access as Mode
from api.context import AppContext
from fhir_tracker import audit_events
from fhir_tracker.config import load_settings
from fhir_tracker.fhir.checks import check
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import trail
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_rows import Access
from fhir_tracker.storage.audit_work import Change, note_change
from fhir_tracker.storage.database import Database
from tests.api.fhir.talk import JSON
from tests.api.fhir.test_trail_view import ANN, ROWS
from tests.peers.validator.run import VERSION, Said, Validator, running_validator
from tests.support.audit_patterns import PATTERN, write_definitions

SECRET = "a secret of these tests, and of nothing else"
PATIENT = '{"resourceType":"Patient","id":"%s","name":[{"family":"Synthetic"}]}'
TASK = '{"resourceType":"Task","id":"t1","status":"requested","intent":"order","for":{"reference":"Patient/p1"}}'
PATCH = '[{"op":"add","path":"/priority","value":"urgent"}]'
Event = dict[str, Any]


@pytest.fixture(scope="module")
def exported(prepared_file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """What `audit export` prints after clients, people, a command and the tracker itself have acted."""
    file = tmp_path_factory.mktemp("acts") / "tracker.db"
    shutil.copyfile(prepared_file, file)
    url = f"sqlite:///{file}"
    with closing(Database.open(url)) as database:
        client_acts(database)
        other_acts(database)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FHIR_TRACKER_SECRET_KEY", SECRET)
        patch.setenv("HOME", str(file.parent))
        with redirect_stdout(StringIO()):
            assert (
                main(["connection", "add", "clinic", "--base-url", "http://127.0.0.1:9/fhir", "--database", url]) == 0
            )
        printed = StringIO()
        ends = ["--from", "2026-01-01", "--to", "2100-01-01"]
        with redirect_stdout(printed):
            assert main(["audit", "export", *ends, "--reason", "of a test", "--database", url]) == 0
    return [json.loads(line) for line in printed.getvalue().splitlines()]


def client_acts(database: Database) -> None:
    """Each interaction over HTTP, those that succeed and those that do not."""
    settings = load_settings({"HOME": "/nowhere"})
    context = AppContext(
        database=database, settings=settings, access=Mode.OPEN, public_url="http://testserver", secret_key=SECRET,
        started_at=datetime(2026, 3, 2, 14, 0, tzinfo=UTC), worker=False,
    )  # fmt: skip
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "GET", "url": "Task/t1"}}]}
    asked: list[tuple[str, str, str]] = [
        ("PUT", "Patient/p1", PATIENT % "p1"), ("PUT", "Patient/p2", PATIENT % "p2"), ("PUT", "Task/t1", TASK),
        ("POST", "Task", TASK), ("PUT", "Task/t1", TASK.replace("order", "plan")), ("PATCH", "Task/t1", PATCH),
        ("GET", "Task/t1", ""), ("GET", "Task/t1/_history/1", ""), ("GET", "Task/t1/_history", ""), ("GET", "_history", ""),
        ("GET", "Patient?name=syn", ""), ("GET", "Patient?_id=p1", ""), ("GET", "Patient/p1/Task", ""), ("GET", "?_type=Task", ""),
        ("GET", "Organization", ""), ("GET", "Task/none", ""), ("GET", "Task?status=%7C%7C%7C", ""), ("GET", "Patient/p1/$everything", ""),
        ("POST", "", json.dumps(batch)), ("DELETE", "Task/t1", ""), ("GET", "AuditEvent?patient=p1", ""),
        ("PUT", "Organization/o1", '{"resourceType":"Organization","id":"o1","name":"Synthetic"}'), ("GET", "Organization/o1", ""),
    ]  # fmt: skip
    with TestClient(create_app(context), base_url="http://testserver") as client:
        for method, path, body in asked:
            kind = {"Content-Type": "application/json-patch+json"} if method == "PATCH" else JSON
            client.request(method, f"/fhir/{path}", content=body, headers=kind if body else {})
        for page in ("/", "/patients/p1", "/patients/none", "/audit", "/patients/a%20b", "/no/such/page"):
            client.get(page)


def other_acts(database: Database) -> None:
    """Logins, refusals, glass broken and what was seen through it, and the tracker's own work."""
    opened = replace(ANN, opened=frozenset({"p1"}))
    now = datetime(2026, 3, 9, 14, 0, tzinfo=UTC)
    glass = [
        Access(now, opened, "read", "Task/t1", "p1", "success", "g-1", {}, (), "page", 3),
        Access(now, opened, "search", "Task", None, "success", "g-2", {}, ("p1", "p2"), "page"),
    ]
    security = [Access(now, ANN, word, "", None, "success", "", {}, (), "security") for word in audit_events.SECURITY]
    trail.add(database, [*ROWS, *glass, *security])
    worker = Viewer(who="Device/rules", name="Rules")
    with database.begin() as tx:
        for origin, count in (("rules", 2), ("sync", 30)):
            author = Author(viewer=worker, at=now + timedelta(seconds=1), origin=origin)
            for number in range(count):
                note_change(tx, Change("update", "Task", f"{origin}-{number}", 2, f"p{number % 3}"), author)


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validator]:
    folder = tmp_path_factory.mktemp("patterns")
    write_definitions(folder)
    with running_validator(profiles=folder) as running:
        yield running


def wrong(said: list[Said]) -> list[str]:
    return [f"{one.location}: {one.message}" for one in said if one.wrong]


def pattern(event: Event) -> str:
    return "".join(one.removeprefix(PATTERN) for one in event["meta"].get("profile", []))


@pytest.mark.peer
@pytest.mark.requirement(139, 140)
@pytest.mark.security("S52")
def test_everything_exported_keeps_to_the_standard_and_to_the_pattern_it_names(
    exported: list[Event], validator: Validator, peer_versions: dict[str, str]
) -> None:
    peer_versions["HL7 validator (HAPI)"] = VERSION
    said = validator.judge([json.dumps(event) for event in exported])
    found = {json.dumps(event)[:200]: wrong(one) for event, one in zip(exported, said, strict=True) if wrong(one)}
    assert found == {}
    named = {pattern(event) for event in exported} - {""}
    assert named == {f"{patient}{one}" for patient in ("", "Patient") for one in ("Create", "Read", "Update", "Query", "Delete")} - {
        "Delete"
    }  # fmt: skip


def without_agent(code: str) -> Callable[[Event], None]:
    def spoil(event: Event) -> None:
        event["agent"] = [one for one in event["agent"] if one["type"]["coding"][0]["code"] != code]

    return spoil


def without(path: str) -> Callable[[Event], None]:
    def spoil(event: Event) -> None:
        *parts, last = path.split(".")
        told: Any = event
        for part in parts:
            told = told[int(part) if part.isdecimal() else part]
        del told[int(last) if last.isdecimal() else last]

    return spoil


SPOILS: list[tuple[str, Callable[[Event], None]]] = [
    ("PatientRead", without_agent("110152")), ("PatientRead", without_agent("110153")), ("PatientRead", without("entity.0")),
    ("PatientRead", without("outcome")), ("PatientRead", without("subtype.0")), ("PatientQuery", without("entity.1")),
    ("PatientQuery", without("entity.1.query")), ("Query", without("agent.0.network")), ("PatientUpdate", without_agent("110152")),
    ("PatientCreate", without("action")), ("PatientDelete", without_agent("custodian")),
]  # fmt: skip


@pytest.mark.peer
def test_the_definitions_refuse_what_lacks_what_a_pattern_asks(exported: list[Event], validator: Validator) -> None:
    given = []
    for name, spoil in SPOILS:
        event = deepcopy(next(one for one in exported if pattern(one) == name))
        spoil(event)
        given.append(event)
    said = validator.judge([json.dumps(event) for event in given])
    assert [name for (name, _), one in zip(SPOILS, said, strict=True) if not wrong(one)] == []


def of(exported: list[Event], subtype: str, reference: str = "") -> list[Event]:
    """The events of one of our words, perhaps about one reference."""
    chosen = [one for one in exported if one["subtype"][-1]["code"] == subtype]
    return [one for one in chosen if reference in json.dumps(one)] if reference else chosen


@pytest.mark.requirement(140)
def test_what_was_written_is_named_with_its_version(exported: list[Event]) -> None:
    told = [
        entity["what"]["reference"]
        for event in exported
        if event["subtype"][0]["code"] in ("create", "update", "patch") and pattern(event)
        for entity in event["entity"]
        if entity["type"]["code"] == "2" and "reference" in entity["what"]
    ]
    assert {"Task/t1/_history/1", "Task/t1/_history/2", "Task/t1/_history/3"} <= set(told)
    assert [one for one in told if "/_history/" not in one] == []


@pytest.mark.requirement(139)
def test_a_search_names_each_patient_it_returned_and_what_was_asked(exported: list[Event]) -> None:
    asked = {
        b64decode(entity["query"]).decode(): sorted(
            one["what"]["reference"] for one in event["entity"] if one.get("type", {}).get("code") == "1"
        )
        for event in exported
        for entity in event.get("entity", [])
        if "query" in entity
    }
    assert asked["Patient?name=syn"] == ["Patient/p1", "Patient/p2"]
    assert asked["Patient?_id=p1"] == ["Patient/p1"]
    assert asked["Organization"] == []


@pytest.mark.security("A5", "S52")
def test_what_was_seen_through_broken_glass_has_its_purpose_on_event_and_user(exported: list[Event]) -> None:
    purpose = [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"}]}]
    events = [event for event in exported if event.get("purposeOfEvent") == purpose]
    assert [event["subtype"][-1]["code"] for event in events] == ["break-glass", "read", "search"]
    for event in events:
        (user,) = [one for one in event["agent"] if one["requestor"]]
        assert user["purposeOfUse"] == purpose


@pytest.mark.requirement(139)
def test_denials_errors_commands_and_own_work_are_there_with_their_outcome(exported: list[Event]) -> None:
    (missing,) = of(exported, "read", "Task/none")[:1]
    assert (missing["outcome"], pattern(missing)) == ("8", "")
    assert [
        one["outcome"] for one in exported if "reason" in one.get("outcomeDesc", "") or "unmapped" in json.dumps(one)
    ] == ["8"]
    assert "0" not in {event["outcome"] for event in of(exported, "search-type")}
    assert [one["outcome"] for one in of(exported, "configure", "connection add")][-1:] == ["0"]
    own = of(exported, "update", "Device/rules")
    assert [one["agent"][0]["who"]["reference"] for one in own] == ["Device/rules"] * len(own) != []
    (summary,) = [one for one in of(exported, "work") if one["agent"][0]["who"]["reference"] == "Device/rules"]
    assert len([one for one in summary["entity"] if one.get("type", {}).get("code") == "1"]) == 3
    assert of(exported, "export")


ODD = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "\t", "\0", "Patient/", "Patient/a b", "Device/x y", "é", "x" * 2000]),
)


@given(
    texts=st.lists(ODD, min_size=12, max_size=12),
    version=st.none() | st.integers(1, 9),
    patients=st.lists(ODD, max_size=3),
)
def test_whatever_a_row_holds_its_event_is_valid(texts: list[str], version: int | None, patients: list[str]) -> None:
    names = "who action ref patient outcome request_id kind name client issuer address session".split()
    row = AuditRow(
        seq=1, at=ROWS[0].at, version=version, patients=tuple(patients), roles=frozenset(texts[:2]), purpose=texts[2],
        detail={texts[0]: texts[1]}, query=texts[3] or None, **dict(zip(names, texts, strict=True)),
    )  # fmt: skip
    assert [issue.message for issue in check(audit_events.event_of(row, "http://testserver/fhir"))] == []
