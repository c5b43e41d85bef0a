"""What a claim for care management has to show: attempts with their times, and minutes of staff time a calendar month.

https://hl7.org/fhir/R4/communication.html https://hl7.org/fhir/R4/chargeitem.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from fhir_tracker import gathering, programs
from fhir_tracker.errors import NotFound
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import OutreachPolicy, Program, TaskTemplate
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from fhir_tracker.model.work import Event, WorkItem
from fhir_tracker.rules.calendar import add, local
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.events import in_order
from fhir_tracker.rules.outreach_failed import REACHED
from fhir_tracker.rules.time_spent import NotCounted, Span, minutes, month_bounds, spans, union
from fhir_tracker.rules.words import moment
from fhir_tracker.storage import events, patients, work_items
from fhir_tracker.storage.database import Tx

_TOLD = ("Communication", "ChargeItem")
_TRIED = ("completed", "not-done")


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One attempt: when, by which channel, with which outcome, by whom, in how many minutes (None: not told)."""

    ref: str
    at: datetime
    channel: str
    outcome: str
    who: str
    minutes: int | None


@dataclass(frozen=True, kw_only=True)
class ContactWindow:
    """One task's policy and what was done in its time: from `opens` to `due`; `reached_at` the first contact in it.

    `meets` says that the patient was reached in time, or that as many attempts as the policy asks, on as many channels,
    were made in time.
    """

    task: str
    title: str
    opens: datetime
    due: datetime
    required: int
    attempts: tuple[Tried, ...]
    reached_at: datetime | None
    meets: bool | None
    channels: int = 0
    on_channels: int = 1


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One patient, one program, one month on the clock of `zone`; `minutes` counts each minute once, whoever worked."""

    patient: str
    program: str
    title: str
    month: str
    zone: str
    minutes: int
    contact_minutes: int
    spent: tuple[Span, ...]
    not_counted: tuple[NotCounted, ...]
    attempts: tuple[Tried, ...]
    windows: tuple[ContactWindow, ...]

    def as_json(self) -> dict[str, object]:
        """The evidence as plain JSON values; moments as ISO 8601 with the offset of the site."""
        found = asdict(self)
        return {_camel(name): _plain(value) for name, value in found.items()}

    def as_parameters(self) -> Resource:
        """The evidence as a FHIR Parameters resource; moments in UTC."""
        rows: list[Resource] = [
            {"name": "program", "valueCode": self.program},
            {"name": "month", "valueDate": self.month},
            {"name": "zone", "valueCode": self.zone},
            {"name": "minutes", "valueInteger": self.minutes},
            {"name": "contactMinutes", "valueInteger": self.contact_minutes},
            *({"name": "time", "part": _time_parts(one)} for one in self.spent),
            *({"name": "notCounted", "part": _refused_parts(one)} for one in self.not_counted),
            *({"name": "attempt", "part": _attempt_parts(one)} for one in self.attempts),
            *({"name": "contactWindow", "part": _window_parts(one)} for one in self.windows),
        ]
        return {"resourceType": "Parameters", "parameter": rows}


def evidence(tx: Tx, viewer: Viewer, patient: str, code: str, month: str, now: datetime) -> Evidence:
    """The evidence of one month; raises NotFound for a patient or program there is not, UsageError for no month.

    Time and attempts about another program's work do not count; what names no work counts for every program.
    """
    if patient not in patients.find_many(tx, viewer, [patient]):
        raise NotFound(f"There is no Patient/{patient}.")
    program = programs.required(tx, code)
    items = work_items.of_patient(tx, viewer, patient)
    zone = program.calendar.of(*(item.site for item in items if item.program == code)).zone
    start, end = month_bounds(zone, month)
    seen = events.of_patients(tx, viewer, [patient], _TOLD)[patient]
    mine = _of_program(seen, items, code)
    told, refused = spans(mine, now)
    inside = tuple(one for one in told if one.start < end and one.end > start)
    tried = _tried([one for one in mine if one.began <= now], told)
    return Evidence(
        patient=patient,
        program=code,
        title=program.title,
        month=month,
        zone=zone,
        minutes=minutes(union(told, start, end)),
        contact_minutes=minutes(union([one for one in told if one.reached], start, end)),
        spent=inside,
        not_counted=refused,
        attempts=tuple(one for one in tried if start <= one.at < end),
        windows=_windows(tx, viewer, items, program, tried, (start, end)),
    )


def as_lines(found: Evidence, program: Program) -> list[str]:
    """The evidence as lines for a terminal."""
    calendar = program.calendar
    lines = [
        f"{found.title}, Patient/{found.patient}, {found.month} ({found.zone})",
        f"{found.minutes} minutes of staff time, {found.contact_minutes} of them in contact; no minute counted twice",
    ]
    for one in found.spent:
        lines.append(
            f"  {moment(calendar, one.start)} to {local(calendar, one.end):%H:%M:%S}  {one.ref}  {one.who}".rstrip()
        )
    lines += [f"  not counted: {one.ref}, {one.why}" for one in found.not_counted]
    lines.append(f"{len(found.attempts)} attempts")
    lines += [f"  {_attempt_line(program, one)}" for one in found.attempts]
    lines += [line for window in found.windows for line in window_lines(program, window)]
    return lines


def window_lines(program: Program, window: ContactWindow) -> list[str]:
    """One task's account: what was asked for by when, and what was done by then, with times."""
    calendar = program.calendar
    several = window.on_channels > 1
    wanted = f"{window.required} attempts{f' on {window.on_channels} channels' if several else ''}"
    asked = f"{window.title}: contact by {moment(calendar, window.due)}, or {wanted}"
    if window.reached_at:
        told = f"reached {moment(calendar, window.reached_at)}, in time"
    else:
        on = f" on {window.channels} of {window.on_channels} channels" if several else ""
        count = f"{len(window.attempts)} of {window.required} attempts{on} in time, not reached"
        told = count + {True: ": meets the policy", False: ": does not meet the policy", None: ""}[window.meets]
    return [f"{asked}: {told}", *(f"  {_attempt_line(program, one)}" for one in window.attempts)]


def _of_program(seen: Sequence[Event], items: Sequence[WorkItem], code: str) -> list[Event]:
    owners = {item.ref: item.program for item in items}
    found = []
    for one in seen:
        named = {owners[ref] for ref in one.about if ref in owners}
        if not named or code in named:
            found.append(one)
    return found


def _tried(seen: Sequence[Event], told: Sequence[Span]) -> tuple[Tried, ...]:
    spent = {one.ref: one for one in told}
    return tuple(
        Tried(
            ref=one.ref,
            at=one.began,
            channel=one.detail.get("channel", ""),
            outcome=one.detail.get("outcome", ""),
            who=one.detail.get("by", ""),
            minutes=minutes(spent[one.ref].end - spent[one.ref].start) if one.ref in spent else None,
        )
        for one in in_order(seen)
        if one.type == "Communication" and one.status in _TRIED
    )


def _windows(
    tx: Tx,
    viewer: Viewer,
    items: Sequence[WorkItem],
    program: Program,
    tried: Sequence[Tried],
    month: tuple[datetime, datetime],
) -> tuple[ContactWindow, ...]:
    mine = [item for item in items if item.kind == "task" and item.program == program.code]
    found = []
    for facts in gathering.gather(tx, viewer, mine):
        own = programs.load(tx, program.code, facts.item.program_version) or program
        template = own.task(facts.item.code)
        if template is not None and template.outreach is not None:
            window = _window(own, facts, template, template.outreach, tried)
            if window is not None and window.opens < month[1] and window.due >= month[0]:
                found.append(window)
    return tuple(sorted(found, key=lambda one: (one.due, one.task)))


def _window(
    program: Program, facts: Facts, template: TaskTemplate, policy: OutreachPolicy, tried: Sequence[Tried]
) -> ContactWindow | None:
    item, anchors = facts.item, facts.plan.anchors if facts.plan else {}
    anchor = anchors.get(template.due.anchor) if template.due else None
    opens = anchor or item.created_at
    due = (
        due_at(program, template, anchors, item.created_at) or item.due_at or add(program.calendar, opens, policy.over)
    )
    about = {one.ref for one in facts.events if item.ref in one.about}
    inside = tuple(one for one in tried if one.ref in about and opens <= one.at <= due)
    reached = next((one.at for one in inside if one.outcome == REACHED), None)
    channels = {one.channel for one in inside if one.channel}
    return ContactWindow(
        task=item.ref,
        title=item.title,
        opens=opens,
        due=due,
        required=policy.attempts,
        attempts=inside,
        reached_at=reached,
        channels=len(channels),
        on_channels=policy.on_channels,
        meets=reached is not None or (len(inside) >= policy.attempts and len(channels) >= policy.on_channels),
    )


def _attempt_line(program: Program, one: Tried) -> str:
    took = f", {one.minutes} min" if one.minutes is not None else ""
    channel, outcome = CHANNELS.get(one.channel, one.channel), OUTCOMES.get(one.outcome, one.outcome or "no outcome")
    who = f", {one.who}" if one.who else ""
    return f"{moment(program.calendar, one.at)}  {channel}: {outcome}{took}{who}  {one.ref}"


def _time_parts(one: Span) -> list[Resource]:
    period = {"start": instant(one.start), "end": instant(one.end)}
    told = {"name": "source", "valueReference": {"reference": one.ref}}
    return [told, {"name": "period", "valuePeriod": period}]


def _refused_parts(one: NotCounted) -> list[Resource]:
    return [
        {"name": "source", "valueReference": {"reference": one.ref}},
        {"name": "why", "valueString": one.why},
    ]


def _attempt_parts(one: Tried) -> list[Resource]:
    rows: list[Resource] = [
        {"name": "source", "valueReference": {"reference": one.ref}},
        {"name": "at", "valueDateTime": instant(one.at)},
    ]
    named = (("channel", one.channel), ("outcome", one.outcome))
    rows += [{"name": name, "valueString": text} for name, text in named if text]
    return rows + ([] if one.minutes is None else [{"name": "minutes", "valueInteger": one.minutes}])


def _window_parts(one: ContactWindow) -> list[Resource]:
    rows: list[Resource] = [
        {"name": "task", "valueReference": {"reference": one.task}},
        {"name": "period", "valuePeriod": {"start": instant(one.opens), "end": instant(one.due)}},
        {"name": "required", "valueInteger": one.required},
        {"name": "made", "valueInteger": len(one.attempts)},
    ]
    if one.reached_at:
        rows.append({"name": "reachedAt", "valueDateTime": instant(one.reached_at)})
    if one.meets is not None:
        rows.append({"name": "meets", "valueBoolean": one.meets})
    return rows + [{"name": "attempt", "valueReference": {"reference": each.ref}} for each in one.attempts]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {_camel(str(name)): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
