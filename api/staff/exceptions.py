"""Exceptions on the patient's page: what the patient is flagged with, putting one up, and taking it down."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from starlette.responses import Response

from api.staff import words
from api.staff.endpoint import see_other
from api.staff.names import Names
from api.staff.shapes import Action, Choice, ExceptionView, Field, Form, Line
from api.staff.visit import Visit, note_access
from fhir_tracker import flags
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.model.author import Why
from fhir_tracker.model.vocabulary import EXCEPTION_MEANS, EXCEPTIONS
from fhir_tracker.model.work import Event
from fhir_tracker.storage import patients


def exceptions_of(up: Mapping[str, Event], patient: str, names: Names, visit: Visit) -> tuple[ExceptionView, ...]:
    """What the patient is flagged with (`up`), each with the step that takes it down."""
    return tuple(_shown(code, one, patient, names, visit) for code, one in up.items())


def exception_form(patient: str, up: Mapping[str, object]) -> Form:
    """The form that flags the patient with one of the exceptions that are not up, each with what it means."""
    choices = [
        Choice(value=code, label=f"{title}: {EXCEPTION_MEANS[code]}", means=EXCEPTION_MEANS[code])
        for code, title in EXCEPTIONS.items()
        if code not in up
    ]
    choose = Choice(value="", label="Choose")
    return Form(
        action=f"/patients/{quote(patient)}/exceptions",
        submit="Flag",
        fields=(
            Field(name="code", label="Exception", kind="select", choices=(choose, *choices), required=True),
            Field(name="reason", label="Reason (optional)"),
        ),
        hint="The rules of the patient's programs take it from here.",
        primary=False,
    )


def put_up(visit: Visit) -> Response:
    """POST `/patients/{id}/exceptions`: flag the patient; one that is up already stays as it is."""
    return _take(visit, visit.form.get("code", ""), ends=False)


def take_down(visit: Visit) -> Response:
    """POST `/patients/{id}/exceptions/{code}/end`: the exception is over."""
    return _take(visit, visit.args["code"], ends=True)


def _take(visit: Visit, code: str, *, ends: bool) -> Response:
    patient = visit.args["id"]
    if code not in EXCEPTIONS:
        raise RuleBroken("Choose an exception from the list.", expression="Flag.code")
    why = Why(reason=visit.form.get("reason", "").strip() or None)
    with visit.context.database.begin() as tx:
        if patients.find(tx, visit.viewer, patient) is None:
            raise NotFound(f"There is no Patient/{patient}.")
        tx.wait_for_others(f"flags:{patient}")
        change = flags.take_down if ends else flags.put_up
        refused = change(tx, patient, code, "", visit.author, why)
        if refused is not None:
            raise RuleBroken(f"{EXCEPTIONS[code]}: {refused}.", expression="Flag")
        while ends and flags.take_down(tx, patient, code, (), visit.author, why) is None:
            pass  # A client may have put up the same more than once.
        note_access(tx, visit, "update", f"Patient/{patient}", patient)
    return see_other(f"/patients/{quote(patient)}", "unflagged" if ends else "flagged")


def _shown(code: str, flag: Event, patient: str, names: Names, visit: Visit) -> ExceptionView:
    href = f"/patients/{quote(patient)}/exceptions/{code}/end"
    since = words.ago(flag.start or flag.at, visit.now, names.calendar)
    return ExceptionView(
        line=Line(text=EXCEPTIONS[code], note=EXCEPTION_MEANS[code], when=since, icon="late"),
        end=Action(label="Over", href=href, post=True, primary=False),
    )
