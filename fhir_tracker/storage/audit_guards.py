"""Whether the triggers stand that refuse every change of the trail."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from fhir_tracker.storage.audit_checking import Problem
from fhir_tracker.storage.database import Tx

_GUARDED = ("audit", "audit_block", "audit_patient")
_SQLITE = text("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'")
_POSTGRESQL = text(
    "SELECT t.tgname AS name, c.relname AS tbl_name, t.tgtype AS kind, "
    "t.tgenabled IN ('O', 'A') AND t.tgqual IS NULL AND f.proname = 'audit_stays' AND f.prosrc LIKE '%RAISE EXCEPTION%' AS stands "
    "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc f ON f.oid = t.tgfoid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND n.nspname = current_schema()"
)
_REFUSES = "BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END"
_KINDS = {"stays": ("UPDATE", 19), "is_kept": ("DELETE", 11), "is_not_emptied": ("TRUNCATE", 34)}
"""The end of a trigger's name -> what it refuses, and PostgreSQL's bits for such a trigger: before it, for each row or statement."""


def fallen(tx: Tx) -> list[Problem]:
    """A problem for each trigger that is gone, put out of use or says something else."""
    standing = set(_on_sqlite(tx) if tx.dialect == "sqlite" else _on_postgresql(tx))
    kinds = [one for one in _KINDS if tx.dialect == "postgresql" or one != "is_not_emptied"]
    return [
        Problem(
            kind="unguarded",
            where=table,
            said=f"The trigger {table}_{one}, which refuses {_KINDS[one][0]}, is gone or was changed.",
        )
        for table in _GUARDED
        for one in kinds
        if (table, f"{table}_{one}") not in standing
    ]


def _on_sqlite(tx: Tx) -> Iterator[tuple[str, str]]:
    for row in tx.rows(_SQLITE):
        table, kind = row["tbl_name"], row["name"].removeprefix(f"{row['tbl_name']}_")
        if kind in _KINDS:
            made = f"CREATE TRIGGER {table}_{kind} BEFORE {_KINDS[kind][0]} ON {table} {_REFUSES}"
            if row["sql"] == made:
                yield table, row["name"]


def _on_postgresql(tx: Tx) -> Iterator[tuple[str, str]]:
    for row in tx.rows(_POSTGRESQL):
        kind = row["name"].removeprefix(f"{row['tbl_name']}_")
        if row["stands"] and kind in _KINDS and row["kind"] == _KINDS[kind][1]:
            yield row["tbl_name"], row["name"]
