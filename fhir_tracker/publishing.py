"""Change control: a program file becomes a draft, is approved where that is asked for, takes effect, and retires.

Its text never changes; what is wrong with an active version is mended by the next one, or by going back to an earlier text.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fhir_tracker import poison, program_resources, records
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import NOTHING_ASKED, ChangeControl, Program
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.programs import carrying, program_of, readable, readable_versions
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.renaming import refuse_taken_names
from fhir_tracker.rules.starters import starter_programs
from fhir_tracker.storage import programs as rows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.programs import ProgramVersion

_WORKER = worker_viewer("change-control")
Status = program_resources.DefinitionStatus


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a version is handed in: why, from when on (None: at once), and what is asked of every version here."""

    reason: str | None = None
    effective_at: datetime | None = None
    control: ChangeControl = NOTHING_ASKED


AT_ONCE = Terms()


def publish(tx: Tx, text: str, author: Author, terms: Terms = AT_ONCE) -> Program:
    """As `submit`, but gives the program."""
    return program_of(submit(tx, text, author, terms))


def submit(tx: Tx, text: str, author: Author, terms: Terms = AT_ONCE) -> ProgramVersion:
    """Hand in `text` as the next version of its program: active at once, unless it waits for approval or for its time.

    The version before retires when this one takes effect, and its plans stay on it; older versions that still wait are
    withdrawn. Handing in the active text again changes nothing. Raises Incorrect with one issue for each mistake in the
    file, RuleBroken when a reason is missing, the time is past, or a rule takes the name that another one had.
    """
    program = read_program(text)
    rows.take_turns(tx, program.code)
    before = rows.active(tx, program.code)
    if before is not None and before.source == text:
        return before
    refuse_taken_names(program, readable_versions(tx, program.code))
    program = carrying(tx, program)
    control = _control(program, before, terms)
    _require_reason(control, terms.reason)
    if terms.effective_at is not None and terms.effective_at <= author.at:
        raise RuleBroken("A version cannot take effect in the past: leave the time out to let it begin now.")
    waits = control.approver or terms.effective_at is not None
    row = rows.add(
        tx,
        program.code,
        title=program.title,
        source=text,
        at=author.at,
        by=author.viewer.who,
        waits=waits,
        reason=terms.reason,
        effective_at=terms.effective_at,
        former=program.former,
        renamed=program.renamed,
    )
    _withdraw_older(tx, row, author)
    if not waits:
        _take_effect(tx, row, before, author)
    elif not control.approver:
        rows.approve(tx, row.code, row.version, at=author.at, by=None)
    if waits:
        _write(tx, row, "draft", author)
    return rows.find(tx, row.code, row.version) or row


def approve(tx: Tx, code: str, version: int | None, author: Author) -> ProgramVersion:
    """Say as a second person that a draft is right; it takes effect now, or when its time comes. The newest without a number.

    Raises NotFound without such a draft, RuleBroken for its own author.
    """
    rows.take_turns(tx, code)
    row = _waiting(tx, code, version, ("draft",))
    program_of(row)
    if row.published_by == author.viewer.who:
        raise RuleBroken(f"{row.published_by} wrote version {row.version}: another person has to approve it.")
    if not rows.approve(tx, code, row.version, at=author.at, by=author.viewer.who):
        raise NotFound(f"{code} version {row.version} does not wait for approval.")
    if row.effective_at is None or row.effective_at <= author.at:
        _activate(tx, row, author)
    return rows.find(tx, code, row.version) or row


def withdraw(tx: Tx, code: str, version: int | None, author: Author) -> ProgramVersion:
    """Take back what waits for approval or for its time, the newest without a number; raises NotFound when nothing does."""
    rows.take_turns(tx, code)
    row = _waiting(tx, code, version, rows.WAITING)
    rows.withdraw(tx, code, author.at, version=row.version)
    _write(tx, row, "retired", author)
    return rows.find(tx, code, row.version) or row


def is_due(tx: Tx, now: datetime) -> bool:
    """Whether a version waits whose time has come."""
    return any(row.intact for row in rows.due(tx, now))


def activate_due(tx: Tx, now: datetime) -> list[ProgramVersion]:
    """Let every approved version whose time has come take effect; the worker asks before it enrols anybody."""
    due = [row for row in rows.due(tx, now) if row.intact]
    for row in due:
        _activate(tx, row, Author(viewer=_WORKER, origin="rules", at=now))
    return due


def roll_back(tx: Tx, code: str, author: Author, terms: Terms = AT_ONCE, *, to: int | None = None) -> ProgramVersion:
    """Go back to the text of version `to`, else of the one that was active before: a new version with an old text, in force
    at once, or where approval is asked for when a second person approves it. Raises NotFound when there is nothing to go
    back to.
    """
    rows.take_turns(tx, code)
    before = rows.active(tx, code)
    if before is None:
        raise NotFound(f"There is no active program {code}.")
    former = _earlier(tx, before, to)
    program = carrying(tx, program_of(former))
    control = _control(program, before, terms)
    _require_reason(control, terms.reason)
    row = rows.add(
        tx,
        code,
        title=former.title,
        source=former.source,
        at=author.at,
        by=author.viewer.who,
        reason=terms.reason,
        waits=control.approver,
        rolls_back=former.version,
        former=program.former,
        renamed=program.renamed,
    )
    _withdraw_older(tx, row, author)
    if control.approver:
        _write(tx, row, "draft", author)
    else:
        _take_effect(tx, row, before, author)
    return row


def publish_starters(tx: Tx, author: Author) -> list[Program]:
    """Publish the programs shipped with the product, in name order."""
    return [publish(tx, text, author) for _, text in sorted(starter_programs().items())]


def _control(program: Program, before: ProgramVersion | None, terms: Terms) -> ChangeControl:
    """What is asked by the settings, by the new version or by the one in force: a new version cannot free itself of it."""
    asked = [terms.control, program.change_control]
    if before is not None and (in_force := readable(before)):
        asked.append(in_force.change_control)
    return ChangeControl(approver=any(one.approver for one in asked), reason=any(one.reason for one in asked))


def _require_reason(control: ChangeControl, reason: str | None) -> None:
    if control.reason and not (reason or "").strip():
        raise RuleBroken("A reason must be given: it is kept in the program's history.")


def _withdraw_older(tx: Tx, row: ProgramVersion, author: Author) -> None:
    older = [one for one in rows.versions(tx, row.code) if one.status in rows.WAITING and one.version < row.version]
    rows.withdraw(tx, row.code, author.at, before=row.version)
    for one in older:
        _write(tx, one, "retired", author)


def _waiting(tx: Tx, code: str, version: int | None, states: tuple[str, ...]) -> ProgramVersion:
    found = [one for one in rows.versions(tx, code) if one.status in states and version in (None, one.version)]
    if not found:
        which = f"{code} version {version}" if version is not None else f"No version of {code}"
        raise NotFound(f"{which} waits for approval{' or for its time' if 'approved' in states else ''}.")
    return found[0]


def _earlier(tx: Tx, active: ProgramVersion, to: int | None) -> ProgramVersion:
    """The version asked for, or the one that was active before with another text."""
    been = [one for one in rows.versions(tx, active.code) if one.active_from and one.version != active.version]
    been = [one for one in been if (one.source != active.source if to is None else one.version == to)]
    if not been:
        raise NotFound(f"{active.code} has no earlier version{f' {to}' if to is not None else ''} to go back to.")
    return max(been, key=lambda one: one.version)


def _activate(tx: Tx, row: ProgramVersion, author: Author) -> None:
    rows.take_turns(tx, row.code)
    before = rows.active(tx, row.code)
    if rows.activate(tx, row.code, row.version, author.at):
        _take_effect(tx, row, before, author)


def _take_effect(tx: Tx, row: ProgramVersion, before: ProgramVersion | None, author: Author) -> None:
    _write(tx, row, "active", author)
    poison.release(tx, author.at, row.code)
    if before is not None:
        _write(tx, before, "retired", author)


def _write(tx: Tx, row: ProgramVersion, status: Status, author: Author) -> None:
    program = readable(row)
    for resource in program_resources.of_program(program, status) if program else ():
        records.save(tx, resource, author)
