"""Program versions as stored: all, the active ones, and the one a resource was made under."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import cast

from fhir_tracker.errors import Incorrect, NotFound
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at
from fhir_tracker.model.program import Program
from fhir_tracker.model.vocabulary import program_named
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.database import Tx

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Published:
    """One stored version; `status` is `active` or `retired`, `source` the YAML text as published.

    `program` is None when this release cannot read the text; `problem` then says why.
    """

    code: str
    version: int
    title: str
    program: Program | None
    problem: str = ""
    status: str
    source: str
    published_at: datetime
    published_by: str


def all_programs(tx: Tx) -> list[Published]:
    """Every stored version, by code, newest first; one that this release cannot read is among them."""
    return [_published(row) for active in rows.all(tx) for row in rows.versions(tx, active.code)]


def _published(row: rows.ProgramVersion) -> Published:
    program, problem = None, ""
    try:
        program = parsed(row.source, row.version)
    except Incorrect as error:
        problem = error.message
    return Published(
        code=row.code,
        version=row.version,
        title=row.title,
        program=program,
        problem=problem,
        status=row.status,
        source=row.source,
        published_at=row.published_at,
        published_by=row.published_by,
    )


def active_programs(tx: Tx) -> list[Program]:
    """The active version of each program; one that this release cannot read is logged and left out."""
    found = []
    for row in rows.all(tx):
        try:
            found.append(parsed(row.source, row.version))
        except Incorrect:
            log.exception("program cannot be read", extra={"fields": {"program": row.code, "version": row.version}})
    return found


def load(tx: Tx, code: str, version: int | None = None) -> Program | None:
    """One version of a program, the active one when no version is named; None when there is none.

    A version never changes once it is committed; which one is active is asked once a transaction.
    """
    if version is not None and ("program", code, version) in tx.kept:
        return cast(Program, tx.kept["program", code, version])
    key = ("program", code, version, tx.wrote)
    if key not in tx.here:
        row = rows.find(tx, code, version) if version is not None else rows.active(tx, code)
        tx.here[key] = parsed(row.source, row.version) if row else None
        if row is not None and tx.wrote == 0:
            tx.kept["program", code, row.version] = tx.here[key]
    return cast(Program | None, tx.here[key])


def required(tx: Tx, code: str, version: int | None = None) -> Program:
    """As `load`, but raises NotFound."""
    program = load(tx, code, version)
    if program is None:
        raise NotFound(f"There is no program {code}{f' version {version}' if version is not None else ''}.")
    return program


def of_resource(tx: Tx, resource: Resource) -> Program | None:
    """The program a Task or CarePlan says it instantiates (`url|version`, or the active version for a bare url)."""
    named = at(resource, "instantiatesCanonical")
    for canonical in named if isinstance(named, list) else (named,):
        found = program_named(canonical) if isinstance(canonical, str) else None
        if found and (program := load(tx, *found)):
            return program
    return None


@lru_cache(maxsize=256)
def parsed(source: str, version: int) -> Program:
    """The program in a published text, parsed once a process."""
    return replace(read_program(source), version=version)
