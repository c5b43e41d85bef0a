"""The outbox: for each resource and connection one row, which says what is still to be written there and what was agreed on.

A row is open while its state is not `done`. A change to a resource whose row is open joins it, so that one resource has
never two writes under way, and what was agreed on stays what the first of the changes was made upon.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, func, literal_column, or_, select, update

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox_tables import outbox
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.running_tables import connection
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.slices import slices

OutboxState = Literal["waiting", "done", "dead", "conflict", "unsupported"]
STATES: tuple[OutboxState, ...] = ("waiting", "conflict", "dead", "unsupported", "done")
_WAITING: ColumnElement[bool] = outbox.c.state == literal_column("'waiting'")
_OPEN: ColumnElement[bool] = outbox.c.state != literal_column("'done'")


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """What is to be written to an EHR, or was.

    `version` is ours that is to reach it. Agreed on last were our `agreed_version` and its text `base`, which it counts
    as `remote_version` and whose content has `remote_hash`. `sent_at` is set while a create's outcome is not known.
    `reason` is a sentence without patient data; `detail` holds the fields in conflict and what was decided about them.
    """

    id: int
    connection: str
    type: str
    local_id: str
    patient: str | None
    made_here: bool
    version: int
    agreed_version: int | None = None
    base: str | None = field(default=None, repr=False)
    state: OutboxState
    due_at: datetime
    attempts: int = 0
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None = None
    sent_version: int | None = None
    remote_type: str | None = None
    remote_id: str | None = None
    remote_version: str | None = None
    remote_hash: str | None = None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ref(self) -> str:
        """`Type/id` here."""
        return f"{self.type}/{self.local_id}"


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A version that is to be written to `connection`; for a mirrored resource what it was agreed on before."""

    connection: str
    type: str
    local_id: str
    patient: str | None
    made_here: bool
    version: int
    agreed_version: int | None = None
    base: str | None = field(default=None, repr=False)
    remote_id: str | None = None
    remote_version: str | None = None
    remote_hash: str | None = None


def connection_options(tx: Tx) -> list[tuple[str, Mapping[str, Any]]]:
    """Key and options of each connection, read without writing out first what this transaction only added."""
    rows = tx.connection.execute(select(connection.c.key, connection.c.options)).all()
    return [(row[0], row[1]) for row in rows]


def put(tx: Tx, changed: Changed, at: datetime) -> None:
    """Let a change wait to be written; one whose resource waits already joins it."""
    told = {name: getattr(changed, name) for name in changed.__dataclass_fields__}
    row = told | {"state": "waiting", "due_at": at, "attempts": 0, "updated_at": at, "detail": {}}
    row |= {"remote_type": changed.type if changed.remote_id else None}
    new = tx.insert(outbox).values(row | {"id": tx.keys.take(), "created_at": at})
    is_kept = or_(outbox.c.made_here, outbox.c.state.in_(("waiting", "conflict")))
    agreed = ("agreed_version", "base", "remote_version", "remote_hash")
    kept = {name: case((is_kept, outbox.c[name]), else_=new.excluded[name]) for name in agreed}
    moved = {"version": changed.version, "patient": changed.patient, "state": "waiting", "due_at": at, "attempts": 0}
    again = {**moved, **kept, "updated_at": at, "reason": None}
    tx.execute(new.on_conflict_do_update(index_elements=["connection", "type", "local_id"], set_=again))


def withdrawn(tx: Tx, type_: str, local_id: str, version: int, at: datetime) -> None:
    """The resource was deleted here: whoever has it is to hear of it."""
    is_it = and_(outbox.c.type == type_, outbox.c.local_id == local_id, outbox.c.made_here)
    told = {"version": version, "state": "waiting", "due_at": at, "attempts": 0, "updated_at": at}
    tx.execute(update(outbox).where(is_it).values(**told))


def due(tx: Tx, connection: str, now: datetime, limit: int) -> list[Outgoing]:
    """What is to be written to a connection by now, in the order in which it began to wait."""
    chosen = select(outbox).where(_WAITING, outbox.c.connection == connection, outbox.c.due_at <= now)
    return [from_row(Outgoing, row) for row in tx.rows(chosen.order_by(outbox.c.id).limit(limit))]


def find(tx: Tx, viewer: Viewer, id_: int) -> Outgoing | None:
    """One row, open or not."""
    row = tx.first(select(outbox).where(outbox.c.id == id_, row_scope(viewer, outbox)))
    return from_row(Outgoing, row) if row else None


def of_local(tx: Tx, connection: str, refs: Iterable[str]) -> dict[str, Outgoing]:
    """`Type/id` here -> its row, for those that have one."""
    found: dict[str, Outgoing] = {}
    for type_, ids in _by_type(refs).items():
        for some in slices(ids):
            is_one = and_(outbox.c.connection == connection, outbox.c.type == type_, outbox.c.local_id.in_(some))
            rows = (from_row(Outgoing, row) for row in tx.rows(select(outbox).where(is_one)))
            found |= {one.ref: one for one in rows}
    return found


def of_remote(tx: Tx, connection: str, type_: str, remote_ids: Iterable[str]) -> dict[str, Outgoing]:
    """Id there -> its row, for those that have one."""
    found: dict[str, Outgoing] = {}
    for some in slices(sorted(set(remote_ids))):
        is_one = and_(outbox.c.connection == connection, outbox.c.remote_type == type_, outbox.c.remote_id.in_(some))
        rows = (from_row(Outgoing, row) for row in tx.rows(select(outbox).where(is_one)))
        found |= {one.remote_id: one for one in rows if one.remote_id}
    return found


def written(tx: Tx, connection: str, type_: str, limit: int) -> list[Outgoing]:
    """What is there as a `type_`, the latest first."""
    is_one = and_(outbox.c.connection == connection, outbox.c.remote_type == type_, outbox.c.remote_id.is_not(None))
    chosen = select(outbox).where(is_one, outbox.c.made_here).order_by(outbox.c.id.desc()).limit(limit)
    return [from_row(Outgoing, row) for row in tx.rows(chosen)]


def hurry(tx: Tx, connection: str, at: datetime) -> None:
    """Let everything that waits for a connection be tried now: it answers again."""
    is_one = and_(_WAITING, outbox.c.connection == connection, outbox.c.due_at > at)
    tx.execute(update(outbox).where(is_one).values(due_at=at))


def of_resource(tx: Tx, viewer: Viewer, type_: str, local_id: str) -> list[Outgoing]:
    """What is to be written, or was, of one resource; one for each connection."""
    is_one = and_(outbox.c.type == type_, outbox.c.local_id == local_id, row_scope(viewer, outbox))
    return [from_row(Outgoing, row) for row in tx.rows(select(outbox).where(is_one).order_by(outbox.c.id))]


def listed(
    tx: Tx,
    viewer: Viewer,
    *,
    connection: str | None = None,
    states: Sequence[str] = STATES[:-1],
    after: int = 0,
    limit: int = 100,
) -> list[Outgoing]:
    """The rows in one of `states`, in order of id from `after` on."""
    chosen = select(outbox).where(outbox.c.state.in_(states), outbox.c.id > after, row_scope(viewer, outbox))
    if "done" not in states:
        chosen = chosen.where(_OPEN)
    if connection is not None:
        chosen = chosen.where(outbox.c.connection == connection)
    return [from_row(Outgoing, row) for row in tx.rows(chosen.order_by(outbox.c.id).limit(limit))]


def counts(tx: Tx, connection: str | None = None) -> dict[str, int]:
    """How many rows are open, by state."""
    chosen = select(outbox.c.state, func.count().label("n")).where(_OPEN)
    if connection is not None:
        chosen = chosen.where(outbox.c.connection == connection)
    return {row["state"]: row["n"] for row in tx.rows(chosen.group_by(outbox.c.state))}


def oldest_waiting(tx: Tx, connection: str | None = None) -> datetime | None:
    """Since when the row that waits longest has waited."""
    chosen = select(func.min(outbox.c.updated_at, type_=outbox.c.updated_at.type)).where(_WAITING)
    found = tx.value(chosen if connection is None else chosen.where(outbox.c.connection == connection))
    return found if isinstance(found, datetime) else None


def change(tx: Tx, row: Outgoing, **values: Any) -> bool:
    """Change a row unless a newer change has joined it since it was read; False then."""
    is_same = (outbox.c.id == row.id) & (outbox.c.version == row.version)
    return tx.changed(update(outbox).where(is_same).values(**values)) == 1


def note(tx: Tx, row: Outgoing, **values: Any) -> None:
    """Change a row whatever has joined it: what is known of the other side holds for newer changes too."""
    tx.execute(update(outbox).where(outbox.c.id == row.id).values(**values))


def _by_type(refs: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for type_, slash, id_ in (ref.partition("/") for ref in sorted(set(refs))):
        if slash and id_:
            found.setdefault(type_, []).append(id_)
    return found
