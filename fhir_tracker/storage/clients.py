"""Clients as they are kept: the systems that may ask for tokens, with the public keys that show who they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from fhir_tracker.storage.client_tables import client
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row


@dataclass(frozen=True, kw_only=True)
class Client:
    """One system: the `scopes` it may ask for, the `roles` as which it may move work, and its public keys.

    The keys are given as a set (`jwks`) or at an address (`jwks_url`).
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...] = ()
    jwks_url: str | None = None
    jwks: Mapping[str, Any] = field(default_factory=dict)
    added_at: datetime
    rotated_at: datetime | None = None
    revoked_at: datetime | None = None


def find(tx: Tx, id_: str) -> Client | None:
    """The client with that id, also a revoked one; None for one that never was."""
    row = tx.first(select(client).where(client.c.id == id_))
    return from_row(Client, row) if row else None


def all(tx: Tx) -> list[Client]:  # noqa: A001 - read as clients.all
    """Every client, the revoked ones too, by id."""
    return [from_row(Client, row) for row in tx.rows(select(client).order_by(client.c.id))]


def add(tx: Tx, new: Client) -> bool:
    """Keep a new client; False when there is one with that id."""
    return tx.changed(tx.insert(client).values(to_row(new)).on_conflict_do_nothing()) == 1


def change(tx: Tx, id_: str, **values: object) -> None:
    """Set some columns of a client."""
    tx.execute(update(client).where(client.c.id == id_).values(**values))
