"""Carrying notifications out of the application: gathered into mails and webhook calls, leased, sent, tried again, or dead.

At least once: a worker that dies between sending and writing that down leaves a lease, after which it is sent again under
the same id (Message-ID, `webhook-id`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fhir_tracker import failpoints
from fhir_tracker.addresses import EVERY, is_mail
from fhir_tracker.config import Settings
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.storage import audit, dispatches, staff
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.dispatches import Dispatch, Untold
from subscriptions import mail, told, webhooks

GATHER = timedelta(minutes=1)
"""How long mail for one role or person waits for more of it."""
LEASE = timedelta(minutes=2)
"""Longer than one mail or call may take."""
_SENDER = worker_viewer("deliver")
ROWS = 100
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(hours=1)
MOST_TRIES = 60
"""With the pauses above: more than two days."""
FAILURES_TO_STOP = 3
"""After how many failures in a row the rest of a round is not tried."""
KEEP_SENT = timedelta(days=30)


@dataclass(frozen=True, kw_only=True)
class DeliveryReport:
    """What one round came to: how many were gathered, and how many dispatches went to which state."""

    gathered: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)


def deliver_due(
    database: Database, settings: Settings, now: Callable[[], datetime], jitter: Callable[[], float] = random.random
) -> DeliveryReport:
    """Gather what is to be told by mail or webhook, and send what is due. Another worker may do the same at the same time."""
    gathered = _gather(database, settings, now())
    counts: Counter[str] = Counter()
    for channel in dispatches.AWAY:
        failures = 0
        for _ in range(ROWS):
            with database.begin() as tx:
                held = dispatches.claim(tx, channel, now(), LEASE)
            if held is None:
                break
            state = _deliver(database, settings, held, now, jitter)
            counts[state] += 1
            failures = 0 if state == "sent" else failures + 1
            if failures >= FAILURES_TO_STOP:
                break
    return DeliveryReport(gathered=gathered, counts=counts)


def _gather(database: Database, settings: Settings, now: datetime) -> int:
    with database.read() as tx:
        ripe = [one for one in dispatches.untold(tx) if one.channel != "email" or one.oldest <= now - GATHER]
    gathered = 0
    for one in ripe:
        with database.begin() as tx:
            gathered += _address(tx, settings, one, now)
    return gathered


def _address(tx: Tx, settings: Settings, one: Untold, now: datetime) -> int:
    ids = dispatches.gather(tx, one)
    if ids:
        lacking = _lacking(settings, one.channel)
        found = () if lacking else _addresses(tx, settings, one, now)
        for address in found:
            dispatches.add(tx, one, ids, address=address, at=now)
        if not found:
            reason = lacking or f"There is no address of {one.role or one.person} for {one.channel}."
            dispatches.add(tx, one, ids, address="", at=now, reason=reason)
        dispatches.forget_sent(tx, now - KEEP_SENT)
    return len(ids)


def _lacking(settings: Settings, channel: str) -> str:
    """Which setting is not there, as a sentence; "" when nothing is missing."""
    needed: Mapping[str, Sequence[tuple[str, object]]] = {
        "email": (("SMTP_URL", settings.smtp_url), ("SMTP_FROM", settings.smtp_from)),
        "webhook": (("NOTIFY_WEBHOOK", settings.notify_webhook), ("WEBHOOK_SECRET", settings.webhook_secret)),
    }
    missing = [f"FHIR_TRACKER_{name}" for name, value in needed[channel] if not value]
    return f"Not set: {', '.join(missing)}." if missing else ""


def _addresses(tx: Tx, settings: Settings, one: Untold, now: datetime) -> Sequence[str]:
    """Where it goes; a person's mail is their own, or while they are away that of their substitute."""
    if one.channel == "webhook":
        address = settings.notify_webhook.get(one.role or "") or settings.notify_webhook.get(EVERY)
        return [address] if address else []
    if one.person:
        return _mails(tx, [one.person], now)
    role = one.role or ""
    named = settings.notify_mail.get(role)
    if named is not None:
        return named
    own = _mails(tx, [member.ref for member in staff.members(tx, role, now)], now)
    return own or settings.notify_mail.get(EVERY, ())


def _mails(tx: Tx, refs: Sequence[str], now: datetime) -> list[str]:
    known = staff.people(tx, refs, now)
    here = [one for one in known.values() if one.active and one.away(now) is None]
    if not here and len(refs) == 1:
        away = known[refs[0]].away(now) if refs[0] in known else None
        here = list(staff.people(tx, [away.substitute], now).values()) if away and away.substitute else []
    return sorted({one.mail for one in here if one.active and is_mail(one.mail)})


def _deliver(
    database: Database, settings: Settings, held: Dispatch, now: Callable[[], datetime], jitter: Callable[[], float]
) -> str:
    try:
        _send(database, settings, held, now())
    except RemoteFailure as error:
        permanent = error.permanent or held.attempts >= MOST_TRIES
        retry_at = None if permanent else now() + pause(held.attempts, jitter())
        with database.begin() as tx:
            dispatches.failed(tx, held, error.message, retry_at, now())
            _tell(tx, held, now(), "error")
        return "dead" if permanent else "waiting"
    failpoints.reached("notification-sent")
    with database.begin() as tx:
        dispatches.sent(tx, held, now())
        _tell(tx, held, now(), "success")
    return "sent"


def _tell(tx: Tx, held: Dispatch, now: datetime, outcome: str) -> None:
    """The row of the audit trail; where it went is in the dispatch."""
    detail = {"channel": held.channel, "attempt": held.attempts}
    ref = f"dispatch/{held.id}"
    audit.add(tx, at=now, viewer=_SENDER, action="send", ref=ref, outcome=outcome, kind="worker", detail=detail)


def _send(database: Database, settings: Settings, held: Dispatch, at: datetime) -> None:
    lacking = _lacking(settings, held.channel)
    if lacking:
        raise RemoteFailure(lacking)
    with database.read() as tx:
        said = told.told_of(tx, held, settings.public_url)
    if held.channel == "webhook":
        webhooks.call(held.address, settings.webhook_secret, told.message_id(held), told.payload_of(said), at)
    elif settings.smtp_url is not None:
        message = told.mail_of(said, settings.smtp_from, settings.public_url, at)
        mail.send(settings.smtp_url, message, settings.smtp_from, held.address)


def pause(attempts: int, chance: float) -> timedelta:
    """How long to wait after so many tries: doubling up to an hour, and by chance up to half as long again shorter."""
    doubled: int = 2 ** min(max(attempts - 1, 0), 20)
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * doubled)
    return longest * (1 - chance / 2)
