"""The score of a form as an Observation derived from its response.

https://hl7.org/fhir/R4/observation.html
"""

from __future__ import annotations

import hashlib

from fhir_tracker import provenance, records
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.fhir.reading import at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import RecordScore
from fhir_tracker.model.forms import Form
from fhir_tracker.model.program import CANONICAL, Program
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx

_SURVEY = "http://terminology.hl7.org/CodeSystem/observation-category"
_UCUM = "http://unitsofmeasure.org"


def record(tx: Tx, program: Program, patient: str | None, effect: RecordScore, author: Author, why: Why) -> str | None:
    """Write the score's Observation, correct it, or mark it entered in error when there is none; None, or why not."""
    form = program.form(effect.form)
    if form is None or patient is None:
        return f"the program has no form {effect.form}" if form is None else "the work is about no patient"
    id_ = observation_id(program.code, form.code, effect.response)
    stored = resources.find(tx, author.viewer, "Observation", id_)
    before = records.resource_of(stored) if stored and not stored.deleted else None
    if before is None and effect.score is None:
        return "there was no score"
    resource = _observation(program, form, patient, effect, id_, corrected=before is not None)
    if before and effect.score is None:
        resource = before | {"status": "entered-in-error"}
    if before and _says_the_same(before, resource):
        return None
    saved = records.save(tx, resource, author, why=why)
    provenance.record(tx, [saved], author, why, activity="CREATE" if before is None else "UPDATE")
    return None


def observation_id(program: str, form: str, response: str) -> str:
    """The id of the Observation that keeps the score of one response."""
    return f"score-{hashlib.sha256(f'{program}|{form}|{response}'.encode()).hexdigest()[:32]}"


def _observation(
    program: Program, form: Form, patient: str, effect: RecordScore, id_: str, *, corrected: bool
) -> Resource:
    system, _, code = form.score_code.partition("|")
    title = form.score_title or f"{form.title}: score"
    return {
        "resourceType": "Observation",
        "id": id_,
        "meta": {"source": CANONICAL},
        "text": narrative("Observation", title, [("Score", str(effect.score))]),
        "status": "corrected" if corrected else "final",
        "category": [concept(_SURVEY, "survey", "Survey")],
        "code": concept(system, code, text=title),
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": instant(effect.at),
        "valueQuantity": {"value": effect.score, "unit": "{score}", "system": _UCUM, "code": "{score}"},
        "derivedFrom": [{"reference": effect.response}],
    }


def _says_the_same(before: Resource, after: Resource) -> bool:
    kept = before.get("status") != "entered-in-error"
    value = at(before, "valueQuantity", "value") == at(after, "valueQuantity", "value")
    return kept and value and after["status"] != "entered-in-error"
