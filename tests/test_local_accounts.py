"""Local accounts without their pages: invitations, logins, and what guessing costs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fhir_tracker import accounts, launches, local_accounts
from fhir_tracker.digests import digest_of
from fhir_tracker.errors import Forbidden, RuleBroken, TooMany, TrackerError, UsageError
from fhir_tracker.local_accounts import ENROLMENT_LASTS, FORM_LASTS, LONGEST_WAIT, REMEMBERED
from fhir_tracker.passwords import Cost
from fhir_tracker.roles import built_in
from fhir_tracker.storage import launches as kept
from fhir_tracker.storage import local_logins
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from tests.support.codes import code_at

CHEAP = Cost(n=2**4, r=1, p=1)
SECRET = "k" * 40
NOW = datetime(2026, 3, 11, 15, 0, 10, tzinfo=UTC)
PASSWORD = "correct horse battery"
STEP = timedelta(seconds=30)
LogIn = Callable[..., Account]


@pytest.fixture
def ready_url(prepared_file: Path, tmp_path: Path) -> str:
    """The subject is what is decided from what is kept, not how it is kept."""
    shutil.copyfile(prepared_file, tmp_path / "tracker.db")
    return f"sqlite:///{tmp_path / 'tracker.db'}"


def invited(database: Database, login: str = "ada", now: datetime = NOW) -> tuple[Account, str]:
    with database.begin() as tx:
        made, code, _ = local_accounts.invite(tx, login, "Ada Example", ["rn"], known=built_in(), now=now)
    return made, code


def enrolled(database: Database, login: str = "ada", now: datetime = NOW - timedelta(hours=1)) -> tuple[Account, str]:
    """An account that is ready, and the secret in its app."""
    account, code = invited(database, login, now)
    with database.begin() as tx:
        invitation = local_accounts.invitation(tx, code, SECRET, now)
    shown = code_at(invitation.key, now)
    local_accounts.enrol(database, invitation.kept, PASSWORD, shown, SECRET, now, CHEAP)
    return account, invitation.key


def log_in(database: Database, key: str, now: datetime = NOW, *, address: str = "192.0.2.1", **typed: str) -> Account:
    """Try it, with everything right but what is given."""
    given = {"name": "ada", "password": PASSWORD, "code": code_at(key, now), **typed}
    return local_accounts.log_in(
        database, given["name"], given["password"], given["code"], address, SECRET, now, CHEAP
    )  # fmt: skip


@pytest.mark.security("A2")
def test_who_was_invited_enrols_and_logs_in(database: Database) -> None:
    account, key = enrolled(database)
    assert log_in(database, key).id == account.id
    for minutes, name in enumerate((" ADA ", "\uff41\uff44\uff41"), start=1):
        later = NOW + timedelta(minutes=minutes)
        assert log_in(database, key, later, name=name).id == account.id


@pytest.mark.security("M3")
@pytest.mark.parametrize(
    "typed",
    [
        {"password": "wrong horse battery"},
        {"password": ""},
        {"code": "000000"},
        {"code": ""},
        {"name": "nobody"},
        {"name": ""},
        {"name": "ada\0"},
        {"name": "\ud800"},
        {"name": "' OR 1=1 --"},
        {"password": "x" * 100_000},
    ],
)
def test_what_is_wrong_is_not_told(database: Database, typed: dict[str, str]) -> None:
    _, key = enrolled(database)
    with pytest.raises(Forbidden) as caught:
        log_in(database, key, NOW, **typed)
    told = "The name, the password or the code is wrong. A code counts once: wait until the app shows another."
    assert caught.value.message == told


@pytest.mark.security("A2", "S50")
def test_a_disabled_account_is_refused_as_any_wrong_one(database: Database) -> None:
    account, key = enrolled(database)
    with database.begin() as tx:
        accounts.disable(tx, account.id, NOW)
    with pytest.raises(Forbidden, match="is wrong"):
        log_in(database, key)


@pytest.mark.security("D1")
def test_a_code_opens_once_and_none_before_it_afterwards(database: Database) -> None:
    _, key = enrolled(database)
    log_in(database, key)
    for code in (code_at(key, NOW), code_at(key, NOW - STEP)):
        with pytest.raises(Forbidden):
            log_in(database, key, code=code)
    log_in(database, key, NOW + STEP)


def test_the_code_that_enrolled_is_used_up(database: Database) -> None:
    _, key = enrolled(database, now=NOW)
    with pytest.raises(Forbidden):
        log_in(database, key)
    log_in(database, key, NOW + STEP)


@pytest.mark.security("S56", "M3")
@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_guessing_at_a_name_takes_longer_and_longer_whether_or_not_there_is_one(database: Database, name: str) -> None:
    _, key = enrolled(database)
    told, now, waited = [], NOW, timedelta()
    for number in range(12):
        with pytest.raises(TrackerError) as caught:
            log_in(database, key, now, name=name, password="wrong", address=f"192.0.2.{number}")
        told.append(type(caught.value).__name__)
        if isinstance(caught.value, TooMany):
            now, waited = now + LONGEST_WAIT, waited + LONGEST_WAIT
    assert told == [*["Forbidden"] * 5, *["TooMany", "Forbidden"] * 3, "TooMany"]


@pytest.mark.security("S56")
def test_who_has_to_wait_is_refused_with_the_right_password_too_and_gets_in_after_it(database: Database) -> None:
    account, key = enrolled(database)
    for _ in range(5):
        with pytest.raises(Forbidden):
            log_in(database, key, password="wrong")
    with pytest.raises(TooMany, match="wait 16 seconds"):
        log_in(database, key, address="192.0.2.99")
    later = NOW + timedelta(seconds=16)
    assert log_in(database, key, later).id == account.id
    with pytest.raises(Forbidden):
        log_in(database, key, later + STEP, password="wrong")
    assert log_in(database, key, later + STEP).id == account.id, "a right one forgives those before"


@pytest.mark.security("S56", "M3")
def test_one_address_may_not_guess_at_many_names(database: Database) -> None:
    _, key = enrolled(database)
    told = []
    for number in range(25):
        with pytest.raises(TrackerError) as caught:
            log_in(database, key, name=f"nobody{number}")
        told.append(type(caught.value).__name__)
    assert told == ["Forbidden"] * 20 + ["TooMany"] * 5
    with pytest.raises(TooMany):
        log_in(database, key)
    assert log_in(database, key, address="192.0.2.2").name == "Ada Example", "others are not locked out by it"


@pytest.mark.security("S56")
def test_a_right_login_does_not_hide_the_wrong_ones_of_its_address(database: Database) -> None:
    _, key = enrolled(database)
    told = []
    for number in range(24):
        now = NOW + number * STEP
        if number % 4 == 3:
            log_in(database, key, now)
            continue
        try:
            log_in(database, key, now, name=f"nobody{number}")
        except TrackerError as error:
            told.append(type(error).__name__)
    with database.begin() as tx:
        rows = local_logins.guesses(tx, (digest_of("address:192.0.2.1"),))
    assert [one.failures for one in rows] == [len(told)]


def test_what_was_guessed_long_ago_is_forgotten(database: Database) -> None:
    _, key = enrolled(database)
    for _ in range(5):
        with pytest.raises(Forbidden):
            log_in(database, key, password="wrong")
    later = NOW + REMEMBERED + LONGEST_WAIT
    with pytest.raises(Forbidden):
        log_in(database, key, later, password="wrong")
    assert log_in(database, key, later).name == "Ada Example"


@pytest.mark.parametrize(
    ("kind", "failures", "seconds"),
    [
        *(("name", 0, 0), ("name", 4, 0), ("name", 5, 15), ("name", 6, 30), ("name", 10, 480), ("name", 11, 900)),
        *(("name", 10_000, 900), ("address", 19, 0), ("address", 20, 15)),
    ],
)
def test_how_long_there_is_to_wait(kind: str, failures: int, seconds: int) -> None:
    assert local_accounts.wait(kind, failures) == timedelta(seconds=seconds)


@pytest.mark.security("S14")
def test_an_invitation_is_taken_up_once(database: Database) -> None:
    _, code = invited(database)
    with database.begin() as tx:
        one, other = (local_accounts.invitation(tx, code, SECRET, NOW) for _ in range(2))
    assert one.key != other.key
    local_accounts.enrol(database, one.kept, PASSWORD, code_at(one.key, NOW), SECRET, NOW, CHEAP)
    with pytest.raises(Forbidden, match="was used"):
        local_accounts.enrol(database, other.kept, PASSWORD, code_at(other.key, NOW), SECRET, NOW, CHEAP)
    with pytest.raises(Forbidden, match="was used"), database.begin() as tx:
        local_accounts.invitation(tx, code, SECRET, NOW)
    log_in(database, one.key, NOW + STEP)


@pytest.mark.security("S14")
@pytest.mark.parametrize("code", ["", "x", "a" * 10_000, "\ud800", "'--"])
def test_a_code_that_is_none_opens_nothing(database: Database, code: str) -> None:
    _, right = invited(database)
    for given in (code, right[:-1], digest_of(right)):
        with pytest.raises(Forbidden), database.begin() as tx:
            local_accounts.invitation(tx, given, SECRET, NOW)


@pytest.mark.security("S14")
def test_an_invitation_and_its_form_have_their_time(database: Database) -> None:
    _, code = invited(database)
    with database.begin() as tx:
        local_accounts.invitation(tx, code, SECRET, NOW + ENROLMENT_LASTS - STEP)
        invitation = local_accounts.invitation(tx, code, SECRET, NOW)
    with pytest.raises(Forbidden), database.begin() as tx:
        local_accounts.invitation(tx, code, SECRET, NOW + ENROLMENT_LASTS)
    late = NOW + FORM_LASTS
    with pytest.raises(Forbidden):
        local_accounts.enrol(database, invitation.kept, PASSWORD, code_at(invitation.key, late), SECRET, late, CHEAP)


@pytest.mark.security("S45")
@pytest.mark.parametrize("change", [lambda text: text[:-2], lambda text: text.swapcase(), lambda _: "", lambda _: "[]"])
def test_what_the_form_brings_back_cannot_be_forged(database: Database, change: Callable[[str], str]) -> None:
    _, code = invited(database)
    with database.begin() as tx:
        invitation = local_accounts.invitation(tx, code, SECRET, NOW)
    forged = change(invitation.kept)
    with pytest.raises(Forbidden):
        local_accounts.enrol(database, forged, PASSWORD, code_at(invitation.key, NOW), SECRET, NOW, CHEAP)
    assert invitation.key not in invitation.kept


@pytest.mark.parametrize(
    ("password", "code", "field"),
    [
        ("short", None, "password"),
        ("Ada Example", None, "password"),
        (PASSWORD, "000000", "code"),
        (PASSWORD, "", "code"),
    ],
)
def test_a_weak_password_or_a_wrong_code_leaves_the_invitation_open(
    database: Database, password: str, code: str | None, field: str
) -> None:
    _, secret = invited(database)
    with database.begin() as tx:
        one = local_accounts.invitation(tx, secret, SECRET, NOW)
    shown = code_at(one.key, NOW)
    with pytest.raises(RuleBroken) as caught:
        local_accounts.enrol(database, one.kept, password, shown if code is None else code, SECRET, NOW, CHEAP)
    assert caught.value.issues[0].expression == field
    local_accounts.enrol(database, one.kept, PASSWORD, shown, SECRET, NOW, CHEAP)


@pytest.mark.security("A2", "S50")
def test_a_second_invitation_takes_password_app_and_sessions_away(database: Database) -> None:
    account, key = enrolled(database)
    with database.begin() as tx:
        session, _, _ = launches.begin(tx, account, now=NOW, lifetime=timedelta(hours=1))
        again, _, had = local_accounts.invite(tx, "Ada", "Ada Sample", ["front-desk"], known=built_in(), now=NOW)
        ended = kept.find(tx, session.id)
    assert (again.id, again.name, again.roles, had) == (account.id, "Ada Sample", ("front-desk",), True)
    assert ended is not None
    assert ended.ended_at == NOW
    with pytest.raises(Forbidden):
        log_in(database, key)


@pytest.mark.security("S55")
def test_nothing_that_opens_is_kept_in_the_clear(database: Database) -> None:
    _, code = invited(database, "eve")
    _, key = enrolled(database)
    with database.begin() as tx:
        rows = [local_logins.named(tx, name) for name in ("ada", "eve")]
    text = repr([vars(one) for one in rows if one])
    for secret in (code, key, PASSWORD):
        assert secret not in text
    assert "scrypt$" in text
    assert all("scrypt$" not in repr(one) for one in rows)


@pytest.mark.parametrize("login", ["", " ", "a b", "-a", "a-", "a" * 65, "é", "a/b", "a\nb", "\ud800"])
def test_a_name_that_cannot_be_typed_everywhere_is_refused(database: Database, login: str) -> None:
    with pytest.raises(UsageError), database.begin() as tx:
        local_accounts.invite(tx, login, "Ada", ["rn"], known=built_in(), now=NOW)


@pytest.mark.security("S10")
def test_of_two_who_enrol_or_use_a_code_at_once_one_does(database: Database) -> None:
    account, _ = enrolled(database)
    with database.begin() as tx:
        login = local_logins.of_account(tx, account.id)
        assert login is not None
        assert [local_logins.use_step(tx, account.id, 99_999_999) for _ in range(2)] == [True, False]
        waiting = replace(login, enrolment_digest="d")
        local_logins.save(tx, waiting)
        assert [local_logins.enrol(tx, login, "d") for _ in range(2)] == [True, False]
