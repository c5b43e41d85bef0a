"""One step on the rows ticked in a queue, and the page that says of each what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from api.staff.forms import moves_fields
from api.staff.frames import frame_of
from api.staff.names import practitioners, role_choices
from api.staff.rendering import answer
from api.staff.shapes import BulkView, Choice, Field, Form, Line
from api.staff.visit import Visit, note_access
from fhir_tracker import bulk_moves, programs
from fhir_tracker.bulk_moves import Result, Step, Wanted
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.program import Calendar, Program
from fhir_tracker.model.vocabulary import OUTCOMES
from fhir_tracker.rules.priority import PRIORITIES
from fhir_tracker.rules.status_section import TASK_STATUSES
from fhir_tracker.storage.database import Tx
from fhir_tracker.transitions import OpenTask

PICK = "pick-"
"""Begins the name of the box of a row, before the id of its Task; its value is the version that was shown."""
NOBODY = "nobody"
_CHOOSE = Choice(value="", label="Leave as it is")
_ICONS = {"done": "done", "skipped": "hold", "failed": "late"}
_WORDS = {"done": "done", "skipped": "skipped", "failed": "failed"}


def bulk_form(tx: Tx, visit: Visit, active: Sequence[Program], back: str) -> Form:
    """What can be done with the rows that are ticked: one step at a time, with what it needs."""
    known = {one.code: one for program in active for one in program.statuses}
    own = [Choice(value=one.code, label=one.title, means=one.means) for one in known.values()]
    plain = [Choice(value=one, label=one.replace("-", " ").capitalize()) for one in TASK_STATUSES if one not in known]
    coded = {one.code: Choice(value=one.code, label=one.title, means=one.means) for p in active for one in p.reasons}
    owners = (_CHOOSE, Choice(value=NOBODY, label="Nobody: back to its queue"))
    ranks = [Choice(value=one, label=one.capitalize()) for one in PRIORITIES]
    outcomes = [Choice(value=code, label=label) for code, label in OUTCOMES.items()]
    fields = [
        _select("to", "Move to", (_CHOOSE, *own, *plain)),
        _select("owner", "Give to", (*owners, *practitioners(tx, visit.viewer))),
        _select("role", "Send to team", (_CHOOSE, *role_choices())),
        _select("priority", "Priority", (_CHOOSE, *ranks)),
        Field(name="reason", label="Reason"),
        *([_select("reason.code", "Coded reason", (_CHOOSE, *coded.values()))] if coded else []),
        Field(name="hold.until", label="Hold until", kind="moment"),
        _select("outreach.outcome", "Outcome of an attempt", (_CHOOSE, *outcomes)),
        Field(name="note", label="Note for each", kind="textarea"),
    ]
    hint = "What a move asks for is needed for every row; the rows that lack something are told one by one."
    return Form(
        action="/bulk", submit="Do this with the ticked rows", fields=tuple(fields), hint=hint, back=back, primary=False
    )


def bulk(visit: Visit) -> Response:
    """POST `/bulk`: the step on each row that was ticked; one that fails stops no other."""
    wanted = [_wanted(name, text) for name, text in visit.form.items() if name.startswith(PICK)]
    if not wanted:
        raise Incorrect("Tick at least one row.")
    with visit.context.database.read() as tx:
        active = programs.active_programs(tx)
    step = _step(visit, active[0].calendar if active else Calendar())

    def noted(tx: Tx, task: OpenTask) -> None:
        note_access(tx, visit, "update", task.item.ref, task.item.patient)

    results = bulk_moves.each(visit.context.database, wanted, step, visit.author, noted)
    with visit.context.database.read() as tx:
        frame = frame_of(tx, visit, "What became of each")
    counts = {name: sum(one.outcome == name for one in results) for name in _WORDS}
    view = BulkView(
        heading="What became of each",
        counts=", ".join(f"{number} {_WORDS[name]}" for name, number in counts.items()),
        lines=tuple(_line(one) for one in results),
        back=visit.back,
    )
    return answer("bulk.html", frame, view=view)


def _step(visit: Visit, calendar: Calendar) -> Step:
    chosen = {name: text for name in ("to", "owner", "role", "priority") if (text := visit.form.get(name, ""))}
    if len(chosen) != 1:
        raise Incorrect("Choose one step: a status, a person, a team or a priority.")
    ((name, value),) = chosen.items()
    reason = visit.form.get("reason", "").strip() or None
    if name == "owner":
        return bulk_moves.assigning(None if value == NOBODY else value, reason)
    if name == "role":
        return bulk_moves.giving(value, reason)
    if name == "priority":
        return bulk_moves.ranking(value, reason)
    fields = moves_fields(visit.form, ("reason", "hold.until", "outreach.outcome"), calendar)
    return bulk_moves.moving(MoveRequest(to=value, fields=fields))


def _wanted(name: str, text: str) -> Wanted:
    id_ = name.removeprefix(PICK)
    if not is_legal_id(id_) or (text and not text.isdecimal()):
        raise Incorrect("The form cannot be read.")
    return Wanted(ref=f"Task/{id_}", version=int(text) if text and len(text) < 10 else None)


def _line(one: Result) -> Line:
    missing = [issue.message for issue in one.issues if issue.severity == "error" and issue.message != one.why]
    return Line(
        text=f"{one.title or one.ref}: {_WORDS[one.outcome]}",
        note="\n".join([one.why, *missing]) if one.outcome != "done" else "",
        href=f"/tasks/{one.ref.partition('/')[2]}",
        icon=_ICONS[one.outcome],
    )


def _select(name: str, label: str, choices: Sequence[Choice]) -> Field:
    return Field(name=name, label=label, kind="select", choices=tuple(choices))
