"""Further tabs of a launch: tickets that open one, once and soon, and the secrets such tabs show; digests only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import delete, select

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.visiting_tables import launch_tab, launch_ticket


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """Opens one further tab of a launch at `page`, an address within it, until `ends_at`."""

    digest: str = field(repr=False)
    launch: str
    page: str
    ends_at: datetime


def add_ticket(tx: Tx, new: Ticket, now: datetime) -> None:
    """Keep one; those whose time is over are dropped."""
    tx.execute(delete(launch_ticket).where(launch_ticket.c.ends_at <= now))
    tx.execute(tx.insert(launch_ticket).values(to_row(new)))


def take_ticket(tx: Tx, digest: str) -> Ticket | None:
    """The ticket with that digest, which nobody can take again; None when there is none."""
    mine = launch_ticket.c.digest == digest
    row = tx.execute(delete(launch_ticket).where(mine).returning(launch_ticket)).mappings().first()
    return from_row(Ticket, row) if row else None


def add(tx: Tx, launch: str, digests: tuple[str, ...], now: datetime, before: datetime) -> None:
    """A tab shows one of these secrets from now on; what was made before `before` is dropped."""
    tx.execute(delete(launch_tab).where(launch_tab.c.made_at < before))
    tx.execute(tx.insert(launch_tab).values([{"digest": one, "launch": launch, "made_at": now} for one in digests]))


def has(tx: Tx, launch: str, digest: str) -> bool:
    """Whether a tab of that launch shows the secret with that digest."""
    mine = (launch_tab.c.digest == digest, launch_tab.c.launch == launch)
    return tx.first(select(launch_tab.c.digest).where(*mine)) is not None
