"""What people do to work: every POST of the task page and of a row, each one transaction with its audit row."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from starlette.responses import Response

from api.outcomes import status_of
from api.staff.endpoint import see_other
from api.staff.forms import Typed, moves_fields
from api.staff.task_page import show
from api.staff.visit import Visit, note_access
from fhir_tracker import consequences, effects, escalation, outreach, records, transitions, undo
from fhir_tracker.errors import Incorrect, Issue, RuleBroken, VersionConflict
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.program import Calendar
from fhir_tracker.outreach import Attempt
from fhir_tracker.storage.database import Tx
from fhir_tracker.transitions import OpenTask

Step = Callable[[Tx, str, OpenTask], object]


def claim(visit: Visit) -> Response:
    """POST `/tasks/{id}/claim`."""
    return _take(visit, "claimed", lambda tx, ref, _: transitions.claim(tx, ref, visit.author, if_match=visit.version))


def release(visit: Visit) -> Response:
    """POST `/tasks/{id}/release`: back to the team's queue."""
    return _take(
        visit, "released", lambda tx, ref, _: transitions.assign(tx, ref, None, visit.author, if_match=visit.version)
    )


def assign(visit: Visit) -> Response:
    """POST `/tasks/{id}/assign`: to a person, or to another team's queue."""
    role, owner = visit.form.get("role", ""), visit.form.get("owner", "")
    reason = visit.form.get("reason", "").strip() or None

    def step(tx: Tx, ref: str, task: OpenTask) -> None:
        if role and role != task.item.role:
            transitions.give_role(tx, ref, role, visit.author, reason=reason, if_match=visit.version)
        if owner or role == (task.item.role or ""):
            transitions.assign(tx, ref, owner or None, visit.author, reason=reason)

    return _take(visit, "assigned", step, do="reassign")


def move(visit: Visit) -> Response:
    """POST `/tasks/{id}/move`: another status, with the fields it requires."""
    to = visit.form.get("to", "")

    def step(tx: Tx, ref: str, task: OpenTask) -> None:
        calendar = task.program.calendar if task.program else Calendar()
        chosen = next((one for one in transitions.options(tx, visit.viewer, ref) if one.to == to), None)
        fields = moves_fields(visit.form, chosen.require if chosen else (), calendar)
        transitions.move(tx, ref, MoveRequest(to=to, fields=fields), visit.author, if_match=visit.version)

    return _take(visit, "moved", step, move_to=to)


def attempt(visit: Visit) -> Response:
    """POST `/tasks/{id}/attempt`: one try to reach the patient."""

    def step(tx: Tx, ref: str, task: OpenTask) -> None:
        transitions.refuse_outside(task.item)
        made = Attempt(
            channel=visit.form.get("outreach.channel", ""),
            outcome=visit.form.get("outreach.outcome", ""),
            at=visit.now,
            note=visit.form.get("note", "").strip(),
            spent=_spent(visit.form.get("minutes", "").strip()),
        )
        outreach.log_attempt(tx, task.item, made, visit.author, if_match=visit.version)

    return _take(visit, "logged", step, do="attempt")


def _spent(text: str) -> timedelta | None:
    """The minutes of a form; 0 minutes, which is refused, for what is no number of them."""
    if not text:
        return None
    return timedelta(minutes=int(text)) if text.isascii() and text.isdigit() and len(text) < 5 else timedelta()


def note(visit: Visit) -> Response:
    """POST `/tasks/{id}/note`."""
    text = visit.form.get("note", "").strip()

    def step(tx: Tx, ref: str, task: OpenTask) -> None:
        if not text:
            raise RuleBroken("a note is missing.", issues=(Issue(message="a note is missing.", code="required"),))
        transitions.note(tx, ref, text, visit.author, if_match=visit.version)

    return _take(visit, "noted", step, do="note")


def acknowledge(visit: Visit) -> Response:
    """POST `/tasks/{id}/acknowledge`: the ladder stops."""
    return _take(
        visit,
        "acknowledged",
        lambda tx, ref, _: escalation.acknowledge(tx, ref, visit.author, if_match=visit.version),
    )


def take_over(visit: Visit) -> Response:
    """POST `/tasks/{id}/take-over`: the escalation becomes the viewer's own work."""
    return _take(
        visit, "taken-over", lambda tx, ref, _: escalation.take_over(tx, ref, visit.author, if_match=visit.version)
    )


def send_back(visit: Visit) -> Response:
    """POST `/tasks/{id}/send-back`, with a reason."""
    reason, code = visit.form.get("reason", "").strip(), visit.form.get("reason.code", "").strip()
    return _take(
        visit,
        "sent-back",
        lambda tx, ref, _: escalation.send_back(tx, ref, reason, visit.author, code=code, if_match=visit.version),
        do="send-back",
    )


def resolve(visit: Visit) -> Response:
    """POST `/tasks/{id}/resolve`."""
    return _take(
        visit, "resolved", lambda tx, ref, _: escalation.resolve(tx, ref, visit.author, if_match=visit.version)
    )


def take_back(visit: Visit) -> Response:
    """POST `/tasks/{id}/undo`: what the viewer did last, within the time there is for it."""
    within = visit.context.settings.undo_within
    return _take(visit, "undone", lambda tx, ref, _: undo.undo(tx, ref, visit.author, within, if_match=visit.version))


def _take(visit: Visit, said: str, step: Step, *, do: str = "", move_to: str = "") -> Response:
    """Do one step in one transaction; a refusal shows the page again with what was typed and why."""
    ref = f"Task/{visit.args['id']}"
    version = visit.version
    try:
        with visit.context.database.begin() as tx:
            task = transitions.find_task(tx, visit.viewer, ref)
            records.check_match(task.stored, version)
            step(tx, ref, task)
            consequences.draw(tx, effects.apply)
            note_access(tx, visit, "update", ref, task.item.patient)
    except VersionConflict as error:
        typed = Typed(values=visit.form)
        return show(visit, do, move_to, typed, status=status_of(error), version=version)
    except Incorrect as error:
        typed = Typed(values=visit.form, issues=error.issues)
        return show(visit, do, move_to, typed, status=status_of(error))
    return see_other(visit.back, said)
