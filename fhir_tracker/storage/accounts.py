"""Accounts of the staff as they are kept: one person's way in, by whom an issuer says they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from fhir_tracker.storage.account_tables import account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row


@dataclass(frozen=True, kw_only=True)
class Account:
    """One person's way in. `ref` is who they are in this store, as `Viewer.who`.

    With `connection`, `fhir_user` is who they are at that EHR (`Practitioner/123`); with `provider`, `subject` is who they
    are there; with neither, they have a local account.
    """

    id: str
    ref: str
    name: str
    roles: tuple[str, ...] = ()
    connection: str | None = None
    fhir_user: str = ""
    provider: str | None = None
    subject: str = ""
    active: bool = True
    created_at: datetime
    changed_at: datetime


def find(tx: Tx, id_: str) -> Account | None:
    """The account with that id, or None."""
    row = tx.first(select(account).where(account.c.id == id_))
    return from_row(Account, row) if row else None


def of_user(tx: Tx, connection: str, fhir_user: str) -> Account | None:
    """Who an EHR calls `fhir_user`, such as `Practitioner/123`; None for nobody we know."""
    row = tx.first(select(account).where(account.c.connection == connection, account.c.fhir_user == fhir_user))
    return from_row(Account, row) if row else None


def of_subject(tx: Tx, provider: str, subject: str) -> Account | None:
    """Who a login provider calls `subject`; None for nobody we know."""
    row = tx.first(select(account).where(account.c.provider == provider, account.c.subject == subject))
    return from_row(Account, row) if row else None


def of_refs(tx: Tx, refs: Iterable[str]) -> list[Account]:
    """The accounts of some people, by the references they act under."""
    wanted = sorted(set(refs))
    rows = tx.rows(select(account).where(account.c.ref.in_(wanted)).order_by(account.c.id)) if wanted else ()
    return [from_row(Account, row) for row in rows]


def all(tx: Tx) -> list[Account]:  # noqa: A001 - read as accounts.all
    """Every account, the disabled ones too, by name."""
    return [from_row(Account, row) for row in tx.rows(select(account).order_by(account.c.name, account.c.id))]


def save(tx: Tx, one: Account) -> None:
    """Write one as it is now, whether or not it was there."""
    row = to_row(one)
    tx.execute(tx.insert(account).values(row).on_conflict_do_update(index_elements=["id"], set_=row))
