"""A connection with something to show of everything: strategies, quirks, subscriptions, a budget, and what is stuck."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fhir_tracker import connections, writes
from fhir_tracker.fhir.dates import instant
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import budgets, cursors, outbox, quarantine, remote_subscriptions, rosters
from fhir_tracker.storage import connections as stored
from fhir_tracker.storage.cursors import Cursor
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription

KEY = "north"
_CHOICES = {
    "Patient": {"strategy": "last_updated", "why": "the server lists _lastUpdated for it"},
    "CarePlan": {"strategy": "roster", "why": "a search must name a patient and cannot say since when"},
    "Task": {"strategy": "none", "why": "the server does not search it"},
}


def followed(tx: Tx, now: datetime, base_url: str = "http://127.0.0.1:9/fhir") -> None:
    """A connection `north` that was followed with success just now."""
    options = {"write_back": ["Task"], "budget": "250"}
    connections.add(tx, KEY, base_url, now=now, types=tuple(_CHOICES), subscribe="rest-hook", options=options)
    stored.note_success(tx, KEY, now)
    state: dict[str, Any] = {
        "capabilities_at": instant(now),
        "software": "Test EHR 7",
        "fhir_version": "4.0.1",
        "searchable": ["CarePlan", "Patient"],
        "history": ["Patient"],
        "exports": ["Group"],
        "skew": 12.0,
        "strategies": _CHOICES,
        "reconciled_at": instant(now - timedelta(hours=3)),
    }
    _keep(tx, "*", now, state)
    _keep(tx, "Patient", now, {"completed_at": instant(now), "quirks": ["no Date header"]}, now)
    _keep(tx, "Patient/reconcile", now, {"missed": 4})
    rosters.add(tx, KEY, "CarePlan", ["a", "b"], now)
    subscribed(tx, now, "Patient", status="active", remote_id="s1", heard_at=now, gaps=2)
    subscribed(tx, now, "CarePlan", status="lost", reason="its status at the EHR is error")
    stuck(tx, now)


def subscribed(tx: Tx, now: datetime, type_: str, **more: Any) -> None:
    """One Subscription at `north`."""
    given = {"connection": KEY, "type": type_, "kind": "rest-hook", "criteria": f"{type_}?", "digest": "d"}
    remote_subscriptions.add(tx, RemoteSubscription(**{**given, "id": tx.keys.take(), "due_at": now, **more}))


def stuck(tx: Tx, now: datetime) -> None:
    """One entry in quarantine, and a Task that the EHR refused."""
    told = {
        "connection": KEY,
        "type_": "Patient",
        "remote_id": "p1",
        "reason": "`meta` is not an object.",
        "detail": "",
    }
    quarantine.put(tx, **told, body='{"resourceType":"Patient","id":"p1","meta":7}', at=now)
    author = Author(viewer=open_viewer(), origin="api", at=now)
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    writes.create(tx, task | {"for": {"reference": "Patient/north-1"}}, author)
    (row,) = outbox.listed(tx, open_viewer())
    outbox.note(tx, row, state="dead", reason="The server answered 422.")


def open_circuit(tx: Tx, now: datetime) -> None:
    """`north` failed too often in a row."""
    budgets.hold(tx, KEY)
    budgets.save(tx, KEY, {"failures": 9, "open_until": instant(now + timedelta(minutes=2))})


def _keep(tx: Tx, name: str, now: datetime, detail: dict[str, Any], watermark: datetime | None = None) -> None:
    cursors.save(tx, Cursor(connection=KEY, type=name, watermark=watermark, updated_at=now, detail=detail))
