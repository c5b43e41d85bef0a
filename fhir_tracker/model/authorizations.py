"""What a payer has said to a request for prior authorisation, in one word.

https://hl7.org/fhir/R4/claimresponse.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fhir_tracker.fhir.codeable import codings
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at, text_at

ANSWERS: Final = ("pending", "approved", "partial", "denied")
REVIEW_ACTION: Final = "http://hl7.org/fhir/us/davinci-pas/StructureDefinition/extension-reviewAction"
"""On an item or its adjudication: what Da Vinci PAS makes of the X12 answer. https://hl7.org/fhir/us/davinci-pas/"""
_X12: Final[Mapping[str, str]] = {
    "A1": "approved",
    "A2": "partial",
    "A3": "denied",
    "A4": "pending",
    "A6": "partial",
    "C": "denied",
    "CT": "pending",
    "NA": "approved",
}
"""X12 306, review decision reason: certified in total, in part, not certified, pended, modified, cancelled, call, not needed."""
_WORDS: Final[Mapping[str, str]] = {
    "approved": "approved",
    "certified": "approved",
    "denied": "denied",
    "rejected": "denied",
    "not certified": "denied",
    "pended": "pending",
    "pending": "pending",
    "partial": "partial",
}
_DEPTH: Final = 4


def authorization_of(resource: Resource) -> str:
    """One of ANSWERS; "" for a ClaimResponse about something else than prior authorisation.

    What is queued is pending. Else the review actions of the items decide: `partial` when they differ; then the words of
    the disposition. What is complete without either is approved, an error denied.
    """
    if resource.get("use") not in ("preauthorization", None) and not text_at(resource, "preAuthRef"):
        return ""
    outcome = text_at(resource, "outcome") or ""
    said = set(_review_actions(resource))
    if said:
        return said.pop() if len(said) == 1 else "pending" if "pending" in said else "partial"
    if outcome == "queued":
        return "pending"
    disposition = (text_at(resource, "disposition") or "").casefold()[:500]
    worded = [answer for word, answer in _WORDS.items() if word in disposition.replace("not approved", "denied")]
    if worded:
        return "denied" if "denied" in worded else worded[0]
    return {"error": "denied", "partial": "partial"}.get(outcome, "approved")


def _review_actions(resource: Resource) -> Iterator[str]:
    holders: list[Json] = [resource]
    for item in (*objects_at(resource, "item"), *objects_at(resource, "addItem")):
        holders += [item, *objects_at(item, "adjudication")]
    for holder in (*holders, *objects_at(resource, "adjudication")):
        for one in objects_at(holder, "extension"):
            if one.get("url") == REVIEW_ACTION:
                yield from (_X12[code] for code in _codes_in(one, _DEPTH) if code in _X12)


def _codes_in(extension: Json, depth: int) -> Iterator[str]:
    for name in ("valueCodeableConcept", "valueCoding"):
        yield from (code for _, code in codings(extension.get(name))) if isinstance(extension, dict) else ()
    if depth:
        for inner in objects_at(extension, "extension"):
            yield from _codes_in(inner, depth - 1)
