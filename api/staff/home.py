"""Where somebody begins: the chart that is open, or the first place that their roles open."""

from __future__ import annotations

from urllib.parse import quote

from api.staff.acts import may_open
from api.staff.visit import Visit

QUEUE = "/"
_PLACES = {
    "/pulse": QUEUE,
    **{path: path for path in ("/audit", "/operations", "/programs", "/sync", "/setup", "/quarantine", "/outbox")},
}
"""What has to be open to the viewer -> the place that it leads to, in the order of preference."""


def home_of(visit: Visit) -> str:
    """The address of the page; the queue, which says why not, for those to whom nothing is open."""
    patient = visit.viewer.patient
    if patient is not None:
        return chart_of(visit, patient)
    return next((place for path, place in _PLACES.items() if may_open(visit, path)), QUEUE)


def chart_of(visit: Visit, patient: str) -> str:
    """The page of a patient; for those who may not open it, who looked at that patient."""
    sees_log_only = not may_open(visit, "/patients/{id}") and may_open(visit, "/patients/{id}/access")
    return f"/patients/{quote(patient)}{'/access' if sees_log_only else ''}"
