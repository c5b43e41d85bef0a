"""Applying stored definitions: who and what the parameters name is looked up, and nothing is written.

https://hl7.org/fhir/R4/plandefinition-operation-apply.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from fhir_tracker import programs, reach, records, task_resources
from fhir_tracker.errors import Incorrect, Issue, RuleBroken
from fhir_tracker.fhir.apply.plan import Applied, apply_plan, contained
from fhir_tracker.fhir.apply.requests import apply_activity
from fhir_tracker.fhir.apply.situation import Situation, canonical_of
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.fhir.query_values import escaped
from fhir_tracker.fhir.reading import objects_at, text_at
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from fhir_tracker.model.author import Author
from fhir_tracker.model.program import CANONICAL, Program, TaskTemplate
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import activity_canonical
from fhir_tracker.rules.due import due_at
from fhir_tracker.storage import resources, search
from fhir_tracker.storage.database import Tx

DEFINITIONS = ("ActivityDefinition", "PlanDefinition", "Questionnaire")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What `$apply` was asked with: references as `Type/id`, and the other parameters by name for expressions."""

    subjects: tuple[str, ...]
    encounter: str | None = None
    practitioner: str | None = None
    organization: str | None = None
    others: Mapping[str, Json] = field(default_factory=dict)


def plan_for(tx: Tx, author: Author, definition: Resource, asked: Parameters, subject: str) -> Resource:
    """The CarePlan that applying a PlanDefinition to one subject gives, all else contained in it."""
    situation = situation_of(tx, author, asked, subject)
    applied = applied_plan(tx, definition, situation, author)
    plan = contained(applied, situation)
    faults = _faults(plan)
    situation.notes.extend(faults)
    return contained(applied, situation) if faults else plan


def request_for(tx: Tx, author: Author, definition: Resource, asked: Parameters, subject: str) -> Resource:
    """The request that applying an ActivityDefinition to one subject gives."""
    situation = situation_of(tx, author, asked, subject)
    program = program_of(tx, definition)
    made = apply_activity(definition, situation)
    return _with_due(made, program, author) if program else made


def applied_plan(tx: Tx, definition: Resource, situation: Situation, author: Author) -> Applied:
    """As `apply_plan`; of a program's own PlanDefinition only the work that begins with the plan, with its due times."""
    program = program_of(tx, definition)
    if program is None:
        return apply_plan(definition, situation)
    later = {
        activity_canonical(program.code, one.code, program.version) for one in program.tasks if one.on != "enrolment"
    }
    first = [one for one in objects_at(definition, "action") if one.get("definitionCanonical") not in later]
    applied = apply_plan(definition | {"action": first}, situation)
    timed = tuple(_with_due(one, program, author) for one in applied.requests)
    return Applied(plan=applied.plan, group=applied.group, requests=timed, goals=applied.goals)


def situation_of(tx: Tx, author: Author, asked: Parameters, subject: str, *, intent: str = "proposal") -> Situation:
    """Who and what the parameters name, as the author may see it: expressions of a definition may copy any part of it.

    Raises RuleBroken for a subject that is not here.
    """
    about = dict(asked.others)
    for name in ("encounter", "practitioner", "organization"):
        reference = getattr(asked, name)
        if reference and (found := _read(tx, author.limits, reference)):
            about[name] = found
    found = _read(tx, author.limits, subject)
    if found is None:
        raise RuleBroken("The subject is not known here.", expression="Parameters.parameter")

    @cache
    def find(canonical: str) -> Resource | None:
        return find_definition(tx, author.viewer, canonical)

    return Situation(
        subject=found,
        subject_ref=subject,
        now=author.at,
        find=find,
        encounter=asked.encounter,
        practitioner=asked.practitioner,
        organization=asked.organization,
        about=about,
        intent=intent,
    )


def find_definition(tx: Tx, viewer: Viewer, canonical: str, types: tuple[str, ...] = DEFINITIONS) -> Resource | None:
    """The definition behind `url|version` (without a version the active one, else the newest) or `Type/id`; or None."""
    reference = parse_reference(canonical)
    if reference.kind is ReferenceKind.RELATIVE:
        return _read(tx, viewer, canonical) if reference.type in types else None
    url, _, version = canonical.partition("|")
    for type_ in types:
        pairs = [("url", escaped(url)), *([("version", escaped(version))] if version else [])]
        try:
            query = parse_query(type_, pairs, strict=True)
        except Incorrect:
            return None
        found = [records.resource_of(one) for one in search.search(tx, viewer, query).matches]
        if found:
            return next((one for one in found if one.get("status") == "active"), found[0])
    return None


def _read(tx: Tx, viewer: Viewer, reference: str) -> Resource | None:
    type_, _, id_ = reference.partition("/")
    stored = resources.find(tx, viewer, type_, id_)
    if stored is None or stored.deleted:
        return None
    whole = records.resource_of(stored)
    return reach.rules_of(viewer.sight).cut(whole) if viewer.sight.hides else whole


def program_of(tx: Tx, definition: Resource) -> Program | None:
    """The program that a PlanDefinition or ActivityDefinition was generated from, or None."""
    canonical = canonical_of(definition) or ""
    ours = canonical.startswith(f"{CANONICAL}/")
    return programs.of_resource(tx, {"instantiatesCanonical": canonical}) if ours else None


def _with_due(request: Resource, program: Program, author: Author) -> Resource:
    """A Task of a program's work with its role and the time at which its program wants it done."""
    template = _template(request, program)
    if template is None or request["resourceType"] != "Task":
        return request
    due = due_at(program, template, {"enrolment": author.at}, author.at)
    return task_resources.with_due(request, due) if due else request


def _template(request: Resource, program: Program) -> TaskTemplate | None:
    canonical = text_at(request, "instantiatesCanonical")
    named = (one for one in program.tasks if activity_canonical(program.code, one.code, program.version) == canonical)
    return next(named, None)


def _faults(plan: Resource) -> list[Issue]:
    """Where the definition itself leads to something that FHIR does not allow."""
    return [
        Issue(message=f"What the definition gives is not valid: {one.message}", code="invalid", severity="warning")
        for one in check(plan)[:10]
    ]
