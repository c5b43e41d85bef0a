"""Reads a test on one resource: `Encounter: {status: finished, class: IMP}` or `Flag: high-risk`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fhir_tracker.model.program import Match
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import TYPES
from fhir_tracker.rules.source import Fields, Node, Place, Table, fields, suggestion, texts_of

CODE_KEYS: Final = ("class", "category", "code", "type", "service")
ACTIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "Flag": ("active",),
    "CarePlan": ("active",),
    "Condition": ("active", "recurrence", "relapse"),
}
"""The statuses meant when a program file gives none."""


def read_match(kind: str, place: Place, node: Node, draft: Draft) -> Match | None:
    """The Match under a resource type; a text or list of texts are its codes."""
    if kind not in TYPES:
        draft.problems.add(place, f'unknown resource type "{kind}"{suggestion(kind, TYPES)}')
        return None
    if not isinstance(node, Table):
        codes = tuple(text.value for text in texts_of(node, draft.problems))
        return Match(type=kind, codes=codes, status=ACTIVE.get(kind, ())) if codes else None
    given = fields(node, draft.problems, (), ("status", *CODE_KEYS, "within", "outcome", "count"))
    if given is None:
        return None
    status = tuple(text.value for text in given.texts("status"))
    return Match(
        type=kind,
        status=status or ACTIVE.get(kind, ()),
        codes=_codes(given, draft),
        within=given.duration("within"),
        outcomes=tuple(text.value for text in given.texts("outcome")),
        count=given.number("count", 1),
    )


def read_one_match(node: Node, draft: Draft) -> Match | None:
    """A mapping of exactly one resource type to its test."""
    if not isinstance(node, Table) or len(node.entries) != 1:
        draft.problems.add(node.place, 'must name one resource type, such as {DocumentReference: {type: "..."}}')
        return None
    ((kind, inner),) = node.entries.items()
    return read_match(kind, node.keys[kind], inner, draft)


def _codes(given: Fields, draft: Draft) -> tuple[str, ...]:
    keys = [key for key in CODE_KEYS if given.node(key) is not None]
    if len(keys) > 1:
        place = given.table.keys[keys[1]]
        draft.problems.add(place, f'give one of {", ".join(CODE_KEYS)} only ("{keys[0]}" is already given)')
    codes: tuple[str, ...] = ()
    for key in keys[:1]:
        for text in given.texts(key):
            codes += draft.service_codes(text) if key == "service" else (text.value,)
    return codes
