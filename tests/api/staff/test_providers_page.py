"""Login providers, the terms of an EHR's staff and new connections are set up by page, as by the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fhir_tracker import issuers
from fhir_tracker.storage import connections, signing_keys
from fhir_tracker.storage import issuers as stored
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from tests.api.staff.markup import problems
from tests.support.launched import Tab
from tests.support.setting_up import ISSUER, SECRET_KEY, configured, wrong_at

SECRET = "made-up-provider-secret-0815"
OFFICE = {
    "key": "office",
    "issuer": "https://login.example/tenant",
    "client_id": "tracker",
    "client_type": "public",
    "subject": "email",
    "label": "The office",
}
TERMS = {"issuer": ISSUER, "client_id": "tracker", "client_type": "public"}
SOUTH = {
    "key": "south",
    "base_url": "https://south.example/fhir/",
    "mapping": "generic",
    "poll": "5m",
    "subscribe": "none",
}


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def issuer(database: Database, key: str) -> Issuer | None:
    with database.read() as tx:
        return stored.find(tx, key)


def connection(database: Database, key: str) -> Connection | None:
    with database.read() as tx:
        return connections.find(tx, key)


@pytest.mark.security("S55", "B1", "S50")
def test_a_provider_is_added_changed_and_removed_and_its_secret_shown_to_nobody(admin: Tab, database: Database) -> None:
    assert admin.post("/login-providers", OFFICE).status_code == 303
    made = issuer(database, "office")
    assert made is not None
    assert (made.kind, made.url, made.label) == ("provider", "https://login.example/tenant", "The office")
    assert made.options["subject_claim"] == "email"
    page = admin.get("/login-providers")
    assert problems(page.text) == []
    assert "The office" in page.text
    assert "/callback" in page.text
    changed = {**OFFICE, "client_type": "confidential-symmetric", "secret": SECRET, "subject": "sub"}
    assert admin.post("/login-providers", changed).status_code == 303
    kept = issuer(database, "office")
    assert kept is not None
    assert issuers.secret_of(kept, SECRET_KEY) == SECRET
    assert SECRET not in admin.get("/login-providers").text + json.dumps(configured(database))
    assert admin.post("/login-providers", {**changed, "secret": ""}).status_code == 303
    assert issuer(database, "office") == replace(kept, changed_at=issuer(database, "office").changed_at)  # type: ignore[union-attr]
    assert "The office" in admin.client.get("/login").text
    assert "login provider" in admin.get("/staff").text
    assert admin.post("/login-providers/office/remove").status_code == 303
    assert issuer(database, "office") is None
    assert [one["command"] for one in configured(database)] == [*["login-provider add"] * 3, "login-provider remove"]
    assert {one["ref"] for one in configured(database)} == {"issuer/office"}
    assert admin.post("/login-providers/office/remove").status_code == 404


@pytest.mark.security("S11", "S29")
@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"key": ""}, 400, ""),
        ({"key": "Office"}, 400, ""),
        ({"key": "north"}, 409, ""),
        ({"issuer": ""}, 400, "issuer"),
        ({"issuer": "http://login.example"}, 400, "issuer"),
        ({"issuer": "https://u:p@login.example"}, 400, "issuer"),
        ({"issuer": ISSUER}, 409, ""),
        ({"client_id": ""}, 400, "client_id"),
        ({"client_type": "secret"}, 400, "client_type"),
        ({"secret": SECRET}, 400, "secret"),
        ({"client_type": "confidential-symmetric"}, 400, "client_type"),
        ({"subject": "name"}, 400, "subject"),
        ({"scopes": 'a"b'}, 400, "scopes"),
        ({"label": "x" * 101}, 400, "label"),
    ],
)
def test_terms_of_a_provider_that_make_no_sense_are_told_beside_their_field(
    admin: Tab, database: Database, changed: dict[str, str], status: int, field: str
) -> None:
    answer = admin.post("/login-providers", {**OFFICE, **changed})
    assert (answer.status_code, list(wrong_at(answer))) == (status, [field]), wrong_at(answer)
    assert problems(answer.text) == []
    assert (SECRET in answer.text, "Traceback" in answer.text) == (False, False)
    assert issuer(database, "office") is None
    assert configured(database) == []


def test_refused_terms_of_a_provider_there_is_stay_typed_at_that_provider(admin: Tab, database: Database) -> None:
    admin.post("/login-providers", OFFICE)
    before = issuer(database, "office")
    answer = admin.post("/login-providers", {**OFFICE, "issuer": "nowhere", "client_id": "another"})
    assert list(wrong_at(answer)) == ["issuer"]
    assert 'value="another"' in answer.text
    assert answer.text.index('value="another"') < answer.text.index("Add a provider")
    assert problems(answer.text) == []
    assert issuer(database, "office") == before


@pytest.mark.security("S11", "S18", "S55")
@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"issuer": "javascript:alert(1)"}, "issuer", "“Issuer” has to be an https address"),
        ({"issuer": ""}, "issuer", "“Issuer” has to be"),
        ({"client_id": " "}, "client_id", "“Client id” is what the EHR calls"),
        ({"client_type": "x"}, "client_type", "“Client type” is one of"),
        ({"client_type": "confidential-symmetric"}, "client_type", "needs “Secret”"),
        ({"secret": SECRET}, "secret", "“Secret” is for confidential-symmetric"),
        ({"frame_ancestors": "*"}, "frame_ancestors", "“May show us in a frame” is an origin"),
        ({"frame_ancestors": "https://ok.example\r\nhttps://ok.example/path"}, "frame_ancestors", "is an origin"),
        ({"frame_ancestors": "'self'; script-src *"}, "frame_ancestors", "is an origin"),
        ({"intents": "show"}, "intents", "“Intents” is NAME=VIEW"),
        ({"intents": "show=nowhere"}, "intents", "“Intents” is NAME=VIEW"),
        ({"scopes": 'patient/*.rs "x"'}, "scopes", "“Scopes” is a list"),
    ],
)
def test_terms_of_an_ehr_that_make_no_sense_are_told_beside_their_field_and_change_nothing(
    admin: Tab, database: Database, changed: dict[str, str], field: str, said: str
) -> None:
    before = issuer(database, "north")
    answer = admin.post("/connections/north/smart", {**TERMS, **changed})
    assert (answer.status_code, list(wrong_at(answer))) == (400, [field]), wrong_at(answer)
    assert said in wrong_at(answer)[field]
    assert (SECRET in answer.text, problems(answer.text)) == (False, [])
    assert issuer(database, "north") == before


def test_intents_the_label_and_what_the_form_does_not_show_are_kept(admin: Tab, database: Database) -> None:
    with database.begin() as tx:
        one = stored.find(tx, "north")
        assert one is not None
        stored.save(tx, replace(one, options={"posts": True, "endpoint_origins": ["https://auth.example"]}))
    form = {**TERMS, "intents": "work-queue=queue\r\n  numbers=operations ", "label": "North", "reads_as_user": "on"}
    assert admin.post("/connections/north/smart", form).status_code == 303
    made = issuer(database, "north")
    assert made is not None
    assert made.label == "North"
    assert made.options == {
        "posts": True,
        "endpoint_origins": ["https://auth.example"],
        "reads_as_user": True,
        "intents": {"work-queue": "queue", "numbers": "operations"},
    }
    page = admin.get("/connections/north").text
    assert "work-queue=queue\nnumbers=operations</textarea>" in page
    assert configured(database)[-1]["intents"] == {"work-queue": "queue", "numbers": "operations"}
    assert admin.post("/connections/nowhere/smart", TERMS).status_code == 404
    assert admin.post("/connections/nowhere/smart/remove").status_code == 404


@pytest.mark.security("B1")
def test_an_ehr_is_followed_from_now_on_and_leads_to_how_its_staff_comes_in(admin: Tab, database: Database) -> None:
    answer = admin.post("/connections", SOUTH)
    assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (
        303,
        f"{admin.prefix}/connections/south",
    )
    made = connection(database, "south")
    assert made is not None
    assert (made.base_url, made.poll_seconds, made.subscribe) == ("https://south.example/fhir", 300, "none")
    page = admin.get("/connections/south")
    assert problems(page.text) == []
    assert 'value="https://south.example/fhir"' in page.text
    assert [(one["command"], one["ref"]) for one in configured(database)] == [("connection add", "connection/south")]


def test_who_signs_with_our_own_keys_finds_them_on_the_page_of_keys(admin: Tab, database: Database) -> None:
    asks = {"auth": "private_key_jwt", "client_id": "tracker", "token_url": "https://south.example/token"}
    assert admin.post("/connections", {**SOUTH, **asks, "scopes": "system/Task.rs"}).status_code == 303
    made = connection(database, "south")
    assert made is not None
    assert dict(made.options) == {**asks, "scopes": "system/Task.rs"}
    with database.read() as tx:
        assert len(signing_keys.all(tx)) > 0
    assert len(admin.client.get("/.well-known/jwks.json").json()["keys"]) > 0


@pytest.mark.security("S27", "S55")
@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"key": ""}, 400, "key"),
        ({"key": "South"}, 400, "key"),
        ({"key": "north"}, 409, ""),
        ({"base_url": ""}, 400, "base_url"),
        ({"base_url": "ftp://south.example"}, 400, "base_url"),
        ({"base_url": "https://u:p@south.example"}, 400, "base_url"),
        ({"base_url": "https://south.example/fhir?x=1"}, 400, "base_url"),
        ({"poll": ""}, 400, "poll"),
        ({"poll": "-1s"}, 400, "poll"),
        ({"poll": "9999d"}, 400, "poll"),
        ({"mapping": "../secrets"}, 400, "mapping"),
        ({"subscribe": "always"}, 400, "subscribe"),
        ({"auth": "basic"}, 400, "auth"),
        ({"auth": "bearer", "secret_file": "/etc/passwd"}, 400, "auth"),
        ({"auth": "private_key_jwt"}, 400, "auth"),
        ({"auth": "none", "client_id": "x"}, 400, "auth"),
        ({"auth": "private_key_jwt", "client_id": "x", "token_url": "javascript:1"}, 400, "token_url"),
    ],
)
def test_a_connection_that_makes_no_sense_is_told_beside_its_field_and_not_kept(
    admin: Tab, database: Database, changed: dict[str, str], status: int, field: str
) -> None:
    answer = admin.post("/connections", {**SOUTH, **changed})
    assert (answer.status_code, list(wrong_at(answer))) == (status, [field]), wrong_at(answer)
    assert problems(answer.text) == []
    assert "Traceback" not in answer.text
    assert connection(database, "south") is None
    assert configured(database) == []
