"""What the members of each type have to look like, put together from the tables on first use.

https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from fhir_tracker.fhir.definitions.registry import Element, elements, is_resource, value_set
from fhir_tracker.fhir.invariants.rules import Rules, rules_at, rules_of, simple_quantity
from fhir_tracker.fhir.json_types import Json
from fhir_tracker.fhir.primitives import PRIMITIVES, Fault

LISTED_CODES = 15
REMEMBERED = frozenset({"code", "uri", "url", "canonical", "oid", "uuid"})
"""Primitives of which the same strings come again and again."""
_KNOWN: dict[tuple[str, bool], set[str]] = {}
_MOST_KNOWN = 4096
_SHORT = 200
TWO_LETTERS = frozenset(
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo"
    " es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg"
    " ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn"
    " no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw"
    " ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu".split()
)
"""The languages of ISO 639-1; those of three letters are taken as they are."""
_LANGUAGE = re.compile(
    r"(?P<primary>[a-z]{2,3})(?:-[a-z]{3}){0,3}(?:-[a-z]{4})?(?:-(?:[a-z]{2}|[0-9]{3}))?(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
    r"(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?|x(?:-[a-z0-9]{1,8})+|i-[a-z]{3,8}",
    re.IGNORECASE,
)


@dataclass(kw_only=True, slots=True)
class Slot:
    """One JSON member of a type: `choice` is the `x[x]` it belongs to, `fault` the check of a primitive.

    `codes` are those of a required value set of a code, `coded` the (system, code) pairs of one of a concept; `refused`
    says what a code outside of them is not. `rules` are the invariants of this element beyond those of its type.
    `known` are strings that are right here: all codes of the value set, or those met before if `remembers`; `asks_more`
    is whether a value of the right format has to be looked at further.
    """

    type: str
    many: bool
    choice: str | None
    fault: Fault | None
    known: Collection[str]
    remembers: bool
    targets: frozenset[str]
    codes: frozenset[str]
    coded: frozenset[tuple[str, str]]
    refused: str
    rules: tuple[Rules, ...]
    language: bool
    asks_more: bool
    form: Shape | None = None

    def remember(self, value: Json) -> None:
        """Keep a right string, so that it is not looked at again."""
        if type(value) is str and len(value) <= _SHORT and isinstance(self.known, set):
            if len(self.known) >= _MOST_KNOWN:
                self.known.clear()
            self.known.add(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The members of a type, its required elements (label, a member that holds it, all that can) and its invariants."""

    type: str
    slots: dict[str, Slot]
    required: tuple[tuple[str, str, frozenset[str]], ...]
    rules: Rules | None
    is_resource: bool


def is_language(text: str) -> bool:
    """Whether `text` is a language tag of BCP 47."""
    match = _LANGUAGE.fullmatch(text)
    if match is None:
        return False
    primary = match["primary"]
    return primary is None or len(primary) == 3 or primary.lower() in TWO_LETTERS


@cache
def shape(type_: str) -> Shape:
    """The shape of a resource, a datatype or a part of one."""
    slots: dict[str, Slot] = {}
    required: list[tuple[str, str, frozenset[str]]] = []
    for name, element in elements(type_).items():
        names: list[str] = []
        base = name.removesuffix("[x]")
        for leaf in element.types:
            member = base + leaf[0].upper() + leaf[1:] if element.is_choice else name
            slots[member] = _slot(type_, name, element, leaf)
            names.append(member)
        if element.required:
            required.append((base, names[0], frozenset(names) | {f"_{member}" for member in names}))
    return Shape(
        type=type_, slots=slots, required=tuple(required), rules=rules_of(type_), is_resource=is_resource(type_)
    )


def _slot(type_: str, name: str, element: Element, leaf: str) -> Slot:
    systems = value_set(element.codes) if element.codes else {}
    codes = frozenset(code for codes in systems.values() for code in codes)
    rules = (rules_at(type_, name, leaf), simple_quantity() if element.simple and leaf == "Quantity" else None)
    listed = codes if leaf == "code" else frozenset[str]()
    remembers = leaf in REMEMBERED and not listed and not (name == "id" and is_resource(type_))
    return Slot(
        type=leaf,
        many=element.many,
        choice=name.removesuffix("[x]") if element.is_choice else None,
        fault=PRIMITIVES["id"] if name == "id" and is_resource(type_) else PRIMITIVES.get(leaf),
        known=_KNOWN.setdefault((leaf, element.language), set()) if remembers else listed,
        remembers=remembers,
        targets=element.targets,
        codes=listed,
        coded=frozenset((system, code) for system, codes in systems.items() for code in codes)
        if leaf in ("Coding", "CodeableConcept")
        else frozenset(),
        refused=_listed(codes),
        rules=tuple(found for found in rules if found is not None),
        language=element.language and leaf in ("code", "CodeableConcept"),
        asks_more=bool(listed) or remembers,
    )


def _listed(codes: frozenset[str]) -> str:
    if len(codes) > LISTED_CODES:
        return f"one of the {len(codes)} codes that FHIR allows here"
    return "one of " + ", ".join(sorted(codes))
