"""Client assertions: what is good is believed, what attackers make is not, whichever part of it is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fhir_tracker.assertions import LEEWAY, check_claims, check_signature, read_assertion
from fhir_tracker.client_keys import usable_keys
from fhir_tracker.errors import Unauthenticated
from tests.support.hostile_assertions import EC_HEADER, FOREIGN, RSA_HEADER, hostile
from tests.support.systems import System, ec_key, key_set, public, raw_signed, rsa_key, signed, weak_rsa

SYSTEM = System()
AUDIENCES = {"http://testserver/auth/token"}
KEYS = usable_keys(key_set("ec", "rsa"))


def believed(compact: str, now: datetime | None = None) -> str:
    """The jti of an assertion that is."""
    given = read_assertion(compact)
    if given.jku is not None or given.client != SYSTEM.id:
        raise Unauthenticated("as the endpoint does")
    check_signature(given, KEYS)
    return check_claims(given, AUDIENCES, now or datetime.now(UTC)).jti


def refused(compact: str, now: datetime | None = None) -> str:
    """Why an assertion is not believed."""
    with pytest.raises(Unauthenticated) as caught:
        believed(compact, now)
    return caught.value.message


@pytest.mark.security("S1", "S2", "S3", "S4", "S5", "S6", "D1")
@pytest.mark.requirement(104)
def test_nothing_that_an_attacker_makes_is_believed() -> None:
    tried = list(hostile(SYSTEM))
    assert len(tried) > 150
    got_through = []
    for what, compact in tried:
        try:
            believed(compact)
        except Unauthenticated:
            continue
        got_through.append(what)
    assert got_through == []


@pytest.mark.requirement(104)
@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"exp": 240.5},
        {"iat": 0, "nbf": -5},
        {"iat": 2.5, "extra": {"any": ["thing"]}},
        {"jti": "a"},
        {"jti": "j" * 500},
    ],
    ids=["plain", "half a second", "older", "a little ahead", "short jti", "long jti"],
)
@pytest.mark.parametrize("kid", ["ec", "rsa"])
def test_a_good_assertion_is_believed(kid: str, claims: Mapping[str, Any]) -> None:
    now = int(time.time())
    moved = {name: now + value if name in ("exp", "iat", "nbf") else value for name, value in claims.items()}
    assert believed(System(kid=kid).assertion(None, **moved))


@pytest.mark.requirement(104)
@pytest.mark.security("S2")
@pytest.mark.parametrize("header", [EC_HEADER, RSA_HEADER, {**EC_HEADER, "typ": "jwt"}, {**EC_HEADER, "custom": 1}])
def test_headers_that_say_more_are_passed_over_and_keys_in_them_never_used(header: Mapping[str, object]) -> None:
    key = rsa_key() if header["alg"] == "RS384" else ec_key("ec")
    assert believed(signed(header, SYSTEM.claims(), key))
    own = public(ec_key(FOREIGN), "ec")
    assert believed(signed({**header, "jwk": own, "x5u": "https://attacker.example/x"}, SYSTEM.claims(), key))


@pytest.mark.security("S5", "S6")
def test_an_assertion_counts_until_just_after_its_end_and_not_before_it_may() -> None:
    now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    at = int(now.timestamp())
    given = SYSTEM.assertion(exp=at, nbf=at, iat=at)
    assert believed(given, now + LEEWAY - timedelta(seconds=1))
    assert refused(given, now + LEEWAY) == "exp"
    assert believed(given, now - LEEWAY)
    assert refused(given, now - LEEWAY - timedelta(seconds=1)) == "nbf"
    longest = SYSTEM.assertion(exp=at + 310)
    assert believed(longest, now)
    assert refused(SYSTEM.assertion(exp=at + 311), now) == "exp"


@pytest.mark.security("S5")
def test_it_is_remembered_for_as_long_as_it_could_be_shown_again() -> None:
    now = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    given = read_assertion(SYSTEM.assertion(exp=int(now.timestamp()) + 100))
    shown = check_claims(given, AUDIENCES, now)
    assert shown.until == now + timedelta(seconds=100) + LEEWAY
    assert refused(given.compact, shown.until) == "exp"


@pytest.mark.security("S4")
def test_a_key_id_that_two_keys_have_names_neither() -> None:
    twice = usable_keys({"keys": [public(ec_key("ec"), "ec"), public(ec_key("ec"), "ec")]})
    assert len(twice) == 2
    with pytest.raises(Unauthenticated):
        check_signature(read_assertion(SYSTEM.assertion()), twice)


@pytest.mark.requirement(104)
@pytest.mark.security("S4")
def test_keys_of_two_kinds_may_share_an_id_and_each_checks_what_is_signed_in_its_way() -> None:
    """The key is the one of that id whose kind the algorithm is for; a third of either kind makes it none."""
    mixed = {"keys": [public(ec_key("ec"), "ec"), public(rsa_key(), "ec")]}
    by_rsa = signed({"alg": "RS384", "kid": "ec", "typ": "JWT"}, SYSTEM.claims(), rsa_key())
    for compact in (SYSTEM.assertion(), by_rsa):
        check_signature(read_assertion(compact), usable_keys(mixed))
        for twin in mixed["keys"]:
            more = usable_keys({"keys": [*mixed["keys"], twin]})
            if twin["kty"] == ("RSA" if compact is by_rsa else "EC"):
                with pytest.raises(Unauthenticated, match="key"):
                    check_signature(read_assertion(compact), more)
            else:
                check_signature(read_assertion(compact), more)
    swapped = signed({"alg": "RS384", "kid": "ec", "typ": "JWT"}, SYSTEM.claims(), ec_key("ec"))
    with pytest.raises(Unauthenticated, match="signature"):
        check_signature(read_assertion(swapped), usable_keys(mixed))
    with pytest.raises(Unauthenticated, match="key"):
        check_signature(read_assertion(by_rsa), usable_keys({"keys": mixed["keys"][:1]}))


@pytest.mark.requirement(108)
@pytest.mark.security("S4")
@pytest.mark.parametrize("place", [0, 30, 60])
def test_a_key_is_found_among_many_of_other_uses_and_so_is_its_twin(place: int) -> None:
    """As at the address of a large server: keys to encrypt, of other curves, without ids, too short, and secret ones."""
    good = public(ec_key("ec"), "ec")
    others = [
        public(ec_key("enc"), "enc", use="enc"), public(ec_key("p256", "P-256"), "p256"), weak_rsa("weak"),
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "okp"}, {"kty": "oct", "k": "AA", "kid": "oct"},
        {name: value for name, value in good.items() if name != "kid"}, good | {"alg": "RS256"}, good | {"key_ops": ["sign"]},
        {}, good | {"kid": 7}, good | {"x": "!"}, public(ec_key("ec"), "ec", d="AA"),
    ] * 5  # fmt: skip
    found = usable_keys({"keys": [*others[:place], good, *others[place:]]})
    assert [one.kid for one in found] == ["ec"]
    check_signature(read_assertion(SYSTEM.assertion()), found)
    with pytest.raises(Unauthenticated):
        check_signature(read_assertion(SYSTEM.assertion()), usable_keys({"keys": [good, *others, good]}))


@pytest.mark.security("S1")
def test_neither_the_assertion_nor_its_claims_are_shown_by_what_holds_them() -> None:
    given = read_assertion(SYSTEM.assertion(secret="canary"))
    assert "canary" not in repr(given)
    assert given.compact not in repr(given)


@pytest.mark.security("S6")
def test_json_that_two_readers_could_take_differently_is_refused() -> None:
    claims = json.dumps(SYSTEM.claims())
    for text in (claims[:-1] + ', "aud": "http://testserver/auth/token"}', claims.replace("reports", "rep\\u0000orts")):
        assert refused(raw_signed(json.dumps(EC_HEADER), text, ec_key("ec")))
