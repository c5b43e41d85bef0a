"""Firing one level of a ladder, and what people answer to it.

An escalation Task's status is its state: `accepted` acknowledged, `in-progress` taken over, `rejected` sent back,
`completed` resolved (DESIGN section 2); the firing row follows it in the projection of the Task.
"""

from __future__ import annotations

from collections.abc import Mapping

from fhir_tracker import projection, provenance, records, task_resources, transitions
from fhir_tracker.errors import RuleBroken
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import Escalate
from fhir_tracker.model.moves import MoveRequest
from fhir_tracker.model.work import Transition, WorkItem
from fhir_tracker.rules.reasons import CODE, with_words
from fhir_tracker.storage import firings, notifications
from fhir_tracker.storage import transitions as transition_rows
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


def fire(tx: Tx, item: WorkItem, effect: Escalate, author: Author, rule: str, id_: str | None = None) -> Stored:
    """Write what one level means: its Task, Provenance, notifications and the transition row.

    The firing row is the caller's; with `id_`, which is fresh, it names the Task already.
    """
    why = Why(reason=effect.reason, rule=rule)
    resource = task_resources.escalation_task(id_ or records.fresh_id(author.at), item, effect, author.at)
    stored = records.save(tx, resource, author, why=why, fresh=True)
    provenance.record(tx, [stored], author, why, activity="CREATE")
    if id_ is None:
        firings.link_task(tx, effect.key, stored.ref)
    for channel in effect.notify:
        notifications.add(
            tx,
            to_role=effect.to_role,
            to_person=None,
            channel=channel,
            subject=stored.ref,
            patient=item.patient,
            text=effect.reason,
            at=author.at,
        )
    transition_rows.add(tx, _climbed(item, effect, author, rule), item.patient)
    projection.touch(tx, item.ref, author.at)
    return stored


def _climbed(item: WorkItem, effect: Escalate, author: Author, rule: str) -> Transition:
    return Transition(
        item=item.ref,
        what="escalation",
        before=f"level {effect.level - 1}" if effect.level > 1 else None,
        after=f"level {effect.level} to {effect.to_role}",
        recorded_at=author.at,
        effective_at=author.at,
        who=author.viewer.who,
        reason=effect.reason,
        rule=rule,
        cycle=item.cycle,
    )


def acknowledge(tx: Tx, ref: str, author: Author, *, if_match: int | None = None) -> Stored:
    """Say that it was seen: the ladder stops climbing."""
    return _answer(tx, ref, "accepted", author, if_match=if_match)


def take_over(tx: Tx, ref: str, author: Author, *, if_match: int | None = None) -> Stored:
    """Make the escalation one's own work."""
    return _answer(tx, ref, "in-progress", author, owner=author.viewer.who, if_match=if_match)


def send_back(
    tx: Tx, ref: str, reason: str, author: Author, *, code: str | None = None, if_match: int | None = None
) -> Stored:
    """Refuse it with a reason, coded where the program offers such reasons; the ladder goes on."""
    fields = {"reason": reason, CODE: code or ""}
    return _answer(tx, ref, "rejected", author, fields=fields, if_match=if_match)


def resolve(tx: Tx, ref: str, author: Author, *, reason: str | None = None, if_match: int | None = None) -> Stored:
    """Close it: what it was about has been dealt with."""
    return _answer(tx, ref, "completed", author, fields={"reason": reason or ""}, if_match=if_match)


def _answer(
    tx: Tx,
    ref: str,
    to: str,
    author: Author,
    *,
    owner: str | None = None,
    fields: Mapping[str, str] | None = None,
    if_match: int | None = None,
) -> Stored:
    task = transitions.find_task(tx, author.viewer, ref)
    if task.item.kind != "escalation":
        raise RuleBroken(f"{ref} is not an escalation.", expression="Task.code")
    if not task.item.open:
        raise RuleBroken("This escalation is closed already.", expression="Task.status")
    given = with_words(task.about, {name: text for name, text in (fields or {}).items() if text.strip()})
    transitions.check(tx, task, MoveRequest(to=to, fields=given), author, task.resource)
    changed = task_resources.with_status(task.resource, None, to, author.at)
    if owner:
        changed["owner"] = {"reference": owner}
    if code := given.get(CODE):
        changed["statusReason"] = task_resources.status_reason(task.about, code, given.get("reason"))
    elif given.get("reason"):
        changed["statusReason"] = {"text": given["reason"]}
    return transitions.store(tx, changed, author, transitions.why_of(given), if_match=if_match)
