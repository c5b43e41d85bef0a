"""The page of who may come in, and the part of a connection's page that says from where: for those whose role looks after it."""

from __future__ import annotations

import json
import re
from datetime import datetime

import pytest
from starlette.testclient import TestClient

from fhir_tracker import issuers
from fhir_tracker.storage import accounts as stored
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage.database import Database
from tests.api.staff.markup import problems
from tests.support.clinic import Clinic
from tests.support.launched import Tab
from tests.support.setting_up import configured, tab_of, wrong_at

SECRET = "made-up-client-secret-4711"


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def account(database: Database, user: str) -> stored.Account:
    with database.read() as tx:
        found = stored.of_user(tx, "north", f"Practitioner/{user}")
    assert found is not None
    return found


@pytest.mark.security("A1", "A2", "S40", "B1")
def test_an_admin_lets_somebody_in_gives_roles_and_switches_off(admin: Tab, clinic: Clinic) -> None:
    form = {"way": "north", "who": "Practitioner/9", "name": "Zoe Synthetic", "role.rn": "on"}
    assert admin.post("/staff", form).status_code == 303
    made = account(clinic.database, "9")
    assert (made.roles, made.active) == (("rn",), True)
    page = admin.get("/staff")
    assert (page.status_code, "Zoe Synthetic" in page.text, problems(page.text)) == (200, True, [])
    given = {"role.provider": "on", "role.front-desk": "on"}
    assert admin.post(f"/staff/{made.id}/roles", given).status_code == 303
    assert set(account(clinic.database, "9").roles) == {"provider", "front-desk"}
    assert admin.post(f"/staff/{made.id}/disable").status_code == 303
    assert not account(clinic.database, "9").active
    assert "switched off" in admin.get("/staff").text
    assert admin.post(f"/staff/{made.id}/roles", {"role.rn": "on"}).status_code == 303
    assert account(clinic.database, "9").active
    assert [one["command"] for one in configured(clinic.database)] == [
        "staff add",
        "staff roles",
        "staff disable",
        "staff roles",
    ]
    assert {one["ref"] for one in configured(clinic.database)} == {f"account/{made.id}"}
    assert all(one["who"].startswith("Practitioner/") for one in configured(clinic.database))


@pytest.mark.security("S50", "A2")
def test_who_is_switched_off_by_page_is_out_at_the_next_click(
    admin: Tab, north: TestClient, clinic: Clinic, now: datetime
) -> None:
    nurse = tab_of(north, clinic.database, now, "nurse", "rn")
    assert nurse.get("/help/keys").status_code == 200
    admin.post(f"/staff/{account(clinic.database, 'nurse').id}/disable")
    assert nurse.get("/help/keys").status_code == 401


@pytest.mark.security("A1", "S40")
@pytest.mark.parametrize("role", ["rn", "care-coordinator", "provider", "front-desk", "auditor"])
def test_others_see_no_accounts_and_change_none(north: TestClient, clinic: Clinic, now: datetime, role: str) -> None:
    tab = tab_of(north, clinic.database, now, "somebody", role)
    mine = account(clinic.database, "somebody")
    assert tab.get("/staff").status_code == 403
    for page in ("/staff", f"/staff/{mine.id}/roles", f"/staff/{mine.id}/disable"):
        assert tab.post(page, {"role.clinic-admin": "on"}).status_code == 403
    for page in ("/connections/north/smart", "/connections/north/smart/remove"):
        assert tab.post(page, {"issuer": "https://evil.example", "client_id": "x"}).status_code == 403
    assert account(clinic.database, "somebody").roles == (role,)
    assert configured(clinic.database) == []


@pytest.mark.security("A1", "S45")
def test_nobody_gives_rights_to_themselves_or_locks_themselves_out(admin: Tab, clinic: Clinic) -> None:
    mine = account(clinic.database, "admin")
    steps = {
        f"/staff/{mine.id}/roles": {"role.auditor": "on"},
        f"/staff/{mine.id}/disable": {},
        "/staff": {"way": "north", "who": mine.fhir_user, "name": "Me", "role.auditor": "on"},
    }
    for page, form in steps.items():
        assert admin.post(page, form).status_code == 409, page
    assert account(clinic.database, "admin") == mine
    assert "changed by another administrator" in admin.get("/staff").text


@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"way": ""}, "way", "Choose from where"),
        ({"way": "nowhere"}, "way", "Choose from where"),
        ({"way": ":local"}, "way", "Choose from where"),
        ({"who": ""}, "who", "“Known there as” is one of Practitioner"),
        ({"who": "Patient/9"}, "who", "“Known there as” is one of Practitioner"),
        ({"who": "Practitioner/9/../8"}, "who", "“Known there as” is one of Practitioner"),
        ({"name": ""}, "name", "“Name” is one line"),
        ({"name": "a\tb"}, "name", "“Name” is one line"),
        ({"role.rn": None}, "role", "Somebody without a role may do nothing"),
        ({"role.rn": None, "role.root": "on"}, "", "There is no role 'root'"),
    ],
)
def test_a_form_that_makes_no_sense_lets_nobody_in_and_says_beside_which_field(
    admin: Tab, clinic: Clinic, changed: dict[str, str | None], field: str, said: str
) -> None:
    form = {"way": "north", "who": "Practitioner/9", "name": "Zoe Synthetic", "role.rn": "on", **changed}
    answer = admin.post("/staff", {name: text for name, text in form.items() if text is not None})
    assert (answer.status_code, list(wrong_at(answer))) == (400, [field]), answer.text
    assert wrong_at(answer)[field].startswith(said)
    assert problems(answer.text) == []
    typed = form["name"] if "name" not in changed else form["who"]
    assert f'value="{typed}"' in answer.text
    with clinic.database.read() as tx:
        assert [one.fhir_user for one in stored.all(tx)] == ["Practitioner/admin"]
    assert configured(clinic.database) == []


def test_roles_that_are_all_taken_away_are_refused_beside_the_boxes_of_that_person(admin: Tab, clinic: Clinic) -> None:
    admin.post("/staff", {"way": "north", "who": "Practitioner/9", "name": "Zoe Synthetic", "role.rn": "on"})
    made = account(clinic.database, "9")
    answer = admin.post(f"/staff/{made.id}/roles")
    assert (answer.status_code, list(wrong_at(answer))) == (400, ["role"])
    assert account(clinic.database, "9").roles == ("rn",)
    assert admin.post("/staff/nobody/roles", {"role.rn": "on"}).status_code == 404
    assert admin.post("/staff/nobody/disable").status_code == 404


@pytest.mark.security("S22")
def test_accounts_are_not_changed_by_another_site_or_without_the_forms_token(admin: Tab, clinic: Clinic) -> None:
    form = {"way": "north", "who": "Practitioner/9", "name": "Zoe", "role.rn": "on"}
    assert admin.post("/staff", form, {"sec-fetch-site": "cross-site"}).status_code == 403
    assert admin.post("/staff", {**form, "csrf": "forged"}).status_code == 403
    assert configured(clinic.database) == []


@pytest.mark.security("S55", "B1")
def test_an_ehr_is_set_up_by_page_and_its_secret_shown_to_nobody(admin: Tab, clinic: Clinic) -> None:
    form = {
        "issuer": "https://north.example/r4",
        "client_id": "tracker-2",
        "client_type": "confidential-symmetric",
        "secret": SECRET,
        "scopes": " launch   openid fhirUser ",
        "frame_ancestors": "https://north.example\r\nhttps://hub.example",
    }
    assert admin.post("/connections/north/smart", form).status_code == 303
    with clinic.database.read() as tx:
        kept = stored_issuers.find(tx, "north")
    assert kept is not None
    assert (kept.url, kept.client_id, kept.scopes) == (
        "https://north.example/r4",
        "tracker-2",
        "launch openid fhirUser",
    )
    assert kept.frame_ancestors == ("https://north.example", "https://hub.example")
    assert issuers.secret_of(kept, "k" * 40) == SECRET
    page = admin.get("/connections/north")
    assert (page.status_code, SECRET in page.text, problems(page.text)) == (200, False, [])
    assert re.search(r'value="https://north.example/r4"', page.text)
    assert SECRET not in json.dumps(configured(clinic.database))
    assert configured(clinic.database)[-1]["command"] == "connection smart"
    again = {**form, "secret": "", "scopes": ""}
    assert admin.post("/connections/north/smart", again).status_code == 303
    with clinic.database.read() as tx:
        kept = stored_issuers.find(tx, "north")
    assert kept is not None
    assert issuers.secret_of(kept, "k" * 40) == SECRET
    moved = {**again, "issuer": "https://evil.example/r4"}
    assert admin.post("/connections/north/smart", moved).status_code == 400


@pytest.mark.security("S50")
def test_taking_an_ehr_away_by_page_ends_every_session_that_came_from_there(admin: Tab, clinic: Clinic) -> None:
    assert admin.post("/connections/north/smart/remove").status_code == 303
    assert admin.get("/help/keys").status_code == 401
    with clinic.database.read() as tx:
        assert stored_issuers.find(tx, "north") is None
