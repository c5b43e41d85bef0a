"""Quarantine: what an EHR sent and could not be applied, with the reason, kept until someone resolves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import case, func, null, select, update

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.running_tables import quarantine
from fhir_tracker.storage.scope import row_scope

_WAITS = (quarantine.c.resolved_at.is_(None), quarantine.c.resolution.is_(None))


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One resource that waits; `reason` is a code, `detail` a sentence, `body` what was sent, `times` how often.

    `patient` is the local id of whose it is, where that could be found out, `restricted` whether its labels restrict it.
    With a `resolution` and no `resolved_at` it was discarded: it waits no more, until the EHR sends another text.
    """

    id: int
    connection: str
    type: str
    remote_id: str
    reason: str
    detail: str
    body: str
    first_seen_at: datetime
    last_seen_at: datetime
    times: int
    resolved_at: datetime | None
    resolution: str | None
    patient: str | None = None
    restricted: bool = False


@dataclass(frozen=True)
class Whose:
    """Whose an entry is, where that could be found out, and whether its labels restrict it."""

    patient: str | None = None
    restricted: bool = False


UNKNOWN = Whose()


def put(
    tx: Tx,
    whose: Whose = UNKNOWN,
    /,
    *,
    connection: str,
    type_: str,
    remote_id: str,
    reason: str,
    detail: str,
    body: str,
    at: datetime,
) -> None:
    """Keep what could not be applied; the same thing for the same reason is counted, with its latest body.

    What was discarded stays so while the text is the same.
    """
    latest = {"detail": detail, "body": body, "last_seen_at": at} | asdict(whose)
    row = {"connection": connection, "type": type_, "remote_id": remote_id, "reason": reason, "times": 1} | latest
    new = tx.insert(quarantine).values(row | {"id": tx.keys.take(), "first_seen_at": at})
    again = new.on_conflict_do_update(
        index_elements=["connection", "type", "remote_id", "reason"],
        index_where=quarantine.c.resolved_at.is_(None),
        set_=latest
        | {
            "times": quarantine.c.times + 1,
            "resolution": case((quarantine.c.body == body, quarantine.c.resolution), else_=null()),
        },
    )
    tx.execute(again)


def list(  # noqa: A001 - read as quarantine.list
    tx: Tx, viewer: Viewer, *, connection: str | None = None, after: int = 0, limit: int = 100
) -> Sequence[Quarantined]:
    """What waits, in order of id from `after` on; none for a viewer locked to a patient."""
    chosen = select(quarantine).where(*_WAITS, quarantine.c.id > after)
    if connection is not None:
        chosen = chosen.where(quarantine.c.connection == connection)
    chosen = chosen.where(row_scope(viewer, quarantine)).order_by(quarantine.c.id).limit(limit)
    return [from_row(Quarantined, row) for row in tx.rows(chosen)]


def find(tx: Tx, viewer: Viewer, id_: int) -> Quarantined | None:
    """One entry, resolved or not; None for a viewer locked to a patient."""
    row = tx.first(select(quarantine).where(quarantine.c.id == id_, row_scope(viewer, quarantine)))
    return from_row(Quarantined, row) if row else None


def labelled(tx: Tx, viewer: Viewer, mark: str) -> Sequence[Quarantined]:
    """Those not resolved that have these characters in their text."""
    chosen = select(quarantine).where(
        quarantine.c.resolved_at.is_(None),
        quarantine.c.body.contains(mark, autoescape=True),
        row_scope(viewer, quarantine),
    )
    return [from_row(Quarantined, row) for row in tx.rows(chosen.order_by(quarantine.c.id))]


def set_restricted(tx: Tx, id_: int, *, restricted: bool) -> None:
    """Keep whether the labels of an entry restrict it."""
    tx.execute(update(quarantine).where(quarantine.c.id == id_).values(restricted=restricted))


def resolve(tx: Tx, id_: int, resolution: str, at: datetime) -> bool:
    """Close an entry, one that was discarded too; False when there is none open with that id."""
    is_open = (quarantine.c.id == id_) & quarantine.c.resolved_at.is_(None)
    return tx.changed(update(quarantine).where(is_open).values(resolved_at=at, resolution=resolution)) == 1


def discard(tx: Tx, id_: int, resolution: str) -> bool:
    """Let an entry wait no more while the EHR sends the same text; False when it does not wait."""
    is_it = update(quarantine).where(quarantine.c.id == id_, *_WAITS)
    return tx.changed(is_it.values(resolution=resolution)) == 1


def resolve_all(tx: Tx, *, connection: str, type_: str, remote_id: str, resolution: str, at: datetime) -> int:
    """Close every entry of one resource, as when it was applied after all; how many there were."""
    is_it = (
        (quarantine.c.connection == connection) & (quarantine.c.type == type_) & (quarantine.c.remote_id == remote_id)
    )
    is_open = is_it & quarantine.c.resolved_at.is_(None)
    return tx.changed(update(quarantine).where(is_open).values(resolved_at=at, resolution=resolution))


def waiting(tx: Tx, viewer: Viewer, connection: str | None = None) -> int:
    """How many entries wait that the viewer may see."""
    chosen = select(func.count()).select_from(quarantine).where(*_WAITS, row_scope(viewer, quarantine))
    return int(tx.value(chosen if connection is None else chosen.where(quarantine.c.connection == connection)))


def open_count(tx: Tx, connection: str | None = None) -> int:
    """How many entries wait."""
    chosen = select(func.count()).select_from(quarantine).where(*_WAITS)
    return int(tx.value(chosen if connection is None else chosen.where(quarantine.c.connection == connection)))


def open_counts(tx: Tx) -> dict[str, int]:
    """How many entries wait, by connection; those of removed ones too."""
    counted = select(quarantine.c.connection, func.count().label("n")).where(*_WAITS)
    return {row["connection"]: row["n"] for row in tx.rows(counted.group_by(quarantine.c.connection))}
