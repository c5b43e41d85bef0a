"""Rows of the audit trail as AuditEvents by IHE Basic Audit Log Patterns; made when asked for, never stored.

https://profiles.ihe.net/ITI/BALP/ and https://hl7.org/fhir/R4/auditevent.html
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from string import ascii_uppercase
from typing import Any
from urllib.parse import urlsplit

from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.vocabulary import ROLE_SYSTEM
from fhir_tracker.storage.audit import AuditRow
from fhir_tracker.storage.audit_search import (
    ASKING,
    DATA,
    JOB,
    PATIENT,
    PERSON,
    QUERY,
    REQUEST,
    SYSTEM_OBJECT,
    SYSTEMS,
    Words,
)

DICOM = "http://dicom.nema.org/resources/ontology/DCM"
INTERACTION = "http://hl7.org/fhir/restful-interaction"
TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
OWN = f"{CANONICAL}/CodeSystem/audit-action"
_PROFILE = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_ENTITY_TYPE = SYSTEMS["entity-type"][PERSON]
_ROLE = SYSTEMS["entity-role"][PATIENT]
_REQUEST_ID = SYSTEMS["entity-type"][REQUEST]
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_CUSTODIAN = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_SOURCE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_MOST_DETAIL = 500
_TOLD = ("who", "action", "ref", "outcome", "request_id", "name", "client", "issuer", "address", "session", "purpose")

ACTIONS: Mapping[str, tuple[str, str]] = {
    "read": ("R", "read"),
    "vread": ("R", "vread"),
    "history": ("R", "history-instance"),
    "history-instance": ("R", "history-instance"),
    "history-type": ("R", "history-type"),
    "history-system": ("R", "history-system"),
    "search": ("E", "search-type"),
    "search-type": ("E", "search-type"),
    "search-system": ("E", "search-system"),
    "search-compartment": ("E", "search-type"),
    "create": ("C", "create"),
    "update": ("U", "update"),
    "patch": ("U", "patch"),
    "delete": ("D", "delete"),
    "batch": ("E", "batch"),
    "transaction": ("E", "transaction"),
}
"""Word of a row -> action and code of the RESTful interaction; every other word is an operation."""
SECURITY: Mapping[str, tuple[str, str, str, str]] = {
    "login": ("E", "110114", "110122", "Login"),
    "login-refused": ("E", "110114", "110122", "Login"),
    "launch": ("E", "110114", "110122", "Login"),
    "logout": ("E", "110114", "110123", "Logout"),
    "token": ("E", "110114", "110122", "Login"),
    "token-refused": ("E", "110114", "110122", "Login"),
    "token-revoked": ("E", "110114", "110123", "Logout"),
    "start": ("E", "110100", "110120", "Application Start"),
    "configure": ("U", "110113", "110131", "Software Configuration"),
    "prune": ("D", "110113", "110131", "Software Configuration"),
    "prune-begun": ("E", "110113", "110131", "Software Configuration"),
    "break-glass": ("E", "110113", "110127", "Emergency Override Started"),
    "break-glass-ended": ("E", "110113", "110138", "Emergency Override Stopped"),
    "restored": ("E", "110113", "110135", "Object Security Attributes Changed"),
    "denied": ("E", "110113", "110132", "Use of Restricted Function"),
}
"""Word of a row -> action, and the codes of DICOM for its type and subtype."""
_TYPE_NAMES = {
    "110100": "Application Activity",
    "110106": "Export",
    "110113": "Security Alert",
    "110114": "User Authentication",
    "110101": "Audit Log Used",
}
_PROFILES = {
    "read": "Read",
    "vread": "Read",
    "search-type": "Query",
    "search-system": "Query",
    "create": "Create",
    "update": "Update",
    "patch": "Update",
    "delete": "Delete",
}
_ENDS = {
    "Read": ((DICOM, "110152", "Destination Role ID"), (DICOM, "110153", "Source Role ID")),
    "Query": ((DICOM, "110153", "Source Role ID"), (DICOM, "110152", "Destination Role ID")),
    "Create": ((DICOM, "110153", "Source Role ID"), (DICOM, "110152", "Destination Role ID")),
    "Update": ((DICOM, "110153", "Source Role ID"), (DICOM, "110152", "Destination Role ID")),
    "Delete": ((DICOM, "110150", "Application"), (_CUSTODIAN, "custodian", "Custodian")),
}
"""Which way data goes: the types of the client and of the server."""
OUTCOMES = {"success": ("0", "Success"), "error": ("4", "Minor failure"), "denied": ("8", "Serious failure")}
_RECIPIENT = (_PARTICIPATION, "IRCP", "information recipient")
_AUTHOR = (_PARTICIPATION, "AUT", "author (originator)")
_WHO_TYPES = ("Practitioner/", "PractitionerRole/", "Patient/", "RelatedPerson/", "Organization/", "Device/")


def event_of(row: AuditRow, base: str, of: Sequence[str] = ()) -> Resource:
    """The AuditEvent of one row, as a server at `base` (our FHIR address) tells it.

    With ids of one patient in `of` it is that of this patient alone, where the row names others beside: its id is the row's
    with the place of the patient among them.
    """
    told: dict[str, Any] = {name: _plain(getattr(row, name)) for name in _TOLD}
    row = replace(row, **told)
    interaction = interaction_of(row)
    ends = _PROFILES.get(interaction, "")
    everybody = patients_of(row)
    patients = tuple(one for one in everybody if one in of) or everybody
    event: Resource = {
        "resourceType": "AuditEvent",
        "id": event_id(row, of),
        "meta": {"versionId": "1", "lastUpdated": instant(row.at), **_profile(row, ends, patients)},
        "type": type_of(row),
        "subtype": subtypes_of(row),
        "action": action_of(row),
        "recorded": instant(row.at),
        "outcome": OUTCOMES.get(row.outcome, OUTCOMES["error"])[0],
    }
    if row.outcome != "success":
        event["outcomeDesc"] = _why(row)
    if row.purpose:
        event["purposeOfEvent"] = [_purpose(row.purpose)]
    event["agent"] = list(_agents(row, ends or "Query", base))
    event["source"] = {
        "site": _site(base),
        "observer": {"display": "fhir-tracker", "identifier": {"value": base}},
        "type": [{"system": _SOURCE, "code": "4", "display": "Application Server"}],
    }
    entities = list(_entities(row, patients))
    return {**event, "entity": entities} if entities else event


def event_id(row: AuditRow, of: Sequence[str] = ()) -> str:
    """The number of the row; of one patient among several also the place of that patient, from 1 on."""
    everybody = patients_of(row)
    places = [place for place, one in enumerate(everybody, 1) if one in of]
    return f"{row.seq}.{places[0]}" if places and len(everybody) > 1 else str(row.seq)


def _site(base: str) -> str:
    return urlsplit(base).hostname or "fhir-tracker"


def interaction_of(row: AuditRow) -> str:
    """The code of the RESTful interaction, "operation" for what is none of the others, "" for what is no request of data."""
    if row.action in SECURITY or row.action == "export":
        return ""
    if row.action == "search" and not row.ref:
        return "search-system"
    if row.action == "history" and "/" not in row.ref:
        return "history-type" if row.ref else "history-system"
    return ACTIONS.get(row.action, ("E", "operation"))[1]


def type_of(row: AuditRow) -> Json:
    """The kind of event: RESTful, or one of DICOM's for security."""
    if row.action in SECURITY:
        return _dicom(SECURITY[row.action][1])
    if row.action == "export":
        return _dicom("110106")
    return {"system": TYPES, "code": "rest", "display": "RESTful Operation"}


def subtypes_of(row: AuditRow) -> list[Json]:
    """What was done: the interaction or DICOM's word, and our own word."""
    found: list[Json] = []
    if row.action in SECURITY and row.action != "denied":
        _, _, code, display = SECURITY[row.action]
        found.append({"system": DICOM, "code": code, "display": display})
    elif interaction_of(row):
        found.append({"system": INTERACTION, "code": interaction_of(row)})
    return [*found, {"system": OWN, "code": row.action or "unknown"}]


def action_of(row: AuditRow) -> str:
    """C, R, U, D or E."""
    if row.action in SECURITY:
        return SECURITY[row.action][0]
    return "R" if row.action == "export" else ACTIONS.get(row.action, ("E", ""))[0]


def patients_of(row: AuditRow) -> tuple[str, ...]:
    """The ids of all patients an act was about, each once."""
    return tuple(one for one in dict.fromkeys([row.patient or "", *row.patients]) if one)


def _dicom(code: str) -> Json:
    return {"system": DICOM, "code": code, "display": _TYPE_NAMES[code]}


def _profile(row: AuditRow, ends: str, patients: tuple[str, ...]) -> Mapping[str, Json]:
    """The profile that the event follows; several patients of one search are more than PatientQuery has room for."""
    if not ends or row.outcome != "success" or (ends != "Query" and "/" not in row.ref):
        return {}
    return {"profile": [f"{_PROFILE}{'Patient' if len(patients) == 1 else ''}{ends}"]}


def _plain(text: str) -> str:
    """A text that callers chose, as FHIR takes one: on a line, and without what is not shown."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _why(row: AuditRow) -> str:
    told = row.detail.get("reason") or row.detail.get("error") or row.detail.get("status")
    return _short(f"{row.outcome}: {told}" if told else row.outcome)


def _purpose(code: str) -> Json:
    return {"coding": [{"system": _REASON, "code": code}]}


def _agents(row: AuditRow, ends: str, base: str) -> Iterator[Json]:
    client, server = _ENDS[ends]
    user = _RECIPIENT if ends in ("Read", "Query") else _AUTHOR
    is_person = not row.who.startswith("Device/") and row.who != "nobody"
    roles = [_role(one) for one in sorted(map(_plain, row.roles)) if one]
    if is_person:
        yield {
            "type": _coded(user),
            "who": _who(row),
            **({"name": row.name} if row.name else {}),
            **({"altId": row.session} if row.session else {}),
            "requestor": True,
            **({"role": roles} if roles else {}),
            **({"purposeOfUse": [_purpose(row.purpose)]} if row.purpose else {}),
        }
    yield {
        "type": _coded(client),
        "who": _client(row) if is_person else _who(row),
        **({"name": row.name} if row.name and not is_person else {}),
        "requestor": not is_person,
        "network": {"address": row.address or "unknown", "type": "2" if row.address else "1"},
    }
    yield {
        "type": _coded(server),
        "who": {"display": "fhir-tracker", "identifier": {"value": base}},
        "requestor": False,
        "network": {"address": base, "type": "5"},
    }


def _role(name: str) -> Json:
    return {"coding": [{"system": ROLE_SYSTEM, "code": name}], "text": name}


def _coded(code: tuple[str, str, str]) -> Json:
    system, value, display = code
    return {"coding": [{"system": system, "code": value, "display": display}]}


def _who(row: AuditRow) -> Json:
    told: dict[str, Json] = {}
    type_, _, id_ = row.who.partition("/")
    if f"{type_}/" in _WHO_TYPES and is_legal_id(id_):
        told["reference"] = row.who
    told["identifier"] = {
        **({"system": row.issuer} if urlsplit(row.issuer).scheme else {}),
        "value": row.who or "nobody",
    }
    return {**told, **({"display": row.name} if row.name else {})}


def _client(row: AuditRow) -> Json:
    name = row.client or {"page": "browser", "command": "fhir-tracker command line"}.get(row.kind, "unknown client")
    return {"identifier": {"value": name}, "display": name}


def _entities(row: AuditRow, patients: tuple[str, ...]) -> Iterator[Json]:
    for patient in patients:
        yield {
            "what": _patient(patient),
            "type": _entity(PERSON, "Person"),
            "role": {"system": _ROLE, "code": PATIENT, "display": "Patient"},
        }
    if row.action in ASKING:
        yield _query(row)
    elif row.ref:
        yield _data(row)
    if row.request_id:
        yield {"what": {"identifier": {"value": row.request_id}}, "type": {"system": _REQUEST_ID, "code": REQUEST}}


def _patient(id_: str) -> Json:
    """One who was asked for by what is no id is named by it, and no reference."""
    return {"reference": f"Patient/{id_}"} if is_legal_id(id_) else {"identifier": {"value": _short(_plain(id_))}}


def _query(row: AuditRow) -> Json:
    asked = f"{row.ref}?{row.query}" if row.query else row.ref or "/"
    names = row.detail.get("parameters")
    told = f"parameters: {', '.join(map(str, names))}" if isinstance(names, list) and names else ""
    return {
        "type": _entity(SYSTEM_OBJECT, "System Object"),
        "role": {"system": _ROLE, "code": QUERY, "display": "Query"},
        **({"description": told} if told else {}),
        "query": b64encode(asked.encode()).decode(),
    }


def _data(row: AuditRow) -> Json:
    id_ = row.ref.partition("/")[2]
    version = f"/_history/{row.version}" if row.version else ""
    is_data = row.ref[:1] in ascii_uppercase
    what: Json = {"identifier": {"value": row.ref}, "display": row.ref}
    if is_data and is_legal_id(id_):
        what = {"reference": f"{row.ref}{version}"}
    detail = [{"type": _short(name), "valueString": _short(value)} for name, value in sorted(row.detail.items())]
    return {
        "what": what,
        "type": _entity(SYSTEM_OBJECT, "System Object"),
        "role": {"system": _ROLE, "code": DATA, "display": "Domain Resource"}
        if is_data
        else {"system": _ROLE, "code": JOB, "display": "Job"},
        **({} if is_data else {"name": row.ref}),
        **({"detail": detail} if detail else {}),
    }


def _entity(code: str, display: str) -> Json:
    return {"system": _ENTITY_TYPE, "code": code, "display": display}


def _short(value: object) -> str:
    return _plain(str(value)[:_MOST_DETAIL]) or "-"


_ON_SYSTEM = {"search-system": ("search", "system"), "history-system": ("history", "system")}
_ON_TYPE = {"search-type": ("search", "any-type"), "history-type": ("history", "type")}
_LEVELED = {**_ON_SYSTEM, **_ON_TYPE, "history-instance": ("history", "instance")}


def coded(param: str, system: str | None, code: str, base: str = "") -> Words:
    """The words of rows that are told with this code in `action`, `type`, `subtype`, `outcome`, `site` or `source` at `base`."""
    if param in ("site", "source"):
        return Words(others=not system and code == (_site(base) if param == "site" else base))
    if param == "outcome":
        known = frozenset(word for word, (told, _) in OUTCOMES.items() if told == code)
        return Words(words=frozenset(OUTCOMES) - {"error"}, others=True) if code == "4" else Words(words=known)
    if param == "action":
        return _by_action(code)
    return _by_type(system, code) if param == "type" else _by_subtype(system, code)


def _by_action(code: str) -> Words:
    letters = {word: letter for word, (letter, _) in ACTIONS.items()} | {word: one[0] for word, one in SECURITY.items()}
    letters["export"] = "R"
    if code == "E":
        return Words(words=frozenset(word for word, letter in letters.items() if letter != "E"), others=True)
    return Words(words=frozenset(word for word, letter in letters.items() if letter == code))


def _by_type(system: str | None, code: str) -> Words:
    if code == "rest" and system in (None, TYPES):
        return Words(words=frozenset({*SECURITY, "export"}), others=True)
    if system not in (None, DICOM):
        return Words()
    found = {word for word, one in SECURITY.items() if one[1] == code} | ({"export"} if code == "110106" else set())
    return Words(words=frozenset(found))


def _by_subtype(system: str | None, code: str) -> Words:
    found: set[str] = set()
    levels: dict[str, str] = {}
    if system in (None, OWN):
        found.add(code)
    if system in (None, INTERACTION):
        found |= {word for word, (_, told) in ACTIONS.items() if told == code and word not in ("search", "history")}
        if code == "operation":
            return Words(words=frozenset({*ACTIONS, *SECURITY, "export"} - found), others=True)
        levels = dict([_LEVELED[code]]) if code in _LEVELED else {}
    if system in (None, DICOM):
        found |= {word for word, one in SECURITY.items() if one[2] == code and word != "denied"}
    return Words(words=frozenset(found), levels={word: at for word, at in levels.items() if word not in found})
