"""A Task resource as a work item, and what changed between two of them.

https://hl7.org/fhir/R4/task.html
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from fhir_tracker.fhir.codeable import codings, first_code, text_of
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at, end_at, extension_value, moment_at, objects_at, references_at, text_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.places import place_of
from fhir_tracker.model.program import Program
from fhir_tracker.model.subject import patient_of
from fhir_tracker.model.vocabulary import (
    CLOSED_TASK,
    ESCALATION,
    HOLD_EVENT,
    HOLD_UNTIL,
    ROLE_SYSTEM,
    WORK_SYSTEM,
    program_task_system,
)
from fhir_tracker.model.work import ClockState, Event, Firing, ItemKind, Transition, WorkItem

_CLOCKS: dict[str, ClockState] = {"on-hold": "paused", **dict.fromkeys(CLOSED_TASK, "stopped")}
What = Literal[
    "stage", "status", "owner", "role", "due", "priority", "patient", "site", "escalation", "note", "program"
]


def task_item(resource: Resource, program: Program | None, *, mirrored: bool, created_at: datetime) -> WorkItem:
    """The work item a Task alone gives; `with_history` adds what its rows know.

    `created_at` serves a Task without authoredOn.
    """
    fhir_status = text_at(resource, "status") or "draft"
    owner = text_at(resource, "owner", "reference")
    performer = at(resource, "performerType", 0)
    status = task_status(resource, program)
    own = program.status(status) if program else None
    authored = moment_at(resource, "authoredOn") or created_at
    return WorkItem(
        ref=f"Task/{resource['id']}",
        kind=_kind(resource, mirrored),
        title=_title(resource, program),
        patient=patient_of(resource),
        plan=next((text for text in references_at(resource, "basedOn") if text.startswith("CarePlan/")), None),
        program=program.code if program else None,
        program_version=program.version if program else None,
        code=task_code(resource, program),
        status=status,
        fhir_status=fhir_status,
        clock=own.clock if own else _CLOCKS.get(fhir_status, "running"),
        open=fhir_status not in CLOSED_TASK,
        role=first_code(performer, ROLE_SYSTEM) or first_code(performer),
        owner=owner,
        due_at=end_at(resource, "restriction", "period", "end"),
        priority=text_at(resource, "priority") or "routine",
        created_at=authored,
        status_since=authored,
        assigned_since=authored if owner else None,
        hold_until=moment_at({"until": extension_value(resource, HOLD_UNTIL, "valueDateTime")}, "until"),
        hold_event=text_at({"event": extension_value(resource, HOLD_EVENT, "valueCode")}, "event"),
        focus=text_at(resource, "focus", "reference"),
        site=place_of(resource),
        starts_at=moment_at(resource, "restriction", "period", "start"),
    ).fitted()


def _title(resource: Resource, program: Program | None) -> str:
    template = program.task(task_code(resource, program)) if program else None
    named = text_at(resource, "code", "text") or (template.title if template else "")
    return named or text_of(resource.get("code")) or text_at(resource, "description") or "Task"


def _kind(resource: Resource, mirrored: bool) -> ItemKind:
    if mirrored:
        return "outside"
    return "escalation" if first_code(resource.get("code"), WORK_SYSTEM) == ESCALATION else "task"


def task_status(resource: Resource, program: Program | None) -> str:
    """The program's own status code; outside programs, and where none is given, the FHIR status."""
    fhir_status = text_at(resource, "status") or "draft"
    if program is None:
        return first_code(resource.get("businessStatus")) or fhir_status
    known = {status.code for status in program.statuses}
    given = [code for _, code in codings(resource.get("businessStatus")) if code in known]
    return next(iter(given), "") or next((one.code for one in program.statuses if one.fhir == fhir_status), fhir_status)


def task_code(resource: Resource, program: Program | None) -> str:
    """The code of the program's task template, else the first code."""
    if program is None:
        return first_code(resource.get("code")) or ""
    canonical = (text_at(resource, "instantiatesCanonical") or "").split("|")[0]
    named = canonical.rpartition("/")[2].partition(".")[2] if "/ActivityDefinition/" in canonical else ""
    codes = [
        named,
        first_code(resource.get("code"), program_task_system(program.code)) or "",
        first_code(resource.get("code")) or "",
    ]
    return next((code for code in codes if program.task(code)), codes[1] or codes[2])


def changes_between(
    before: WorkItem | None, after: WorkItem, author: Author, why: Why | None = None
) -> tuple[Transition, ...]:
    """The rows that tell the way from one item to the next; a new due time or a reopening starts a new cycle."""
    pairs: tuple[tuple[What, str | None, str | None], ...] = (
        _status_change(before, after),
        ("owner", before.owner if before else None, after.owner),
        ("role", before.role if before else None, after.role),
        ("due", _instant(before.due_at if before else None), _instant(after.due_at)),
        ("priority", before.priority if before else after.priority, after.priority),
        ("patient", before.patient if before else after.patient, after.patient),
        ("site", before.site if before else after.site, after.site),
    )
    cycle = next_cycle(before, after)
    return tuple(
        Transition(
            item=after.ref,
            what=what,
            before=old,
            after=new,
            recorded_at=author.at,
            effective_at=(why and why.effective_at) or author.at,
            who=author.viewer.who,
            reason=why.reason if why else None,
            note=why.note if why else None,
            rule=why.rule if why else None,
            cycle=cycle,
            reason_code=why.code if why else None,
        )
        for what, old, new in pairs
        if old != new
    )


def _status_change(before: WorkItem | None, after: WorkItem) -> tuple[What, str | None, str | None]:
    """The change of its own status, or of the FHIR one alone: plain work may be closed under the same businessStatus."""
    if before is not None and before.status == after.status:
        return "status", before.fhir_status, after.fhir_status
    return "stage" if after.kind == "plan" else "status", before.status if before else None, after.status


def next_cycle(before: WorkItem | None, after: WorkItem) -> int:
    """The clock's cycle: one more when the due time changed or closed work was opened again."""
    if before is None:
        return 0
    return before.cycle + (1 if before.due_at != after.due_at or (after.open and not before.open) else 0)


def with_history(
    item: WorkItem, log: Sequence[Transition], fired: Sequence[Firing], attempts: Sequence[Event]
) -> WorkItem:
    """The item with what its rows know: since when it has its status, its cycle, its escalations and its attempts
    (oldest first).
    """
    statuses = [row for row in log if row.what in ("status", "stage")]
    owners = [row for row in log if row.what == "owner" and row.after]
    levels = [one for one in fired if one.kind == "escalate" and one.state not in ("resolved", "skipped") and item.open]
    last = attempts[-1] if attempts else None
    return item.having(
        status_since=statuses[-1].effective_at if statuses else item.status_since,
        assigned_since=(owners[-1].effective_at if owners else item.assigned_since) if item.owner else None,
        cycle=max((row.cycle for row in log), default=0),
        escalation_level=max((one.key.level for one in levels), default=0),
        escalation_reason=levels[-1].reason if levels else None,
        attempts=len(attempts),
        last_attempt_at=last.at if last else None,
        last_attempt_outcome=last.detail.get("outcome") if last else None,
    )


def _instant(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def notes_of(resource: Resource) -> tuple[str, ...]:
    """The texts of a resource's notes, oldest first."""
    return tuple(text for one in objects_at(resource, "note") if (text := text_at(one, "text")))
