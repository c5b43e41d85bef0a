"""`owner: [none, away, inactive]`: nobody owns the work, or one who cannot do it."""

from __future__ import annotations

from typing import Final

from fhir_tracker.model.facts import Verdict
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.predicate import Args, Case, Predicate, no, words
from fhir_tracker.rules.source import Node, texts_of
from fhir_tracker.rules.words import listed, moment, named

STATES: Final = ("none", "away", "inactive", "unknown", "wrong-role", "present")
"""No owner; one who is absent now, who does not work here any more, whom the tracker does not know, who has not the
work's role; one who is there."""


def _read(node: Node, draft: Draft) -> Args | None:
    codes = tuple(draft.reference(text, "state", STATES) for text in texts_of(node, draft.problems))
    return {"states": codes} if codes and all(codes) else None


def _judge(case: Case, args: Args) -> tuple[Verdict, ...]:
    item, now = case.facts.item, case.now
    person = case.facts.people.get(item.owner or "")
    away = person.away(now) if person else None
    roles = ", ".join(sorted(person.roles)) if person else ""
    used = {"owner": item.owner or "none", "role": item.role or "none", "owner's roles": roles or "none"}
    change = person.next_change(now) if person else None
    states = _states(case)
    found = [state for state in states if state in words(args, "states")]
    said = f"{named(case.program, item)} {_said(case, found or states)}"
    if not found:
        return no(said, used, change)
    since = away.start if away is not None and found == ["away"] else item.assigned_since
    if away is not None:
        used["away"] = f"from {moment(case.program.calendar, away.start)}"
    return (Verdict(holds=True, why=said, facts=used, since=since, next_change=change),)


def _states(case: Case) -> list[str]:
    item = case.facts.item
    if item.owner is None:
        return ["none"]
    person = case.facts.people.get(item.owner)
    if person is None:
        return ["unknown"]
    found = [] if person.active else ["inactive"]
    if person.away(case.now):
        found.append("away")
    if item.role and person.roles and item.role not in person.roles:
        found.append("wrong-role")
    return found or ["present"]


def _said(case: Case, states: list[str]) -> str:
    item = case.facts.item
    person = case.facts.people.get(item.owner or "")
    name = (person.name if person else "") or item.owner or ""
    told = {
        "none": "has no owner",
        "away": f"belongs to {name}, who is away",
        "inactive": f"belongs to {name}, who does not work here any more",
        "unknown": f"belongs to {name}, who is not among the staff",
        "wrong-role": f"belongs to {name}, who is no {item.role}",
        "present": f"belongs to {name}",
    }
    return listed([told[one] for one in states])


PREDICATE = Predicate(
    name="owner",
    takes=f"one of {', '.join(STATES)}, or a list of them",
    says="the work has no owner, or one who is away, does not work here any more, is not known or has not its role",
    subjects=("task",),
    read=_read,
    judge=_judge,
    describe=lambda args: f"its owner is {listed(words(args, 'states'), 'or')}",
)
