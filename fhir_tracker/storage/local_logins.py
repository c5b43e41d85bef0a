"""Local logins as they are kept: a name, a password as scrypt made it, a sealed second factor; and guesses at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.visiting_tables import local_login, login_guess


@dataclass(frozen=True, kw_only=True)
class LocalLogin:
    """One person's login without an EHR. Before the enrolment there is no `password`, after it no `enrolment_digest`.

    `last_step` is the time step of the last code that was taken: none is taken twice.
    """

    account: str
    name: str
    password: str | None = field(default=None, repr=False)
    sealed_totp: str | None = field(default=None, repr=False)
    last_step: int = -1
    enrolment_digest: str | None = field(default=None, repr=False)
    enrolment_ends: datetime | None = None
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Guesses:
    """How often a login failed of late for one name or address, which `key` says by a digest."""

    key: str
    failures: int
    last_at: datetime
    barred_until: datetime


def named(tx: Tx, name: str) -> LocalLogin | None:
    """The login of that name, or None."""
    row = tx.first(select(local_login).where(local_login.c.name == name))
    return from_row(LocalLogin, row) if row else None


def of_account(tx: Tx, account: str) -> LocalLogin | None:
    """The login of an account, or None."""
    row = tx.first(select(local_login).where(local_login.c.account == account))
    return from_row(LocalLogin, row) if row else None


def enrolling(tx: Tx, digest: str) -> LocalLogin | None:
    """The login that waits for the enrolment with that secret, or None."""
    row = tx.first(select(local_login).where(local_login.c.enrolment_digest == digest))
    return from_row(LocalLogin, row) if row else None


def save(tx: Tx, one: LocalLogin) -> None:
    """Write one as it is now, whether or not it was there."""
    row = to_row(one)
    tx.execute(tx.insert(local_login).values(row).on_conflict_do_update(index_elements=["account"], set_=row))


def enrol(tx: Tx, one: LocalLogin, digest: str) -> bool:
    """Put the password and second factor of `one` in place; False when its enrolment was used meanwhile."""
    mine = (local_login.c.account == one.account, local_login.c.enrolment_digest == digest)
    return tx.changed(update(local_login).where(*mine).values(to_row(one))) == 1


def use_step(tx: Tx, account: str, step: int) -> bool:
    """Take the code of a time step; False when it or a later one was taken before."""
    mine = (local_login.c.account == account, local_login.c.last_step < step)
    return tx.changed(update(local_login).where(*mine).values(last_step=step)) == 1


def guesses(tx: Tx, keys: tuple[str, ...]) -> list[Guesses]:
    """What is known of guesses under these keys."""
    rows = tx.rows(select(login_guess).where(login_guess.c.key.in_(keys)).order_by(login_guess.c.key))
    return [from_row(Guesses, row) for row in rows]


def note(tx: Tx, one: Guesses, before: datetime) -> None:
    """Keep what is known now; what nobody guessed at since `before` is dropped."""
    row = to_row(one)
    tx.execute(delete(login_guess).where(login_guess.c.last_at < before))
    tx.execute(tx.insert(login_guess).values(row).on_conflict_do_update(index_elements=["key"], set_=row))


def forgive(tx: Tx, keys: tuple[str, ...]) -> None:
    """Somebody got in: what was guessed under these keys is forgotten."""
    tx.execute(delete(login_guess).where(login_guess.c.key.in_(keys)))
