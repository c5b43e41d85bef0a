"""Program versions: their YAML texts, which never change, and how far each has come from draft to retired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Literal

from sqlalchemy import func, insert, select, update

from fhir_tracker.model.work import ClockState
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.records import from_row, to_row
from fhir_tracker.storage.running_tables import program

ProgramStatus = Literal["draft", "approved", "active", "retired", "withdrawn"]
WAITING: tuple[ProgramStatus, ...] = ("draft", "approved")


@dataclass(frozen=True, kw_only=True)
class ProgramVersion:
    """One version; `source` is the program file's text and `digest` its SHA-256.

    `published_by` wrote it and `approved_by` is the second person; `effective_at` is when it shall begin (None: at once),
    `active_from` and `retired_at` when it did begin and end. `rolls_back` is the version whose text it brings back.
    `former` maps the status codes of earlier versions that this one has no more to their clock, `renamed` what rules were
    called in other versions to what they are called in this one.
    """

    code: str
    version: int
    status: ProgramStatus
    title: str
    source: str
    published_at: datetime
    published_by: str
    digest: str = ""
    reason: str | None = None
    approved_by: str | None = None
    approved_at: datetime | None = None
    effective_at: datetime | None = None
    active_from: datetime | None = None
    retired_at: datetime | None = None
    rolls_back: int | None = None
    former: Mapping[str, ClockState] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)

    @property
    def intact(self) -> bool:
        """Whether the text is the one that was published."""
        return digest(self.source) == self.digest


@lru_cache(maxsize=256)
def digest(source: str) -> str:
    """The content hash of a program file: SHA-256 of its text, as `sha256sum` prints it."""
    return sha256(source.encode()).hexdigest()


def take_turns(tx: Tx, code: str) -> None:
    """Go on when nobody else changes that program; what is read from now on stays so until the end of the transaction."""
    tx.wait_for_others(f"program:{code}")


def add(
    tx: Tx,
    code: str,
    *,
    title: str,
    source: str,
    at: datetime,
    by: str,
    waits: bool = False,
    reason: str | None = None,
    effective_at: datetime | None = None,
    rolls_back: int | None = None,
    former: Mapping[str, ClockState] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> ProgramVersion:
    """Write the next version of a program: active at once, the one before retired, or with `waits` a draft."""
    take_turns(tx, code)
    made = ProgramVersion(
        code=code,
        version=int(tx.value(select(func.coalesce(func.max(program.c.version), 0)).where(program.c.code == code))) + 1,
        status="draft" if waits else "active",
        title=title,
        source=source,
        published_at=at,
        published_by=by,
        digest=digest(source),
        reason=reason,
        effective_at=effective_at,
        active_from=None if waits else at,
        rolls_back=rolls_back,
        former=former or {},
        renamed=renamed or {},
    )
    if not waits:
        _retire(tx, code, at)
    tx.execute(insert(program).values(to_row(made)))
    return made


def approve(tx: Tx, code: str, version: int, *, at: datetime, by: str | None) -> bool:
    """Let a draft become active when its time comes (`by` None: nobody had to agree); False when it is no draft any more."""
    is_it = (program.c.code == code, program.c.version == version, program.c.status == "draft")
    return tx.changed(update(program).where(*is_it).values(status="approved", approved_by=by, approved_at=at)) == 1


def activate(tx: Tx, code: str, version: int, at: datetime) -> bool:
    """Make a waiting version the active one and retire the one before; False when it does not wait any more."""
    take_turns(tx, code)
    waits = (program.c.code == code, program.c.version == version, program.c.status.in_(WAITING))
    if not tx.first(select(program.c.version).where(*waits)):
        return False
    _retire(tx, code, at)
    return tx.changed(update(program).where(*waits).values(status="active", active_from=at)) == 1


def withdraw(tx: Tx, code: str, at: datetime, *, version: int | None = None, before: int | None = None) -> int:
    """Take back what waits: one version, or every one older than `before`; how many."""
    which = program.c.version == version if before is None else program.c.version < before
    waits = (program.c.code == code, program.c.status.in_(WAITING), which)
    return tx.changed(update(program).where(*waits).values(status="withdrawn", retired_at=at))


def due(tx: Tx, now: datetime) -> list[ProgramVersion]:
    """The approved versions whose time has come, in the order in which they take effect."""
    chosen = select(program).where(program.c.status == "approved", program.c.effective_at <= now)
    rows = tx.rows(chosen.order_by(program.c.effective_at, program.c.code, program.c.version))
    return [from_row(ProgramVersion, row) for row in rows]


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


def versions(tx: Tx, code: str | None = None) -> list[ProgramVersion]:
    """Every version of a program, or of all programs by code; newest first."""
    chosen = select(program).order_by(program.c.code, program.c.version.desc())
    rows = tx.rows(chosen if code is None else chosen.where(program.c.code == code))
    return [from_row(ProgramVersion, row) for row in rows]


def _retire(tx: Tx, code: str, at: datetime) -> None:
    is_active = (program.c.code == code, program.c.status == "active")
    tx.execute(update(program).where(*is_active).values(status="retired", retired_at=at))
