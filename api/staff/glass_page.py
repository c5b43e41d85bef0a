"""Breaking the glass on pages, and the list of what was opened."""

from __future__ import annotations

from starlette.responses import Response

from api.staff import words
from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.glass_form import ask
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.shapes import Line
from api.staff.visit import Visit, note_reading
from fhir_tracker import glass
from fhir_tracker.errors import Incorrect
from fhir_tracker.storage import glass as rows


def break_glass(visit: Visit) -> Response:
    """POST `/patients/{id}/break-glass`."""
    patient, reason = visit.args["id"], visit.form.get("reason", "")
    try:
        with visit.context.database.begin() as tx:
            glass.break_glass(
                tx,
                visit.viewer,
                patient,
                reason,
                now=visit.now,
                lasts=visit.context.settings.break_glass,
                request_id=visit.request_id,
            )
    except Incorrect as error:
        return ask(visit, patient, status=400, error=error.message, reason=reason)
    return see_other(f"/patients/{patient}", "opened")


def openings(visit: Visit) -> Response:
    """GET `/break-glass`: who opened which record, why and until when."""
    with visit.context.database.read() as tx:
        found = rows.latest(tx, visit.viewer)
        names = names_for(tx, visit.viewer, [], {one.who for one in found})
        frame = frame_of(tx, visit, "Broken glass", "/break-glass")
    lines = tuple(
        Line(
            text=f"Patient/{one.patient}",
            note=one.reason,
            who=names.who(one.who),
            when=words.ago(one.began_at, visit.now, names.calendar),
            icon="late" if one.is_open(visit.now) else "",
        )
        for one in found
    )
    note_reading(visit, "search", "BreakGlass", patients=list(dict.fromkeys(one.patient for one in found)))
    return answer("openings.html", frame, lines=lines)
