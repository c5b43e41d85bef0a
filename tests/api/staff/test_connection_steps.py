"""An administrator follows an EHR by other terms, or no more, by page: as the commands do, and with the same care."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
import respx

from fhir_tracker import accounts, connections, issuers, records
from fhir_tracker.issuers import Terms
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.records import Remote
from fhir_tracker.roles import built_in
from fhir_tracker.signing_keys import published
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage import cursors, remote_subscriptions, resources
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Database
from tests.api.staff.markup import problems
from tests.support.clinic import author
from tests.support.followed import subscribed
from tests.support.launched import Tab, launched
from tests.support.setting_up import ISSUER, SECRET_KEY, configured, wrong_at

USUAL = {"poll": "30s", "types": "", "subscribe": "none", "write_back": "", "budget": "", "search_by": "auto"}
OPEN = {**USUAL, "auth": "none", "client_id": "", "token_url": "", "scopes": ""}
THERE = f"{ISSUER}/Subscription/s1"


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page; what is done is shown on both databases by tests/subscriptions."""
    return one_file


@pytest.fixture
def ehr() -> Iterator[respx.MockRouter]:
    """The EHR `north`; nothing else can be reached."""
    with respx.mock(assert_all_called=False) as router:
        yield router


def north(database: Database) -> Connection | None:
    with database.read() as tx:
        return stored.find(tx, "north")


def given(database: Database, **options: Any) -> Connection:
    """The connection, with these options too."""
    with database.begin() as tx:
        before = connections.get(tx, "north")
        connections.change(tx, replace(before, options={**before.options, **options}), now=before.created_at)
        return connections.get(tx, "north")


@pytest.fixture
def other(admin: Tab, database: Database, now: datetime) -> Tab:
    """The administrator of another EHR, who came in from there."""
    base = "https://south.example/fhir"
    with database.begin() as tx:
        connections.add(tx, "south", base, now=now)
        issuers.of_connection(tx, "south", Terms(url=base, client_id="tracker"), SECRET_KEY, now)
        made, _ = accounts.add(
            tx,
            "Other Synthetic",
            ["clinic-admin"],
            known=built_in(),
            now=now,
            connection="south",
            fhir_user="Practitioner/other",
        )
    return Tab(admin.client, *launched(database, made, now))


def brought(database: Database, now: datetime) -> None:
    """A patient who came from there."""
    body = {"resourceType": "Patient", "id": "north-1", "active": True}
    remote = Remote(connection="north", id="1", version="1", body="{}", content_hash="h")
    with database.begin() as tx:
        records.save(tx, body, author(now, origin="ehr:north"), remote=remote)


def test_an_ehr_is_followed_by_the_terms_typed_and_the_trail_says_which_are_others(
    admin: Tab, database: Database, ehr: respx.MockRouter
) -> None:
    given(database, strategies={"Task": "roster"}, owners={"Task": {"note": "ours"}})
    typed = {**OPEN, "poll": "5m", "types": "Patient, Task  Appointment", "write_back": "Task", "budget": "60"}
    answer = admin.post("/connections/north/terms", {**typed, "search_by": "get"})
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"{admin.prefix}/connections/north?said=followed-otherwise",
    )
    now = north(database)
    assert now is not None
    assert (now.poll_seconds, now.types, now.subscribe) == (300, ("Patient", "Task", "Appointment"), "none")
    assert now.options == {
        "strategies": {"Task": "roster"},
        "owners": {"Task": {"note": "ours"}},
        "write_back": ["Task"],
        "budget": "60",
        "search_by": "get",
    }
    row = configured(database)[-1]
    assert row == {
        "who": "Practitioner/north-admin",
        "ref": "connection/north",
        "command": "connection change",
        "poll_seconds": 300,
        "types": ["Patient", "Task", "Appointment"],
        "write_back": ["Task"],
        "budget": "60",
        "search_by": "get",
    }
    page = admin.get("/connections/north?said=followed-otherwise").text
    for said in ('value="5m"', 'value="Patient, Task, Appointment"', 'value="60"', "by these terms from now on"):
        assert said in page
    assert problems(page) == []
    assert admin.post("/connections/north/terms", OPEN).status_code == 303
    emptied = north(database)
    assert emptied is not None
    assert (emptied.poll_seconds, emptied.types) == (30, ())
    assert emptied.options == {
        "strategies": {"Task": "roster"},
        "owners": {"Task": {"note": "ours"}},
        "search_by": "auto",
    }
    assert configured(database)[-1]["write_back"] is configured(database)[-1]["budget"] is None
    assert not ehr.calls, "nothing was asked of the EHR: it was told of nothing before and is not now"


@pytest.mark.parametrize("poll", ["30s", "30", " 0.5m "])
def test_terms_that_are_the_same_change_nothing_and_leave_no_row(admin: Tab, database: Database, poll: str) -> None:
    before = north(database)
    answer = admin.post("/connections/north/terms", {**OPEN, "poll": poll})
    assert answer.headers["location"].endswith("?said=followed-so")
    assert (north(database), configured(database)) == (before, [])
    assert "Nothing was changed" in admin.get("/connections/north?said=followed-so").text


@pytest.mark.security("S55")
@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"poll": ""}, "poll", "is not a duration"),
        ({"poll": "soon"}, "poll", "'soon' is not a duration"),
        ({"poll": "8d"}, "poll", "1s to 7d"),
        ({"poll": "0.1s"}, "poll", "is not a duration"),
        ({"poll": "<script>"}, "poll", "is not a duration"),
        ({"types": "Patient, Nonsense"}, "types", "Not a FHIR R4 resource type: Nonsense."),
        ({"types": "patient"}, "types", "Not a FHIR R4 resource type"),
        ({"write_back": "Nonsense"}, "write_back", "Not a FHIR R4 resource type: Nonsense."),
        ({"write_back": "Patient"}, "write_back", "belong to the EHR"),
        ({"subscribe": "maybe"}, "subscribe", "“Be told of changes” is one of"),
        ({"budget": "many"}, "budget", ""),
        ({"budget": "60 Mon-Fri 08:00-18:00 Nowhere/Land"}, "budget", ""),
        ({"search_by": "smoke"}, "search_by", "“Searches about a patient go by”"),
        ({"auth": "basic"}, "auth", "set up on the server"),
        ({"auth": "client_secret", "client_id": "x"}, "auth", "set up on the server"),
        ({"auth": "private_key_jwt"}, "auth", "needs “As whom the EHR knows us”"),
        ({"client_id": "x"}, "auth", "takes no “As whom the EHR knows us”"),
        ({"auth": "private_key_jwt", "client_id": "x", "token_url": "http://a.example"}, "token_url", "https"),
        ({"auth": "private_key_jwt", "client_id": "x", "token_url": "https://u:p@a.example"}, "token_url", "user"),
        ({"auth": "private_key_jwt", "client_id": "x", "scopes": 'system/*.read "'}, "scopes", "“What we ask for”"),
    ],
)
def test_terms_that_make_no_sense_change_nothing_and_stay_typed_with_the_reason_beside_them(
    admin: Tab, database: Database, ehr: respx.MockRouter, typed: Mapping[str, str], field: str, said: str
) -> None:
    before = north(database)
    answer = admin.post("/connections/north/terms", {**OPEN, "budget": "77", **typed})
    assert (answer.status_code, list(wrong_at(answer))) == (400, [field]), wrong_at(answer)
    assert said in wrong_at(answer)[field]
    assert '<details class="menu" open><summary class="button plain">Other terms…' in answer.text
    assert answer.text.count('<details class="menu" open>') == 1
    assert ('value="77"' in answer.text) == ("budget" not in typed)
    assert (problems(answer.text), "<script>" in answer.text) == ([], False)
    assert (north(database), configured(database)) == (before, [])
    assert not ehr.calls


@pytest.mark.security("S57")
def test_a_way_to_show_who_we_are_that_needs_a_secret_is_on_no_form_and_stays(admin: Tab, database: Database) -> None:
    before = given(database, auth="client_secret", client_id="tracker-there", secret_file="/run/secrets/made-up")
    page = admin.get("/connections/north").text
    assert 'name="auth"' not in page
    assert ("made-up" in page, "tracker-there" in page) == (False, False)
    sent = {**OPEN, "poll": "1m", "auth": "none", "client_id": "another", "scopes": "system/*.cruds"}
    assert admin.post("/connections/north/terms", sent).status_code == 303
    now = north(database)
    assert now is not None
    assert (now.poll_seconds, now.options) == (60, before.options)
    assert configured(database)[-1] == {
        "who": "Practitioner/north-admin",
        "ref": "connection/north",
        "command": "connection change",
        "poll_seconds": 60,
    }


def test_our_own_keys_are_shown_from_now_on_and_no_more_with_all_that_belonged_to_them(
    admin: Tab, database: Database, now: datetime
) -> None:
    terms = {"auth": "private_key_jwt", "client_id": "tracker-there", "scopes": "system/Task.rs"}
    assert admin.post("/connections/north/terms", {**OPEN, **terms}).status_code == 303
    with database.read() as tx:
        assert published(tx), "there is a key to be registered"
    assert given(database, jku="https://tracker.example/jwks.json").options == {
        **terms,
        "jku": "https://tracker.example/jwks.json",
    }
    page = admin.get("/connections/north").text
    for said in ('value="tracker-there"', 'value="system/Task.rs"', '<option value="private_key_jwt" selected>'):
        assert said in page
    assert admin.post("/connections/north/terms", {**OPEN, **terms, "poll": "45s"}).status_code == 303
    kept = north(database)
    assert kept is not None
    assert kept.options["jku"] == "https://tracker.example/jwks.json"
    assert admin.post("/connections/north/terms", OPEN).status_code == 303
    after = north(database)
    assert after is not None
    assert after.options == {"auth": "none"}


@pytest.mark.parametrize(
    ("status", "said"), [(204, "followed-otherwise"), (404, "followed-otherwise"), (403, "followed-left")]
)
def test_a_subscription_is_given_up_at_the_ehr_when_it_is_to_tell_no_more(
    admin: Tab, database: Database, ehr: respx.MockRouter, now: datetime, status: int, said: str
) -> None:
    with database.begin() as tx:
        connections.change(tx, replace(connections.get(tx, "north"), subscribe="rest-hook"), now=now)
        subscribed(tx, now, "Patient", status="active", remote_id="s1", heard_at=now)
    gone = ehr.delete(THERE).respond(status)
    assert admin.post("/connections/north/terms", {**OPEN, "subscribe": "rest-hook", "poll": "2m"}).status_code == 303
    assert not gone.called, "how often it is asked has nothing to do with what it tells"
    answer = admin.post("/connections/north/terms", {**OPEN, "poll": "2m"})
    assert answer.headers["location"].endswith(f"?said={said}")
    assert gone.call_count >= 1
    assert configured(database)[-1].get("subscriptionsLeft") == (["Patient"] if status == 403 else None)
    with database.read() as tx:
        assert remote_subscriptions.of_connection(tx, "north") == []
    assert ("are still there" in admin.get(f"/connections/north?said={said}").text) == (status == 403)


@pytest.mark.parametrize("typed", [None, "", " ", "NORTH", "nort", "north2", "yes", "north,"])
def test_what_is_not_the_key_ends_nothing(
    admin: Tab, database: Database, ehr: respx.MockRouter, typed: str | None
) -> None:
    before = north(database)
    answer = admin.post("/connections/north/remove", {} if typed is None else {"confirm": typed})
    assert (answer.status_code, list(wrong_at(answer))) == (400, ["confirm"])
    assert "nothing was changed" in wrong_at(answer)["confirm"]
    assert '<details class="menu" open><summary class="button plain">Stop following…' in answer.text
    assert problems(answer.text) == []
    assert (north(database), configured(database), len(ehr.calls)) == (before, [], 0)


@pytest.mark.security("S50", "A2")
@pytest.mark.parametrize(("status", "said"), [(204, "left"), (403, "left-there")])
def test_a_server_is_followed_no_more_and_nobody_comes_in_from_there_while_what_came_stays(
    admin: Tab, other: Tab, database: Database, ehr: respx.MockRouter, now: datetime, status: int, said: str
) -> None:
    gone = ehr.delete(THERE).respond(status)
    with database.begin() as tx:
        subscribed(tx, now, "Patient", status="active", remote_id="s1", heard_at=now)
        cursors.save(tx, Cursor(connection="north", type="Patient", watermark=now, updated_at=now))
    brought(database, now)
    answer = other.post("/connections/north/remove", {"confirm": " north "})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{other.prefix}/connections?said={said}")
    assert gone.called
    page = other.get(f"/connections?said={said}").text
    assert "It is followed no more." in page
    assert "/connections/north" not in page
    with database.read() as tx:
        assert (stored.find(tx, "north"), stored_issuers.find(tx, "north")) == (None, None)
        assert cursors.of_connection(tx, "north") == []
        assert stored_issuers.find(tx, "south") is not None
        assert resources.find(tx, open_viewer(), "Patient", "north-1") is not None
    assert admin.get("/setup").status_code == 401, "whoever came in from there is logged off"
    assert other.get("/setup").status_code == 200
    left = {"subscriptionsLeft": ["Patient"]} if status == 403 else {}
    assert configured(database)[-1] == {
        "who": "Practitioner/south-other",
        "ref": "connection/north",
        "command": "connection remove",
        "removed": True,
        **left,
    }
    for step in ("remove", "terms"):
        assert other.post(f"/connections/north/{step}", {"confirm": "north", **OPEN}).status_code == 404
    assert len(configured(database)) == 1


def test_who_ends_the_connection_they_came_in_by_is_logged_off_and_that_was_said(
    admin: Tab, database: Database, ehr: respx.MockRouter
) -> None:
    assert "whoever came in by it, maybe you, is logged off" in admin.get("/connections/north").text
    answer = admin.post("/connections/north/remove", {"confirm": "north"})
    assert answer.status_code == 303
    assert admin.get("/connections").status_code == 401
    assert north(database) is None
    assert [row["command"] for row in configured(database)] == ["connection remove"]
