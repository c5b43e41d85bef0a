"""The versioned store of resources: current rows, every older version, the EHR's own text and the index."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import Select, case, delete, select, update
from sqlalchemy.engine import RowMapping

from fhir_tracker.errors import VersionConflict
from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.search_rows import SearchValues
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.storage import late_versions
from fhir_tracker.storage.audit_work import Change, note_change
from fhir_tracker.storage.bulks import CHANGE, REMOTE, RESOURCE, VERSION
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.glance import COLUMNS, Glance
from fhir_tracker.storage.indexing import IndexRows, add_index, index_rows, write_index
from fhir_tracker.storage.keyed import Keyed
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.slices import SIZE, slices
from fhir_tracker.storage.tables import ix, ixd, ixn, ixs, resource, resource_version
from fhir_tracker.storage.tables import remote_body as remote_bodies
from fhir_tracker.storage.types import microseconds, moment

_ANYBODY = worker_viewer("foresight")
Op = Literal["create", "update", "delete"]
_Row = RowMapping | dict[str, Any]
MOST_VERSIONS = (1 << 31) - 1
"""What the column holds."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The current version of one resource. `body` is its JSON text, empty when deleted; `patient` a local Patient id."""

    k: int
    type: str
    id: str
    version: int
    updated_at: datetime
    deleted: bool
    body: str
    patient: str | None
    connection: str | None
    remote_id: str | None
    remote_version: str | None
    content_hash: str | None

    @property
    def ref(self) -> str:
        """`Type/id`."""
        return f"{self.type}/{self.id}"


_ROWS = Keyed(Stored, resource, order="id")


@dataclass(frozen=True, kw_only=True)
class StoredVersion:
    """One version, past or present; `body` is None for a deletion."""

    version: int
    updated_at: datetime
    op: Op
    origin: str
    who: str
    body: str | None
    patient: str | None = None


@dataclass(frozen=True, kw_only=True)
class NewVersion:
    """What to write. Version 1 makes the resource; None for what an EHR gives means: as it was."""

    type: str
    id: str
    version: int
    updated_at: datetime
    body: str
    patient: str | None
    op: Op
    connection: str | None = None
    remote_id: str | None = None
    remote_version: str | None = None
    remote_body: str | None = None
    content_hash: str | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What we hold of one resource of an EHR, enough to tell whether what it sends is news."""

    id: str
    version: int
    remote_version: str | None
    content_hash: str | None
    deleted: bool


def find(tx: Tx, viewer: Viewer, type_: str, id_: str) -> Stored | None:
    """The current version, deleted ones included; None when there is none or not for this viewer."""
    if isinstance(tx, Glance):
        held = tx.held(viewer, type_, id_)
        return stored_of(held) if held else None
    if foreseen := tx.foreseen.get((type_, id_)):
        seen_by, stored = foreseen
        if seen_by.seen_as == viewer.seen_as:
            return cast("Stored | None", stored)
    if tx.foresight is not None and viewer.sees_all and (type_, id_) in tx.foresight.records:
        return cast("Stored | None", tx.foresight.records[type_, id_])
    return next(iter(_of_type(tx, viewer, type_, [id_])), None)


def stored_of(row: Sequence[Any], updated_at: datetime | None = None) -> Stored:
    """The resource of a row as the driver gives and takes it, by COLUMNS; several times faster than by names."""
    one = object.__new__(Stored)
    one.__dict__.update(zip(COLUMNS, row, strict=True))
    one.__dict__["updated_at"] = updated_at or moment(row[4])
    one.__dict__["deleted"] = bool(row[5])
    return one


def find_many(tx: Tx, viewer: Viewer, refs: Iterable[str]) -> dict[str, Stored]:
    """`Type/id` -> current version, for those that exist and the viewer may see; texts of another form are passed over."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for type_, slash, id_ in (ref.partition("/") for ref in refs):
        if slash and id_:
            wanted[type_].add(id_)
    found: dict[str, Stored] = {}
    for type_, ids in wanted.items():
        for some in slices(sorted(ids)):
            found |= {one.ref: one for one in _of_type(tx, viewer, type_, some)}
    return found


def reached(tx: Tx, viewer: Viewer, right: str, refs: Iterable[str]) -> frozenset[str]:
    """Those of these (`Type/id`) that the viewer may have by a right, a letter of `cruds`, as they are stored now."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for type_, slash, id_ in (ref.partition("/") for ref in refs):
        if slash and id_ and viewer.sight.may(right, type_):
            wanted[type_].add(id_)
    found: set[str] = set()
    for type_, ids in wanted.items():
        for some in slices(sorted(ids)):
            chosen = select(resource.c.id).where(resource.c.type == type_, resource.c.id.in_(some))
            rows = tx.rows(chosen.where(row_scope(viewer, resource, right=right, types=[type_])))
            found |= {f"{type_}/{row['id']}" for row in rows}
    return frozenset(found)


def patients_of(tx: Tx, viewer: Viewer, refs: Iterable[str]) -> list[str]:
    """Whose these (`Type/id`) are, as far as the viewer may see them, deleted ones included; each patient once, by id."""
    found = (one.patient for some in slices(sorted(set(refs))) for one in find_many(tx, viewer, some).values())
    return sorted({one for one in found if one})


def naming(tx: Tx, viewer: Viewer, type_: str, patient: str, ref: str) -> list[Stored]:
    """What there is of a type about a patient whose text holds a reference that begins with `ref`, as far as the viewer may see."""
    further, values = " AND type = %s AND NOT deleted AND body LIKE %s", [type_, f'%"{ref}%']
    return _ROWS.read(tx, viewer, "patient", [patient], further=further, values=values, types=[type_])


def foresee(tx: Tx, viewer: Viewer, refs: Iterable[str]) -> None:
    """Keep others from changing these (`Type/id`) until the end; a `find` before they are written needs no statement.

    Transactions that foresee the same resources take turns, in whatever order they name them.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for type_, _, id_ in (ref.partition("/") for ref in refs):
        wanted[type_].add(id_)
    for type_, ids in sorted(wanted.items()):
        tx.foreseen |= {(type_, id_): (viewer, None) for id_ in ids}
        for some in slices(sorted(ids)):
            for one in _of_type(tx, viewer, type_, some, lock=True):
                tx.foreseen[type_, one.id] = (viewer, one)


def glance(tx: Tx, refs: Sequence[str]) -> None:
    """Read these once for all that is to come in the transaction's foresight, without keeping others from changing them."""
    if tx.foresight is not None:
        found = find_many(tx, _ANYBODY, refs)
        tx.foresight.records |= {
            (type_, id_): found.get(f"{type_}/{id_}") for type_, _, id_ in (ref.partition("/") for ref in refs)
        }


def find_version(tx: Tx, viewer: Viewer, type_: str, id_: str, version: int) -> StoredVersion | None:
    """One version of a resource, or None."""
    if not 0 < version <= MOST_VERSIONS:
        return None
    row = tx.first(_versions(viewer, type_, id_).where(resource_version.c.version == version))
    return from_row(StoredVersion, row) if row else None


def history(
    tx: Tx, viewer: Viewer, type_: str, id_: str, *, count: int, before: int | None = None
) -> list[StoredVersion]:
    """Up to `count` versions, newest first; `before` a version number goes on from an earlier page."""
    chosen = _versions(viewer, type_, id_).order_by(resource_version.c.version.desc()).limit(count)
    if before is not None:
        chosen = chosen.where(resource_version.c.version < before)
    return [from_row(StoredVersion, row) for row in tx.rows(chosen)]


def remote_body(tx: Tx, viewer: Viewer, type_: str, id_: str) -> str | None:
    """The EHR's JSON text exactly as it sent it, or None for what did not come from an EHR."""
    held = remote_bodies.join(resource, resource.c.k == remote_bodies.c.k)
    return _text(
        tx.value(
            select(remote_bodies.c.body)
            .select_from(held)
            .where(resource.c.type == type_, resource.c.id == id_, row_scope(viewer, resource, types=[type_]))
        )
    )


def scan(
    tx: Tx, viewer: Viewer, types: Sequence[str], after_k: int = 0, limit: int = SIZE, *, holding: str = ""
) -> list[Stored]:
    """The next `limit` resources of `types` (none named: all) in order of `k`, without deleted ones.

    `holding`: only those with these characters in their text, for which every text is gone through.
    """
    chosen = select(resource).where(
        resource.c.k > after_k, ~resource.c.deleted, row_scope(viewer, resource, types=types)
    )
    if types:
        chosen = chosen.where(resource.c.type.in_(types))
    if holding:
        chosen = chosen.where(resource.c.body.contains(holding, autoescape=True))
    return [from_row(Stored, row) for row in tx.rows(chosen.order_by(resource.c.k).limit(limit))]


def known(tx: Tx, connection: str, type_: str, remote_ids: Iterable[str]) -> dict[str, Known]:
    """Remote id -> what is held of it, for the sync worker; no bodies."""
    found: dict[str, Known] = {}
    for some in slices(sorted(set(remote_ids))):
        chosen = select(resource).where(
            resource.c.connection == connection, resource.c.type == type_, resource.c.remote_id.in_(some)
        )
        found |= {row["remote_id"]: from_row(Known, row) for row in tx.rows(chosen)}
    return found


def ids_of(tx: Tx, connection: str, type_: str) -> dict[str, str]:
    """Remote id -> local id of everything of `type_` held from an EHR and not deleted, for reconciliation."""
    chosen = select(resource.c.remote_id, resource.c.id).where(
        resource.c.connection == connection, resource.c.type == type_, ~resource.c.deleted
    )
    return {row["remote_id"]: row["id"] for row in tx.rows(chosen) if row["remote_id"] is not None}


def save(tx: Tx, new: NewVersion, values: SearchValues | None, author: Author) -> Stored:
    """Write a version with its change and index rows; raises VersionConflict unless the stored version is the one before.

    `values` are `search_values.extract` of the body; None puts nothing into the index (a deletion never does).
    """
    return save_indexed(tx, new, IndexRows() if values is None else index_rows(new.type, values), author)


def save_indexed(tx: Tx, new: NewVersion, rows: IndexRows, author: Author) -> Stored:
    """As `save`, with the index rows worked out. A first version that somebody else wrote too can be told as late as at the end."""
    tx.types.add(new.type)
    seen_by, foreseen = tx.foreseen.pop((new.type, new.id), (None, None))
    if tx.foresight is not None:
        tx.foresight.records.pop((new.type, new.id), None)
    if new.version == 1:
        stored = _create(tx, new)
        add_index(tx, stored.k, rows)
    else:
        stored = _replace(tx, new, foreseen, IndexRows() if new.op == "delete" else rows)
        if tx.foresight is not None and foreseen is not None and seen_by is not None and seen_by.sees_all:
            tx.foreseen[new.type, new.id] = (seen_by, stored)
    _remember(tx, stored, new, author)
    return stored


def note_remote(tx: Tx, type_: str, id_: str, version: str, body: str) -> None:
    """Remember the EHR's newer version and text of unchanged content, which makes no version here."""
    k = tx.value(select(resource.c.k).where(resource.c.type == type_, resource.c.id == id_))
    tx.execute(update(resource).where(resource.c.k == k).values(remote_version=version))
    tx.execute(update(remote_bodies).where(remote_bodies.c.k == k).values(body=body))


def mirrored_connections(tx: Tx) -> list[str]:
    """The key of every connection that anything here came from, followed still or not."""
    chosen = select(resource.c.connection).where(resource.c.connection.is_not(None)).distinct()
    return sorted(row["connection"] for row in tx.rows(chosen))


def clear_index(tx: Tx) -> None:
    """Empty the search index; `reindex` fills it again."""
    for table in (ix, ixd, ixs, ixn):
        tx.execute(delete(table))


def reindex(tx: Tx, after_k: int = 0, limit: int = SIZE) -> int | None:
    """Index the next `limit` resources after `clear_index`; the `k` to go on from, None when done."""
    chosen = select(resource.c.k, resource.c.type, resource.c.body, resource.c.deleted).where(resource.c.k > after_k)
    rows = tx.rows(chosen.order_by(resource.c.k).limit(limit))
    for row in rows:
        write_index(tx, row["k"], IndexRows(), _indexed(row))
    return rows[-1]["k"] if rows else None


def _versions(viewer: Viewer, type_: str, id_: str) -> Select[tuple[object, ...]]:
    """Both the resource and the version must be for this viewer: a resource can have changed its patient."""
    is_current = (resource.c.version == resource_version.c.version) & ~resource.c.deleted
    body = case((is_current, resource.c.body), else_=resource_version.c.body).label("body")
    columns = [resource_version.c[name] for name in ("version", "updated_at", "op", "origin", "who", "patient")]
    return (
        select(*columns, body)
        .select_from(resource_version.join(resource, resource.c.k == resource_version.c.k))
        .where(resource.c.type == type_, resource.c.id == id_)
        .where(row_scope(viewer, resource, types=[type_]), row_scope(viewer, resource_version, types=[type_]))
    )


def _create(tx: Tx, new: NewVersion) -> Stored:
    told = (new.patient, new.connection, new.remote_id, new.remote_version, new.content_hash)
    row = (tx.keys.take(), new.type, new.id, 1, microseconds(new.updated_at), False, new.body, *told)
    tx.added.add(RESOURCE, row)
    return stored_of(row, new.updated_at)


def _replace(tx: Tx, new: NewVersion, foreseen: Stored | None, rows: IndexRows) -> Stored:
    is_old = (resource.c.type == new.type, resource.c.id == new.id, resource.c.version == new.version - 1)
    old: _Row | None = vars(foreseen) if foreseen else tx.first(select(resource).where(*is_old))
    if old is None:
        raise VersionConflict(f"{new.type}/{new.id} is not at version {new.version - 1}.")
    kept = ("connection", "remote_id", "remote_version", "content_hash", *(["patient"] if new.op == "delete" else []))
    row = _row(new)
    row |= {name: old[name] for name in kept if row[name] is None}
    if tx.foresight is not None and foreseen is not None:
        late_versions.replace(tx, old["k"], row, vars(foreseen), (_indexed(old), rows))
        return from_row(Stored, row | {"k": old["k"]})
    if tx.changed(update(resource).where(*is_old).values(row)) != 1:
        raise VersionConflict(f"{new.type}/{new.id} was changed at the same time.")
    if not old["deleted"]:
        before = (resource_version.c.k == old["k"], resource_version.c.version == old["version"])
        tx.execute(update(resource_version).where(*before).values(body=old["body"]))
    write_index(tx, old["k"], _indexed(old), rows)
    return from_row(Stored, row | {"k": old["k"]})


def _row(new: NewVersion) -> dict[str, object]:
    deleted = new.op == "delete"
    return {
        "type": new.type,
        "id": new.id,
        "version": new.version,
        "updated_at": new.updated_at,
        "deleted": deleted,
        "body": "" if deleted else new.body,
        "patient": new.patient,
        "connection": new.connection,
        "remote_id": new.remote_id,
        "remote_version": new.remote_version,
        "content_hash": new.content_hash,
    }


def _indexed(row: _Row) -> IndexRows:
    if row["deleted"]:
        return IndexRows()
    return index_rows(row["type"], extract(read_json(row["body"].encode()), unions=False))


def _remember(tx: Tx, stored: Stored, new: NewVersion, author: Author) -> None:
    by = (new.op, author.origin, author.viewer.who)
    tx.added.add(VERSION, (stored.k, new.version, microseconds(new.updated_at), *by, stored.patient))
    tx.added.add(CHANGE, (stored.k, new.type, new.id, new.version, *by, microseconds(author.at), stored.patient))
    note_change(tx, Change(new.op, new.type, new.id, new.version, stored.patient), author)
    if new.remote_body is None:
        return
    if new.version == 1:
        tx.added.add(REMOTE, (stored.k, stored.patient, new.remote_body))
        return
    held = {"body": new.remote_body, "patient": stored.patient}
    keep = tx.insert(remote_bodies).values(k=stored.k, **held)
    tx.execute(keep.on_conflict_do_update(index_elements=["k"], set_=held))


def _of_type(tx: Tx, viewer: Viewer, type_: str, ids: Sequence[str], *, lock: bool = False) -> list[Stored]:
    return _ROWS.read(tx, viewer, "id", ids, further=" AND type = %s", values=[type_], lock=lock, types=[type_])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
