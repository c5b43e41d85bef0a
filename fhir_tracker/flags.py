"""Flags of a patient that rules put up and take down, each with the causes it stands for.

https://hl7.org/fhir/R4/flag.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir_tracker import provenance, reach, records
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.fhir.reading import at, objects_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import CANONICAL
from fhir_tracker.model.viewer import RULE_WORKER, Viewer
from fhir_tracker.model.vocabulary import BY_HAND, EXCEPTION_MEANS, EXCEPTIONS, FLAG_CAUSE, FLAG_SYSTEM
from fhir_tracker.model.work import Event
from fhir_tracker.storage import events, resources
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored


def put_up(tx: Tx, patient: str | None, code: str, cause: str, author: Author, why: Why) -> str | None:
    """Flag the patient, or add a cause to the flag that is up; None when done, else why not."""
    if patient is None:
        return "the work is about no patient"
    reach.require_new(author, "Flag")
    present = active(tx, patient, code)
    if present is not None and reach.sees(tx, author, present.ref):
        return _add_cause(tx, present, cause, author, why)
    resource: Resource = {
        "resourceType": "Flag",
        "meta": {"source": CANONICAL},
        **({"extension": [_extension(cause)]} if cause else {}),
        "status": "active",
        "code": concept(FLAG_SYSTEM, code, text=code.replace("-", " ")),
        "subject": {"reference": f"Patient/{patient}"},
        "period": {"start": instant(author.at)},
    }
    stored = records.create(tx, resource, author, why=why)
    provenance.record(tx, [stored], author, why, activity="CREATE")
    return None


def take_down(tx: Tx, patient: str | None, code: str, of: Sequence[str], author: Author, why: Why) -> str | None:
    """End the flag, or with causes (`of`) these: the flag stays up while another is left. None when done, else why not."""
    reach.require_type(author, "u", "Flag")
    present = active(tx, patient, code) if patient else None
    if present is None or not reach.sees(tx, author, present.ref):
        return f"the patient has no flag {code}"
    reach.require(tx, author, "u", present.ref)
    if present.connection:
        return f"the flag {code} is the EHR's: it is ended there"
    resource = records.resource_of(present)
    causes = causes_of(resource)
    own = tuple(one for one in causes if one != BY_HAND)
    left = tuple(one for one in own if one not in of) if of else ()
    if of and len(left) == len(own):
        return f"the flag {code} stands for something else"
    if left:
        changed = _with_causes(resource, tuple(one for one in causes if one in left or one == BY_HAND))
    else:
        period = (at(resource, "period") or {}) | {"end": instant(author.at)}
        changed = resource | {"status": "inactive", "period": period}
    provenance.record(tx, [records.save(tx, changed, author, why=why)], author, why)
    return None


def exceptions_of(tx: Tx, viewer: Viewer, patient: str) -> dict[str, Event]:
    """The exceptions that a patient is flagged with now, each with its Flag that was put up last."""
    seen = [one for one in events.of_patients(tx, viewer, [patient], ["Flag"])[patient] if one.status == "active"]
    named = [(code.removeprefix(f"{FLAG_SYSTEM}|"), one) for one in seen for code in one.codes]
    return {code: one for code, one in named if code in EXCEPTIONS}


def code_system() -> Iterable[Resource]:
    """The codes of exceptions with what they mean; programs flag by further codes of their own."""
    title = "Exceptions of a plan"
    resource: Resource = {
        "resourceType": "CodeSystem",
        "id": "flag",
        "url": FLAG_SYSTEM,
        "name": "Flags",
        "title": title,
        "status": "active",
        "publisher": "fhir-tracker",
        "description": "What a plan can run into, as a Flag of the patient says it.",
        "caseSensitive": True,
        "content": "fragment",
        "concept": [
            {"code": code, "display": display, "definition": EXCEPTION_MEANS[code]}
            for code, display in EXCEPTIONS.items()
        ],
    }
    text = narrative("CodeSystem", title, list(EXCEPTIONS.items()))
    return [resource | {"text": text}]


def active(tx: Tx, patient: str, code: str) -> Stored | None:
    """The flag that is up, asked of the store: another item of the same batch may just have raised or cleared it."""
    wanted = f"{FLAG_SYSTEM}|{code}"
    seen = events.of_patients(tx, RULE_WORKER, [patient], ["Flag"])[patient]
    ref = next((one.ref for one in seen if one.status == "active" and wanted in one.codes), None)
    stored = resources.find(tx, RULE_WORKER, *ref.split("/")) if ref else None
    return stored if stored is not None and not stored.deleted else None


def causes_of(resource: Resource) -> tuple[str, ...]:
    """What a flag stands for: `program#rule`, each once; BY_HAND before them where a person put it up first."""
    found = (one.get("valueString") for one in objects_at(resource, "extension") if one.get("url") == FLAG_CAUSE)
    return tuple(dict.fromkeys(text for text in found if isinstance(text, str)))


def _add_cause(tx: Tx, present: Stored, cause: str, author: Author, why: Why) -> str | None:
    resource = records.resource_of(present)
    if present.connection:
        return "the flag is up already, at the EHR"
    if not cause or cause in causes_of(resource):
        return None
    changed = _with_causes(resource, (*(causes_of(resource) or (BY_HAND,)), cause))
    provenance.record(tx, [records.save(tx, changed, author, why=why)], author, why)
    return None


def _with_causes(resource: Resource, causes: tuple[str, ...]) -> Resource:
    others = [one for one in objects_at(resource, "extension") if one.get("url") != FLAG_CAUSE]
    return resource | {"extension": [*others, *(_extension(one) for one in causes)]}


def _extension(cause: str) -> Resource:
    return {"url": FLAG_CAUSE, "valueString": cause}
