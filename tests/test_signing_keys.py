"""The keys that we sign with: made once, rotated with two published at a time, sealed in the database."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_tracker import signing_keys
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.resealing import reseal
from fhir_tracker.signing_keys import GRACE, Keyring
from fhir_tracker.storage import signing_keys as stored
from fhir_tracker.storage.database import Database

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)
LATER = NOW + GRACE + timedelta(seconds=1)
SECOND = timedelta(seconds=1)
PLACE = "signing_key.sealed"


@pytest.fixture
def keys(database: Database) -> Keyring:
    return Keyring(database=database, secret_key="k" * 40)


def published(keys: Keyring) -> list[str]:
    with keys.database.read() as tx:
        return [one.kid for one in signing_keys.published(tx)]


def signer(keys: Keyring, now: datetime, *supported: str) -> tuple[str, str]:
    """Key id and algorithm of a fresh signature, which the published keys have to confirm."""
    text = keys.sign({"iss": "made up"}, keys.signers(now, supported)[0])
    with keys.database.read() as tx:
        known = KeySet.import_key_set(signing_keys.key_set(tx))  # type: ignore[arg-type]
    header = jwt.decode(text, known, algorithms=["RS384", "ES384"]).header
    return header["kid"], header["alg"]


@pytest.mark.requirement(102)
@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_a_key_is_published_with_its_public_half_only(keys: Keyring, alg: str) -> None:
    made = keys.ensure(NOW, alg)
    with keys.database.read() as tx:
        (public,) = signing_keys.key_set(tx)["keys"]
        row = stored.all(tx)[0]
    assert (public["kid"], public["alg"], public["use"], public["key_ops"]) == (made.kid, alg, "sig", ["verify"])
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(public)
    assert public["kty"] == ("RSA" if alg == "RS384" else "EC")
    assert alg == "ES384" or len(public["n"]) >= 512
    assert '"d"' not in row.sealed
    assert row.sealed not in repr(row)


def test_the_first_key_is_made_at_first_need_and_kept(keys: Keyring) -> None:
    assert published(keys) == []
    kid, alg = signer(keys, NOW)
    assert alg == "RS384"
    assert signer(keys, NOW + SECOND) == (kid, "RS384")
    assert keys.ensure(NOW, "ES384").kid == kid
    assert published(keys) == [kid]


def test_two_processes_at_once_make_one_key(keys: Keyring) -> None:
    gate = threading.Barrier(4)
    found: list[str] = []

    def ask() -> None:
        gate.wait(30)
        found.append(keys.ensure(NOW, "ES384").kid)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert set(found) == set(published(keys))
    assert len(published(keys)) == 1


@pytest.mark.requirement(102)
def test_a_new_key_is_published_first_and_signs_after_the_grace(keys: Keyring) -> None:
    old = keys.ensure(NOW, "ES384")
    new = keys.rotate(NOW + SECOND)
    assert new.alg == "ES384"
    assert published(keys) == [new.kid, old.kid]
    assert signer(keys, NOW + GRACE) == (old.kid, "ES384")
    assert signer(keys, LATER) == (new.kid, "ES384")


@pytest.mark.requirement(102)
def test_the_next_rotation_retires_the_key_before_the_last(keys: Keyring) -> None:
    kids = [keys.ensure(NOW, "ES384").kid]
    for number in range(1, 4):
        kids.append(keys.rotate(NOW + number * (GRACE + SECOND)).kid)
        assert published(keys) == kids[-1:-3:-1]
    with keys.database.read() as tx:
        assert [one.kid for one in stored.all(tx)] == kids[::-1]


def test_while_a_new_key_waits_another_is_refused_and_now_lets_it_sign_at_once(keys: Keyring) -> None:
    old = keys.ensure(NOW, "ES384")
    new = keys.rotate(NOW + SECOND)
    with pytest.raises(Conflict, match="rotate --now"):
        keys.rotate(NOW + 2 * SECOND)
    assert keys.rotate(NOW + 3 * SECOND, at_once=True).kid == new.kid
    assert signer(keys, NOW + 3 * SECOND)[0] == new.kid
    assert published(keys) == [new.kid, old.kid]


def test_a_first_rotation_without_any_key_signs_at_once(keys: Keyring) -> None:
    made = keys.rotate(NOW, "ES384")
    assert signer(keys, NOW) == (made.kid, "ES384")


def test_keys_of_two_kinds_stand_side_by_side_and_each_server_gets_the_one_it_takes(keys: Keyring) -> None:
    rsa = keys.ensure(NOW, "RS384")
    ec = keys.rotate(NOW + SECOND, "ES384", at_once=True)
    at = NOW + 2 * SECOND
    assert signer(keys, at) == signer(keys, at, "ES384", "RS384") == signer(keys, at, "PS512") == (ec.kid, "ES384")
    assert signer(keys, at, "RS384", "RS256") == (rsa.kid, "RS384")
    assert published(keys) == [ec.kid, rsa.kid]


def test_a_key_is_retired_by_hand_unless_it_is_the_only_one_that_signs(keys: Keyring) -> None:
    old = keys.ensure(NOW, "ES384")
    with keys.database.begin() as tx, pytest.raises(Conflict, match="only key"):
        signing_keys.retire(tx, old.kid, NOW)
    keys.rotate(NOW + SECOND)
    with keys.database.begin() as tx, pytest.raises(Conflict, match="only key"):
        signing_keys.retire(tx, old.kid, NOW + SECOND)
    with keys.database.begin() as tx:
        signing_keys.retire(tx, old.kid, LATER)
    with keys.database.begin() as tx, pytest.raises(NotFound, match="keys list"):
        signing_keys.retire(tx, old.kid, LATER)
    assert old.kid not in published(keys)


def test_an_unknown_algorithm_is_refused(keys: Keyring) -> None:
    with pytest.raises(UsageError, match="RS384, ES384"):
        keys.rotate(NOW, "HS256")


def test_a_key_sealed_with_another_secret_key_does_not_sign_and_the_message_says_why(keys: Keyring) -> None:
    with pytest.raises(UsageError, match="FHIR_TRACKER_SECRET_KEY"):
        Keyring(database=keys.database, secret_key="j" * 40).sign({}, keys.ensure(NOW))
    assert "kkkk" not in repr(keys)


@pytest.mark.requirement(102)
def test_after_a_change_of_the_secret_key_the_keys_are_sealed_anew_and_sign_as_before(keys: Keyring) -> None:
    for alg in ("RS384", "ES384"):
        keys.rotate(NOW, alg, at_once=True)
    before = published(keys)
    other = Keyring(database=keys.database, secret_key="n" * 40)
    with pytest.raises(UsageError, match="keys reseal --former"):
        signer(other, NOW)
    own = other.rotate(NOW + SECOND, at_once=True).kid
    done = reseal(other.database, other.secret_key, "k" * 40)
    assert (set(done.anew[PLACE]), done.kept, done.lost) == (set(before), {PLACE: (own,)}, {})
    assert [signer(other, NOW + SECOND, alg)[1] for alg in ("RS384", "ES384")] == ["RS384", "ES384"]
    assert set(published(other)) == {own, *before}
    with pytest.raises(UsageError):
        signer(keys, NOW)
    again = reseal(other.database, other.secret_key, "k" * 40)
    assert (again.anew, again.lost) == ({}, {})


def test_a_key_that_neither_secret_opens_is_named_and_left_as_it_is(keys: Keyring) -> None:
    made = keys.ensure(NOW, "ES384")
    done = reseal(keys.database, "n" * 40, "wrong" * 10)
    assert (done.lost, done.anew, done.kept) == ({PLACE: (made.kid,)}, {}, {})
    assert signer(keys, NOW)[0] == made.kid
