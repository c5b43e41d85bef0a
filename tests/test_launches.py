"""Launch sessions: an id that opens nothing, secrets of which digests are kept, an end by hand or by time."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from fhir_tracker import accounts, launches
from fhir_tracker.digests import digest_of
from fhir_tracker.storage import launches as stored
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession, Pending

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
IDLE, LIFE = timedelta(minutes=15), timedelta(hours=12)
SECOND = timedelta(seconds=1)
EHR = Issuer(
    key="clinic",
    url="https://ehr.example/fhir",
    client_id="tracker",
    frame_ancestors=("https://ehr.example",),
    changed_at=NOW,
)


def person(database: Database, user: str = "Practitioner/7") -> Account:
    with database.begin() as tx:
        return accounts.add(tx, "Ann", ["rn"], known=("rn",), now=NOW, connection="clinic", fhir_user=user)[0]


def begun(
    database: Database, *, patient: str | None = None, tokens: str | None = None
) -> tuple[LaunchSession, str, str]:
    who = person(database)
    with database.begin() as tx:
        return launches.begin(
            tx, who, now=NOW, lifetime=LIFE, issuer=EHR, patient=patient, sealed_tokens=tokens, tokens_end=NOW + IDLE
        )


def present(database: Database, id_: str) -> LaunchSession:
    with database.read() as tx:
        return present_in(tx, id_)


def present_in(tx: Tx, id_: str) -> LaunchSession:
    found = stored.find(tx, id_)
    assert found is not None
    return found


@pytest.mark.security("S14", "S18", "E2")
def test_a_session_is_found_by_its_id_and_opened_by_its_secret_or_handle_only(database: Database) -> None:
    session, secret, handle = begun(database, patient="clinic-1")
    found = present(database, session.id)
    assert found == session
    assert (found.connection, found.issuer, found.client) == ("clinic", EHR.url, "tracker")
    assert (found.patient, found.frame_ancestors, found.ends_at) == ("clinic-1", EHR.frame_ancestors, NOW + LIFE)
    assert launches.is_secret(found, secret)
    assert launches.is_handle(found, handle)
    for wrong in ("", secret[:-1], handle, found.secret_digest, found.id, "\udc80", "é" * 40):
        assert not launches.is_secret(found, wrong)
    for wrong in ("", secret, found.handle_digest):
        assert not launches.is_handle(found, wrong)
    with database.read() as tx:
        kept = str(tx.connection.execute(text("SELECT * FROM launch_session")).all())
    assert secret not in kept
    assert handle not in kept
    assert secret not in repr(session)
    assert found.secret_digest not in repr(found)


@pytest.mark.security("S14")
def test_no_two_sessions_share_an_id_and_ids_are_long(database: Database) -> None:
    who = person(database)
    with database.begin() as tx:
        ids = {launches.begin(tx, who, now=NOW, lifetime=LIFE, issuer=EHR)[0].id for _ in range(50)}
    assert len(ids) == 50
    assert all(len(one) * 6 >= 122 for one in ids)
    assert all(one.replace("-", "").replace("_", "").isalnum() for one in ids)


@pytest.mark.security("A6")
def test_a_session_stands_until_nobody_did_anything_for_a_while_its_time_is_over_or_it_is_ended(
    database: Database,
) -> None:
    session, _, _ = begun(database)
    assert launches.stands(session, NOW + IDLE - SECOND, IDLE)
    assert not launches.stands(session, NOW + IDLE, IDLE)
    with database.begin() as tx:
        stored.touch(tx, session.id, NOW + IDLE - SECOND)
        stored.touch(tx, session.id, NOW)
    touched = present(database, session.id)
    assert touched.active_at == NOW + IDLE - SECOND
    assert launches.stands(touched, NOW + IDLE, IDLE)
    assert not launches.stands(replace(touched, active_at=NOW + LIFE), NOW + LIFE, IDLE)
    with database.begin() as tx:
        assert launches.end(tx, touched, NOW + SECOND, "logout")
        assert not launches.end(tx, touched, NOW + SECOND, "idle")
    ended = present(database, session.id)
    assert (ended.ended_at, ended.ended_why) == (NOW + SECOND, "logout")
    assert not launches.stands(ended, NOW, IDLE)


@pytest.mark.security("A6")
def test_the_end_of_a_session_leaves_its_tokens_only_to_be_given_back(database: Database) -> None:
    session, _, _ = begun(database, tokens="sealed")
    assert present(database, session.id).sealed_tokens == "sealed"
    assert "sealed'" not in repr(session)
    with database.begin() as tx:
        assert stored.to_give_back(tx, NOW, 10) == []
        launches.end(tx, session, NOW, "logout")
        ended = present_in(tx, session.id)
        assert (ended.sealed_tokens, ended.tokens_end) == ("sealed", None)
        assert stored.to_renew(tx, NOW, NOW + LIFE, 10) == []
        assert stored.to_give_back(tx, NOW, 10) == [ended]
        assert stored.claim_giving_back(tx, ended, NOW, NOW + SECOND)
        assert not stored.claim_giving_back(tx, ended, NOW, NOW + SECOND)
        assert stored.to_give_back(tx, NOW, 10) == []
        assert stored.claim_giving_back(tx, ended, NOW + SECOND, NOW + 2 * SECOND)
        stored.drop_tokens(tx, session.id)
        assert stored.to_give_back(tx, NOW + LIFE, 10) == []
        assert not stored.claim_giving_back(tx, ended, NOW + LIFE, NOW + LIFE)
    assert present(database, session.id).sealed_tokens is None


def test_the_tokens_of_a_session_that_stands_are_not_dropped(database: Database) -> None:
    session, _, _ = begun(database, tokens="sealed")
    with database.begin() as tx:
        stored.drop_tokens(tx, session.id)
        stored.leave_tokens(tx, session.id, "others")
        assert not stored.claim_giving_back(tx, session, NOW, NOW + SECOND)
    assert present(database, session.id).sealed_tokens == "sealed"


def test_sessions_that_outlived_their_time_are_found_to_be_ended(database: Database) -> None:
    session, _, _ = begun(database)
    with database.begin() as tx:
        assert stored.outlived(tx, NOW + SECOND, NOW - IDLE, 10) == []
        assert stored.outlived(tx, NOW + IDLE, NOW, 10) == [session]
        assert stored.outlived(tx, NOW + LIFE, NOW - IDLE, 10) == [session]
        assert stored.of_account(tx, session.account) == [session]
        launches.end(tx, session, NOW, "idle")
        assert stored.outlived(tx, NOW + LIFE, NOW, 10) == []
        assert stored.of_account(tx, session.account) == []
        stored.forget(tx, NOW)
        assert stored.find(tx, session.id) is not None
        stored.forget(tx, NOW + SECOND)
        assert stored.find(tx, session.id) is None


@pytest.mark.requirement(96)
@pytest.mark.security("S10")
def test_one_of_many_renews_the_tokens_of_a_session(database: Database) -> None:
    session, _, _ = begun(database, tokens="old")
    gate, won = threading.Barrier(4), list[bool]()

    def claim() -> None:
        gate.wait(30)
        with database.begin() as tx:
            won.append(stored.claim_renewal(tx, session, NOW, NOW + 10 * SECOND))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert sorted(won) == [False, False, False, True]
    with database.begin() as tx:
        assert stored.keep_tokens(tx, session, "new", NOW + IDLE)
    found = present(database, session.id)
    assert (found.sealed_tokens, found.renewed, found.renewing_until) == ("new", 1, None)
    with database.begin() as tx:
        assert not stored.claim_renewal(tx, session, NOW + 20 * SECOND, NOW + 30 * SECOND)
        assert not stored.keep_tokens(tx, session, "stale", NOW)
        assert stored.claim_renewal(tx, found, NOW, NOW + SECOND)
        assert not stored.claim_renewal(tx, found, NOW, NOW + 2 * SECOND)
        assert stored.claim_renewal(tx, found, NOW + SECOND, NOW + 2 * SECOND)


def test_tokens_that_come_after_the_end_of_a_session_are_given_back_in_place_of_the_old(database: Database) -> None:
    session, _, _ = begun(database, tokens="old")
    with database.begin() as tx:
        assert stored.claim_renewal(tx, session, NOW, NOW + SECOND)
        launches.end(tx, session, NOW, "logout")
        assert not stored.keep_tokens(tx, session, "new", NOW + IDLE)
        assert present_in(tx, session.id).sealed_tokens == "old"
        stored.leave_tokens(tx, session.id, "new")
        assert [one.sealed_tokens for one in stored.to_give_back(tx, NOW, 10)] == ["new"]


def pending(state: str, at: datetime = NOW) -> Pending:
    return Pending(
        state_digest=digest_of(state),
        browser_digest=digest_of("browser"),
        issuer="clinic",
        sealed="sealed verifier",
        made_at=at,
        ends_at=at + timedelta(minutes=10),
    )


@pytest.mark.requirement(92)
@pytest.mark.security("S14")
def test_an_attempt_is_taken_once_by_whomever_is_first(database: Database) -> None:
    with database.begin() as tx:
        stored.add_pending(tx, pending("one"))
        stored.add_pending(tx, pending("two"))
    gate, found = threading.Barrier(4), list[Pending | None]()

    def take() -> None:
        gate.wait(30)
        with database.begin() as tx:
            found.append(stored.take_pending(tx, digest_of("one")))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert [one for one in found if one] == [pending("one")]
    with database.begin() as tx:
        assert stored.take_pending(tx, "one") is None
        assert stored.take_pending(tx, digest_of("two")) == pending("two")


def test_attempts_whose_time_is_over_are_dropped_by_the_next(database: Database) -> None:
    with database.begin() as tx:
        stored.add_pending(tx, pending("old"))
        stored.add_pending(tx, pending("new", NOW + timedelta(minutes=10)))
        assert stored.take_pending(tx, digest_of("old")) is None
        assert stored.take_pending(tx, digest_of("new")) is not None


@pytest.mark.security("S14", "S55")
def test_of_an_attempt_that_is_over_only_its_issuer_is_known_and_that_for_an_hour(database: Database) -> None:
    lasts = pending("used").ends_at - NOW
    with database.begin() as tx:
        for name in ("used", "late"):
            stored.add_pending(tx, pending(name))
        stored.take_pending(tx, digest_of("used"))
        stored.add_pending(tx, pending("next", NOW + lasts))
        for name in ("used", "late"):
            found = stored.find_pending(tx, digest_of(name))
            assert found == replace(pending(name), sealed="")
            assert stored.take_pending(tx, digest_of(name)) is None
        almost = NOW + lasts + stored.REMEMBERED - timedelta(microseconds=1)
        for at, known in ((almost, True), (almost + timedelta(microseconds=1), False)):
            stored.add_pending(tx, pending(f"at {at}", at))
            assert [stored.find_pending(tx, digest_of(one)) is not None for one in ("used", "late")] == [known, known]
