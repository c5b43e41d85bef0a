"""What a role's rules leave of what a page is made from: the same elements that the API cuts, in the forms that pages read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from api.staff.shapes import RuleAnswer
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.event import EVENT_TYPES
from fhir_tracker.model.policy import covers
from fhir_tracker.model.sight import Sight
from fhir_tracker.model.work import Event, Transition
from fhir_tracker.reach import rules_of

_DETAILS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "Appointment": {"reason": ("reasonCode", "reasonReference", "cancelationReason"), "description": ("description",)},
    "Communication": {"note": ("note",), "outcome": ("statusReason",)},
    "DocumentReference": {"description": ("description",)},
    "Encounter": {"reason": ("reasonCode", "reasonReference")},
    "Flag": {"title": ("code",)},
}
"""Of which elements an event's details are made."""


def sees_chart(sight: Sight) -> bool:
    """Whether what rules tell of a patient's record may be shown: all that they look at may be read, and no part is hidden."""
    return all(sight.may("r", type_) for type_ in EVENT_TYPES) and not sight.hidden("Task")


def shown_resource(resource: Resource, sight: Sight) -> Resource:
    """The resource as the API would show it, without the tag."""
    return rules_of(sight).cut(resource) if sight.hides else resource


def shown_events(events: Iterable[Event], sight: Sight) -> tuple[Event, ...]:
    """The events without details of elements that are not shown."""
    return tuple(_event(one, sight) for one in events) if sight.hides else tuple(events)


def shown_log(log: Iterable[Transition], sight: Sight) -> tuple[Transition, ...]:
    """The transitions without reasons and notes, where those of a Task or plan are not shown."""
    if not sight.hides:
        return tuple(log)
    return tuple(_row(one, sight.hidden(one.item.partition("/")[0])) for one in log)


def shown_answers(answers: Iterable[RuleAnswer], sight: Sight) -> tuple[RuleAnswer, ...]:
    """Each rule with its answer; why, and by which facts, only for who may see what those are taken from."""
    if sees_chart(sight):
        return tuple(answers)
    return tuple(replace(one, why="", facts=()) for one in answers)


def _event(event: Event, sight: Sight) -> Event:
    hidden, made_of = sight.hidden(event.type), _DETAILS.get(event.type, {})
    gone = {name for name, paths in made_of.items() if any(_is_hidden(path, hidden) for path in paths)}
    if not gone & event.detail.keys():
        return event
    return replace(event, detail={name: text for name, text in event.detail.items() if name not in gone})


def _row(row: Transition, hidden: frozenset[str]) -> Transition:
    reason = None if _is_hidden("statusReason", hidden) else row.reason
    note = None if _is_hidden("note", hidden) else row.note
    return row if (reason, note) == (row.reason, row.note) else replace(row, reason=reason, note=note)


def _is_hidden(path: str, hidden: frozenset[str]) -> bool:
    return any(covers(one, path) or covers(path, one) for one in hidden)
