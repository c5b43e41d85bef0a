"""Pages of the status model: coded reasons with what they mean, moves of plans, one step on many rows, and undo."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import pytest

from fhir_tracker.storage.database import Database
from tests.api.staff.conftest import Reader
from tests.support.clinic import Clinic
from tests.test_status_model import PROGRAM


@pytest.fixture
def ready_url(one_file: str) -> str:
    """On SQLite: what steps write is tested on both kinds of database where the status model is."""
    return one_file


@pytest.fixture
def model(database: Database, now: datetime) -> Clinic:
    clinic = Clinic(database, PROGRAM, now - timedelta(hours=1))
    clinic.patient("ann", now - timedelta(hours=1))
    clinic.discharge("ann", now - timedelta(hours=1))
    return clinic


def page_of(ref: str) -> str:
    return f"/tasks/{ref.partition('/')[2]}"


def plan_of(clinic: Clinic) -> str:
    (found,) = [item.ref for item in clinic.items("ann") if item.kind == "plan"]
    return found.partition("/")[2]


def test_a_coded_reason_is_chosen_with_its_definition_in_sight(reader: Reader, model: Clinic) -> None:
    ref = model.task("ann", "call").ref
    page = reader.get(page_of(ref) + "?move=waiting")
    assert "Insurer asked: The insurer has not decided" in page.words
    assert "Waiting for somebody" in page.words
    typed = {"to": "waiting", "hold.until": "2099-01-05T10:00"}
    refused = reader.send(page_of(ref) + "/move", typed)
    assert refused.status == 422
    assert "a coded reason (insurer) is missing." in refused.words
    assert reader.send(page_of(ref) + "/move", typed | {"reason.code": "insurer"}).status == 303
    assert model.log(ref)[-1].reason_code == "insurer"


def test_a_move_that_wants_an_attempt_and_a_place_asks_for_them_and_takes_them(reader: Reader, model: Clinic) -> None:
    ref = model.task("ann", "call").ref
    page = reader.get(page_of(ref) + "?move=done")
    assert 'name="attempt"' in page.text
    assert 'name="field.location"' in page.text
    typed = {"to": "done", "attempt": "reached", "outreach.channel": "phone", "field.location": "Location/clinic"}
    refused = reader.send(page_of(ref) + "/move", typed)
    assert refused.status == 422
    assert "a linked document is missing." in refused.words
    assert "value is missing" not in refused.words
    assert model.item(ref).attempts == 0


def test_a_plan_is_moved_on_the_patients_page_and_taken_back(reader: Reader, model: Clinic) -> None:
    plan = plan_of(model)
    page = reader.get("/patients/ann")
    assert "The patient left" in page.words
    (way,) = [href for href in page.hrefs("/patients/ann?plan=") if "stage=left" in href]
    form = reader.get(way.partition("#")[0])
    assert "Moved away: Lives elsewhere now" in form.words
    refused = reader.send(f"/plans/{plan}/move", {"to": "left", "version": form.hidden("version")})
    assert refused.status == 422
    assert "a coded reason (moved) is missing." in refused.words
    fields = {"to": "left", "reason.code": "moved", "version": form.hidden("version")}
    done = reader.send(f"/plans/{plan}/move", fields)
    assert (done.status, done.location) == (303, "/patients/ann?said=moved")
    assert {item.fhir_status for item in model.items("ann") if item.kind == "task"} == {"cancelled"}
    assert reader.send(f"/plans/{plan}/move", fields | {"to": "enrolled"}).status == 412
    assert f"/plans/{plan}/undo" in reader.get("/patients/ann").text
    assert reader.send(f"/plans/{plan}/undo").status == 303
    assert model.item(f"CarePlan/{plan}").status == "enrolled"


def test_the_page_offers_to_take_back_what_one_just_did(reader: Reader, model: Clinic) -> None:
    ref = model.task("ann", "visit").ref
    assert "/undo" not in reader.get(page_of(ref)).text
    reader.send(page_of(ref) + "/move", {"to": "dropped", "reason": "Not wanted"})
    page = reader.get(page_of(ref))
    assert page_of(ref) + "/undo" in page.text
    assert reader.send(page_of(ref) + "/undo", {"back": page_of(ref)}).location.endswith("said=undone")
    assert model.item(ref).status == "to-do"
    assert "Undone" in reader.get(page_of(ref)).words


def test_one_step_on_the_ticked_rows_says_of_each_what_became_of_it(reader: Reader, model: Clinic) -> None:
    call, visit = model.task("ann", "call").ref, model.task("ann", "visit").ref
    queue = reader.get("/?tab=all")
    ticks = dict(re.findall(r'name="(pick-[^"]+)" value="(\d+)"', queue.text))
    assert set(ticks) >= {f"pick-{ref.partition('/')[2]}" for ref in (call, visit)}
    page = reader.send("/bulk", ticks | {"priority": "urgent"})
    assert page.status == 200
    assert "2 done, 0 skipped, 0 failed" in page.words
    assert {model.item(ref).priority for ref in (call, visit)} == {"urgent"}
    stale = reader.send("/bulk", ticks | {"to": "dropped", "reason": "Cleaning"})
    assert "0 done, 0 skipped, 2 failed" in stale.words
    fresh = dict(re.findall(r'name="(pick-[^"]+)" value="(\d+)"', reader.get("/?tab=all").text))
    needs = reader.send("/bulk", fresh | {"to": "dropped"})
    assert needs.words.count("a reason must be given") == 2
    one = dict([next(iter(fresh.items()))])
    assert "1 done" in reader.send("/bulk", one | {"to": "dropped", "reason": "Cleaning"}).words


@pytest.mark.parametrize(
    "fields",
    [{"priority": "urgent"}, {"pick-x": "1"}, {"pick-x": "1", "to": "a", "role": "rn"}, {"pick-$": "1", "to": "a"}],
)
def test_a_bulk_step_that_says_nothing_or_too_much_does_nothing(reader: Reader, fields: dict[str, str]) -> None:
    assert reader.send("/bulk", fields).status in (400, 422)
