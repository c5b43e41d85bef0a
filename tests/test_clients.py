"""Systems are let in with public keys and scopes of systems, given new keys, shut out, and let in again by name alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fhir_tracker import clients
from fhir_tracker.client_keys import MOST_KEYS, checked_keys, read_key_set
from fhir_tracker.clients import OUR_OWN, Keys, is_safe_address, reference_of
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.storage import clients as stored
from fhir_tracker.storage import epochs, tokens
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.tokens import IssuedToken
from tests.support.systems import ec_key, key_set, let_in, public, rsa_key, weak_rsa

ROOT = Path(__file__).parents[1]
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PUBLIC = public(ec_key("ec"), "ec")


def new(**changed: Any) -> Client:
    good: dict[str, Any] = {
        "id": "reports",
        "name": "",
        "scopes": ("system/*.rs",),
        "jwks": key_set("ec"),
        "added_at": NOW,
    }
    return Client(**(good | changed))


@pytest.mark.requirement(104)
def test_a_system_is_kept_with_the_public_half_of_its_keys_and_nothing_else(database: Database) -> None:
    odd = {"keys": [{**PUBLIC, "x5c": ["AAAA"], "note": "made up", "use": "sig", "key_ops": ["verify"]}]}
    with database.begin() as tx:
        made = clients.add(tx, new(jwks=odd, scopes=("system/*.rs", "system/*.rs", "system/Task.c")))
        assert stored.find(tx, "reports") == made
    assert made.scopes == ("system/*.rs", "system/Task.c")
    assert made.jwks["keys"][0].keys() == {"kty", "kid", "crv", "x", "y", "alg"}


@pytest.mark.requirement(104)
@pytest.mark.parametrize(
    "changed",
    [
        {"id": ""},
        {"id": "a b"},
        {"id": "a\nb"},
        {"id": "\u00e9"},
        {"id": "x" * 201},
        {"id": "rule-worker"},
        {"id": "command-line"},
        {"id": "open-mode"},
        {"name": "a\nb"},
        {"name": "x" * 201},
        {"scopes": ()},
        {"scopes": ("system/*.rs",) * 2 + tuple(f"system/Task.rs?code={n}" for n in range(201))},
        {"scopes": ("user/*.rs",)},
        {"scopes": ("patient/*.rs",)},
        {"scopes": ("system/Nope.rs",)},
        {"scopes": ("system/Task.sr",)},
        {"scopes": ("openid",)},
        {"scopes": ("system/*",)},
        {"jwks": {"keys": []}},
        {"jwks": {}, "jwks_url": "http://reports.example/jwks.json"},
        {"jwks": {}, "jwks_url": "https://u:p@reports.example/jwks.json"},
        {"jwks": {}, "jwks_url": "file:///etc/passwd"},
        {"jwks": {}, "jwks_url": ""},
    ],
    ids=lambda one: json.dumps(one)[:50],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(database: Database, changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError), database.begin() as tx:
        clients.add(tx, new(**changed))
    with database.read() as tx:
        assert stored.all(tx) == []


@pytest.mark.security("S55", "S1")
@pytest.mark.parametrize(
    ("key", "why"),
    [
        ({**ec_key("ec").as_dict(private=True), "kid": "a"}, "private"),
        ({**rsa_key().as_dict(private=True), "kid": "a"}, "private"),
        ({**PUBLIC, "d": ""}, "private"),
        ({"kty": "oct", "k": "c2VjcmV0", "kid": "a"}, "private or secret"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "kid": "a"}, "neither RSA nor EC"),
        (weak_rsa("a"), "2048"),
        (public(ec_key("w", "P-256"), "a"), "P-384"),
        (public(ec_key("v", "P-521"), "a"), "P-384"),
        ({**PUBLIC, "crv": "P-256"}, "P-384"),
        ({**PUBLIC, "kid": ""}, "kid"),
        ({**PUBLIC, "kid": 7}, "kid"),
        ({name: value for name, value in PUBLIC.items() if name != "kid"}, "kid"),
        ({**PUBLIC, "alg": "ES256"}, "ES384"),
        ({**PUBLIC, "alg": "none"}, "ES384"),
        ({**PUBLIC, "use": "enc"}, "not meant"),
        ({**PUBLIC, "key_ops": ["sign"]}, "not meant"),
        ({**PUBLIC, "x": "AAAA"}, "cannot be read"),
        ({**PUBLIC, "x": 7}, "cannot be read"),
        ({**PUBLIC, "y": PUBLIC["x"]}, "cannot be read"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "a"}, "2048"),
        ({**public(rsa_key(), "a"), "e": "Aw"}, "exponent"),
        ({"kty": "RSA", "kid": "a"}, "cannot be read"),
    ],
    ids=lambda one: one if isinstance(one, str) else "key",
)
def test_a_key_that_cannot_be_trusted_is_refused_with_the_reason_and_not_shown(
    key: Mapping[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        checked_keys({"keys": [PUBLIC | {"kid": "good"}, key]})
    assert "Key 2" in caught.value.message
    for name in ("d", "p", "k"):
        if isinstance(key.get(name), str) and len(str(key[name])) > 8:
            assert str(key[name]) not in caught.value.message


@pytest.mark.security("S4")
def test_two_keys_of_one_id_and_too_many_keys_are_refused() -> None:
    with pytest.raises(UsageError, match="more than once"):
        checked_keys({"keys": [PUBLIC, PUBLIC]})
    of_two_kinds = checked_keys({"keys": [PUBLIC, public(rsa_key(), "ec")]})
    assert [(one["kty"], one["kid"]) for one in of_two_kinds["keys"]] == [("EC", "ec"), ("RSA", "ec")]
    with pytest.raises(UsageError, match="keys"):
        checked_keys({"keys": [PUBLIC | {"kid": f"k{n}"} for n in range(MOST_KEYS + 1)]})


@pytest.mark.security("S34")
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": [], "keys": []}',
        b"\xff",
        b"-----BEGIN PUBLIC KEY-----",
        b'{"keys": [' + b"[" * 1000,
        b" " * 200_000,
    ],
    ids=lambda one: repr(one)[:20],
)
def test_a_file_that_is_no_key_set_is_refused(raw: bytes) -> None:
    with pytest.raises(UsageError, match="no JWK Set"):
        read_key_set(raw)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://reports.example/jwks.json", True),
        ("https://reports.example:8443/jwks.json?v=1", True),
        ("http://127.0.0.1:9000/jwks.json", True),
        ("http://localhost/jwks.json", True),
        ("http://[::1]:1/jwks.json", True),
        ("http://reports.example/jwks.json", False),
        ("http://localhost.attacker.example/jwks.json", False),
        ("http://127.0.0.1@attacker.example/", False),
        ("http://127.0.0.1:80@attacker.example/", False),
        ("https://u@reports.example/", False),
        ("https://reports.example/#x", False),
        ("https://", False),
        ("ftp://reports.example/", False),
        ("https://reports.example/a b", False),
        ("https://r\u00e9ports.example/", False),
        ("https://reports.example/" + "x" * 3000, False),
    ],
)
@pytest.mark.security("S12", "S29", "E1")
def test_keys_are_fetched_over_https_or_on_this_machine(url: str, safe: bool) -> None:
    assert is_safe_address(url) is safe


@pytest.mark.security("S50", "A2")
def test_who_is_shut_out_loses_every_token_and_may_be_let_in_anew_with_other_keys(database: Database) -> None:
    let_in(database)
    with database.begin() as tx:
        for one in ("reports", "reports", "other"):
            number = len(one) + epochs.epoch(tx)
            token = IssuedToken(
                digest=f"{one}{number}", client=one, scopes=(), issued_at=NOW, expires_at=NOW.replace(year=2099)
            )
            tokens.add(tx, token)
            epochs.bump(tx)
    with database.begin() as tx:
        before = epochs.epoch(tx)
        assert clients.revoke(tx, "reports", NOW) == 2
        assert epochs.epoch(tx) == before + 1
        with pytest.raises(NotFound):
            clients.known(tx, "reports")
        with pytest.raises(NotFound):
            clients.revoke(tx, "reports", NOW)
        with pytest.raises(NotFound):
            clients.rotate(tx, "reports", Keys(key_set=key_set("b")), NOW)
    with database.begin() as tx:
        clients.add(tx, new(scopes=("system/Task.r",), jwks=key_set("b")))
        again = clients.known(tx, "reports")
    assert (again.scopes, [one["kid"] for one in again.jwks["keys"]], again.revoked_at) == (
        ("system/Task.r",),
        ["b"],
        None,
    )


@pytest.mark.requirement(108)
def test_new_keys_take_the_place_of_all_others(database: Database) -> None:
    let_in(database)
    with database.begin() as tx:
        before = epochs.epoch(tx)
        clients.rotate(tx, "reports", Keys(url="https://reports.example/jwks.json"), NOW)
        found = clients.known(tx, "reports")
        assert (found.jwks_url, found.jwks, found.rotated_at) == ("https://reports.example/jwks.json", {}, NOW)
        clients.rotate(tx, "reports", Keys(key_set=key_set("b")), NOW)
        found = clients.known(tx, "reports")
        assert (found.jwks_url, [one["kid"] for one in found.jwks["keys"]]) == (None, ["b"])
        assert epochs.epoch(tx) == before + 2


def test_a_name_that_is_taken_is_refused(database: Database) -> None:
    let_in(database)
    with pytest.raises(Conflict, match="rotate"), database.begin() as tx:
        clients.add(tx, new())


@pytest.mark.security("A2")
def test_no_system_is_taken_for_a_part_of_the_tracker_or_for_another_system() -> None:
    assert reference_of("reports") == "Device/reports"
    odd = [reference_of(one) for one in ("a_b", "a/b", "https://reports.example", "x" * 65, "A_B")]
    assert len(set(odd)) == len(odd)
    assert all(one.startswith("Device/client-") and len(one) <= 64 + 7 for one in odd)


@pytest.mark.security("A2")
def test_every_name_that_the_tracker_gives_its_own_parts_is_kept_from_systems() -> None:
    named = set()
    for path in (one for package in ("api", "fhir_tracker", "subscriptions") for one in (ROOT / package).rglob("*.py")):
        named |= set(re.findall(r'worker_viewer\("([a-z-]+)"\)', path.read_text()))
    assert len(named) > 10
    assert named <= OUR_OWN, sorted(named - OUR_OWN)
