"""Systems are let in, given new keys and shut out by page, as by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest
import respx

from api.key_looks import look_at
from fhir_tracker.errors import UsageError
from fhir_tracker.storage import clients as stored
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Database
from tests.api.staff.markup import problems
from tests.support.launched import Tab
from tests.support.setting_up import configured, wrong_at
from tests.support.systems import ec_key, key_set, public, weak_rsa

GOOD = {
    "id": "reports",
    "name": "Reports",
    "scopes": "system/Task.rs system/Patient.rs",
    "jwks": json.dumps(key_set("a")),
}
PRIVATE = {"keys": [{**ec_key("a").as_dict(private=True), "kid": "a"}]}


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


Answering = Callable[[str], str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """What the address of the keys answers from now on; the address."""
    address = "https://keys.example/jwks.json"
    with respx.mock(assert_all_called=False) as router:

        def answer(text: str) -> str:
            router.get(address).respond(200, text=text)
            return address

        yield answer


def kept(database: Database, id_: str = "reports") -> Client | None:
    with database.read() as tx:
        return stored.find(tx, id_)


@pytest.mark.security("A1", "B1", "S50")
@pytest.mark.requirement(104)
def test_a_system_is_let_in_given_new_keys_and_shut_out(admin: Tab, database: Database) -> None:
    assert admin.post("/clients", {**GOOD, "role.rn": "on"}).status_code == 303
    made = kept(database)
    assert made is not None
    assert (made.name, made.scopes, made.roles) == ("Reports", ("system/Task.rs", "system/Patient.rs"), ("rn",))
    assert [key["kid"] for key in made.jwks["keys"]] == ["a"]
    page = admin.get("/clients")
    assert problems(page.text) == []
    for said in ("Reports", "reports", "system/Task.rs", ">a</code>", "RN", "/fhir/.well-known/smart-configuration"):
        assert said in page.text, said
    assert admin.post("/clients/rotate", {"id": "reports", "jwks": json.dumps(key_set("b", "rsa"))}).status_code == 303
    turned = kept(database)
    assert turned is not None
    assert [key["kid"] for key in turned.jwks["keys"]] == ["b", "rsa"]
    assert turned.rotated_at is not None
    assert admin.post("/clients/revoke", {"id": "reports"}).status_code == 303
    gone = kept(database)
    assert gone is not None
    assert gone.revoked_at is not None
    page = admin.get("/clients")
    assert ("shut out" in page.text, "/clients/revoke" in page.text, problems(page.text)) == (True, False, [])
    told = configured(database)
    assert [one["command"] for one in told] == ["client add", "client rotate", "client revoke"]
    assert {(one["ref"], one["who"].partition("/")[0]) for one in told} == {("Device/reports", "Practitioner")}
    assert admin.post("/clients", GOOD).status_code == 303
    again = kept(database)
    assert again is not None
    assert (again.revoked_at, again.roles) == (None, ())


@pytest.mark.security("S55", "S1")
@pytest.mark.parametrize(
    ("changed", "field", "said"),
    [
        ({"id": ""}, "id", "The id of a client is"),
        ({"id": "a b"}, "id", "The id of a client is"),
        ({"id": "rule-worker"}, "id", "none of our own names"),
        ({"name": "a\tb"}, "name", "“What people call it” is one line"),
        ({"scopes": ""}, "scopes", "names at least one scope"),
        ({"scopes": "user/Task.rs"}, "scopes", "is for people"),
        ({"scopes": "system/Task.sr"}, "scopes", "is no scope"),
        ({"scopes": "system/Task.rs?due=lt2026"}, "scopes", "system/Task.rs?due"),
        ({"jwks": ""}, "jwks", "Give either the key set itself or its address"),
        ({"jwks_url": "https://keys.example/jwks"}, "jwks", "Give either the key set itself or its address"),
        ({"jwks": "{"}, "jwks", "This is no JWK Set"),
        ({"jwks": "[]"}, "jwks", "This is no JWK Set"),
        ({"jwks": '{"keys": []}'}, "jwks", "0 keys"),
        ({"jwks": json.dumps(PRIVATE)}, "jwks", "private"),
        ({"jwks": json.dumps({"keys": [weak_rsa("w")]})}, "jwks", "2048"),
        ({"jwks": json.dumps({"keys": [public(ec_key("p", "P-256"), "p")]})}, "jwks", "P-384"),
        ({"jwks": "", "jwks_url": "http://keys.example/jwks"}, "jwks_url", "https address"),
        ({"jwks": "", "jwks_url": "https://u:p@keys.example/jwks"}, "jwks_url", "https address"),
        ({"jwks": "", "jwks_url": "file:///etc/passwd"}, "jwks_url", "https address"),
        ({"role.root": "on"}, "id", "There is no role 'root'"),
    ],
)
def test_what_makes_no_sense_lets_no_system_in_and_stays_typed(
    admin: Tab, database: Database, changed: dict[str, str], field: str, said: str
) -> None:
    answer = admin.post("/clients", {**GOOD, **changed})
    assert (answer.status_code, list(wrong_at(answer))) == (400, [field]), wrong_at(answer)
    assert said in wrong_at(answer)[field]
    assert problems(answer.text) == []
    assert "Traceback" not in answer.text
    if "name" not in changed:
        assert 'value="Reports"' in answer.text
    with database.read() as tx:
        assert stored.all(tx) == []
    assert configured(database) == []


@pytest.mark.parametrize(
    ("keys", "status", "field"),
    [
        ({}, 400, "jwks"),
        ({"jwks": "{"}, 400, "jwks"),
        ({"jwks": json.dumps(PRIVATE)}, 400, "jwks"),
        ({"jwks_url": "http://keys.example"}, 400, "jwks_url"),
    ],
)
def test_keys_that_cannot_be_taken_leave_the_former_ones(
    admin: Tab, database: Database, keys: dict[str, str], status: int, field: str
) -> None:
    admin.post("/clients", GOOD)
    before = kept(database)
    answer = admin.post("/clients/rotate", {"id": "reports", **keys})
    assert (answer.status_code, list(wrong_at(answer))) == (status, [field])
    assert "<details" in answer.text
    assert " open>" in answer.text
    assert problems(answer.text) == []
    assert kept(database) == before


def test_steps_on_a_system_there_is_not_change_nothing(admin: Tab, database: Database) -> None:
    for id_ in ("", "nobody", "../x", "x" * 300):
        assert admin.post("/clients/rotate", {"id": id_, "jwks": GOOD["jwks"]}).status_code == 404
        assert admin.post("/clients/revoke", {"id": id_}).status_code == 404
    admin.post("/clients", GOOD)
    twice = admin.post("/clients", {**GOOD, "scopes": "system/*.cruds"})
    assert (twice.status_code, list(wrong_at(twice))) == (409, [""])
    made = kept(database)
    assert made is not None
    assert made.scopes == ("system/Task.rs", "system/Patient.rs")
    admin.post("/clients/revoke", {"id": "reports"})
    assert admin.post("/clients/revoke", {"id": "reports"}).status_code == 404
    assert [one["command"] for one in configured(database)] == ["client add", "client revoke"]


@pytest.mark.parametrize("id_", ["urn:x/y?z#1", "https://app.example/r%20s", "<script>", "a'b\"c"])
def test_an_id_with_odd_characters_is_kept_shown_as_text_and_can_be_shut_out(
    admin: Tab, database: Database, id_: str
) -> None:
    assert admin.post("/clients", {**GOOD, "id": id_, "name": ""}).status_code == 303
    page = admin.get("/clients")
    assert ("<script>" in page.text, problems(page.text)) == (False, [])
    assert admin.post("/clients/revoke", {"id": id_}).status_code == 303
    made = kept(database, id_)
    assert made is not None
    assert made.revoked_at is not None


@pytest.mark.security("S55")
def test_keys_at_an_address_are_looked_at_before_a_system_is_let_in(
    admin: Tab, database: Database, answering: Answering
) -> None:
    address = answering(json.dumps(PRIVATE))
    answer = admin.post("/clients", {**GOOD, "jwks": "", "jwks_url": address})
    assert list(wrong_at(answer)) == ["jwks_url"]
    assert "private or secret" in wrong_at(answer)["jwks_url"]
    with pytest.raises(UsageError):
        look_at(address)
    assert kept(database) is None
    answering(json.dumps(key_set("a")))
    good = admin.post("/clients", {**GOOD, "jwks": "", "jwks_url": address})
    assert (good.status_code, good.headers["location"].endswith("said=system-in")) == (303, True)
    assert look_at(address) == ""
    answering("no keys")
    later = admin.post("/clients/rotate", {"id": "reports", "jwks_url": address})
    assert later.headers["location"].endswith("said=system-unread")
    assert "asked for again" in look_at(address)
    answering(json.dumps({"keys": [weak_rsa("w")]}))
    assert "2048 bits" in look_at(address)
    made = kept(database)
    assert made is not None
    assert made.jwks_url == address
