"""Roles are seen in words, and a practice's file of them is looked at and loaded, by page."""

from __future__ import annotations

from datetime import datetime

import pytest
from starlette.testclient import TestClient

from fhir_tracker import roles
from fhir_tracker.model.policy import ACTS
from fhir_tracker.storage import role_files
from fhir_tracker.storage.database import Database
from tests.api.staff.markup import problems
from tests.support.launched import Tab
from tests.support.setting_up import configured, tab_of

OURS = """roles:
  - role: medical-assistant
    title: Medical assistant
    means: Rooms patients & answers <calls>
    may: [Task.rus, Patient.rs]
    hide: {Task: [note]}
    acts: [queue, task]
"""
WITHOUT_PEOPLE = "roles: [{role: clinic-admin, may: [Task.rs], acts: [roles]}]"


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def loaded(database: Database) -> list[tuple[str, str | None]]:
    with database.read() as tx:
        return [(one.loaded_by, one.reason) for one in role_files.all(tx)]


def test_each_role_is_told_in_words_with_how_many_people_have_it(admin: Tab) -> None:
    page = admin.get("/roles")
    assert problems(page.text) == []
    for code, policy in roles.built_in().items():
        assert f"{code} ·" in page.text
        assert policy.title in page.text
    assert "clinic-admin · 1 person" in page.text
    assert "rn · 0 people" in page.text
    assert ACTS["break-glass"] in page.text
    assert "never sees, nor sets, of Task" in page.text


@pytest.mark.security("B1", "S50")
@pytest.mark.requirement(89)
def test_a_file_is_looked_at_then_loaded_and_counts_from_the_next_click_on(
    admin: Tab, north: TestClient, database: Database, now: datetime
) -> None:
    looked = admin.post("/roles", {"source": OURS, "reason": "They answer calls", "do": "check"})
    assert looked.status_code == 200
    assert "It would change: medical-assistant. Nothing is changed yet." in looked.text
    assert "role: medical-assistant" in looked.text
    assert 'value="They answer calls"' in looked.text
    assert problems(looked.text) == []
    assert (loaded(database), configured(database)) == ([], [])
    nurse = tab_of(north, database, now, "nurse", "rn")
    assert nurse.get("/operations").status_code == 200

    narrower = OURS + "  - {role: rn, title: Nurse, may: [Task.rs], acts: [queue]}\n"
    sent = {"source": narrower.replace("\n", "\r\n"), "reason": "They answer calls", "do": "load"}
    assert admin.post("/roles", sent).status_code == 303
    assert nurse.get("/operations").status_code == 403
    assert loaded(database) == [(admin_ref(database), "They answer calls")]
    page = admin.get("/roles?said=roles-loaded")
    assert "Rooms patients &amp; answers &lt;calls&gt;" in page.text
    assert "File 1: loaded" in page.text
    assert "Admin Synthetic: They answer calls" in page.text
    assert problems(page.text) == []
    (told,) = configured(database)
    assert (told["command"], told["ref"], told["roles"]) == ("roles load", "roles/1", ["medical-assistant", "rn"])
    again = admin.post("/roles", {"source": narrower, "do": "check"})
    assert "It would change: nothing." in again.text


def admin_ref(database: Database) -> str:
    (found,) = {one["who"] for one in configured(database)}
    return str(found)


@pytest.mark.security("S37", "S48")
@pytest.mark.parametrize("do", ["check", "load"])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", ""),
        ("roles: []", "no role is defined"),
        ("roles: [{role: x, may: [Nope.rs]}]", "Nope"),
        ("roles:\n  - {role: rn, may: [Task.sr]}", "line 2"),
        ("roles: [{role: x, may: [], acts: [fly]}]", "fly"),
        ("roles: [{role: x, may: [], hide: {Task: [nothing]}}]", "nothing"),
        ("&a [*a", ""),
        ("{" * 500, ""),
        ("roles: !!python/object/apply:os.system [id]", ""),
        ("a: &a [x,x]\nb: &b [*a,*a]\nroles: *b", ""),
    ],
)
def test_a_file_with_problems_is_told_all_of_them_with_their_place_and_changes_nothing(
    admin: Tab, database: Database, source: str, said: str, do: str
) -> None:
    answer = admin.post("/roles", {"source": source, "reason": "x", "do": do})
    assert answer.status_code == 400, answer.text
    assert "This file cannot be loaded" in answer.text
    assert said in answer.text
    assert "Traceback" not in answer.text
    assert problems(answer.text) == []
    assert (loaded(database), configured(database)) == ([], [])


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"source": WITHOUT_PEOPLE, "do": "load"}, "no role would have the act people"),
        ({"source": OURS, "do": "load", "reason": "a\tb"}, "one line"),
        ({"source": OURS, "do": "load", "reason": "x" * 501}, "one line"),
    ],
)
def test_nobody_is_locked_out_by_a_file_and_a_reason_is_one_line(
    admin: Tab, database: Database, form: dict[str, str], said: str
) -> None:
    answer = admin.post("/roles", form)
    assert (answer.status_code, said in answer.text) == (400, True)
    assert loaded(database) == []
    assert admin.get("/staff").status_code == 200


def test_without_a_word_for_what_to_do_a_file_is_only_looked_at(admin: Tab, database: Database) -> None:
    for do in ({}, {"do": ""}, {"do": "LOAD"}):
        assert admin.post("/roles", {"source": OURS, **do}).status_code == 200
    assert loaded(database) == []
    assert admin.post("/roles", {"source": "x" * 70_000, "do": "load"}).status_code == 413
