"""What stands in the place of a restricted record: why nothing is shown, and the form that asks for a reason."""

from __future__ import annotations

from starlette.responses import Response

from api.staff.frames import frame_of
from api.staff.rendering import answer
from api.staff.shapes import Field, Form
from api.staff.visit import Visit, note_reading
from fhir_tracker import glass
from fhir_tracker.errors import NotFound, TrackerError
from fhir_tracker.storage.database import Tx

_TYPES = {"/patients/": "Patient", "/tasks/": "Task", "/plans/": "CarePlan"}
_SHUT = "This record is restricted: it is not shown without a reason."


def shut_for(tx: Tx, visit: Visit, error: TrackerError) -> str | None:
    """The patient for whom the viewer may break the glass, where that is why something was not found."""
    type_ = next((type_ for start, type_ in _TYPES.items() if visit.path.startswith(start)), "")
    if not isinstance(error, NotFound) or not type_ or "id" not in visit.args:
        return None
    return glass.shut_by(tx, visit.viewer, type_, visit.args["id"])


def ask(visit: Visit, patient: str, *, status: int = 403, error: str = "", reason: str = "") -> Response:
    """The page that says why nothing is shown, with the form."""
    minutes = int(visit.context.settings.break_glass.total_seconds() // 60)
    form = Form(
        action=f"/patients/{patient}/break-glass",
        submit="Break the glass",
        title="Open it in an emergency",
        hint=f"It opens to you only, for {minutes} minutes. The administrators are told, and all you look at is written down "
        "with your reason.",
        fields=(Field(name="reason", label="Why do you need it?", kind="textarea", required=True, value=reason),),
        error=error,
        back=visit.back if visit.back != "/" else f"/patients/{patient}",
    )
    with visit.context.database.read() as tx:
        frame = frame_of(tx, visit, "Restricted record")
    note_reading(visit, "denied", f"Patient/{patient}", patient)
    return answer("glass.html", frame, status=status, heading="Restricted record", text=_SHUT, form=form)
