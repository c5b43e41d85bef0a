"""Whether our Subscriptions still work: each is looked at in turn, what it may have missed is pulled, and then it is renewed.

http://hl7.org/fhir/uv/subscriptions-backport/STU1.1/errors.html
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.storage import remote_subscriptions
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from subscriptions import untold
from subscriptions.arming import WATCH, arm, ends_at, rearm
from subscriptions.bundles import read_object
from subscriptions.following import Follow
from subscriptions.inbox import GAP_WAIT, pull_soon, receive_notification
from subscriptions.notifications import Notification, read_bundle
from subscriptions.subscription_bodies import BACKPORT

SILENT_PERIODS = 3
OLD_SECRET_FOR = timedelta(minutes=5)
RENEWED = "it was silent before"
SOON = timedelta(seconds=5)
_SILENT = "no heartbeat came any more"


def tend(follow: Follow) -> None:
    """Look at the Subscriptions whose time has come: gaps, status, end, silence; renew those whose type was pulled since."""
    if not follow.hook:
        return
    with follow.database.read() as tx:
        held = remote_subscriptions.of_connection(tx, follow.connection.key)
    for one in held:
        if one.status == "lost" and one.pulled_at is not None:
            _renew(follow, one)
        elif one.due_at > follow.now():
            continue
        elif one.status in ("arming", "refused"):
            arm(follow, [one.type])
        elif one.status == "lost":
            _lose(follow, one, one.reason)
        else:
            _look(follow, one)


def note_pulled(follow: Follow, type_: str, changes: int = 0) -> None:
    """A type was pulled completely: what its Subscription may have missed is here. It should have told of `changes`."""
    with follow.database.begin() as tx:
        follow.hold(tx)
        held = remote_subscriptions.of_type(tx, follow.connection.key, type_)
        if held is not None:
            noted = {"pulled_at": follow.now()} | untold.found(held, changes, follow.now())
            remote_subscriptions.change(tx, held.id, noted)


def _renew(follow: Follow, held: RemoteSubscription) -> None:
    if held.tries and held.due_at > follow.now():
        return
    remembered = {_SILENT: RENEWED, untold.MUTE: untold.REMINDED}.get(held.reason)
    if rearm(follow, held) and remembered:
        _change(follow, held, reason=remembered)


def _look(follow: Follow, held: RemoteSubscription) -> None:
    """One look at the EHR; when it cannot be reached, polling says so and the next look comes in its turn."""
    try:
        _fill_gap(follow, held)
        told = _told(follow, held)
    except RemoteFailure:
        _change(follow, held, due_at=follow.now() + WATCH)
        return
    trouble = told if isinstance(told, str) else _trouble(follow, held, told)
    if trouble == _SILENT and held.reason == RENEWED:
        _change(follow, held, heartbeat=0)
    elif trouble == untold.MUTE and untold.is_given_up(held, follow.now()):
        _change(follow, held, reason=untold.STILL_MUTE)
    elif trouble:
        _lose(follow, held, trouble)
        return
    _keep(follow, held, told if isinstance(told, dict) else {})


def _told(follow: Follow, held: RemoteSubscription) -> dict[str, Any] | str:
    """The Subscription as the EHR holds it, or what is wrong with that. Its $status is asked first where there is one."""
    status = _status(follow, held) if held.kind == BACKPORT else None
    if status is not None:
        with follow.database.begin() as tx:
            follow.hold(tx)
            receive_notification(tx, held.id, status, follow.now(), heard=False)
        if status.status in ("active", "requested"):
            return {"status": status.status}
    answer = follow.client.get(f"Subscription/{held.remote_id}")
    if answer.status in (404, 410):
        return "it is gone at the EHR"
    members = read_object(answer)
    try:
        return {name: msgspec.json.decode(members[name]) for name in ("status", "end") if name in members}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RemoteFailure("The Subscription is not valid JSON.") from None


def _status(follow: Follow, held: RemoteSubscription) -> Notification | None:
    """The answer to $status, None where the server has none."""
    answer = follow.client.get(f"Subscription/{held.remote_id}/$status")
    if answer.status != 200:
        return None
    try:
        told = read_bundle(_decoded(answer.body))
    except RemoteFailure:
        return None
    return told if told.status else None


def _trouble(follow: Follow, held: RemoteSubscription, told: dict[str, Any]) -> str:
    status = told.get("status")
    if status in ("error", "off"):
        return f"its status at the EHR is {status}"
    end = ends_at(told) or held.ends_at
    if end is not None and end <= follow.now():
        return "its end has passed"
    last = max((moment for moment in (held.heard_at, held.armed_at) if moment), default=None)
    if untold.is_mute(held, follow.now()):
        return untold.MUTE
    is_silent = bool(held.heartbeat) and last is not None and follow.now() - last > _silence(held)
    return _SILENT if is_silent and held.kind == BACKPORT else ""


def _silence(held: RemoteSubscription) -> timedelta:
    return timedelta(seconds=(held.heartbeat or 0) * SILENT_PERIODS)


def _lose(follow: Follow, held: RemoteSubscription, reason: str) -> None:
    """It does not work: what it may have missed is to be pulled, and only then is it asked for again."""
    now = follow.now()
    with follow.database.begin() as tx:
        follow.hold(tx)
        if remote_subscriptions.held(tx, held.id) is None:
            return
        pull_soon(tx, held, now)
        changes: dict[str, Any] = {"status": "lost", "reason": reason, "due_at": now + SOON}
        changes |= {} if held.status == "lost" else {"lost_at": now, "pulled_at": None}
        remote_subscriptions.change(tx, held.id, changes)


def _keep(follow: Follow, held: RemoteSubscription, told: dict[str, Any]) -> None:
    now = follow.now()
    old = held.armed_at is not None and now - held.armed_at > OLD_SECRET_FOR
    changes: dict[str, Any] = {"former_digest": None} if old else {}
    changes |= {"status": told["status"]} if told.get("status") in ("active", "requested") else {}
    changes |= {"ends_at": ends_at(told)} if "end" in told else {}
    changes |= untold.settled(held, told.get("status"), now)
    due = now + min(WATCH, timedelta(seconds=held.heartbeat or WATCH.total_seconds()))
    with follow.database.begin() as tx:
        follow.hold(tx)
        fresh = remote_subscriptions.held(tx, held.id) or held
        if fresh.gap_at is not None:
            due = min(due, max(fresh.gap_at + GAP_WAIT, now + SOON))
        remote_subscriptions.change(tx, held.id, changes | {"due_at": due, "tries": 0})


def _fill_gap(follow: Follow, held: RemoteSubscription) -> None:
    """Events that never came, after some waiting: asked for by number, else the whole type is pulled."""
    if held.gap_at is None or follow.now() < held.gap_at + GAP_WAIT or not held.missing:
        return
    numbers = sorted(int(one) for one in held.missing)
    asked = f"eventsSinceNumber={numbers[0]}&eventsUntilNumber={numbers[-1]}&content=id-only"
    found = _events_at(follow, f"Subscription/{held.remote_id}/$events?{asked}")
    now = follow.now()
    with follow.database.begin() as tx:
        follow.hold(tx)
        if found is not None:
            receive_notification(tx, held.id, found, now, heard=False)
        left = remote_subscriptions.held(tx, held.id)
        if left is not None and set(left.missing) & set(held.missing):
            pull_soon(tx, held, now)
            missing = tuple(one for one in left.missing if one not in held.missing)
            remote_subscriptions.change(tx, held.id, {"missing": missing, "gap_at": now if missing else None})


def _events_at(follow: Follow, address: str) -> Notification | None:
    """What $events answers, None where the server will never give a usable answer; RemoteFailure when it may later."""
    try:
        answer = follow.client.get(address)
    except RemoteFailure as failure:
        if not failure.permanent:
            raise
        return None
    return _events(answer.body) if answer.status == 200 else None


def _events(body: bytes) -> Notification:
    """The events in an answer to $events; the count it tells is of no use here."""
    try:
        told = read_bundle(_decoded(body))
    except RemoteFailure:
        return Notification(kind="heartbeat")
    return Notification(kind=told.kind, hints=told.hints, events=told.events)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RemoteFailure("The answer is not valid JSON.") from None
    return found if isinstance(found, dict) else {}


def _change(follow: Follow, held: RemoteSubscription, **changes: Any) -> None:
    with follow.database.begin() as tx:
        follow.hold(tx)
        remote_subscriptions.change(tx, held.id, changes)
