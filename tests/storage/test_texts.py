"""What texts, ids and numbers the store keeps exactly, and what it refuses in its own words."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import Event
from fhir_tracker.storage import audit, events, quarantine, resources, work_items
from fhir_tracker.storage import settings as states
from fhir_tracker.storage.database import Database
from tests.storage.samples import AUTHOR, NOW, VIEWER, found, item, new_version, put, task

HOSTILE = [
    "plain", "", " ", "ü é ß Ø", "日本語", "💥🩺", "\u202eright to left", "e\u0301", "\u0085\u2028\u2029", "tab\tline\nend\r",
    "'; DROP TABLE resource; --", '"quoted" \\back\\', "%_%", "\ufeffbom", "\ufffd", "\U0010ffff", "a" * 100_000, "${jndi:x}",
]  # fmt: skip


def test_a_body_is_given_back_byte_for_byte(database: Database) -> None:
    for number, text in enumerate(HOSTILE):
        id_ = f"t{number}"
        body = json.dumps(task(id_, description=text), ensure_ascii=False, separators=(",", ":"))
        with database.begin() as tx:
            resources.save(tx, replace(new_version(task(id_)), body=body, remote_body=body + " "), None, AUTHOR)
        with database.read() as tx:
            stored = resources.find(tx, VIEWER, "Task", id_)
            assert stored is not None
            assert stored.body == body
            assert resources.remote_body(tx, VIEWER, "Task", id_) == body + " "


def test_texts_beside_resources_are_kept_as_they_are(database: Database) -> None:
    for text in HOSTILE:
        seen = Event(
            ref="Flag/f", type="Flag", status=text, patient="ann", seen_at=NOW, codes=(text,), detail={"a": text}
        )
        with database.begin() as tx:
            work_items.save(tx, item("Task/a", title=text, escalation_reason=text, owner=text))
            states.put(tx, "x", text)
            audit.add(tx, at=NOW, viewer=Viewer(who=text), action="read", ref="Task/a", detail={"said": text})
            events.save(tx, seen)
        with database.read() as tx:
            kept = work_items.find(tx, VIEWER, "Task/a")
            assert kept is not None
            assert (kept.title, kept.escalation_reason, kept.owner, states.get(tx, "x")) == (text, text, text, text)
            assert (audit.list(tx, VIEWER)[0].who, audit.list(tx, VIEWER)[0].detail) == (text, {"said": text})
            assert events.find(tx, VIEWER, "Flag/f") == seen


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_found_by_itself_as_a_name(database: Database, text: str) -> None:
    with database.begin() as tx:
        stored = resources.find(tx, VIEWER, "Patient", "p")
        body = {"resourceType": "Patient", "id": "p", "name": [{"family": text or "x"}]}
        put(tx, body, stored.version + 1 if stored else 1)
        kept = resources.find(tx, VIEWER, "Patient", "p")
    assert kept is not None
    assert json.loads(kept.body) == body


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_a_character_is_refused(database: Database, text: str) -> None:
    with pytest.raises(Incorrect, match="cannot be held"), database.begin() as tx:
        states.put(tx, "x", text)
    with database.read() as tx:
        assert states.get(tx, "x") is None


def test_a_nul_is_refused_or_kept_and_never_cuts_a_text_short(database: Database) -> None:
    text = "before\0after"
    try:
        with database.begin() as tx:
            states.put(tx, "x", text)
    except Incorrect:
        text = ""
    with database.read() as tx:
        assert (states.get(tx, "x") or "") == text


def test_ids_are_kept_whatever_their_length(database: Database) -> None:
    for id_ in ("a" * 64, "A-Z.a-z-0.9", "1" * 64, "x" * 5000, ""):
        with database.begin() as tx:
            put(tx, task(id_))
        with database.read() as tx:
            assert resources.find(tx, VIEWER, "Task", id_) is not None
            assert resources.find(tx, VIEWER, "Task", id_ + "x") is None


def test_a_version_that_cannot_be_is_not_there(database: Database) -> None:
    with database.begin() as tx:
        put(tx, task("a"))
    for version in (-1, 0, 2, 2**31 - 1, 2**31, 2**63, 2**70, -(2**70)):
        with database.read() as tx:
            assert resources.find_version(tx, VIEWER, "Task", "a", version) is None


def test_moments_of_any_year_are_kept_to_the_microsecond(database: Database) -> None:
    for year in (1, 1000, 1899, 1969, 1970, 2038, 9999):
        at = datetime(year, 6, 30, 23, 59, 59, 999_999, tzinfo=UTC)
        with database.begin() as tx:
            work_items.save(tx, item("Task/a", due_at=at, created_at=at, next_action_at=at))
        with database.read() as tx:
            kept = work_items.find(tx, VIEWER, "Task/a")
        assert kept is not None
        assert (kept.due_at, kept.created_at, kept.next_action_at) == (at, at, at)


def test_moments_of_any_zone_come_back_as_the_same_instant(database: Database) -> None:
    at = datetime.fromisoformat("2026-03-09T01:30:00.5+13:45")
    with database.begin() as tx:
        work_items.save(tx, item("Task/a", due_at=at))
    with database.read() as tx:
        kept = work_items.find(tx, VIEWER, "Task/a")
    assert kept is not None
    assert kept.due_at == at
    assert kept.due_at is not None
    assert kept.due_at.utcoffset() == timedelta()


@pytest.mark.parametrize("length", [255, 256, 257, 5000])
def test_a_long_name_is_found_by_its_beginning(database: Database, length: int) -> None:
    name = "n" * (length - 1) + "z"
    with database.begin() as tx:
        put(tx, {"resourceType": "Patient", "id": "p", "name": [{"family": name}]})
    for text in (name[:10], name[:256], name[:2000]):
        assert found(database, "Patient", f"family={text}") == ["p"]
    assert found(database, "Patient", "family=no") == []


def test_a_quarantined_body_may_be_anything_but_is_given_back_as_text(database: Database) -> None:
    for number, text in enumerate(HOSTILE):
        with database.begin() as tx:
            quarantine.put(
                tx, connection="c", type_="Task", remote_id=str(number), reason="shape", detail="odd", body=text, at=NOW
            )
    with database.read() as tx:
        kept = {one.remote_id: one.body for one in quarantine.list(tx, VIEWER)}
    assert kept == {str(number): text for number, text in enumerate(HOSTILE)}
