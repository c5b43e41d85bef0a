"""What of a piece of work is in an EHR, is on its way there, or stays here and why; said on its page."""

from __future__ import annotations

from api.staff.shapes import Line
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import outbox
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.outbox import Outgoing

_ICONS = {"done": "done", "waiting": "progress", "unsupported": "hold", "conflict": "escalated", "dead": "late"}


def written_there(tx: Tx, viewer: Viewer, ref: str) -> tuple[Line, ...]:
    """One line for each EHR that the resource is written to."""
    type_, _, id_ = ref.partition("/")
    opens = "outbox" in viewer.sight.acts
    return tuple(
        Line(
            text=f"{row.connection}: {_words(row)}",
            href=f"/outbox/{row.id}" if opens and row.state != "done" else "",
            icon=_ICONS[row.state],
        )
        for row in outbox.of_resource(tx, viewer, type_, id_)
    )


def _words(row: Outgoing) -> str:
    if row.state == "done":
        known = f"{row.remote_type}/{row.remote_id}" if row.remote_id else ""
        return row.reason or f"in step with {known}"
    if row.state == "waiting":
        return f"not there yet. {row.reason}" if row.reason else "on its way there."
    if row.state == "conflict":
        return f"{row.reason or ''} The clinic admin decides."
    if row.state == "dead":
        return f"refused, it stays here. {row.reason or ''}".strip()
    return row.reason or "It stays here."
