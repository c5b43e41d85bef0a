"""Moving a plan from the patient's page: the stages it may take, the form of one, and the step itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from starlette.responses import Response

from api.outcomes import status_of
from api.staff import patient_page
from api.staff.endpoint import see_other
from api.staff.forms import Typed
from api.staff.visit import Visit, note_access
from fhir_tracker import consequences, effects, plan_moves, records, undo
from fhir_tracker.errors import Incorrect, Issue, VersionConflict
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.storage.database import Tx

_FIELDS = ("note", "reason", "reason.code")


Step = Callable[[Tx], object]


def move(visit: Visit) -> Response:
    """POST `/plans/{id}/move`: another stage, with the fields it requires."""
    ref, to = f"CarePlan/{visit.args['id']}", visit.form.get("to", "")
    fields = {name: text for name in _FIELDS if (text := visit.form.get(name, "").strip())}

    def step(tx: Tx) -> None:
        plan = plan_moves.find_plan(tx, visit.viewer, ref)
        records.check_match(plan.stored, visit.version)
        plan_moves.move(tx, ref, MoveRequest(to=to, fields=fields), visit.author, if_match=visit.version)

    return _take(visit, ref, "moved", step, to)


def take_back(visit: Visit) -> Response:
    """POST `/plans/{id}/undo`: what the viewer did last with a plan."""
    ref, within = f"CarePlan/{visit.args['id']}", visit.context.settings.undo_within

    def step(tx: Tx) -> None:
        undo.undo(tx, ref, visit.author, within, if_match=visit.version)

    return _take(visit, ref, "undone", step)


def _take(visit: Visit, ref: str, said: str, step: Step, to: str = "") -> Response:
    """Do one step in one transaction; a refusal shows the patient's page again with what was typed and why."""
    with visit.context.database.read() as tx:
        patient = plan_moves.find_plan(tx, visit.viewer, ref).item.patient or ""
    try:
        with visit.context.database.begin() as tx:
            step(tx)
            consequences.draw(tx, effects.apply)
            note_access(tx, visit, "update", ref, patient)
    except VersionConflict as error:
        issue = Issue(message="Somebody changed this plan meanwhile. Nothing of yours was saved.")
        typed, status = Typed(values=visit.form, issues=(issue,)), status_of(error)
    except Incorrect as error:
        typed, status = Typed(values=visit.form, issues=error.issues), status_of(error)
    else:
        return see_other(f"/patients/{quote(patient)}", said)
    seen = replace(visit, args={"id": patient}, query={"plan": visit.args["id"], "stage": to})
    return patient_page.show(seen, typed, status=status)
