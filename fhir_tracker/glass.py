"""Breaking the glass: somebody opens, for a reason and a short time, the record of a patient that they may not see otherwise.

https://terminology.hl7.org/CodeSystem-v3-Confidentiality.html https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fhir_tracker.errors import Conflict, Forbidden, Incorrect, NotFound
from fhir_tracker.model.viewer import Viewer, worker_viewer
from fhir_tracker.records import fresh_id
from fhir_tracker.storage import audit, epochs, notifications, resources
from fhir_tracker.storage import glass as rows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.glass import Opening

ACT: Final = "break-glass"
BTG: Final = "BTG"
TOLD: Final = "clinic-admin"
"""The role that is told of every broken glass."""
CHANNELS: Final = ("in-app", "email")
LONGEST_REASON: Final = 2000
SHORTEST_REASON: Final = 8
_SYSTEM: Final = worker_viewer("break-glass")


def may_break(viewer: Viewer) -> bool:
    """Whether the viewer's role may break the glass at all; nobody who is confined to a patient may for another one."""
    return ACT in viewer.sight.acts and viewer.sight.may("r", "Patient")


def is_shut(tx: Tx, viewer: Viewer, patient: str | None) -> bool:
    """Whether there is such a patient, who or some of whose records the viewer does not see and might by breaking the glass."""
    if patient is None or not may_break(viewer) or viewer.patient not in (None, patient) or patient in viewer.opened:
        return False
    ref = f"Patient/{patient}"
    if resources.find(tx, _SYSTEM, "Patient", patient) is None:
        return False
    if resources.reached(tx, viewer, "r", [ref]):
        return not viewer.sight.sees_restricted and rows.has_restricted(tx, patient)
    return bool(resources.reached(tx, _opened(viewer, patient), "r", [ref]))


def shut_by(tx: Tx, viewer: Viewer, type_: str, id_: str) -> str | None:
    """The patient for whom the viewer might break the glass to reach a resource; None where that would not help."""
    if not may_break(viewer) or not viewer.sight.may("r", type_):
        return None
    found = resources.find(tx, _SYSTEM, type_, id_)
    patient = found.patient if found is not None and not found.deleted else None
    if patient is None or not is_shut(tx, viewer, patient):
        return None
    return patient if resources.reached(tx, _opened(viewer, patient), "r", [f"{type_}/{id_}"]) else None


def _opened(viewer: Viewer, patient: str) -> Viewer:
    return replace(viewer, opened=viewer.opened | {patient})


def shut(patient: str) -> Forbidden:
    """What is said to who might break the glass for a patient, and has not."""
    return Forbidden(
        "This record is restricted. In an emergency you may break the glass, with a reason: "
        f"POST Patient/{patient}/$break-glass."
    )


def break_glass(
    tx: Tx, viewer: Viewer, patient: str, reason: str, *, now: datetime, lasts: timedelta, request_id: str = ""
) -> Opening:
    """Open the record for `lasts`, tell the clinic's administrators, and write it to the trail.

    Raises Forbidden for a role that may not, Incorrect without a reason, NotFound for a patient who is not there, and
    Conflict for one whose record is open to the viewer already.
    """
    if not may_break(viewer):
        raise Forbidden("Your role may not break the glass.")
    said = " ".join(reason.split())
    if not SHORTEST_REASON <= len(said) <= LONGEST_REASON:
        message = (
            f"Say why, in {SHORTEST_REASON} to {LONGEST_REASON} characters: it is kept, and read by the administrators."
        )
        raise Incorrect(message, expression="Parameters.parameter")
    if not is_shut(tx, viewer, patient):
        if resources.reached(tx, viewer, "r", [f"Patient/{patient}"]):
            raise Conflict("This record is open to you already.")
        raise NotFound("There is no Patient with this id.")
    opening = Opening(id=fresh_id(now), who=viewer.who, patient=patient, reason=said, began_at=now, ends_at=now + lasts)
    rows.add(tx, opening)
    epochs.bump(tx)
    _tell(tx, opening, viewer, now)
    audit.add(
        tx,
        at=now,
        viewer=replace(viewer, purpose=BTG),
        action=ACT,
        ref=f"Patient/{patient}",
        patient=patient,
        request_id=request_id,
        detail={"opening": opening.id, "reason": said, "until": opening.ends_at.isoformat()},
    )
    return opening


def close(tx: Tx, viewer: Viewer, patient: str, *, now: datetime, request_id: str = "") -> int:
    """Close what the viewer has open of a patient before it ends by itself; how many there were."""
    count = rows.end(tx, viewer.who, patient, now)
    if count:
        epochs.bump(tx)
        detail = {"closed": count}
        audit.add(
            tx,
            at=now,
            viewer=viewer,
            action=ACT,
            ref=f"Patient/{patient}",
            patient=patient,
            request_id=request_id,
            detail=detail,
        )
    return count


def seeing(viewer: Viewer, openings: Iterable[Opening], now: datetime) -> Viewer:
    """The viewer with the patients whose glass is broken at this very moment; asked anew for each request."""
    opened = frozenset(one.patient for one in openings if one.is_open(now) and one.who == viewer.who)
    return viewer if opened == viewer.opened else replace(viewer, opened=opened)


def with_openings(tx: Tx, viewer: Viewer, now: datetime) -> Viewer:
    """As `seeing`, looked up; nothing is asked for who may not break the glass."""
    return seeing(viewer, rows.open_for(tx, viewer.who, now), now) if may_break(viewer) else viewer


def first_end(tx: Tx, viewer: Viewer, now: datetime, latest: datetime) -> datetime:
    """Until when a viewer found out now may be remembered: until the first of their openings ends, at `latest`."""
    ends = [one.ends_at for one in rows.open_for(tx, viewer.who, now)] if viewer.opened else []
    return min([latest, *ends])


def _tell(tx: Tx, opening: Opening, viewer: Viewer, now: datetime) -> None:
    """The reason is in the list and the trail; a message names nobody's record outside the application."""
    text = f"{viewer.name or viewer.who} broke the glass of a restricted record until {opening.ends_at:%H:%M} UTC."
    for channel in CHANNELS:
        notifications.add(
            tx,
            to_role=TOLD,
            to_person=None,
            channel=channel,
            subject=f"Patient/{opening.patient}",
            patient=opening.patient,
            text=text,
            at=now,
        )
