"""What logins and pages keep, on both databases: tickets, tabs, preferences, local logins and guesses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_tracker import launches, local_accounts, staff_sessions
from fhir_tracker.errors import TooMany
from fhir_tracker.passwords import Cost
from fhir_tracker.storage import accounts, launch_tabs, local_logins, preferences
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.launch_tabs import Ticket
from fhir_tracker.storage.local_logins import Guesses, LocalLogin
from fhir_tracker.storage.preferences import Preference

NOW = datetime(2026, 3, 11, 15, 0, tzinfo=UTC)
IDLE = timedelta(minutes=15)
SOON = NOW + timedelta(seconds=30)
ADA = Account(id="ada", ref="Practitioner/ada", name="Ada", roles=("rn",), created_at=NOW, changed_at=NOW)
LOGIN = LocalLogin(account="ada", name="ada", enrolment_digest="d", enrolment_ends=SOON, changed_at=NOW)


def ticket(digest: str, ends_at: datetime = SOON) -> Ticket:
    return Ticket(digest=digest, launch="one", page="/tasks/1", ends_at=ends_at)


@pytest.mark.security("S14", "S18")
def test_a_ticket_is_taken_once(database: Database) -> None:
    with database.begin() as tx:
        launch_tabs.add_ticket(tx, ticket("a"), NOW)
    with database.begin() as tx:
        assert launch_tabs.take_ticket(tx, "b") is None
        assert launch_tabs.take_ticket(tx, "a") == ticket("a")
        assert launch_tabs.take_ticket(tx, "a") is None


@pytest.mark.security("S14", "S18")
def test_of_many_who_redeem_one_ticket_at_once_one_does(database: Database) -> None:
    with database.begin() as tx:
        accounts.save(tx, ADA)
        session, _, _ = launches.begin(tx, ADA, now=NOW, lifetime=timedelta(hours=1))
        text = staff_sessions.ticket(tx, session, "/", NOW)

    def redeem(_: int) -> bool:
        with database.begin() as tx:
            return staff_sessions.redeem(tx, text, NOW, IDLE) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(redeem, range(8))) == [False] * 7 + [True]


def test_tickets_that_are_over_are_dropped_with_the_next(database: Database) -> None:
    with database.begin() as tx:
        launch_tabs.add_ticket(tx, ticket("a"), NOW)
        launch_tabs.add_ticket(tx, ticket("b", SOON + timedelta(seconds=1)), SOON)
        assert launch_tabs.take_ticket(tx, "a") is None
        assert launch_tabs.take_ticket(tx, "b") is not None


@pytest.mark.security("S19")
def test_a_tab_is_of_one_launch(database: Database) -> None:
    with database.begin() as tx:
        launch_tabs.add(tx, "one", ("secret", "handle"), NOW, NOW - timedelta(days=1))
        for digest in ("secret", "handle"):
            assert launch_tabs.has(tx, "one", digest)
            assert not launch_tabs.has(tx, "other", digest)
        assert not launch_tabs.has(tx, "one", "")
        later = NOW + timedelta(days=2)
        launch_tabs.add(tx, "other", ("x", "y"), later, later - timedelta(days=1))
        assert not launch_tabs.has(tx, "one", "secret"), "what is old goes"


@pytest.mark.security("A6")
@given(st.lists(st.tuples(st.sampled_from(["act", "look", "wait"]), st.integers(0, 1000)), max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_session_stands_exactly_as_long_as_somebody_does_something(
    database: Database, steps: list[tuple[str, int]]
) -> None:
    with database.begin() as tx:
        accounts.save(tx, ADA)
        session, _, _ = launches.begin(tx, ADA, now=NOW, lifetime=timedelta(hours=2))
    now, last = NOW, NOW
    for what, seconds in steps:
        now += timedelta(seconds=seconds)
        with database.begin() as tx:
            found = kept.find(tx, session.id)
            assert found is not None
            stands = staff_sessions.viewer_of_session(tx, found, now, IDLE) is not None
            expected = now < NOW + timedelta(hours=2) and now < found.active_at + IDLE
            assert stands is expected
            assert timedelta() <= last - found.active_at < staff_sessions.TOUCHED_EVERY
            if stands and what == "act":
                staff_sessions.act(tx, found, now)
                last = now
            if not stands:
                break


def test_what_somebody_prefers_goes_in_the_place_of_what_was(database: Database) -> None:
    compact = Preference(account="ada", density="compact", keys=False)
    with database.begin() as tx:
        assert preferences.find(tx, "ada") is None
        preferences.save(tx, compact)
        preferences.save(tx, replace(compact, account="eve"))
        preferences.save(tx, replace(compact, keys=True))
        assert preferences.find(tx, "ada") == replace(compact, keys=True)
        assert preferences.find(tx, "eve") == replace(compact, account="eve")


def test_a_login_is_found_by_its_name_its_account_and_its_invitation(database: Database) -> None:
    with database.begin() as tx:
        local_logins.save(tx, LOGIN)
        assert local_logins.named(tx, "ada") == LOGIN
        assert local_logins.of_account(tx, "ada") == LOGIN
        assert local_logins.enrolling(tx, "d") == LOGIN
        assert [local_logins.named(tx, "eve"), local_logins.enrolling(tx, "e")] == [None, None]
        enrolled = replace(LOGIN, password="scrypt$", sealed_totp="x", enrolment_digest=None, enrolment_ends=None)
        assert local_logins.enrol(tx, enrolled, "d")
        assert local_logins.named(tx, "ada") == enrolled
        assert local_logins.enrolling(tx, "d") is None


@pytest.mark.security("D1", "S10")
def test_of_many_who_use_one_code_at_once_one_does(database: Database) -> None:
    with database.begin() as tx:
        local_logins.save(tx, LOGIN)

    def use(_: int) -> bool:
        with database.begin() as tx:
            return local_logins.use_step(tx, "ada", 59_000_000)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(use, range(8))) == [False] * 7 + [True]
    with database.begin() as tx:
        assert not local_logins.use_step(tx, "ada", 58_999_999)
        assert local_logins.use_step(tx, "ada", 59_000_001)
        assert not local_logins.use_step(tx, "nobody", 1)


def test_guesses_are_kept_by_key_and_forgotten_when_old(database: Database) -> None:
    one = Guesses(key="k", failures=3, last_at=NOW, barred_until=NOW)
    with database.begin() as tx:
        local_logins.note(tx, one, NOW - timedelta(days=1))
        local_logins.note(tx, replace(one, failures=4), NOW - timedelta(days=1))
        assert local_logins.guesses(tx, ("k", "absent")) == [replace(one, failures=4)]
        local_logins.note(tx, replace(one, key="other", last_at=SOON), SOON)
        assert local_logins.guesses(tx, ("k",)) == []
        local_logins.forgive(tx, ("other",))
        assert local_logins.guesses(tx, ("other",)) == []


@pytest.mark.security("S56", "M3")
def test_many_guesses_at_once_are_no_more_than_many_one_by_one(database: Database) -> None:
    def guess(number: int) -> str:
        try:
            local_accounts.log_in(database, "nobody", "x", "1", f"192.0.2.{number}", "k" * 40, NOW, Cost(n=2, r=1, p=1))
        except TooMany:
            return "wait"
        except Exception as error:  # noqa: BLE001 - its name is what is looked at
            return type(error).__name__
        return "in"

    with ThreadPoolExecutor(4) as pool:
        told = sorted(pool.map(guess, range(12)))
    assert told == ["Forbidden"] * 5 + ["wait"] * 7
