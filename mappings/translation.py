"""An EHR's codes as the tracker's and back: what is added is marked, so that the way back takes it off again.

https://hl7.org/fhir/R4/terminologies.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import objects_at
from fhir_tracker.model.vocabulary import CODE_SENT, MAPPED_CODE, UNMAPPED_CODE
from mappings.tables import STATUS_TYPES, SYSTEMS, Coding, Tables, status_codes

FIELDS: Final = {
    "Appointment": {
        "serviceType": "appointment-type",
        "appointmentType": "appointment-type",
        "cancelationReason": "reason",
    },
    "Task": {"statusReason": "reason"},
    "Communication": {"statusReason": "outreach", "medium": "channel"},
}
"""Type -> field -> the table of its codes."""
NO_TABLE: Final = "No code table knows"
"""How the reason begins for which a resource waits until a table is extended."""
_ATTEMPTED = ("completed", "not-done")
_SHOWN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/ |-]{0,79}")
_TASK = re.compile(r"(.*/)?Task/[^/]+(/_history/.*)?")


def into_ours(resource: Resource, tables: Sequence[Tables]) -> Resource:
    """A copy with what the first of `tables` that knows a code says of it.

    Raises Incorrect for a code that rules and queues need and that no table knows: a status, and what came of an attempt
    to reach a patient about a Task. Others are marked as unmapped.
    """
    fresh = {**resource, **_status_into_ours(resource, tables)}
    for name, kind in FIELDS.get(resource["resourceType"], {}).items():
        if name in resource:
            needed = kind == "outreach" and _is_attempt(fresh)
            fresh[name] = _each(resource[name], partial(_ours, kind=kind, tables=tables, needed=needed))
    return fresh


def into_theirs(resource: Resource, tables: Sequence[Tables]) -> Resource:
    """The way back of `into_ours`."""
    fresh = _status_into_theirs(resource, tables)
    for name in FIELDS.get(resource["resourceType"], {}):
        if name in resource:
            fresh[name] = _each(resource[name], _theirs)
    return fresh


def recoded(resource: Resource, tables: Sequence[Tables], *, status: bool = False) -> Resource:
    """A resource of ours with its codings as `tables` have them now, with `status` also its status; all else stays.

    A status that no table knows any more stays too.
    """
    fresh = dict(_status_anew(resource, tables) if status else resource)
    for name, kind in FIELDS.get(resource["resourceType"], {}).items():
        if name in resource:
            fresh[name] = _each(_each(resource[name], _theirs), partial(_ours, kind=kind, tables=tables, needed=False))
    return fresh


def _status_anew(resource: Resource, tables: Sequence[Tables]) -> Resource:
    element = resource.get("_status")
    marks = _marks(element)
    sent = next((one.get("valueString") for one in reversed(marks) if _is_mark(one, CODE_SENT)), resource.get("status"))
    known = _status_here(resource["resourceType"], sent, tables) if isinstance(sent, str) else None
    if known in (None, resource.get("status")):
        return resource
    rest = {name: value for name, value in element.items() if name != "extension"} if isinstance(element, dict) else {}
    kept = [one for one in marks if not _is_mark(one, CODE_SENT)]
    rest |= {"extension": kept} if kept else {}
    plain = {name: value for name, value in resource.items() if name != "_status"} | {"status": sent}
    plain |= {"_status": rest} if rest else {}
    return {**plain, **_status_into_ours(plain, tables)}


def _status_into_ours(resource: Resource, tables: Sequence[Tables]) -> Resource:
    type_ = resource["resourceType"]
    if type_ not in STATUS_TYPES or "status" not in resource:
        return {}
    sent = resource["status"]
    if not isinstance(sent, str):
        raise Incorrect(f"{type_}.status is not a code.")
    known = _status_here(type_, sent, tables)
    if known == sent:
        return {}
    if known is None:
        raise Incorrect(f"{NO_TABLE} the {type_}.status {_shown(sent)}.", expression=f"{type_}.status")
    element = resource.get("_status", {})
    marks = element.get("extension", []) if isinstance(element, dict) else None
    if not isinstance(marks, list):
        raise Incorrect(f"`_status` of a {type_} is not an element.")
    return {
        "status": known,
        "_status": {**element, "extension": [*marks, {"url": CODE_SENT, "valueString": sent}]},
    }


def _status_here(type_: str, sent: str, tables: Sequence[Tables]) -> str | None:
    told = next((one.status[type_][sent] for one in tables if sent in one.status.get(type_, {})), None)
    return told or (sent if sent in status_codes(type_) else None)


def _status_into_theirs(resource: Resource, tables: Sequence[Tables]) -> Resource:
    """What was sent is sent back where it still means the status; another status goes as the code of R4."""
    element = resource.get("_status")
    marks = _marks(element)
    kept = [one for one in marks if not _is_mark(one, CODE_SENT)]
    fresh = dict(resource)
    if len(kept) == len(marks) or not isinstance(element, dict):
        return fresh
    rest = {name: value for name, value in element.items() if name != "extension"}
    rest |= {"extension": kept} if kept else {}
    fresh = {name: value for name, value in resource.items() if name != "_status"} | ({"_status": rest} if rest else {})
    sent = next(one.get("valueString") for one in reversed(marks) if _is_mark(one, CODE_SENT))
    if isinstance(sent, str) and _status_here(resource["resourceType"], sent, tables) == resource.get("status"):
        fresh["status"] = sent
    return fresh


def _is_attempt(resource: Resource) -> bool:
    """Whether rules will count it: an attempt, made or not done, that is about a Task."""
    about = [one.get("reference") for name in ("about", "basedOn", "partOf") for one in objects_at(resource, name)]
    return resource.get("status") in _ATTEMPTED and any(isinstance(one, str) and _TASK.fullmatch(one) for one in about)


def _each(value: Json, change: Callable[[Resource], Resource]) -> Json:
    if isinstance(value, list):
        return [change(one) if isinstance(one, dict) else one for one in value]
    return change(value) if isinstance(value, dict) else value


def _ours(concept: Resource, kind: str, tables: Sequence[Tables], needed: bool) -> Resource:
    sent = concept.get("coding")
    if not isinstance(sent, list):
        return concept
    pairs = [_pair(one) for one in sent]
    own = [pair for pair in pairs if pair and pair[0] == SYSTEMS[kind]]
    known = [(pair, found) for pair in pairs if pair and (found := _look_up(pair, kind, tables)) is not None]
    if needed and not own and not known and any(pairs):
        shown = _shown("|".join(next(pair for pair in pairs if pair)))
        raise Incorrect(f"{NO_TABLE} what came of this attempt: {shown}.", expression="Communication.statusReason")
    added = dict.fromkeys(one for _, found in known for one in found if one not in pairs)
    is_known = bool(own or known)
    marked = [one if is_known else _marked(one, pair, kind, tables) for one, pair in zip(sent, pairs, strict=True)]
    return {**concept, "coding": [*(_added(one, kind) for one in added), *marked]}


def _look_up(pair: Coding, kind: str, tables: Sequence[Tables]) -> tuple[Coding, ...] | None:
    """What the first table that knows `pair` says: one coding, or none at all; None when no table knows it."""
    for one in tables:
        table = one.codings.get(kind)
        if table is not None and pair in table.codes:
            here = table.codes[pair]
            return () if here is None else (here,)
    return None


def _added(coding: Coding, kind: str) -> Resource:
    return {
        "extension": [{"url": MAPPED_CODE, "valueCode": kind}],
        "system": coding[0],
        "code": coding[1],
    }


def _marked(coding: Json, pair: Coding | None, kind: str, tables: Sequence[Tables]) -> Json:
    covers = tuple(begin for one in tables if kind in one.codings for begin in one.codings[kind].covers)
    if pair is None or not covers or not pair[0].startswith(covers):
        return coding
    held = coding.get("extension", [])
    if not isinstance(held, list) or ("extension" in coding and not held):
        return coding
    return {**coding, "extension": [*held, {"url": UNMAPPED_CODE, "valueCode": kind}]}


def _theirs(concept: Resource) -> Resource:
    held = concept.get("coding")
    if not isinstance(held, list):
        return concept
    kept = [_unmarked(one) for one in held if not any(_is_mark(mark, MAPPED_CODE) for mark in _marks(one))]
    return {**concept, "coding": kept}


def _unmarked(coding: Json) -> Json:
    marks = _marks(coding)
    kept = [one for one in marks if not _is_mark(one, UNMAPPED_CODE)]
    if len(kept) == len(marks):
        return coding
    rest = {name: value for name, value in coding.items() if name != "extension"}
    return rest | ({"extension": kept} if kept else {})


def _marks(coding: Json) -> list[Json]:
    found = coding.get("extension") if isinstance(coding, dict) else None
    return found if isinstance(found, list) else []


def _is_mark(value: Json, url: str) -> bool:
    return isinstance(value, dict) and value.get("url") == url


def _pair(coding: Json) -> Coding | None:
    if not isinstance(coding, dict) or not isinstance(coding.get("code"), str):
        return None
    system = coding.get("system")
    return (system if isinstance(system, str) else "", coding["code"])


def _shown(code: str) -> str:
    return repr(code) if _SHOWN.fullmatch(code) else "that was sent"
