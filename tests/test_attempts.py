"""Attempts to come in: kept sealed, found by their state once, by the browser that began them, for ten minutes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from fhir_tracker import attempts
from fhir_tracker.attempts import LASTS, Attempt
from fhir_tracker.errors import Forbidden, Incorrect, UsageError
from fhir_tracker.storage import issuers
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer

NOW = datetime(2026, 3, 9, 12, 0, tzinfo=UTC)
KEY = "k" * 40
SECOND = timedelta(seconds=1)
EHR = Issuer(key="clinic", url="https://ehr.example/fhir", client_id="tracker", changed_at=NOW)


def begun(database: Database, browser: str = "browser-secret", *, windowed: bool = False) -> tuple[Attempt, str]:
    with database.begin() as tx:
        issuers.save(tx, EHR)
        return attempts.begin(
            tx,
            EHR,
            kind="ehr",
            browser=browser,
            secret_key=KEY,
            now=NOW,
            launch="xyz",
            windowed=windowed,
            redirect_uri="https://tracker.example/callback",
            scopes=["openid", "fhirUser"],
        )


@pytest.mark.requirement(91, 92)
@pytest.mark.security("S14", "E2")
def test_what_the_way_back_needs_is_kept_sealed_and_given_out_once(database: Database) -> None:
    made, state = begun(database)
    assert 43 <= len(made.verifier) <= 128
    assert min(len(state), len(made.nonce)) * 6 >= 122
    with database.begin() as tx:
        kept = str(tx.connection.execute(text("SELECT * FROM launch_pending")).all())
        pending, found = attempts.take(tx, state, KEY, NOW + LASTS - SECOND)
        with pytest.raises(Incorrect, match="used already"):
            attempts.take(tx, state, KEY, NOW)
    assert found == made
    assert pending.issuer == "clinic"
    for secret in (state, made.verifier, made.nonce, "browser-secret", "xyz"):
        assert secret not in kept
        assert secret not in repr((pending, found))


@pytest.mark.security("S14")
@pytest.mark.parametrize("at", [NOW + LASTS, NOW + timedelta(days=1), NOW - SECOND])
def test_outside_its_ten_minutes_an_attempt_is_none(database: Database, at: datetime) -> None:
    _, state = begun(database)
    with database.begin() as tx, pytest.raises(Incorrect):
        attempts.take(tx, state, KEY, at)


@pytest.mark.security("S14")
@pytest.mark.parametrize("state", ["", "x", "x" * 501, "\udc80", "é"])
def test_another_state_finds_nothing(database: Database, state: str) -> None:
    begun(database)
    with database.begin() as tx:
        with pytest.raises(Incorrect):
            attempts.take(tx, state, KEY, NOW)
        assert attempts.windowed(tx, state, KEY, NOW) is None


@pytest.mark.security("S14")
def test_only_the_browser_that_began_it_ends_it(database: Database) -> None:
    _, state = begun(database)
    with database.begin() as tx:
        pending, _ = attempts.take(tx, state, KEY, NOW)
    attempts.check_browser(pending, "browser-secret")
    for other in ("", "browser-secre", "browser-secret ", pending.browser_digest, "x" * 10_000, "\udc80"):
        with pytest.raises(Forbidden, match="another browser"):
            attempts.check_browser(pending, other)


@pytest.mark.security("S14", "S21")
def test_whether_the_window_holds_the_secret_is_told_without_using_the_attempt_up(database: Database) -> None:
    _, plain = begun(database)
    _, framed = begun(database, windowed=True)
    with database.begin() as tx:
        assert attempts.windowed(tx, plain, KEY, NOW) is None
        assert attempts.windowed(tx, framed, KEY, NOW) == EHR
        assert attempts.windowed(tx, framed, KEY, NOW + LASTS) is None
        assert attempts.take(tx, framed, KEY, NOW)[1].windowed
        assert attempts.windowed(tx, framed, KEY, NOW) is None


@pytest.mark.security("S14", "S23")
def test_whose_login_it_was_is_known_of_one_that_is_over_too(database: Database) -> None:
    _, state = begun(database)
    with database.begin() as tx:
        assert attempts.issuer_of(tx, state) == EHR
        attempts.take(tx, state, KEY, NOW)
        assert attempts.issuer_of(tx, state) == EHR
        for other in ("", "x", "x" * 501, state[:-1], "\udc80"):
            assert attempts.issuer_of(tx, other) is None


@pytest.mark.security("S55")
def test_an_attempt_sealed_with_another_key_is_a_plain_problem(database: Database) -> None:
    _, state = begun(database)
    with database.begin() as tx, pytest.raises(UsageError, match="FHIR_TRACKER_SECRET_KEY"):
        attempts.take(tx, state, "z" * 40, NOW)


def test_secrets_of_browsers_are_long_and_never_the_same() -> None:
    made = {attempts.fresh_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) * 6 >= 122 for one in made)
