"""Which page a launch opens: the item its context names, else the view of its intent, else the patient or the queue."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from api.staff.home import chart_of, home_of
from api.staff.visit import Visit
from fhir_tracker.storage import issuers, resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.launches import LaunchSession

_VIEWS: Mapping[str, str] = {"queue": "/", "operations": "/operations", "programs": "/programs", "sync": "/sync"}


def opening(tx: Tx, visit: Visit, session: LaunchSession) -> str:
    """The address of the page; of what its person may not see, nothing is opened."""
    item = next((page for ref in session.fhir_context if (page := _page_of(tx, visit, ref))), "")
    if item:
        return item
    if visit.viewer.patient is not None:
        return home_of(visit)
    return _VIEWS.get(_view(tx, session)) or home_of(visit)


def _view(tx: Tx, session: LaunchSession) -> str:
    issuer = issuers.find(tx, session.connection or session.provider or "") if session.intent else None
    intents = issuer.options.get("intents") if issuer else None
    return str(intents.get(session.intent, "")) if isinstance(intents, Mapping) else ""


def _page_of(tx: Tx, visit: Visit, ref: str) -> str:
    """The page of a Task, CarePlan or Appointment, or of the work that is about it; "" when there is none to see."""
    type_, _, id_ = ref.partition("/")
    if type_ == "Patient":
        return chart_of(visit, id_) if id_ == visit.viewer.patient else ""
    stored = resources.find(tx, visit.viewer, type_, id_) if type_ in ("Task", "CarePlan", "Appointment") else None
    if stored is None or stored.deleted:
        return ""
    if type_ == "Task":
        return f"/tasks/{quote(id_)}"
    if type_ == "CarePlan" and stored.patient:
        return f"{chart_of(visit, stored.patient)}#plan-{quote(id_)}"
    about = [one for one in work_items.of_patient(tx, visit.viewer, stored.patient or "") if one.focus == ref]
    first = next((one for one in about if one.open and one.ref.startswith("Task/")), None)
    if first:
        return f"/tasks/{quote(first.ref.partition('/')[2])}"
    return chart_of(visit, stored.patient) if stored.patient else ""
