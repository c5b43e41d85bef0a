"""The answers of a QuestionnaireResponse as a flat list, however deep its groups and however wrong its values.

https://hl7.org/fhir/R4/questionnaireresponse.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import at, objects_at, text_at

ORDINAL: Final = (
    "http://hl7.org/fhir/StructureDefinition/ordinalValue",
    "http://hl7.org/fhir/StructureDefinition/itemWeight",
)
MOST: Final = 500
_LONGEST: Final = 200


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer to the item `link`: its `code` (as `system|code`), the `weight` it carries itself, a `number`, or its
    `text`; what it is not is left out.
    """

    link: str
    code: str = ""
    weight: Decimal | None = None
    number: Decimal | None = None
    text: str = ""


def answers_of(resource: Resource) -> tuple[Answer, ...]:
    """Every answer, in the order of the form, the first MOST of them."""
    found: list[Answer] = []
    waiting: list[Resource] = list(reversed(objects_at(resource, "item")))
    looked = 0
    while waiting and len(found) < MOST and looked < MOST * 4:
        item = waiting.pop()
        looked += 1
        link = (text_at(item, "linkId") or "")[:_LONGEST]
        inner: list[Resource] = []
        for answer in objects_at(item, "answer"):
            if link and (one := _answer(link, answer)):
                found.append(one)
            inner.extend(objects_at(answer, "item"))
        waiting.extend(reversed([*objects_at(item, "item"), *inner]))
    return tuple(found[:MOST])


def as_text(answers: tuple[Answer, ...]) -> str:
    """The answers as text to keep with an Event; empty for none."""
    rows = [[one.link, one.code, _plain(one.weight), _plain(one.number), one.text] for one in answers]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")) if rows else ""


def from_text(text: str) -> tuple[Answer, ...]:
    """The answers that `as_text` kept."""
    rows = json.loads(text) if text else []
    return tuple(
        Answer(link=link, code=code, weight=_number(weight), number=_number(number), text=said)
        for link, code, weight, number, said in rows
    )


def number_of(value: Json) -> Decimal | None:
    """A finite number of moderate size, however JSON gave it; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return _number(str(value))


def _answer(link: str, answer: Resource) -> Answer | None:
    values: Mapping[str, Json] = {name: value for name, value in answer.items() if name.startswith("value")}
    coding = values.get("valueCoding")
    if isinstance(coding, dict):
        code = text_at(coding, "code") or ""
        system = text_at(coding, "system") or ""
        named = f"{system}|{code}"[:_LONGEST] if code else ""
        text = (text_at(coding, "display") or "")[:_LONGEST]
        return Answer(link=link, code=named, weight=_weight(coding, answer), text=text) if named or text else None
    flag = values.get("valueBoolean")
    if isinstance(flag, bool):
        return Answer(link=link, number=Decimal(int(flag)), text=str(flag).lower())
    number = next((one for one in _numbers(values) if one is not None), None)
    if number is not None:
        return Answer(link=link, number=number)
    said = text_at(values.get("valueString")) or next((one for one in values.values() if isinstance(one, str)), "")
    return Answer(link=link, text=said[:_LONGEST]) if said else None


def _weight(*holders: Resource) -> Decimal | None:
    for holder in holders:
        for one in objects_at(holder, "extension"):
            if one.get("url") in ORDINAL:
                return number_of(one.get("valueDecimal"))
    return None


def _numbers(values: Mapping[str, Json]) -> Iterator[Decimal | None]:
    yield number_of(values.get("valueInteger"))
    yield number_of(values.get("valueDecimal"))
    yield number_of(at(values.get("valueQuantity"), "value"))


def _plain(number: Decimal | None) -> str:
    return "" if number is None else str(number)


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text) if text and len(text) <= 30 else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() and abs(number) < 10**9 else None
