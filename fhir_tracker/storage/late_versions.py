"""New versions of resources that this transaction has locked: held back and written many with few statements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fhir_tracker.errors import VersionConflict
from fhir_tracker.storage import many
from fhir_tracker.storage.buffer import Row
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.indexing import IndexChanges, IndexRows
from fhir_tracker.storage.tables import resource, resource_version
from fhir_tracker.storage.types import microseconds

_SET = (
    "version",
    "updated_at",
    "deleted",
    "body",
    "patient",
    "connection",
    "remote_id",
    "remote_version",
    "content_hash",
)
_KEY = "late versions"


@dataclass
class _Late:
    """Rows that wait, by the key of their resource, the bodies of the versions before, and what the index is to lose and get."""

    rows: dict[int, Row] = field(default_factory=dict)
    bodies: list[Row] = field(default_factory=list)
    index: IndexChanges = field(default_factory=IndexChanges)


def replace(tx: Tx, k: int, row: Mapping[str, Any], old: Mapping[str, Any], index: tuple[IndexRows, IndexRows]) -> None:
    """Let `row` take the place of `old` before the next statement; `index` is what is there and what is to be there."""
    late: _Late = tx.here.setdefault(_KEY, _Late())
    if k in late.rows:
        tx.flush()
        late = tx.here.setdefault(_KEY, _Late())
    values = {**row, "updated_at": microseconds(row["updated_at"])}
    late.rows[k] = (k, *(values[name] for name in _SET))
    if not old["deleted"]:
        late.bodies.append((k, old["version"], old["body"]))
    late.index.add(k, *index)
    tx.late = lambda: _write(tx)


def _write(tx: Tx) -> None:
    late: _Late = tx.here.pop(_KEY)
    changed = many.change(tx, resource, ("k",), _SET, list(late.rows.values()))
    if len(changed) != len(late.rows):
        raise VersionConflict("A resource was changed at the same time.")
    many.change(tx, resource_version, ("k", "version"), ("body",), late.bodies)
    late.index.write(tx)
