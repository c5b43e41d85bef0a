"""The forms of a task: each asks exactly what its step needs, keeps what was typed, and puts each message at its field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from api.staff.next_step import move_label, move_means, page_of
from api.staff.shapes import Choice, Field, Form
from fhir_tracker.errors import Issue
from fhir_tracker.model.moves import TASK_FIELD, named
from fhir_tracker.model.program import Calendar, Move, Program, Reason
from fhir_tracker.model.task_fields import can_be_typed
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from fhir_tracker.model.work import WorkItem
from fhir_tracker.plan_moves import OpenPlan
from fhir_tracker.rules.calendar import zone_of
from fhir_tracker.rules.moves import MOMENTS, PATHS
from fhir_tracker.rules.reasons import CODE
from fhir_tracker.rules.stage_moves import stage_reasons

_LABELS = {
    "note": "Note",
    "reason": "Reason",
    "reason.code": "Coded reason",
    "owner": "Owner",
    "due": "New due time",
    "hold.until": "Hold until",
    "outreach.outcome": "Outcome of the attempt",
    "outreach.channel": "Channel",
    "attempt": "Outcome of the attempt",
    "document": "Document",
    "output": "What came out of it",
}
_ATTEMPT_PATHS = {
    "Communication.medium": "outreach.channel",
    "Communication.statusReason": "outreach.outcome",
    "Communication.sent": "at",
    "Communication.extension": "minutes",
}
_FOUND = {"Task.due": "due", "Task.hold.until": "hold.until"}
_LOCAL = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2})?")


@dataclass(frozen=True, kw_only=True)
class Typed:
    """What came back: the values as typed, and the issues of the refusal."""

    values: Mapping[str, str]
    issues: tuple[Issue, ...] = ()


NOTHING = Typed(values={})


def move_form(
    item: WorkItem,
    program: Program | None,
    move: Move,
    given: frozenset[str],
    owners: Sequence[Choice],
    documents: Sequence[Choice],
    typed: Typed = NOTHING,
    reasons: Sequence[Reason] = (),
) -> Form:
    """The form of one move; `given` names fields the task has already, which are then not asked for.

    Where coded `reasons` are offered, one can be chosen also if the move does not need it.
    """
    label = move_label(program, move)
    names = [name for name in move.require if name not in given]
    fields = [coded(reasons) if name == CODE else _field(name, owners, documents) for name in names]
    if reasons and CODE not in names:
        fields.append(replace(coded(reasons), label="Coded reason (optional)", required=False))
    if "note" not in names:
        fields.append(Field(name="note", label="Note (optional)", kind="textarea"))
    form = Form(
        action=f"{page_of(item)}/move",
        submit=f"Move to {label}",
        title=f"Move to {label}",
        hint=move_means(program, move),
        fields=tuple(_with_channel(fields)),
        hidden=(("to", move.to),),
    )
    return filled(form, typed)


def plan_form(plan: OpenPlan, move: Move, typed: Typed = NOTHING) -> Form:
    """The form that takes a plan to another stage."""
    stage, reasons = plan.program.stage(move.to), stage_reasons(plan.program, plan.item, move.to)
    label = stage.title if stage else move.to
    fields = [coded(reasons) if name == CODE else _field(name, (), ()) for name in move.require]
    if reasons and CODE not in move.require:
        fields.append(replace(coded(reasons), label="Coded reason (optional)", required=False))
    if "reason" not in move.require:
        fields.append(Field(name="reason", label="Reason (optional)"))
    form = Form(
        action=f"/plans/{plan.stored.id}/move",
        submit=f"Move to {label}",
        title=f"Move this plan to {label}",
        hint=stage.means if stage else "",
        fields=tuple(fields),
        hidden=(("to", move.to),),
    )
    return filled(form, typed)


def attempt_form(item: WorkItem, channels: Sequence[str], typed: Typed = NOTHING) -> Form:
    """The form of one outreach attempt; `channels` of the program's policy come first."""
    order = [code for code in channels if code in CHANNELS] + [code for code in CHANNELS if code not in channels]
    choices = tuple(Choice(value=code, label=CHANNELS[code]) for code in order)
    outcomes = (Choice(value="", label="Choose"), *_outcomes())
    form = Form(
        action=f"{page_of(item)}/attempt",
        submit="Log attempt",
        title="Log an outreach attempt",
        fields=(
            Field(name="outreach.channel", label="Channel", kind="select", choices=choices, required=True),
            Field(name="outreach.outcome", label="Outcome", kind="select", choices=outcomes, required=True),
            Field(name="minutes", label="Minutes it took (optional)"),
            Field(name="note", label="Note (optional)", kind="textarea"),
        ),
    )
    return filled(form, typed)


def reassign_form(item: WorkItem, owners: Sequence[Choice], roles: Sequence[Choice], typed: Typed = NOTHING) -> Form:
    """The form that gives work to a person or to another team's queue."""
    nobody = Choice(value="", label="Nobody: back to the team's queue")
    known = {one.value for one in owners}
    mine = (Choice(value=item.owner, label="As now"),) if item.owner and item.owner not in known else ()
    teams = roles if item.role else (Choice(value="", label="No team"), *roles)
    form = Form(
        action=f"{page_of(item)}/assign",
        submit="Reassign",
        title="Reassign",
        fields=(
            Field(name="role", label="Team", kind="select", choices=tuple(teams), value=item.role or ""),
            Field(name="owner", label="Owner", kind="select", choices=(nobody, *mine, *owners), value=item.owner or ""),
            Field(name="reason", label="Reason (optional)"),
        ),
    )
    return filled(form, typed)


def note_form(item: WorkItem, typed: Typed = NOTHING) -> Form:
    """The form of a note."""
    field = Field(name="note", label="Note", kind="textarea", required=True)
    return filled(Form(action=f"{page_of(item)}/note", submit="Add note", title="Add a note", fields=(field,)), typed)


def coded(reasons: Sequence[Reason]) -> Field:
    """The choice of a coded reason, each with its definition."""
    choices = [Choice(value=one.code, label=_told(one), means=one.means) for one in reasons]
    choose = Choice(value="", label="Choose")
    return Field(name=CODE, label=_LABELS[CODE], kind="select", choices=(choose, *choices), required=True)


def _told(reason: Reason) -> str:
    return f"{reason.title}: {reason.means}" if reason.means else reason.title


def send_back_form(item: WorkItem, typed: Typed = NOTHING, reasons: Sequence[Reason] = ()) -> Form:
    """The form that refuses an escalation; where coded `reasons` are offered, one of them is needed."""
    field = Field(name="reason", label="Reason", kind="textarea", required=True)
    if reasons:
        field = replace(field, label="More words (optional)", required=False)
    form = Form(
        action=f"{page_of(item)}/send-back",
        submit="Send back",
        title="Send this escalation back",
        hint="The ladder goes on: the next level fires at its time.",
        fields=(*([coded(reasons)] if reasons else []), field),
    )
    return filled(form, typed)


def filled(form: Form, typed: Typed) -> Form:
    """The form with what was typed, each message at its field, and the others above."""
    names = [field.name for field in form.fields]
    errors = field_errors(typed.issues, names)
    at_fields = set(errors.values())
    rest = [issue.message for issue in typed.issues if issue.message not in at_fields]
    fields = tuple(
        replace(field, value=typed.values.get(field.name, field.value), error=errors.get(field.name, ""))
        for field in form.fields
    )
    return replace(form, fields=fields, error=" ".join(dict.fromkeys(rest)))


def field_errors(issues: Sequence[Issue], names: Sequence[str]) -> dict[str, str]:
    """Field name -> the message of the issue that is about it, in the words of the API."""
    found: dict[str, str] = {}
    for issue in issues:
        fits = [name for name in names if _is_about(issue, name)]
        if fits:
            found.setdefault(fits[0], issue.message)
    return found


def moves_fields(values: Mapping[str, str], names: Sequence[str], calendar: Calendar) -> dict[str, str]:
    """What a move's form holds, by the names of FIELDS: local times become FHIR dateTimes, empty ones are left out."""
    tried = values.get("outreach.outcome") or ("attempt" in names and values.get("attempt"))
    wanted = [*names, "note", "reason", CODE, *(["outreach.channel"] if tried else [])]
    given = {name: values[name].strip() for name in wanted if values.get(name, "").strip()}
    if outcome := given.pop("attempt", ""):
        given.setdefault("outreach.outcome", outcome)
    return {name: zoned(text, calendar) if name in MOMENTS else text for name, text in given.items()}


def zoned(text: str, calendar: Calendar) -> str:
    """A local time of the site, as browsers send it, with its offset; anything else stays for the rules to refuse."""
    if not _LOCAL.fullmatch(text):
        return text
    try:
        return datetime.fromisoformat(text).replace(tzinfo=zone_of(calendar.zone)).isoformat()
    except ValueError:
        return text


def _field(name: str, owners: Sequence[Choice], documents: Sequence[Choice]) -> Field:
    label = _LABELS.get(name, name)
    choose = Choice(value="", label="Choose")
    if name in ("outreach.outcome", "attempt"):
        return Field(name=name, label=label, kind="select", choices=(choose, *_outcomes()), required=True)
    if name == "owner":
        return Field(name=name, label=label, kind="select", choices=(choose, *owners), required=True)
    if name == "document":
        return Field(name=name, label=label, kind="select", choices=(choose, *documents), required=True)
    if name.startswith(TASK_FIELD):
        path = name.removeprefix(TASK_FIELD)
        told = "" if can_be_typed(path) else "It is filled in through the API."
        return Field(name=name, label=_label(path), required=True, hint=told)
    kind = "moment" if name in MOMENTS else "textarea" if name in ("note", "output") else "text"
    hint = "The hold ends by itself then." if name == "hold.until" else ""
    return Field(name=name, label=label, kind=kind, required=True, hint=hint)  # type: ignore[arg-type]


def _label(path: str) -> str:
    """`location` as `Location`, `reasonCode` as `Reason code`."""
    words = re.sub("([A-Z])", r" \1", path.replace(".", " ")).lower()
    return words[:1].upper() + words[1:]


def _with_channel(fields: Sequence[Field]) -> list[Field]:
    """An outcome is asked for together with its channel."""
    channels = tuple(Choice(value=code, label=label) for code, label in CHANNELS.items())
    channel = Field(name="outreach.channel", label=_LABELS["outreach.channel"], kind="select", choices=channels)
    found: list[Field] = []
    for field in fields:
        is_first = field.name in ("outreach.outcome", "attempt") and channel not in found
        found += [channel, field] if is_first else [field]
    return found


def _outcomes() -> tuple[Choice, ...]:
    return tuple(Choice(value=code, label=label) for code, label in OUTCOMES.items())


def _is_about(issue: Issue, name: str) -> bool:
    path = issue.expression or ""
    if issue.code == "code-invalid":
        return name == CODE
    if issue.code == "required":
        return issue.message.startswith(named(name))
    if path in _FOUND or path in _ATTEMPT_PATHS:
        return name in (_FOUND.get(path), _ATTEMPT_PATHS.get(path))
    return path != "" and PATHS.get(name) == path
