"""What the tracker does by itself, told in the trail: rules, sync and commands, in the transaction of each change.

What people and systems do is told where they do it. Many changes of one transaction are told by one row, with counts and the
patients they were about; who, why and which version of each is in its Provenance and the change log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from fhir_tracker.model.author import Author
from fhir_tracker.storage.audit_rows import NO_SIGNER, SIGNER, Access, values_of
from fhir_tracker.storage.bulks import AUDIT
from fhir_tracker.storage.database import Tx

KIND = "worker"
MOST_TOLD = 20
"""So many changes of one author and transaction have rows of their own."""
MOST_PATIENTS = 1000
"""Of one row; more patients take further rows."""
_TOLD_ELSEWHERE = frozenset({"api", "staff"})
_HELD = "work-to-tell"


class Change(NamedTuple):
    """One version that was written."""

    op: str
    type: str
    id: str
    version: int
    patient: str | None


def note_change(tx: Tx, change: Change, author: Author) -> None:
    """Have a change told of at the end of its transaction, or at once where others share it."""
    if author.origin in _TOLD_ELSEWHERE or change.type == "Provenance":
        return
    if tx.endings is None:
        _add(tx, _row(change, author))
        return
    held: dict[tuple[str, str], tuple[Author, list[Change]]] = tx.here.setdefault(_HELD, {})
    if not held:
        tx.endings.append(lambda: _tell(tx))
    held.setdefault((author.viewer.who, author.origin), (author, []))[1].append(change)


def _tell(tx: Tx) -> None:
    for author, changes in tx.here.pop(_HELD, {}).values():
        rows = [_row(one, author) for one in changes] if len(changes) <= MOST_TOLD else _summary(changes, author)
        for row in rows:
            _add(tx, row)


def _add(tx: Tx, row: Access) -> None:
    tx.added.add(AUDIT, values_of(row, tx.kept.get(SIGNER, NO_SIGNER)))


def _row(change: Change, author: Author) -> Access:
    return Access(
        at=author.at,
        viewer=author.viewer,
        action=change.op,
        ref=f"{change.type}/{change.id}",
        patient=change.patient,
        request_id=author.request_id,
        detail={"origin": author.origin},
        kind=KIND,
        version=change.version,
    )


def _summary(changes: Sequence[Change], author: Author) -> list[Access]:
    counts = Counter(f"{one.op} {one.type}" for one in changes)
    detail = {"origin": author.origin, "changes": len(changes), "counts": dict(sorted(counts.items()))}
    patients = list(dict.fromkeys(one.patient for one in changes if one.patient))
    action = "sync" if author.connection else "work"
    return [
        Access(
            at=author.at,
            viewer=author.viewer,
            action=action,
            ref=f"connection/{author.connection}" if author.connection else "",
            request_id=author.request_id,
            detail=detail,
            patients=patients[start : start + MOST_PATIENTS],
            kind=KIND,
        )
        for start in range(0, max(1, len(patients)), MOST_PATIENTS)
    ]
