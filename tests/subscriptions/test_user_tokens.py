"""The tokens of people: renewed in time by one of many, never shown twice, given back at the end, and readable nowhere."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from api.demo.simulator.faults import Faults
from api.demo.simulator.keys import SigningKeys
from api.demo.simulator.world import ClientType
from fhir_tracker import accounts, clock, issuers, signing_keys
from fhir_tracker.config import Settings, load_settings
from fhir_tracker.errors import NotFound, RemoteFailure, Unauthenticated
from fhir_tracker.issuers import Terms
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage import launches
from subscriptions import SessionTokens, tend_sessions
from subscriptions.user_tokens import AsPerson, UserTokens, ended, opened
from tests.support.launching import KEY, SECRET, Launchpad, launch_of

SOON = timedelta(minutes=4, seconds=30)
LATE = timedelta(minutes=6)
RENEW = """
import sys
from datetime import timedelta
from fhir_tracker import clock
from fhir_tracker.storage.database import Database
from subscriptions import SessionTokens
database = Database.open(sys.argv[1])
later = timedelta(minutes=6)
print(SessionTokens(database, "k" * 40, now=lambda: clock.now() + later).access(sys.argv[2]))
database.close()
"""


def begun(pad: Launchpad) -> str:
    """A launch; its public id."""
    return launch_of(pad.browser().come_in())


def tokens(pad: Launchpad, after: timedelta = timedelta()) -> SessionTokens:
    """What one process knows, whose clock is ahead."""
    return SessionTokens(pad.database, pad.context.secret_key, now=lambda: clock.now() + after)


def kept(pad: Launchpad, id_: str) -> UserTokens:
    """The tokens as they are kept."""
    sealed = pad.session(id_).sealed_tokens
    assert sealed is not None
    return opened(pad.context.secret_key, sealed)


def refreshes(pad: Launchpad) -> list[str]:
    """The refresh tokens that were shown, in order."""
    asked = [one.parameters for one in pad.simulator.ledger.seen if one.endpoint == "token"]
    return [one["refresh_token"] for one in asked if one["grant_type"] == "refresh_token"]


def settings_of(pad: Launchpad) -> Settings:
    return load_settings({"HOME": "/nowhere", "FHIR_TRACKER_SECRET_KEY": pad.context.secret_key})


def ahead(by: timedelta) -> Any:
    return lambda: clock.now() + by


@pytest.mark.requirement(96)
def test_a_token_is_used_until_its_end_is_near_and_renewed_before_it(pad: Launchpad) -> None:
    id_ = begun(pad)
    first = kept(pad, id_)
    assert tokens(pad).access(id_) == first.access
    assert refreshes(pad) == []
    second = tokens(pad, SOON).access(id_)
    assert second != first.access
    assert refreshes(pad) == [first.refresh]
    assert kept(pad, id_).refresh not in ("", first.refresh)
    assert (kept(pad, id_).access, pad.session(id_).renewed) == (second, 1)
    assert tokens(pad).access(id_) == second
    assert pad.simulator.violations == ()


@pytest.mark.requirement(96)
@pytest.mark.security("S10")
def test_many_who_need_a_new_token_at_once_get_one_and_the_old_is_shown_once(pad: Launchpad) -> None:
    id_ = begun(pad)
    gate, found = threading.Barrier(6), list[str]()
    pad.simulator.faults = Faults(slow={"token": 0.3})

    def ask() -> None:
        gate.wait(30)
        found.append(tokens(pad, LATE).access(id_))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert len(found) == 6
    assert len(set(found)) == 1
    assert len(refreshes(pad)) == 1
    assert pad.simulator.violations == ()


@pytest.mark.requirement(96)
@pytest.mark.security("S10")
def test_two_processes_renew_once(pad: Launchpad, ready_url: str) -> None:
    id_ = begun(pad)
    pad.simulator.faults = Faults(slow={"token": 0.5})
    started = [
        subprocess.Popen([sys.executable, "-c", RENEW, ready_url, id_], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [one.communicate(timeout=120)[0].strip() for one in started]
    assert [one.returncode for one in started] == [0, 0]
    assert set(told) == {kept(pad, id_).access}
    assert len(refreshes(pad)) == 1
    assert pad.simulator.violations == ()


@pytest.mark.requirement(96)
def test_a_renewal_that_brings_no_new_refresh_token_goes_on_with_the_old(pad: Launchpad) -> None:
    id_ = begun(pad)
    first = kept(pad, id_)
    pad.simulator.faults = Faults(without_rotation=True)
    tokens(pad, LATE).access(id_)
    assert kept(pad, id_).refresh == first.refresh


@pytest.mark.requirement(96)
def test_a_renewal_that_the_ehr_refuses_ends_the_session(pad: Launchpad) -> None:
    id_ = begun(pad)
    pad.simulator.faults = Faults(token_error="invalid_grant")
    with pytest.raises(Unauthenticated, match="open the tracker again"):
        tokens(pad, LATE).access(id_)
    session = pad.session(id_)
    assert session.ended_why == "relaunch"
    with pytest.raises(Unauthenticated):
        tokens(pad).access(id_)
    assert len(refreshes(pad)) == 1


@pytest.mark.requirement(96)
@pytest.mark.security("S10")
def test_a_refresh_token_of_which_nobody_knows_whether_it_was_used_is_never_shown_again(pad: Launchpad) -> None:
    id_ = begun(pad)
    first = kept(pad, id_)
    pad.simulator.faults = Faults(down=frozenset({"token"}))
    assert tokens(pad, SOON).access(id_) == first.access
    assert (kept(pad, id_), pad.session(id_).ended_at) == (UserTokens(access=first.access), None)
    pad.simulator.faults = Faults()
    assert tokens(pad, SOON).access(id_) == first.access
    with pytest.raises(Unauthenticated):
        tokens(pad, LATE).access(id_)
    assert refreshes(pad) == [first.refresh]
    assert pad.session(id_).sealed_tokens is None


@pytest.mark.requirement(96)
def test_an_ehr_that_cannot_be_reached_costs_nothing(pad: Launchpad, signing: SigningKeys) -> None:
    id_ = begun(pad)
    first = kept(pad, id_)
    with pad.database.begin() as tx:
        tx.connection.execute(text("UPDATE issuer SET changed_at = changed_at + 1"))
    pad.simulator.faults = Faults(down=frozenset({"discovery"}))
    assert tokens(pad, SOON).access(id_) == first.access
    with pytest.raises(RemoteFailure):
        tokens(pad, LATE).access(id_)
    assert (kept(pad, id_), pad.session(id_).renewing_until, refreshes(pad)) == (first, None, [])
    pad.simulator.faults = Faults()
    assert tokens(pad, LATE + timedelta(seconds=10)).access(id_) != first.access


@pytest.mark.requirement(96)
def test_a_token_that_the_ehr_refuses_before_its_end_is_renewed_once(pad: Launchpad) -> None:
    id_ = begun(pad)
    person = AsPerson(tokens(pad), id_)
    first = person.header(clock.now())
    assert person.refused()
    assert person.header(clock.now()) not in (None, first)
    pad.simulator.faults = Faults(without_refresh=True)
    other = AsPerson(tokens(pad), begun(pad))
    other.header(clock.now())
    with pytest.raises(Unauthenticated):
        other.refused()


@pytest.mark.requirement(96)
@pytest.mark.security("A6")
def test_sessions_are_looked_after_between_requests(pad: Launchpad) -> None:
    id_ = begun(pad)
    assert tend_sessions(pad.database, settings_of(pad), clock.now).renewed == 0
    assert tend_sessions(pad.database, settings_of(pad), ahead(SOON)).renewed == 1
    assert pad.session(id_).renewed == 1
    told = tend_sessions(pad.database, settings_of(pad), ahead(timedelta(minutes=16)))
    assert (told.ended, told.renewed) == (1, 0)
    session = pad.session(id_)
    assert (session.ended_why, session.sealed_tokens) == ("idle", None)
    assert tend_sessions(pad.database, settings_of(pad), ahead(timedelta(minutes=16))).ended == 0
    with pad.database.read() as tx:
        rows = tx.connection.execute(text("SELECT who, detail FROM audit WHERE action = 'logout'")).all()
    assert [(one.who, "idle" in one.detail) for one in rows] == [("Practitioner/clinic-nurse", True)]


@pytest.mark.security("A6")
def test_somebody_who_did_something_meanwhile_stays_in(pad: Launchpad) -> None:
    id_ = begun(pad)
    later = clock.now() + timedelta(minutes=14)
    with pad.database.begin() as tx:
        launches.touch(tx, id_, later)
    assert tend_sessions(pad.database, settings_of(pad), ahead(timedelta(minutes=16))).ended == 0
    assert pad.session(id_).ended_at is None


@pytest.mark.security("A6", "S18")
def test_the_end_of_a_session_gives_its_tokens_back_to_the_ehr(pad: Launchpad) -> None:
    id_ = begun(pad)
    held = kept(pad, id_)
    tend_sessions(pad.database, settings_of(pad), ahead(timedelta(minutes=16)))
    assert given_back(pad) == [(held.refresh, "refresh_token"), (held.access, "access_token")]
    assert pad.session(id_).sealed_tokens is None
    assert pad.simulator.violations == ()


def given_back(pad: Launchpad) -> list[tuple[str, str]]:
    """What the EHR was given back, in order."""
    back = [one.parameters for one in pad.simulator.ledger.seen if one.endpoint == "revoke"]
    return [(one["token"], one["token_type_hint"]) for one in back]


def tend(pad: Launchpad, after: timedelta = timedelta()) -> int:
    """One turn of the worker; from how many sessions tokens are gone after it."""
    return tend_sessions(pad.database, settings_of(pad), ahead(after)).given_back


def key_page(pad: Launchpad) -> dict[str, Any]:
    """Our page of keys, as the EHR has it registered."""
    Keyring(database=pad.database, secret_key=pad.context.secret_key).ensure(clock.now(), "RS384")
    with pad.database.read() as tx:
        return dict(signing_keys.key_set(tx))


def log_off(pad: Launchpad, id_: str) -> None:
    with pad.database.begin() as tx:
        ended(tx, pad.session(id_), clock.now(), "logout")


def disable(pad: Launchpad, id_: str) -> None:
    with pad.database.begin() as tx:
        accounts.disable(tx, pad.session(id_).account, clock.now())


def remove_issuer(pad: Launchpad, _: str) -> None:
    with pad.database.begin() as tx:
        assert issuers.remove(tx, KEY, clock.now())
        assert not issuers.remove(tx, KEY, clock.now())


@pytest.mark.requirement(96)
@pytest.mark.security("A6", "S18", "S50")
@pytest.mark.parametrize("kind", ["public", "confidential-symmetric", "confidential-asymmetric"])
@pytest.mark.parametrize("ending", [log_off, disable, remove_issuer])
def test_whatever_ends_a_session_its_tokens_are_given_back_and_once(
    pad: Launchpad, kind: ClientType, ending: Callable[[Launchpad, str], None]
) -> None:
    pad.set_up(kind, jwks=key_page(pad) if kind == "confidential-asymmetric" else None)
    id_ = begun(pad)
    held = kept(pad, id_)
    ending(pad, id_)
    assert given_back(pad) == [], "no request to the EHR is part of the act"
    with pytest.raises(Unauthenticated):
        tokens(pad).access(id_)
    assert [tend(pad), tend(pad)] == [1, 0]
    assert given_back(pad) == [(held.refresh, "refresh_token"), (held.access, "access_token")]
    assert pad.simulator.ledger.access(held.access, clock.now()) is None
    with pad.database.read() as tx:
        assert stored_issuers.left(tx) == []
    assert pad.simulator.violations == ()


@pytest.mark.requirement(96)
@pytest.mark.security("A6")
def test_an_ehr_that_is_down_is_given_the_tokens_later(pad: Launchpad) -> None:
    ids = [begun(pad) for _ in range(3)]
    for one in ids:
        log_off(pad, one)
    pad.simulator.faults = Faults(down=frozenset({"revoke"}))
    assert tend(pad) == 0
    assert len(given_back(pad)) == 1, "who does not answer is asked once in a turn"
    pad.simulator.faults = Faults()
    assert tend(pad) == 2, "the one that was tried waits for its time"
    assert tend(pad, timedelta(seconds=31)) == 1
    assert {pad.session(one).sealed_tokens for one in ids} == {None}


@pytest.mark.security("A6")
@pytest.mark.parametrize(
    "fault", [Faults(metadata={"revocation_endpoint": None}), Faults(redirecting=frozenset({"revoke"}))]
)
def test_an_ehr_that_takes_no_tokens_back_stops_nobody_from_leaving(pad: Launchpad, fault: Faults) -> None:
    pad.simulator.faults = fault
    id_ = begun(pad)
    log_off(pad, id_)
    tend(pad)
    assert (pad.session(id_).ended_why, pad.session(id_).sealed_tokens) == ("logout", None)


@pytest.mark.security("A6")
def test_tokens_are_dropped_when_the_ehr_did_not_answer_for_a_day(pad: Launchpad) -> None:
    id_ = begun(pad)
    log_off(pad, id_)
    pad.simulator.faults = Faults(down=frozenset({"revoke"}))
    assert [tend(pad), tend(pad, timedelta(hours=12)), tend(pad, timedelta(hours=25))] == [0, 0, 1]
    assert pad.session(id_).sealed_tokens is None


@pytest.mark.security("A6", "S10")
def test_a_renewal_that_comes_after_the_end_is_given_back_too(pad: Launchpad) -> None:
    id_ = begun(pad)
    pad.simulator.faults = Faults(slow={"token": 1.0})
    refused: list[str] = []

    def renew() -> None:
        try:
            tokens(pad, LATE).access(id_)
        except Unauthenticated as error:
            refused.append(error.message)

    renewing = threading.Thread(target=renew)
    renewing.start()
    while not refreshes(pad):
        clock.pause(0.02)
    log_off(pad, id_)
    renewing.join(60)
    pad.simulator.faults = Faults()
    late = kept(pad, id_)
    assert len(refused) == 1
    assert tend(pad) == 1
    assert (late.refresh, "refresh_token") in given_back(pad)


@pytest.mark.security("S50")
def test_an_issuer_that_was_removed_lets_nobody_in_and_may_be_set_up_anew(pad: Launchpad) -> None:
    log_in, before = begun(pad), pad.issuer
    with pad.database.begin() as tx:
        assert issuers.remove(tx, KEY, clock.now())
        assert issuers.named(tx, before.url) is None
        assert (stored_issuers.find(tx, KEY), stored_issuers.all(tx)) == (None, [])
        assert [one.key for one in stored_issuers.left(tx)] == [KEY]
        with pytest.raises(NotFound):
            issuers.get(tx, KEY)
        terms = Terms(url=before.url, client_id="another")
        made = issuers.of_provider(tx, "office", terms, pad.context.secret_key, clock.now())
        assert (made.url, stored_issuers.left(tx)) == (before.url, [])
    assert tend(pad) == 1
    assert pad.session(log_in).sealed_tokens is None
    assert given_back(pad) == [], "whom nobody knows any more is shown nothing"


@pytest.mark.security("S18", "S50")
def test_nothing_is_shown_to_an_ehr_that_is_another_now(pad: Launchpad) -> None:
    id_ = begun(pad)
    with pad.database.begin() as tx:
        tx.connection.execute(text("UPDATE issuer SET url = 'https://evil.example/fhir'"))
    with pytest.raises(Unauthenticated):
        tokens(pad, LATE).access(id_)
    assert refreshes(pad) == []


@pytest.mark.security("E2", "S18", "S53", "S55")
def test_no_token_code_verifier_or_secret_is_readable_in_the_database(
    pad: Launchpad, ready_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything the EHR gave or was shown is looked for in every row, the file itself, and the log at DEBUG."""
    caplog.set_level("DEBUG")
    pad.set_up("confidential-symmetric")
    pad.browser().launch()
    id_ = begun(pad)
    held = kept(pad, id_)
    seen = [one for one in pad.simulator.ledger.seen if one.endpoint == "token"][-1]
    secrets = {SECRET, held.access, held.refresh, seen.parameters["code"], seen.parameters["code_verifier"]}
    secrets |= {one.parameters["state"] for one in pad.simulator.ledger.seen if one.endpoint == "authorize"}
    tokens(pad, LATE).access(id_)
    secrets |= {kept(pad, id_).access, kept(pad, id_).refresh}
    with pad.database.read() as tx:
        tables = ("issuer", "account", "launch_pending", "launch_session", "audit", "setting", "job", "connection")
        rows = "".join(str(tx.connection.execute(text(f"SELECT * FROM {one}")).all()) for one in tables)
    if ready_url.startswith("sqlite"):
        folder = Path(ready_url.removeprefix("sqlite:///")).parent
        rows += "".join(one.read_bytes().decode("latin-1") for one in folder.glob("tracker.db*"))
    of_the_test = ("uvicorn.access", "httpx2")
    logged = "".join(one.getMessage() for one in caplog.records if one.name not in of_the_test) + str(pad.session(id_))
    assert all(len(one) > 20 for one in secrets)
    assert [one for one in secrets if one in rows or one in logged] == []
    assert KEY in rows
