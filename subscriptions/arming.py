"""Subscriptions of ours at an EHR: made before the first load, made anew when they are lost, deleted with the connection.

What is about to be sent is written down first, so that a notification is known from the very first one, and one that was
made without our hearing of it is found again and taken over.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec

from fhir_tracker.connections import pause_after
from fhir_tracker.errors import Busy, Incorrect, RemoteFailure
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.storage import remote_subscriptions
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from subscriptions.bundles import outcome_codes, read_object
from subscriptions.client import FHIR_JSON, Answer, EhrClient
from subscriptions.following import Follow
from subscriptions.subscription_bodies import BACKPORT, HEARTBEAT_SECONDS, Offers, Wanted, candidates, offers_of

WATCH = timedelta(minutes=1)
REFUSED_FOR = timedelta(days=1)
FIRST_PAUSE_SECONDS = 10
_LOCATION = re.compile(r"(?:\S*/)?Subscription/(?P<id>[^/?#\s]+)(?:/_history/\S+)?")
_LATER = frozenset({401, 408, 409, 412, 423, 425, 429})
"""Answers that say nothing about the Subscription itself."""
_JSON = {"Content-Type": FHIR_JSON, "Prefer": "return=representation"}


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What a server answered to a Subscription: its id and status, or why it was not taken."""

    remote_id: str = ""
    status: str = ""
    ends_at: datetime | None = None
    refusal: str = ""


def endpoint_of(public_url: str, connection: str) -> str:
    """Where an EHR tells us of changes; "" when nobody said under which address it reaches us."""
    return f"{public_url}/hooks/{connection}" if public_url else ""


def arm(follow: Follow, types: Sequence[str]) -> None:
    """Ask for the Subscriptions that are missing, one a type, as the connection wants them. Failures are noted, not raised."""
    if follow.connection.subscribe == "none" or not follow.hook:
        return
    with follow.database.read() as tx:
        held = {one.type: one for one in remote_subscriptions.of_connection(tx, follow.connection.key)}
    missing = [type_ for type_ in types if _is_missing(held.get(type_), follow.now())]
    if not missing:
        return
    try:
        offers = _offers(follow.client)
        for type_ in missing:
            _arm_type(follow, type_, held.get(type_), offers)
    except RemoteFailure as failure:
        with follow.database.read() as tx:
            left = [one for one in remote_subscriptions.of_connection(tx, follow.connection.key) if one.type in missing]
        for one in left:
            if one.status in ("arming", "refused") and one.due_at <= follow.now() + WATCH:
                _put_off(follow, one, failure.message)


def rearm(follow: Follow, held: RemoteSubscription) -> bool:
    """Ask for one Subscription again, with a new secret, after what it missed was pulled; False when that failed."""
    wanted = Wanted(type=held.type, kind=held.kind, criteria=held.criteria)
    try:
        return _ask(follow, wanted, held)
    except RemoteFailure as failure:
        _put_off(follow, held, failure.message)
        return False


def disarm(follow: Follow) -> list[str]:
    """Delete our Subscriptions at the EHR; the types of those that it could not be asked to delete.

    One that was asked for and never answered is looked for there.
    """
    with follow.database.read() as tx:
        held = remote_subscriptions.of_connection(tx, follow.connection.key)
    left = []
    for one in held:
        with follow.database.begin() as tx:
            follow.hold(tx)
        wanted = Wanted(type=one.type, kind=one.kind, criteria=one.criteria)
        there = one.remote_id or (_found(follow, wanted) if one.digest and follow.hook else None)
        if there is not None and not _deleted(follow.client, there):
            left.append(one.type)
    return left


def _deleted(client: EhrClient, remote_id: str) -> bool:
    try:
        answer = client.send("DELETE", f"Subscription/{remote_id}", None, {})
    except RemoteFailure:
        return False
    return answer.status in (200, 202, 204, 404, 410)


def ends_at(subscription: dict[str, Any]) -> datetime | None:
    """When a Subscription ends, or None."""
    end = subscription.get("end")
    try:
        return parse_datetime(end) if isinstance(end, str) else None
    except Incorrect:
        return None


def _is_missing(held: RemoteSubscription | None, now: datetime) -> bool:
    return held is None or (held.status in ("arming", "refused") and held.due_at <= now)


def _offers(client: EhrClient) -> Offers:
    members = read_object(client.get("metadata"))
    try:
        statement: dict[str, Any] = {
            name: msgspec.json.decode(members[name]) for name in ("rest", "extension") if name in members
        }
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise RemoteFailure("The CapabilityStatement is not valid JSON.", permanent=True) from None
    return offers_of(statement)


def _arm_type(follow: Follow, type_: str, held: RemoteSubscription | None, offers: Offers) -> None:
    topics = follow.connection.options.get("topics", {})
    wanted, reason = candidates(follow.connection.subscribe, type_, offers, topics)
    for one in wanted:
        row = _row(follow, one, held)
        if _ask(follow, one, row):
            return
        held = row
    if not wanted:
        row = _row(follow, Wanted(type=type_, kind="", criteria=""), held)
        _change(follow, row, status="refused", reason=reason, due_at=follow.now() + REFUSED_FOR)


def _row(follow: Follow, wanted: Wanted, held: RemoteSubscription | None) -> RemoteSubscription:
    """The row of a Subscription about to be asked for."""
    if held is not None:
        _change(follow, held, kind=wanted.kind, criteria=wanted.criteria, status="arming")
        return held
    with follow.database.begin() as tx:
        follow.hold(tx)
        row = RemoteSubscription(
            id=tx.keys.take(),
            connection=follow.connection.key,
            type=wanted.type,
            kind=wanted.kind,
            criteria=wanted.criteria,
            digest="",
            due_at=follow.now() + WATCH,
        )
        remote_subscriptions.add(tx, row)
    return row


def _ask(follow: Follow, wanted: Wanted, held: RemoteSubscription) -> bool:
    """Write the new secret's digest down, send the Subscription, and note what came of it; False when it was refused."""
    there = held.remote_id or _found(follow, wanted)
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    heartbeat = HEARTBEAT_SECONDS if wanted.kind == BACKPORT and held.heartbeat != 0 else held.heartbeat
    begun: dict[str, Any] = {
        "digest": digest,
        "former_digest": held.digest or None,
        "missing": (),
        "recent": {},
        "gap_at": None,
        "untold": 0,
        "untold_since": None,
    }
    _change(follow, held, **begun, events=None if there else 0, heartbeat=heartbeat)
    made = _sent(follow.client, wanted.body(follow.hook, secret, there), there)
    try:
        return _settled(follow, held, made)
    except Busy:
        if made.remote_id and (made.remote_id != there or _is_forgotten(follow, held)):
            _deleted(follow.client, made.remote_id)
        raise


def _is_forgotten(follow: Follow, held: RemoteSubscription) -> bool:
    with follow.database.read() as tx:
        known = remote_subscriptions.of_connection(tx, follow.connection.key)
    return held.id not in {one.id for one in known}


def _settled(follow: Follow, held: RemoteSubscription, made: _Made) -> bool:
    """Note what came of it. Raises Busy where the connection was taken over or removed, which nobody else can undo there."""
    if made.refusal:
        told = {"status": "refused", "reason": made.refusal, "due_at": follow.now() + REFUSED_FOR}
        _change(follow, held, **told, remote_id=None)
        return False
    _change(
        follow,
        held,
        remote_id=made.remote_id,
        status="active" if made.status == "active" else "requested",
        reason="",
        armed_at=follow.now(),
        lost_at=None,
        ends_at=made.ends_at,
        due_at=follow.now() + WATCH,
        tries=0,
    )
    return True


def _sent(client: EhrClient, body: dict[str, Any], there: str | None) -> _Made:
    text = json.dumps(body).encode()
    answer = client.send("PUT", f"Subscription/{there}", text, _JSON) if there else None
    if answer is None or answer.status in (404, 405, 410):
        alone = json.dumps({name: value for name, value in body.items() if name != "id"}).encode()
        answer = client.send("POST", "Subscription", alone, _JSON)
    if answer.status in _LATER or answer.status >= 500:
        raise RemoteFailure(f"The server answered {answer.status} to a Subscription.", retry_after=answer.retry_after)
    if answer.status not in (200, 201):
        codes = outcome_codes(answer.body)
        return _Made(refusal=f"it answered {answer.status} to a Subscription" + (f" ({codes})" if codes else ""))
    return _made(answer, there)


def _made(answer: Answer, there: str | None) -> _Made:
    try:
        told = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        told = {}
    told = told if isinstance(told, dict) and told.get("resourceType") == "Subscription" else {}
    match = _LOCATION.fullmatch(answer.location)
    remote_id = told.get("id") or (match["id"] if match else there)
    if not isinstance(remote_id, str) or not remote_id:
        return _Made(refusal="it took a Subscription and did not say under which id")
    return _Made(remote_id=remote_id, status=str(told.get("status", "")), ends_at=ends_at(told))


def _found(follow: Follow, wanted: Wanted) -> str | None:
    """One of ours that the server holds already, made without our hearing of it."""
    asked = urlencode({"url": follow.hook, "_count": "100"})
    try:
        page = follow.page(f"{follow.client.base_url}/Subscription?{asked}", "searchset")
    except RemoteFailure:
        return None
    for entry in page.entries:
        try:
            one = msgspec.json.decode(entry.raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue
        if not isinstance(one, dict) or one.get("resourceType") != "Subscription":
            continue
        channel = one.get("channel")
        is_ours = isinstance(channel, dict) and channel.get("endpoint") == follow.hook
        if is_ours and one.get("criteria") == wanted.criteria and isinstance(one.get("id"), str):
            return str(one["id"])
    return None


def _put_off(follow: Follow, held: RemoteSubscription, reason: str) -> None:
    due = follow.now() + pause_after(FIRST_PAUSE_SECONDS, held.tries)
    _change(follow, held, tries=held.tries + 1, due_at=due, reason=reason)


def _change(follow: Follow, held: RemoteSubscription, **changes: Any) -> None:
    with follow.database.begin() as tx:
        follow.hold(tx)
        remote_subscriptions.change(tx, held.id, changes)
