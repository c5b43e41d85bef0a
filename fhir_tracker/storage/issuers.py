"""Issuers as they are kept: the authorization servers that vouch for staff, and how we are registered there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, update

from fhir_tracker.storage.account_tables import issuer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row

CONNECTION, PROVIDER = "connection", "provider"


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """One that may vouch for staff: `key` is that of its connection, or its own for a login provider outside an EHR.

    `url` is the FHIR base that an EHR names as `iss`, or the OpenID issuer of a provider; `options` hold what is rare.
    """

    key: str
    kind: str = CONNECTION
    url: str
    label: str = ""
    client_id: str
    client_type: str = "public"
    sealed_secret: str | None = field(default=None, repr=False)
    scopes: str = ""
    frame_ancestors: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    active: bool = True
    changed_at: datetime

    @property
    def connection(self) -> str | None:
        """The key of its connection; None for a login provider."""
        return self.key if self.kind == CONNECTION else None


def find(tx: Tx, key: str) -> Issuer | None:
    """The issuer with that key, or None."""
    found = find_left(tx, key)
    return found if found is not None and found.active else None


def find_left(tx: Tx, key: str) -> Issuer | None:
    """The same, whether or not it may still vouch for anybody."""
    row = tx.first(select(issuer).where(issuer.c.key == key))
    return from_row(Issuer, row) if row else None


def of_url(tx: Tx, url: str) -> Issuer | None:
    """The issuer whose address is exactly `url`, or None."""
    row = tx.first(select(issuer).where(issuer.c.url == url, issuer.c.active))
    return from_row(Issuer, row) if row else None


def all(tx: Tx) -> list[Issuer]:  # noqa: A001 - read as issuers.all
    """Every issuer, by key."""
    return [from_row(Issuer, row) for row in tx.rows(select(issuer).where(issuer.c.active).order_by(issuer.c.key))]


def left(tx: Tx) -> list[Issuer]:
    """Those that vouch for nobody any more, and are kept until our tokens are given back to them."""
    rows = tx.rows(select(issuer).where(issuer.c.active.is_(False)).order_by(issuer.c.key))
    return [from_row(Issuer, row) for row in rows]


def leave(tx: Tx, key: str) -> bool:
    """Let one vouch for nobody any more; False when there is none that does."""
    return tx.changed(update(issuer).where(issuer.c.key == key, issuer.c.active).values(active=False)) == 1


def save(tx: Tx, one: Issuer) -> None:
    """Write one as it is now, whether or not it was there."""
    row = to_row(one)
    tx.execute(tx.insert(issuer).values(row).on_conflict_do_update(index_elements=["key"], set_=row))


def displace(tx: Tx, url: str, key: str) -> None:
    """Forget one that vouches for nobody any more and has the address of another, which goes by `key`."""
    tx.execute(delete(issuer).where(issuer.c.url == url, issuer.c.active.is_(False), issuer.c.key != key))


def remove(tx: Tx, key: str) -> bool:
    """Forget one; False when there is none."""
    return tx.changed(delete(issuer).where(issuer.c.key == key)) == 1
