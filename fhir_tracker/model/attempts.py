"""What a Communication tells of an attempt to reach somebody, also where an EHR wrote it in words of its own.

https://hl7.org/fhir/R4/communication.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from fhir_tracker.fhir.codeable import codings, text_of
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.model.vocabulary import CHANNEL_SYSTEM, CHANNELS, CONTACT_USED, OUTCOME_SYSTEM, OUTCOMES, TIME_SPENT

REACHED: Final = "reached"
_MODES: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode"
_CODES: Final[Mapping[tuple[str, str], str]] = {
    (_MODES, "PHONE"): "phone",
    (_MODES, "VERBAL"): "phone",
    (_MODES, "SMSWRIT"): "sms",
    (_MODES, "EMAILWRIT"): "email",
    (_MODES, "MAILWRIT"): "letter",
    (_MODES, "ONLINEWRIT"): "portal",
    (_MODES, "ELECTRONIC"): "portal",
    ("http://snomed.info/sct", "359993007"): "phone",
    ("http://snomed.info/sct", "185317003"): "phone",
    ("http://snomed.info/sct", "448337001"): "phone",
}
_CHANNEL_WORDS: Final = (
    ("sms", re.compile(r"\b(sms|text|texted|text message|texting)\b")),
    ("email", re.compile(r"\b(e-?mail|e-?mailed)\b")),
    ("portal", re.compile(r"\b(portal|mychart|my ?chart|secure message|patient message|online)\b")),
    ("letter", re.compile(r"\b(letter|mail|mailed|post|postal)\b")),
    ("phone", re.compile(r"\b(phone|telephone|call|called|calls|voice|verbal|mobile|cell)\b")),
)
_OUTCOME_WORDS: Final = (
    ("wrong-number", re.compile(r"wrong number|disconnected|not in service|invalid number|number changed")),
    ("bounced", re.compile(r"bounced|undeliver|returned to sender|returned mail|delivery fail|invalid address")),
    ("declined", re.compile(r"declin|refus|opt(ed)?[ -]?out|does not want|do not contact")),
    ("left-message", re.compile(r"left (a )?(message|voice ?mail|vm)|voice ?mail|left-message|message left|\blm\b")),
    (
        "no-answer",
        re.compile(
            r"no[ -](answer|response|contact)|unanswered|unsuccessful|\bbusy\b|not in\b|"
            r"\b(not|never|unable|could ?n.t|did ?n.t|failed)\b.*\b(answer|reach|contact|respon|spoke|speak|success)"
        ),
    ),
    ("reached", re.compile(r"\breached\b|\bspoke|\bcontacted\b|\banswered\b|contact made|\bsuccessful")),
)
_WRITTEN: Final = frozenset({"letter", "email", "sms", "portal"})


def channel_of(resource: Resource) -> str:
    """The channel of CHANNELS that `medium` means by code or by its words; its own code or text else, "" for none."""
    medium = resource.get("medium")
    for system, code in codings(medium):
        if code in CHANNELS and system in ("", CHANNEL_SYSTEM):
            return code
        if (system, code) in _CODES:
            return _CODES[system, code]
    words = list(_words(medium))
    found = next((name for text in words for name, known in _CHANNEL_WORDS if known.search(text)), "")
    return found or next((code for _, code in codings(medium)), "") or next(iter(words), "")[:64]


def outcome_of(resource: Resource) -> str:
    """The outcome of OUTCOMES that `statusReason` means by code or by its words; its own code for others.

    Without one, what was completed has reached the patient, unless it only was sent: a letter, mail or message of ours
    that nobody is told to have received has been left.
    """
    reason = resource.get("statusReason")
    for system, code in codings(reason):
        if code in OUTCOMES and system in ("", OUTCOME_SYSTEM):
            return code
    found = next((name for text in _words(reason) for name, known in _OUTCOME_WORDS if known.search(text)), "")
    if found or reason is not None:
        return found or next((code for _, code in codings(reason)), "")
    if resource.get("status") != "completed":
        return ""
    only_sent = channel_of(resource) in _WRITTEN and "received" not in resource and "sent" in resource
    return "left-message" if only_sent and not _is_from_patient(resource) else REACHED


def minutes_told(resource: Resource) -> tuple[str, str] | None:
    """Start and end, as FHIR dateTimes, of the time that staff spent, when it is told."""
    for one in objects_at(resource, "extension"):
        if one.get("url") == TIME_SPENT:
            start, end = text_at(one, "valuePeriod", "start"), text_at(one, "valuePeriod", "end")
            return (start, end) if start and end else None
    return None


def contact_used(resource: Resource) -> str:
    """The number or address that was tried, when it is told; "" else."""
    for one in objects_at(resource, "extension"):
        if one.get("url") == CONTACT_USED:
            return (text_at(one, "valueContactPoint", "value") or "")[:200]
    return ""


def _is_from_patient(resource: Resource) -> bool:
    sender = text_at(resource, "sender", "reference") or ""
    return sender.startswith(("Patient/", "RelatedPerson/"))


def _words(value: Json) -> Iterator[str]:
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, dict):
            found = one.get("coding")
            texts = [
                one.get("text"),
                *((c.get("display") for c in found if isinstance(c, dict)) if isinstance(found, list) else ()),
            ]
            codes = [code.replace("-", " ").replace("_", " ") for _, code in codings(one)]
            for text in (*texts, *codes, text_of(one)):
                if isinstance(text, str) and text:
                    yield text[:500].casefold()
