"""Patients and records that are restricted, and for whom somebody has broken the glass, when, why and until when."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, exists, insert, select, update

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import reference_key
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.resources import Stored
from fhir_tracker.storage.role_tables import broken_glass, restricted_patient, restricted_record
from fhir_tracker.storage.scope import row_scope
from fhir_tracker.storage.tables import ix, resource


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One broken glass: `who` opened the record of `patient`, until `ends_at`, or until it was closed by hand before."""

    id: str
    who: str
    patient: str
    reason: str
    began_at: datetime
    ends_at: datetime
    ended_at: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether it stands at a moment."""
        return self.ended_at is None and self.began_at <= now < self.ends_at


def set_restricted(tx: Tx, ref: str, *, restricted: bool, patient: str | None = None) -> None:
    """Keep whether a resource, `Type/id`, is restricted; all that is of a patient who is, is as well."""
    if ref.startswith("Patient/"):
        id_ = ref.removeprefix("Patient/")
        new = tx.insert(restricted_patient).values(patient=id_).on_conflict_do_nothing()
        gone = delete(restricted_patient).where(restricted_patient.c.patient == id_)
    else:
        row = tx.insert(restricted_record).values(ref=ref, patient=patient)
        new = row.on_conflict_do_update(index_elements=["ref"], set_={"patient": patient})
        gone = delete(restricted_record).where(restricted_record.c.ref == ref)
    tx.execute(new if restricted else gone)


def has_restricted(tx: Tx, patient: str) -> bool:
    """Whether any record of a patient is restricted, whoever asks."""
    chosen = select(restricted_record.c.ref).where(restricted_record.c.patient == patient).limit(1)
    return tx.value(chosen) is not None


def restricted_among(tx: Tx, refs: Collection[str]) -> frozenset[str]:
    """Those of these that are restricted by themselves, whoever asks."""
    if not refs:
        return frozenset()
    chosen = select(restricted_record.c.ref).where(restricted_record.c.ref.in_(sorted(refs)))
    return frozenset(str(row["ref"]) for row in tx.rows(chosen))


def provenance_of(tx: Tx, viewer: Viewer, refs: Iterable[str]) -> Sequence[Stored]:
    """Every Provenance that has one of these, in whatever version, among its targets, as it is now."""
    keys = [reference_key("Provenance", "target", ref) for ref in refs]
    if not keys:
        return []
    told = exists().where(ix.c.h.in_(keys), ix.c.k == resource.c.k)
    chosen = select(resource).where(told, ~resource.c.deleted, row_scope(viewer, resource, types=["Provenance"]))
    return [from_row(Stored, row) for row in tx.rows(chosen)]


def add(tx: Tx, opening: Opening) -> None:
    """Keep one more."""
    tx.execute(insert(broken_glass).values(**to_row(opening)))


def end(tx: Tx, who: str, patient: str, now: datetime) -> int:
    """Close what somebody opened of a patient and is open still; how many there were."""
    mine = (broken_glass.c.who == who) & (broken_glass.c.patient == patient)
    still = broken_glass.c.ended_at.is_(None) & (broken_glass.c.ends_at > now)
    return tx.changed(update(broken_glass).where(mine & still).values(ended_at=now))


def open_for(tx: Tx, who: str, now: datetime) -> Sequence[Opening]:
    """What somebody has open, or may come to have by time alone: begun, not closed, not over."""
    chosen = select(broken_glass).where(
        broken_glass.c.who == who, broken_glass.c.ends_at > now, broken_glass.c.ended_at.is_(None)
    )
    return [from_row(Opening, row) for row in tx.rows(chosen.order_by(broken_glass.c.ends_at, broken_glass.c.id))]


def latest(tx: Tx, viewer: Viewer, *, limit: int = 100) -> Sequence[Opening]:
    """The latest, newest first: for auditors and administrators, whose own rights on patients do not count here but a lock."""
    rows = select(broken_glass)
    if viewer.patient is not None:
        rows = rows.where(row_scope(viewer, broken_glass))
    rows = rows.order_by(broken_glass.c.began_at.desc(), broken_glass.c.id).limit(limit)
    return [from_row(Opening, row) for row in tx.rows(rows)]
