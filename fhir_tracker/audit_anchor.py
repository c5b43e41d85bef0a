"""The heads of the audit trail's chain, written down outside the database: one JSON line each, only ever added."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fhir_tracker.config import Settings
from fhir_tracker.errors import Incorrect, Unavailable
from fhir_tracker.fhir.dates import instant, parse_datetime
from fhir_tracker.storage.audit_chain import Head


def anchor_file(settings: Settings) -> Path | None:
    """The file of the settings, else the one beside a SQLite database; None where heads go to the log only."""
    if settings.audit_anchor is not None or settings.database_file is None:
        return settings.audit_anchor
    return settings.database_file.with_name(f"{settings.database_file.name}.anchor")


def append(file: Path, head: Head) -> None:
    """Add a head, on disk when the call returns; raises Unavailable when that cannot be done."""
    told = {"at": instant(head.at), "chain": head.chain, "block": head.block, "seq": head.seq, "hash": head.hash}
    line = json.dumps(told).encode() + b"\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            if os.write(descriptor, line) != len(line):
                raise Unavailable("The anchor of the audit trail could not be written whole.")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise Unavailable(f"The anchor of the audit trail cannot be written: {error.strerror}.") from None


def read(file: Path) -> Iterator[Head]:
    """The heads in the file, oldest first and one at a time; none where there is no file.

    What a crash leaves of a line is passed over, at the end or before the head that was written next; raises Incorrect for any
    other line that is no head, and Unavailable for a file that cannot be read.
    """
    try:
        with file.open("rb") as lines:
            yield from _heads(file, lines)
    except FileNotFoundError:
        return
    except (OSError, UnicodeError):
        raise Unavailable(f"The anchor file {file} cannot be read.") from None


def _heads(file: Path, lines: Iterable[bytes]) -> Iterator[Head]:
    for number, line in enumerate(lines, 1):
        text = line.decode().strip("\n\0")
        torn, _, last = text.rpartition("{")
        try:
            if text:
                yield _head("{" + last)
        except (ValueError, KeyError, TypeError, Incorrect):
            torn = text
            if line.endswith(b"\n"):
                torn = "no head"
        if torn.strip("\0") and not torn.startswith("{"):
            raise Incorrect(f"Line {number} of the anchor file {file} is no head of a chain.")


def _head(line: str) -> Head:
    told = json.loads(line)
    return Head(
        chain=str(told["chain"]),
        block=int(told["block"]),
        seq=int(told["seq"]),
        hash=str(told["hash"]),
        at=parse_datetime(told["at"]),
    )
