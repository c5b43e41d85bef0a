"""The mass-escalation brake: a sweep that would escalate too much at once stops and asks a person (DESIGN section 6)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

from fhir_tracker import records, task_resources
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.storage import resources, settings, work_items
from fhir_tracker.storage.database import Tx

_KEY = "mass-escalation-brake"
_TURN = "mass-escalation-turn"
_RELEASED = "mass-escalation-released-until"
RELEASED_FOR = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The brake trips above `share` of all open items and above `floor` escalations; a share of 0 switches it off."""

    share: float
    floor: int


@dataclass(frozen=True, kw_only=True)
class Brake:
    """The brake as engaged: since when, and what the sweep would have done."""

    since: str
    escalations: int
    open_items: int
    task: str


def engaged(tx: Tx) -> Brake | None:
    """The brake when it is on, else None."""
    text = settings.get(tx, _KEY)
    return Brake(**json.loads(text)) if text else None


def check(tx: Tx, planned: int, limit: Limit, now: datetime) -> bool:
    """True when escalations may go out; engages the brake, with a Task for the clinic admin, when they are too many."""
    if limit.share <= 0:
        return True
    if engaged(tx):
        return False
    open_items = work_items.open_count(tx, RULE_WORKER)
    if planned <= max(limit.floor, limit.share * open_items) or now < _released_until(tx, now):
        return True
    settings.put(tx, _TURN, now.isoformat())
    if engaged(tx):
        return False
    reason = (
        f"One sweep would have escalated {planned} of {open_items} open items. A wrong clock or calendar is likelier "
        "than a disaster: check them, then release the brake with `fhir-tracker rules release`."
    )
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    task = task_resources.admin_task(records.fresh_id(now), "mass-escalation", "Mass escalation stopped", reason, now)
    stored = records.save(tx, task, author)
    brake = Brake(since=now.isoformat(), escalations=planned, open_items=open_items, task=f"Task/{stored.id}")
    settings.put(tx, _KEY, json.dumps(brake.__dict__))
    return False


def release(tx: Tx, now: datetime) -> Brake | None:
    """Let escalations go out again, all of those waiting included; None when the brake was not on.

    For `RELEASED_FOR` nothing puts the brake on again, or what waits would stop itself once more. Its Task is completed.
    """
    brake = engaged(tx)
    if brake is None:
        return None
    settings.put(tx, _KEY, None)
    settings.put(tx, _RELEASED, (now + RELEASED_FOR).isoformat())
    work_items.wake_all(tx, now)
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    stored = resources.find(tx, RULE_WORKER, *brake.task.split("/"))
    if stored is not None and not stored.deleted:
        done = task_resources.with_status(records.resource_of(stored), None, "completed", now)
        records.save(tx, done, author, why=Why(reason="The brake was released."))
    return brake


def _released_until(tx: Tx, now: datetime) -> datetime:
    text = settings.get(tx, _RELEASED)
    return datetime.fromisoformat(text) if text else now
