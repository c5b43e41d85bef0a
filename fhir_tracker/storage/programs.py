"""Program versions: their YAML sources, one version of each active."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import func, insert, select, update

from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row
from fhir_tracker.storage.running_tables import program


@dataclass(frozen=True, kw_only=True)
class ProgramVersion:
    """One published version; `source` is the program file's text."""

    code: str
    version: int
    status: Literal["active", "retired"]
    title: str
    source: str
    published_at: datetime
    published_by: str


def add(tx: Tx, code: str, *, title: str, source: str, at: datetime, by: str) -> ProgramVersion:
    """Publish the next version of a program: it becomes active, the one before retired."""
    is_it = program.c.code == code
    tx.execute(select(program.c.version).where(is_it).with_for_update())
    version = int(tx.value(select(func.coalesce(func.max(program.c.version), 0)).where(is_it))) + 1
    tx.execute(update(program).where(is_it).values(status="retired"))
    made = {"code": code, "version": version, "status": "active", "title": title, "source": source}
    tx.execute(insert(program).values(made | {"published_at": at, "published_by": by}))
    return from_row(ProgramVersion, made | {"published_at": at, "published_by": by})


def active(tx: Tx, code: str) -> ProgramVersion | None:
    """The active version of a program, or None."""
    row = tx.peek(select(program).where(program.c.code == code, program.c.status == "active"))
    return from_row(ProgramVersion, row) if row else None


def find(tx: Tx, code: str, version: int) -> ProgramVersion | None:
    """One version of a program, or None."""
    row = tx.peek(select(program).where(program.c.code == code, program.c.version == version))
    return from_row(ProgramVersion, row) if row else None


def all(tx: Tx) -> list[ProgramVersion]:  # noqa: A001 - read as programs.all
    """The active version of every program, by code."""
    rows = tx.rows(select(program).where(program.c.status == "active").order_by(program.c.code))
    return [from_row(ProgramVersion, row) for row in rows]


def versions(tx: Tx, code: str) -> list[ProgramVersion]:
    """Every version of a program, newest first."""
    rows = tx.rows(select(program).where(program.c.code == code).order_by(program.c.version.desc()))
    return [from_row(ProgramVersion, row) for row in rows]
