"""Letting go of the oldest rows of the trail, whole blocks of them; the blocks stay, so that the chain can be followed on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select, text

from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit as trail
from fhir_tracker.storage.audit_checking import PRUNE
from fhir_tracker.storage.audit_tables import audit_block, audit_patient
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.running_tables import audit


@dataclass(frozen=True, kw_only=True)
class Old:
    """What is older than the time it is kept: the rows up to `seq`, which are those of the blocks up to `block`."""

    block: int
    seq: int
    rows: int


def old(tx: Tx, before: datetime) -> Old | None:
    """The blocks from the first on whose rows are all of before; None when there are no rows in such."""
    younger = tx.value(select(func.min(audit_block.c.number)).where(audit_block.c.last_at >= before))
    chosen = select(audit_block.c.number, audit_block.c.last_seq).order_by(audit_block.c.number.desc()).limit(1)
    if younger is not None:
        chosen = chosen.where(audit_block.c.number < younger)
    row = tx.first(chosen)
    if row is None:
        return None
    count = int(tx.value(select(func.count()).select_from(audit).where(audit.c.seq <= row["last_seq"])))
    return Old(block=row["number"], seq=row["last_seq"], rows=count) if count else None


def let_go(tx: Tx, gone: Old, viewer: Viewer, now: datetime, reason: str) -> None:
    """Delete these rows, and say so in the trail; needs the owner of the tables, whose triggers are put off meanwhile."""
    detail = {"through_block": gone.block, "through_seq": gone.seq, "rows": gone.rows, "reason": reason}
    trail.add(tx, at=now, viewer=viewer, action=PRUNE, ref="AuditEvent", kind="command", detail=detail)
    tx.flush()
    for table in (audit, audit_patient):
        _disarm(tx, table.name)
        tx.execute(delete(table).where(table.c.seq <= gone.seq))
        _arm(tx, table.name)


def _disarm(tx: Tx, table: str) -> None:
    if tx.dialect == "postgresql":
        tx.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER {table}_is_kept"))
    else:
        tx.execute(text(f"DROP TRIGGER {table}_is_kept"))


def _arm(tx: Tx, table: str) -> None:
    if tx.dialect == "postgresql":
        tx.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER {table}_is_kept"))
        return
    refuse = "BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END"
    tx.execute(text(f"CREATE TRIGGER {table}_is_kept BEFORE DELETE ON {table} {refuse}"))


def grants(role: str) -> tuple[str, ...]:
    """The statements after which a role of PostgreSQL, who owns nothing, runs the product and only adds to the trail."""
    named = '"' + role.replace('"', '""') + '"'
    tables = ", ".join(("audit", "audit_block", "audit_patient"))
    return (
        f"GRANT USAGE ON SCHEMA public TO {named}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {named}",
        f"GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {named}",
        f"REVOKE ALL ON {tables} FROM {named}",
        f"GRANT SELECT, INSERT ON {tables} TO {named}",
        f"REVOKE UPDATE ON SEQUENCE audit_seq_seq FROM {named}",
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {named}",
    )


def owner_of_trail(tx: Tx) -> str | None:
    """Who owns the trail's table on PostgreSQL: a role that may change everything about it; None on SQLite."""
    if tx.dialect != "postgresql":
        return None
    return str(tx.value(text("SELECT tableowner FROM pg_tables WHERE tablename = 'audit' AND schemaname = 'public'")))


def execute(tx: Tx, statements: tuple[str, ...]) -> None:
    """Run the statements of `grants`."""
    for one in statements:
        tx.execute(text(one))
