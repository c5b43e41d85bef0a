"""Accounts of people whom no EHR and no provider vouches for: invited once, then a name, a password and a code.

A name that is guessed at, and an address that guesses, wait longer and longer; nothing tells whether a name exists.
"""

from __future__ import annotations

import json
import re
import secrets
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fhir_tracker import accounts, passwords
from fhir_tracker.digests import digest_of
from fhir_tracker.errors import Forbidden, RuleBroken, TooMany, UsageError
from fhir_tracker.passwords import STRONG, Cost
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.storage import accounts as stored
from fhir_tracker.storage import epochs, local_logins
from fhir_tracker.storage import launches as sessions
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.local_logins import Guesses, LocalLogin

ENROLMENT_LASTS = timedelta(days=3)
FORM_LASTS = timedelta(minutes=30)
REMEMBERED = timedelta(days=1)
LONGEST_WAIT = timedelta(minutes=15)
_FREE = {"name": 5, "address": 20}
_LOGIN = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")
_WRONG = "The name, the password or the code is wrong. A code counts once: wait until the app shows another."
_USED = "This invitation was used, or its time is over: ask for another one."


@dataclass(frozen=True, kw_only=True)
class Invitation:
    """What somebody who was invited still has to do: take `key` into an app. `kept` brings this back with the form, sealed."""

    login: str
    key: str = field(repr=False)
    uri: str = field(repr=False)
    kept: str = field(repr=False)


def invite(
    tx: Tx, login: str, name: str, roles: Sequence[str], *, known: Collection[str], now: datetime
) -> tuple[Account, str, bool]:
    """Let a person in by a local account: the account, the code by which they enrol once, and whether there was one.

    One there was loses its password and second factor, and its sessions end. UsageError for what makes no sense.
    """
    login = checked_login(login)
    name, roles = accounts.checked_name(name or login), accounts.checked_roles(roles, known)
    before = local_logins.named(tx, login)
    if before is None:
        made, _ = accounts.add(tx, name, roles, known=known, now=now, subject=login)
    else:
        made = replace(accounts.get(tx, before.account), name=name, roles=tuple(roles), active=True, changed_at=now)
        stored.save(tx, made)
        sessions.end_of_account(tx, made.id, now, "ended")
        epochs.bump(tx)
    code = secrets.token_urlsafe(24)
    ends = now + ENROLMENT_LASTS
    fresh = LocalLogin(
        account=made.id, name=login, enrolment_digest=digest_of(code), enrolment_ends=ends, changed_at=now
    )
    local_logins.save(tx, fresh)
    return made, code, before is not None


def invitation(tx: Tx, code: str, secret_key: str, now: datetime) -> Invitation:
    """What the holder of an enrolment code sees: a fresh second factor. Forbidden when the code opens nothing."""
    login = _enrolling(tx, digest_of(code.strip()[:200]), now)
    key = passwords.fresh_key()
    kept = seal(secret_key, json.dumps([login.enrolment_digest, key, (now + FORM_LASTS).timestamp()]))
    return _invitation(login, key, kept)


def again(tx: Tx, kept: str, secret_key: str, now: datetime) -> Invitation:
    """The invitation that a form brings back; Forbidden when it is not one of ours, or its time is over."""
    digest, key = _opened(kept, secret_key, now)
    return _invitation(_enrolling(tx, digest, now), key, kept)


def enrol(
    database: Database, kept: str, password: str, code: str, secret_key: str, now: datetime, cost: Cost = STRONG
) -> str:
    """Take a password and a second factor for good; the login's name.

    RuleBroken for a weak password or a wrong code, Forbidden when the invitation was used or its time is over.
    """
    digest, key = _opened(kept, secret_key, now)
    with database.read() as tx:
        login = _enrolling(tx, digest, now)
        name = accounts.get(tx, login.account).name
    weak = passwords.weakness(password, login.name, name)
    if weak:
        raise RuleBroken(weak, expression="password")
    step = passwords.step_of(key, code, now)
    if step is None:
        raise RuleBroken("This is not the code that the app shows now.", expression="code")
    done = replace(
        login,
        password=passwords.hashed(password, cost),
        sealed_totp=seal(secret_key, key),
        last_step=step,
        enrolment_digest=None,
        enrolment_ends=None,
        changed_at=now,
    )
    with database.begin() as tx:
        if not local_logins.enrol(tx, done, digest):
            raise Forbidden(_USED)
    return login.name


def log_in(
    database: Database,
    name: str,
    password: str,
    code: str,
    address: str,
    secret_key: str,
    now: datetime,
    cost: Cost = STRONG,
) -> Account:
    """The account of somebody who knows its password and has its code. Forbidden otherwise, TooMany for who has to wait.

    Each try counts before it is looked at, so that many at once are no more than many one by one.
    """
    login_name = _folded(name)
    keys = {"name": digest_of(f"name:{login_name}"), "address": digest_of(f"address:{address}")}
    with database.begin() as tx:
        for kind, key in sorted(keys.items()):
            tx.wait_for_others(f"login:{key}")
            _count(tx, kind, key, now)
    with database.read() as tx:
        login = local_logins.named(tx, login_name)
        account = stored.find(tx, login.account) if login else None
    is_right = passwords.is_password(login.password if login else None, password, cost)
    key = unseal(secret_key, login.sealed_totp) if login and login.sealed_totp else ""
    step = passwords.step_of(key or passwords.fresh_key(), code, now)
    if not (is_right and key and step is not None and login and account and account.active):
        raise Forbidden(_WRONG)
    with database.begin() as tx:
        if not local_logins.use_step(tx, login.account, step):
            raise Forbidden(_WRONG)
        local_logins.forgive(tx, (keys["name"],))
        _give_back(tx, keys["address"], now)
    return account


def account_id(tx: Tx, name: str) -> str:
    """The id of the account that somebody tries to log in with, "" when there is none; for the audit trail only."""
    login = local_logins.named(tx, _folded(name))
    return login.account if login else ""


def checked_login(text: str) -> str:
    """The name somebody logs in with; UsageError for one that cannot be typed everywhere."""
    folded = _folded(text)
    if not _LOGIN.fullmatch(folded):
        raise UsageError("--local is the name to log in with: letters, digits and . _ @ - between them, at most 64.")
    return folded


def wait(kind: str, failures: int) -> timedelta:
    """How long to wait after so many failures: nothing at first, then 15 s, and twice as long each time."""
    over = failures - _FREE[kind]
    return timedelta() if over < 0 else min(timedelta(seconds=15) * 2 ** min(over, 10), LONGEST_WAIT)


def _count(tx: Tx, kind: str, key: str, now: datetime) -> None:
    """One more try; TooMany when it comes too early. A try that came too early does not count."""
    before = next(iter(local_logins.guesses(tx, (key,))), None)
    if before is not None and now < before.barred_until:
        seconds = int((before.barred_until - now).total_seconds()) + 1
        raise TooMany(f"There were too many tries: wait {seconds} seconds and try again.", retry_after=seconds)
    is_old = before is None or before.last_at < now - REMEMBERED
    failures = 1 if is_old or before is None else before.failures + 1
    barred = now + wait(kind, failures)
    local_logins.note(
        tx, Guesses(key=key, failures=failures, last_at=now, barred_until=barred), now - REMEMBERED
    )  # fmt: skip


def _give_back(tx: Tx, key: str, now: datetime) -> None:
    """The try that just succeeded was none; those before stay, or one right login would hide many wrong ones."""
    for one in local_logins.guesses(tx, (key,)):
        given = replace(one, failures=max(one.failures - 1, 0), barred_until=now)
        local_logins.note(tx, given, now - REMEMBERED)


def _enrolling(tx: Tx, digest: str, now: datetime) -> LocalLogin:
    login = local_logins.enrolling(tx, digest)
    if login is None or login.enrolment_ends is None or now >= login.enrolment_ends:
        raise Forbidden(_USED)
    return login


def _opened(kept: str, secret_key: str, now: datetime) -> tuple[str, str]:
    try:
        digest, key, ends = json.loads(unseal(secret_key, kept))
    except (UsageError, ValueError):
        raise Forbidden(_USED) from None
    if now.timestamp() >= ends:
        raise Forbidden(_USED)
    return digest, key


def _invitation(login: LocalLogin, key: str, kept: str) -> Invitation:
    return Invitation(login=login.name, key=key, uri=passwords.enrolment_uri(key, login.name), kept=kept)


def _folded(name: str) -> str:
    sound = name[:200].encode("utf-8", "replace").decode()
    return unicodedata.normalize("NFKC", sound).strip().casefold()
