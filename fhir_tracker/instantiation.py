"""Instantiating a PlanDefinition: the plan it gives becomes a CarePlan with work of its own, once for each key.

docs/apply.md tells the operation; DESIGN calls the result an enrolment where the definition is a program's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fhir_tracker import applying, enrolment, reach, records, writes
from fhir_tracker.applying import Parameters
from fhir_tracker.errors import Conflict, RuleBroken
from fhir_tracker.fhir.apply.contained import renamed
from fhir_tracker.fhir.apply.plan import Applied
from fhir_tracker.fhir.apply.situation import canonical_of
from fhir_tracker.fhir.definitions.registry import elements
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.fhir.query_values import escaped
from fhir_tracker.fhir.reading import references_at, text_at
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import Program
from fhir_tracker.model.vocabulary import KEY_SYSTEM
from fhir_tracker.storage import search
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.resources import Stored

_GROUPED = ("Task", "CommunicationRequest", "MedicationRequest", "DeviceRequest")


def instantiate(
    tx: Tx,
    author: Author,
    definition: Resource,
    asked: Parameters,
    key: str,
    may_write: Callable[[str], bool],
) -> tuple[Stored, bool]:
    """The CarePlan of this key, and whether it was made now.

    Raises Conflict when the key stands for another definition or subject, and RuleBroken for a definition that is not
    active, a subject not here, or requests of a type that callers may not write.
    """
    if definition.get("status") != "active":
        raise RuleBroken("Only an active PlanDefinition can be instantiated.", expression="PlanDefinition.status")
    tx.wait_for_others(f"instantiate {key}")
    subject = asked.subjects[0]
    for named in (subject, asked.encounter, asked.practitioner, asked.organization):
        if named is not None:
            reach.require(tx, author, "r", named)
    before = _of_key(tx, author, key)
    if before is not None:
        _check_same(before, definition, subject)
        reach.require(tx, author, "r", before.ref)
        return before, False
    program = applying.program_of(tx, definition)
    if program is not None:
        made = _enrolled(tx, author, program, subject, key)
        reach.require_still(tx, author, "c", made.ref)
        return made, True
    situation = applying.situation_of(tx, author, asked, subject, intent="plan")
    applied = applying.applied_plan(tx, definition, situation, author)
    refused = sorted({one["resourceType"] for one in applied.requests if not may_write(one["resourceType"])})
    if refused:
        raise RuleBroken(f"The plan has orders that are made in the EHR and not here: {', '.join(refused)}.")
    return _written(tx, author, applied, key), True


def _enrolled(tx: Tx, author: Author, program: Program, subject: str, key: str) -> Stored:
    """A program's plan is an enrolment: its rules take the work over."""
    type_, _, patient = subject.partition("/")
    if type_ != "Patient":
        raise RuleBroken("A program is for a Patient.", expression="Parameters.parameter")
    return enrolment.by_hand(tx, program, patient, author, key=key)


def _written(tx: Tx, author: Author, applied: Applied, key: str) -> Stored:
    parts = [*applied.goals, *applied.requests]
    ids = {str(one["id"]): records.fresh_id(author.at) for one in parts}
    plan_id = records.fresh_id(author.at)
    names = {str(one["id"]): f"{one['resourceType']}/{ids[str(one['id'])]}" for one in parts}
    reach.promise(tx, [*names.values(), f"CarePlan/{plan_id}"])
    for goal in applied.goals:
        active = goal | {"lifecycleStatus": "accepted"}
        writes.create(tx, renamed(active, names), author, id_=ids[str(goal["id"])])
    for request in applied.requests:
        whole = _as_work(renamed(request, names), plan_id, key)
        writes.create(tx, whole, author, id_=ids[str(request["id"])])
    return writes.create(tx, _as_plan(renamed(applied.plan, names), applied, names, key), author, id_=plan_id)


def _as_work(request: Resource, plan_id: str, key: str) -> Resource:
    """A request that belongs to the plan; a Task is asked for at once, an order stays a draft for who may sign it."""
    kind = str(request["resourceType"])
    known = elements(kind)
    changed = dict(request)
    if "basedOn" in known and (not known["basedOn"].targets or "CarePlan" in known["basedOn"].targets):
        changed["basedOn"] = [{"reference": f"CarePlan/{plan_id}"}]
    if kind in _GROUPED:
        changed["groupIdentifier"] = {"system": KEY_SYSTEM, "value": key}
    return changed | ({"status": "requested"} if kind == "Task" else {})


def _as_plan(plan: Resource, applied: Applied, names: Mapping[str, str], key: str) -> Resource:
    allowed = elements("CarePlan.activity")["reference"].targets
    refs = [(names[str(one["id"])], _words(one)) for one in applied.requests]
    work = [(ref, words) for ref, words in refs if ref.partition("/")[0] in allowed]
    others = [{"reference": ref} for ref, _ in refs if ref.partition("/")[0] not in allowed]
    rest = {name: value for name, value in plan.items() if name not in ("activity", "supportingInfo")}
    return {
        **rest,
        "identifier": [{"system": KEY_SYSTEM, "value": key}],
        "status": "active",
        **({"activity": [{"reference": {"reference": ref, "display": words}} for ref, words in work]} if work else {}),
        **({"supportingInfo": others} if others else {}),
    }


def _words(request: Resource) -> str:
    return text_at(request, "code", "text") or text_at(request, "description") or str(request["resourceType"])


def _of_key(tx: Tx, author: Author, key: str) -> Stored | None:
    query = parse_query("CarePlan", [("identifier", f"{KEY_SYSTEM}|{escaped(key)}")], strict=True)
    found = search.search(tx, author.viewer, query).matches
    return found[0] if found else None


def _check_same(before: Stored, definition: Resource, subject: str) -> None:
    plan = records.resource_of(before)
    if plan.get("instantiatesCanonical") != [canonical_of(definition)] or references_at(plan, "subject") != (subject,):
        raise Conflict("This key stands for a plan of another definition or subject already.")
