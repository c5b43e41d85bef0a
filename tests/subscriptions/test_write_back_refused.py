"""What an EHR refuses, cannot take or is too broken for: told plainly, kept apart from the rest, and done once it can be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx

from fhir_tracker import conflicts, connections, records, writes
from fhir_tracker.config import load_settings
from fhir_tracker.errors import RuleBroken
from fhir_tracker.model.author import Author
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Database
from subscriptions import ask_at_once, write_back_due
from tests.subscriptions.fake_ehr import BASE, JSON
from tests.subscriptions.writer import VIEWER, Writer
from tests.subscriptions.writing_ehr import WritingEhr, writing_ehr
from tests.support.clinic import RING, Clinic

OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [
        {"severity": "error", "code": "invariant", "diagnostics": "HAPI-0574: Ann Synthetic has no such owner"},
        {"severity": "error", "code": "required", "details": {"text": "wanted"}, "expression": ["Task.requester"]},
    ],
}


@pytest.fixture
def ehr() -> Iterator[WritingEhr]:
    with writing_ehr() as made:
        yield made


@pytest.fixture
def writer(database: Database, ehr: WritingEhr) -> Writer:
    made = Writer(database, BASE, types=("Patient",))
    made.sync()
    return made


@pytest.mark.parametrize("status", [400, 403, 404, 410, 422])
def test_what_the_ehr_says_of_a_refusal_is_kept_for_those_who_may_see_it(
    writer: Writer, ehr: WritingEhr, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    ehr.before.append(lambda _: httpx.Response(status, headers=JSON, text=json.dumps(OUTCOME)))
    id_ = writer.file()
    assert writer.write().counts == {"dead": 1}
    row = writer.row(f"Task/{id_}")
    assert f"{status} (OperationOutcome invariant HAPI-0574 required)" in (row.reason or "")
    assert conflicts.said(row) == "HAPI-0574: Ann Synthetic has no such owner; wanted, Task.requester"
    assert "Ann" not in (row.reason or "") + caplog.text + repr(row)
    ehr.before.clear()
    with writer.database.begin() as tx:
        conflicts.retry(tx, row, writer.author)
    assert writer.write().counts == {"done": 1}
    assert conflicts.said(writer.row(f"Task/{id_}")) == ""


def test_refused_credentials_keep_everything_waiting_and_are_told(writer: Writer, ehr: WritingEhr) -> None:
    ids = [writer.file(), writer.file()]
    ehr.before.append(lambda _: httpx.Response(401))
    report = writer.write()
    assert (report.counts, report.error) == ({"waiting": 1}, "The server answered 401: it refused our credentials.")
    ehr.before.clear()
    assert writer.write(60).counts == {"done": 2}
    assert sorted(one["identifier"][0]["value"] for one in ehr.of("Task")) == sorted(ids)


def test_an_ehr_that_was_down_for_an_hour_has_everything_a_minute_after_it_is_back(
    writer: Writer, ehr: WritingEhr
) -> None:
    """Each request ends in a 502 of the proxy before it."""
    ids = [writer.file() for _ in range(6)]
    ehr.twists.append(lambda _: httpx.Response(502))
    for _ in range(15):
        writer.write(240)
    with writer.database.begin() as tx:
        tried = [row.attempts for row in writer.rows()]
        outbox.note(tx, writer.rows()[0], due_at=writer.now + timedelta(minutes=15))
    assert max(tried) <= 15
    ehr.twists.clear()
    for _ in range(3):
        writer.pass_time(60)
        with writer.client() as client:
            writer.write_with(client)
    assert {row.state for row in writer.rows()} == {"done"}
    assert sorted(one["identifier"][0]["value"] for one in ehr.of("Task")) == sorted(ids)


def test_rows_that_always_break_the_server_do_not_keep_the_others_away(writer: Writer, ehr: WritingEhr) -> None:
    bad = [writer.file(description="bad") for _ in range(4)]
    good = [writer.file(description="good") for _ in range(3)]
    ehr.before.append(lambda request: httpx.Response(500) if b'"bad"' in request.content else None)
    for _ in range(4):
        writer.write(30)
    assert {writer.row(f"Task/{one}").state for one in good} == {"done"}
    assert {writer.row(f"Task/{one}").state for one in bad} == {"waiting"}


def test_more_than_a_batch_is_written_in_one_round(writer: Writer, ehr: WritingEhr) -> None:
    with writer.database.begin() as tx:
        for number in range(60):
            task = {"resourceType": "Task", "status": "requested", "intent": "order", "description": str(number)}
            writes.create(tx, task | {"for": {"reference": "Patient/clinic-p1"}}, writer.author)
    assert writer.write().counts == {"done": 60}
    assert ehr.created == 60


def test_one_ehr_that_hangs_keeps_no_other_waiting(database: Database) -> None:
    """The slow one answers only after the quick one has got its Task."""
    now = datetime(2031, 1, 1, tzinfo=UTC)
    quick_done = threading.Event()
    order: list[str] = []
    with database.begin() as tx:
        for key in ("quick", "slow"):
            connections.add(
                tx, key, f"https://{key}.example/fhir", now=now, options={"write_back": ["Task"]}, types=("Task",)
            )
        author = Author(viewer=VIEWER, origin="api", at=now)
        for key in ("slow", "quick"):
            task = {"resourceType": "Task", "status": "requested", "intent": "order"}
            writes.create(tx, task | {"for": {"reference": f"Patient/{key}-p1"}}, author)
    with respx.mock(assert_all_called=False) as router:

        def served(request: httpx.Request) -> httpx.Response:
            key = request.url.host.partition(".")[0]
            if request.method == "GET":
                if key == "slow":
                    assert quick_done.wait(60)
                return httpx.Response(404)
            order.append(key)
            body = json.loads(request.content) | {"id": "1", "meta": {"versionId": "1"}}
            if key == "quick":
                quick_done.set()
            return httpx.Response(201, headers=JSON, text=json.dumps(body))

        router.route().mock(side_effect=served)
        reports = write_back_due(database, load_settings({}), lambda: now + timedelta(seconds=10))
    assert {one.connection: one.counts for one in reports} == {"quick": {"done": 1}, "slow": {"done": 1}}
    assert order == ["quick", "slow"]


def test_a_person_who_tries_again_does_not_wait_for_the_pause_of_a_server_that_was_away(
    writer: Writer, ehr: WritingEhr
) -> None:
    writer.file()
    ehr.twists.append(lambda _: httpx.Response(503, headers={"retry-after": "3600"}))
    writer.write()
    ehr.twists.clear()
    settings = load_settings({})
    assert write_back_due(writer.database, settings, lambda: writer.now + timedelta(seconds=30)) == []
    with writer.database.begin() as tx:
        conflicts.retry(tx, writer.rows()[0], writer.author)
        ask_at_once(tx, "clinic", writer.now)
    (report,) = write_back_due(writer.database, settings, lambda: writer.now + timedelta(hours=2))
    assert report.counts == {"done": 1}


def test_work_told_as_a_communication_is_told_again_when_it_ends_in_another_way(
    writer: Writer, ehr: WritingEhr
) -> None:
    ehr.takes["Task"] = ()
    id_ = writer.file(code={"text": "First call"}, status="failed")
    assert writer.write().counts == {"done": 1}
    set_status(writer, id_, "in-progress")
    assert writer.write().counts == {"unsupported": 1}
    assert "open again" in (writer.row(f"Task/{id_}").reason or "")
    ehr.after.append(lost)
    set_status(writer, id_, "completed")
    writer.write()
    ehr.after.clear()
    writer.write(15)
    assert writer.row(f"Task/{id_}").state == "done"
    told = [one["payload"][0]["contentString"] for one in ehr.of("Communication")]
    assert told == ["First call: failed.", "First call: completed."]
    assert [one["identifier"][0]["value"] for one in ehr.of("Communication")] == [id_, f"{id_}/2"]
    writer.change("Task", id_, note=[{"text": "a later remark"}])
    writer.write()
    assert len(ehr.of("Communication")) == 2


def test_what_tells_of_our_work_is_no_outreach_of_theirs_when_a_poll_brings_it(database: Database) -> None:
    ehr = WritingEhr()
    ehr.put("Patient", "p1", active=True)
    ehr.takes["Task"] = ()
    with respx.mock(assert_all_called=False) as router:
        ehr.serve(router)
        writer = Writer(database, BASE, types=("Patient", "Communication"))
        writer.sync()
        ehr.after.append(lost)
        id_ = writer.file(code={"text": "First call"}, status="completed")
        writer.write()
        ehr.after.clear()
        writer.sync()
        writer.write(15)
        writer.sync()
    assert writer.stored("Communication") == []
    assert (writer.row(f"Task/{id_}").state, ehr.created) == ("done", 1)


def test_a_patient_who_is_not_mirrored_is_named_by_the_id_there(writer: Writer, ehr: WritingEhr) -> None:
    ehr.takes["Task"] = ()
    writer.file(status="completed", **{"for": {"reference": "Patient/clinic-p7"}})
    writer.write()
    assert ehr.of("Communication")[0]["subject"] == {"reference": "Patient/p7"}


def test_a_status_that_can_mean_several_of_the_programs_is_given_by_a_person(
    writer: Writer, ehr: WritingEhr, database: Database
) -> None:
    second = '  - {code: calling-back, is: in-progress, clock: running, means: "Asked to call back"}\n'
    moves = "  - {from: [to-call, calling-back], to: calling}\n  - {from: [to-call], to: calling-back}\n"
    program = RING.replace("  - {code: waiting,", second + "  - {code: waiting,")
    Clinic(database, program.replace("  - {from: [to-call], to: calling}\n", moves), at=writer.now)
    id_ = writer.file(instantiatesCanonical="https://fhir-tracker.example/ActivityDefinition/ring.first-call")
    writer.write()
    ehr.change("Task", "made1", status="in-progress")
    ehr.after.clear()
    writer.change("Task", id_, description="call her")
    assert writer.write().counts == {"conflict": 1}
    row = writer.row(f"Task/{id_}")
    with writer.database.begin() as tx, pytest.raises(RuleBroken, match="calling, calling-back"):
        conflicts.resolve(tx, row, {"status": "theirs"}, writer.author)
    with writer.database.begin() as tx:
        conflicts.resolve(tx, row, {"status": conflicts.Edited(value="calling-back")}, writer.author)
    for _ in range(2):
        writer.write()
    here, there = writer.held("Task", id_), ehr.held("Task", "made1")
    assert writer.row(f"Task/{id_}").state == "done"
    assert here["businessStatus"] == there["businessStatus"]
    assert here["businessStatus"]["coding"][0]["code"] == "calling-back"
    assert there["status"] == "in-progress"


def test_the_programs_own_status_follows_a_change_of_theirs(
    writer: Writer, ehr: WritingEhr, database: Database
) -> None:
    Clinic(database, at=writer.now)
    id_ = writer.file(instantiatesCanonical="https://fhir-tracker.example/ActivityDefinition/ring.first-call")
    writer.write()
    ehr.change("Task", "made1", status="in-progress")
    writer.change("Task", id_, description="call her")
    for _ in range(2):
        writer.write()
    assert writer.held("Task", id_)["businessStatus"]["coding"][0]["code"] == "calling"
    assert ehr.held("Task", "made1")["businessStatus"]["coding"][0]["code"] == "calling"
    assert writer.row(f"Task/{id_}").state == "done"
    assert writer.write(60).counts == {}


def lost(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer")


def set_status(writer: Writer, id_: str, status: str) -> None:
    """As though by a way that needs no transition."""
    fresh: dict[str, Any] = writer.held("Task", id_) | {"status": status}
    writer.pass_time(1)
    with writer.database.begin() as tx:
        records.save(tx, fresh, writer.author)
