"""Reads a test on one resource: `Encounter: {status: finished, class: IMP}` or `Flag: high-risk`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fhir_tracker.model.program import Match
from fhir_tracker.model.values import Quantity, ValueTest, is_known_unit, parse_quantity
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.events import TYPES
from fhir_tracker.rules.source import Fields, Node, Place, Table, fields, suggestion, texts_of

CODE_KEYS: Final = ("class", "category", "code", "type", "service")
BOUNDS: Final = ("at_least", "above", "at_most", "below")
VALUE_KEYS: Final = ("component", *BOUNDS, "value", "interpretation")
"""What an Observation can be asked for besides its codes."""
MATCH_KEYS: Final = ("status", *CODE_KEYS, "outcome", *VALUE_KEYS)
ACTIVE: Final[Mapping[str, tuple[str, ...]]] = {
    "Flag": ("active",),
    "CarePlan": ("active",),
    "Condition": ("active", "recurrence", "relapse"),
}
"""The statuses meant when a program file gives none."""


FINAL: Final[Mapping[str, tuple[str, ...]]] = {
    "DiagnosticReport": ("final", "amended", "corrected", "appended"),
    "Observation": ("final", "amended", "corrected"),
    "QuestionnaireResponse": ("completed", "amended"),
}
"""The statuses of what is there to stay, meant for an expected document when a program file gives none."""


def read_match(kind: str, place: Place, node: Node, draft: Draft) -> Match | None:
    """The Match under a resource type; a text or list of texts are its codes."""
    if kind not in TYPES:
        draft.problems.add(place, f'unknown resource type "{kind}"{suggestion(kind, TYPES)}')
        return None
    if not isinstance(node, Table):
        codes = tuple(text.value for text in texts_of(node, draft.problems))
        return Match(type=kind, codes=codes, status=ACTIVE.get(kind, ())) if codes else None
    given = fields(node, draft.problems, (), (*MATCH_KEYS, "within", "count"))
    return None if given is None else match_of(kind, given, draft)


def match_of(kind: str, given: Fields, draft: Draft) -> Match:
    """The Match that the keys of MATCH_KEYS, `within` and `count` among the given fields make."""
    status = tuple(text.value for text in given.texts("status"))
    return Match(
        type=kind,
        status=status or ACTIVE.get(kind, ()),
        codes=_codes(given, draft),
        within=given.duration("within"),
        outcomes=tuple(text.value for text in given.texts("outcome")),
        count=given.number("count", 1),
        value=_value(kind, given, draft),
    )


def read_one_match(node: Node, draft: Draft) -> Match | None:
    """A mapping of exactly one resource type to its test."""
    if not isinstance(node, Table) or len(node.entries) != 1:
        draft.problems.add(node.place, 'must name one resource type, such as {DocumentReference: {type: "..."}}')
        return None
    ((kind, inner),) = node.entries.items()
    return read_match(kind, node.keys[kind], inner, draft)


def read_test(node: Node, draft: Draft, kinds: Sequence[str], options: Sequence[str]) -> tuple[Match, Fields] | None:
    """A mapping of one resource type to its test, with the words of `options` beside it."""
    if not isinstance(node, Table):
        draft.problems.add(node.place, 'must name one resource type, such as {Encounter: {class: "EMER"}}')
        return None
    named = [kind for kind in node.entries if kind not in options]
    if len(named) != 1:
        draft.problems.add(node.place, f"must name one resource type and may add {', '.join(options)}")
        return None
    kind = named[0]
    if kind not in kinds:
        draft.problems.add(node.keys[kind], f'unknown resource type "{kind}"{suggestion(kind, (*kinds, *options))}')
        return None
    match = read_match(kind, node.keys[kind], node.entries[kind], draft)
    return (match, Fields(table=node, problems=draft.problems)) if match else None


def _value(kind: str, given: Fields, draft: Draft) -> ValueTest | None:
    keys = [key for key in VALUE_KEYS if given.node(key) is not None]
    if not keys:
        return None
    if kind != "Observation":
        place = given.table.keys[keys[0]]
        draft.problems.add(place, f'"{keys[0]}" is asked of an Observation, and this is about {kind}')
        return None
    bounds = {name: _quantity(given, name, draft) for name in BOUNDS}
    for name, other in (("at_least", "above"), ("at_most", "below")):
        if bounds[name] and bounds[other]:
            draft.problems.add(given.table.keys[other], f'give one of "{name}" and "{other}"')
    test = ValueTest(
        component=tuple(text.value for text in given.texts("component")),
        at_least=bounds["at_least"],
        above=bounds["above"],
        at_most=bounds["at_most"],
        below=bounds["below"],
        codes=tuple(text.value for text in given.texts("value")),
        interpretation=tuple(text.value for text in given.texts("interpretation")),
    )
    if keys == ["component"]:
        draft.problems.add(given.table.keys["component"], f"says nothing of its value: add one of {', '.join(BOUNDS)}")
    return test


def _quantity(given: Fields, name: str, draft: Draft) -> Quantity | None:
    text = given.text(name)
    if not text:
        return None
    node = given.node(name)
    place = node.place if node else given.place
    try:
        found = parse_quantity(text)
    except ValueError as error:
        draft.problems.add(place, str(error))
        return None
    if not is_known_unit(found.unit):
        draft.problems.warn(place, f'values in another unit than "{found.unit}" cannot be compared with it')
    return found


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
