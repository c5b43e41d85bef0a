"""Publishing a program version: the file becomes the active version, its definitions become FHIR resources."""

from __future__ import annotations

from dataclasses import replace

from fhir_tracker import program_resources, records
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import Program
from fhir_tracker.programs import parsed
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.database import Tx


def publish(tx: Tx, text: str, author: Author) -> Program:
    """Make `text` the active version of its program; the version before retires and its plans stay on it.

    Publishing the active text again changes nothing. Raises Incorrect with one issue for each mistake in the file.
    """
    program = read_program(text)
    before = rows.active(tx, program.code)
    if before is not None and before.source == text:
        return parsed(before.source, before.version)
    row = rows.add(tx, program.code, title=program.title, source=text, at=author.at, by=author.viewer.who)
    program = replace(program, version=row.version)
    retired = parsed(before.source, before.version) if before else None
    for resource in program_resources.of_program(program, retired=retired):
        records.save(tx, resource, author)
    return program


def publish_starters(tx: Tx, author: Author) -> list[Program]:
    """Publish the programs shipped with the product, in name order."""
    return [publish(tx, text, author) for _, text in sorted(starter_programs().items())]
