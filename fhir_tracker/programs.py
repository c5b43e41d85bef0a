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
from fhir_tracker.rules.renaming import renamed_from
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.database import Tx

log = logging.getLogger(__name__)

USED = ("active", "retired")
"""The states of a version by which work can run."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One stored version: `row` tells its text and how far it came, from draft to retired.

    `program` is None when this release cannot read the text, or the text is not what was published; `problem` says why.
    """

    row: rows.ProgramVersion
    program: Program | None
    problem: str = ""

    @property
    def code(self) -> str:
        """The program's code."""
        return self.row.code

    @property
    def version(self) -> int:
        """The number of this version."""
        return self.row.version

    @property
    def title(self) -> str:
        """The program's title."""
        return self.row.title

    @property
    def status(self) -> str:
        """`draft`, `approved`, `active`, `retired` or `withdrawn`."""
        return self.row.status

    @property
    def source(self) -> str:
        """The YAML text."""
        return self.row.source

    @property
    def published_at(self) -> datetime:
        """When it was handed in."""
        return self.row.published_at

    @property
    def published_by(self) -> str:
        """Who wrote it."""
        return self.row.published_by


def all_programs(tx: Tx, code: str | None = None) -> list[Published]:
    """Every stored version (of one program), by code, newest first; one that this release cannot read is among them."""
    return [_published(row) for row in rows.versions(tx, code)]


def _published(row: rows.ProgramVersion) -> Published:
    try:
        return Published(row=row, program=program_of(row))
    except Incorrect as error:
        return Published(row=row, program=None, problem=error.message)


def active_programs(tx: Tx) -> list[Program]:
    """The active version of each program; one that this release cannot read is logged and left out."""
    found = []
    for row in rows.all(tx):
        try:
            found.append(program_of(row))
        except Incorrect:
            log.exception("program cannot be read", extra={"fields": {"program": row.code, "version": row.version}})
    return found


def load(tx: Tx, code: str, version: int | None = None) -> Program | None:
    """One version of a program, the active one when no version is named; None when there is none that may be used.

    A version never changes once it is committed; which one is active is asked once a transaction.
    """
    if version is not None and ("program", code, version) in tx.kept:
        return cast(Program, tx.kept["program", code, version])
    key = ("program", code, version, tx.wrote)
    if key not in tx.here:
        row = rows.find(tx, code, version) if version is not None else rows.active(tx, code)
        row = row if row and row.status in USED else None
        tx.here[key] = program_of(row) if row else None
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


def program_of(row: rows.ProgramVersion) -> Program:
    """The program of a stored version; raises Incorrect when its text was changed in the database or cannot be read."""
    if not row.intact:
        raise Incorrect(
            f"The text of {row.code} version {row.version} was changed in the database: it has not the hash it was "
            "published with. Nothing runs by it until the published text is back or a new version is published."
        )
    program = parsed(row.source, row.version)
    return replace(program, former=row.former, renamed=row.renamed) if row.former or row.renamed else program


def carrying(tx: Tx, program: Program) -> Program:
    """The program with what it has to know of its other versions: their statuses that it lacks, with their clock (the latest
    meaning counts), and the names that its rules had.
    """
    others = readable_versions(tx, program.code)
    former = {status.code: status.clock for one in others for status in one.statuses}
    return replace(
        program,
        former={code: clock for code, clock in former.items() if program.status(code) is None},
        renamed=renamed_from(program.rules, [one.rules for one in others]),
    )


def readable_versions(tx: Tx, code: str) -> list[Program]:
    """Every version of a program that this release can read, oldest first."""
    return [one for row in reversed(rows.versions(tx, code)) if (one := readable(row))]


def load_readable(tx: Tx, code: str, version: int | None = None) -> Program | None:
    """As `load`; None too for a version that this release cannot read."""
    try:
        return load(tx, code, version)
    except Incorrect:
        return None


def readable(row: rows.ProgramVersion) -> Program | None:
    """The program of a stored version; None for one that this release cannot read: it must not keep a new one off."""
    try:
        return program_of(row)
    except Incorrect:
        return None


@lru_cache(maxsize=256)
def parsed(source: str, version: int) -> Program:
    """The program in a published text, parsed once a process."""
    return replace(read_program(source), version=version)
