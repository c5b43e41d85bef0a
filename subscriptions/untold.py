"""Subscriptions that look sound and tell of nothing: polls find what they should have told, and that is counted.

A server may take a Subscription and never fire it. Nothing it says shows that; only what a poll brings and no notification
announced does. Such a one is asked for again once, and then a day later; meanwhile it is shown as what it is.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from subscriptions.notifications import Notification

ENOUGH = 3
"""So many changes that only polls found."""
PATIENCE = timedelta(minutes=2)
"""How long a notification may take; longer than servers repeat one."""
STUCK_AFTER = timedelta(minutes=10)
AGAIN_AFTER = timedelta(days=1)
MUTE = "it told of none of the changes that polls found"
REMINDED = "it told of none of the changes that polls found, and was asked for again"
STILL_MUTE = "it tells of nothing, though the EHR says that it works; polls find what changes"
STUCK = "the EHR took it and does not use it: it stays requested"
COMPLAINTS = (STILL_MUTE, STUCK)
"""Reasons of those that a person should know of, though they are not lost."""
_TOLD_BY = frozenset({"event", "bare"})


def found(held: RemoteSubscription, changes: int, at: datetime) -> dict[str, Any]:
    """What to write down when a poll brought `changes` of its type."""
    if not changes or not _should_have_told(held):
        return {}
    return {"untold": held.untold + changes, "untold_since": held.untold_since or at}


def told(held: RemoteSubscription, notification: Notification, at: datetime) -> dict[str, Any]:
    """What to write down when it tells of a change after all; a sign of life is none."""
    if notification.kind not in _TOLD_BY:
        return {}
    cleared = {"reason": ""} if held.reason in (REMINDED, STILL_MUTE) else {}
    return {"told_at": at, "untold": 0, "untold_since": None} | cleared


def is_mute(held: RemoteSubscription, now: datetime) -> bool:
    """Whether it has kept enough to itself for long enough."""
    return held.untold >= ENOUGH and held.untold_since is not None and now - held.untold_since >= PATIENCE


def is_given_up(held: RemoteSubscription, now: datetime) -> bool:
    """Whether asking for it again has not helped, and was done less than a day ago."""
    recently = held.armed_at is not None and now - held.armed_at < AGAIN_AFTER
    return held.reason in (REMINDED, STILL_MUTE) and recently


def settled(held: RemoteSubscription, status: object, now: datetime) -> dict[str, Any]:
    """The complaint about one that the EHR does not take into use, or the end of it."""
    if status == "requested" and held.armed_at is not None and now - held.armed_at >= STUCK_AFTER:
        return {"reason": STUCK}
    return {"reason": ""} if status == "active" and held.reason == STUCK else {}


def _should_have_told(held: RemoteSubscription) -> bool:
    """Whether what happened since the last pull happened under its eyes, and it has told of nothing meanwhile."""
    if held.status not in ("requested", "active") or held.armed_at is None or held.pulled_at is None:
        return False
    watched = held.armed_at + PATIENCE <= held.pulled_at
    return watched and (held.told_at is None or held.told_at <= held.pulled_at)
