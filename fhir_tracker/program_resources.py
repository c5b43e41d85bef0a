"""A program version as FHIR: PlanDefinition, one ActivityDefinition a task, CodeSystem and ValueSet of its statuses.

https://hl7.org/fhir/R4/plandefinition.html
"""

from __future__ import annotations

from typing import Literal

from fhir_tracker import program_actions
from fhir_tracker.fhir.codeable import concept
from fhir_tracker.fhir.identity import short_id
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.narrative import narrative
from fhir_tracker.form_resources import answer_systems, questionnaires
from fhir_tracker.model.program import CANONICAL, Program, TaskTemplate
from fhir_tracker.model.vocabulary import ROLE_SYSTEM, activity_canonical, program_task_system

_PLAN_TYPE = "http://terminology.hl7.org/CodeSystem/plan-definition-type"
_RETIRED: Resource = {
    "code": "status",
    "uri": "http://hl7.org/fhir/concept-properties#status",
    "description": "retired: only work of earlier versions stands in it",
    "type": "code",
}
DefinitionStatus = Literal["draft", "active", "retired"]


def of_program(program: Program, status: DefinitionStatus) -> list[Resource]:
    """The definitions of a version in that state; what all versions share (the codes) is written with the active one."""
    found = [_plan_definition(program, status)]
    found += [_activity_definition(program, task, status) for task in program.tasks]
    found += questionnaires(program, status)
    if status == "active":
        found += answer_systems(program)
        found += [_status_system(program), _task_system(program), _stage_system(program)]
        found += [_values(program, "status", program.status_system, "task statuses")]
        found += [_values(program, "stage", program.stage_system, "stages of a plan")]
        if program.reasons:
            found += [_reason_system(program), _values(program, "reason", program.reason_system, "coded reasons")]
    return found


def definition_id(program: str, version: int, task: str = "") -> str:
    """The resource id of a version's PlanDefinition, or of a task's ActivityDefinition; 64 characters at most."""
    return short_id(f"{program}{'.' + task if task else ''}-{version}")


def _plan_definition(program: Program, status: str) -> Resource:
    rows = [("Version", str(program.version)), *((task.title, f"{task.role}") for task in program.tasks)]
    return {
        "resourceType": "PlanDefinition",
        "id": definition_id(program.code, program.version),
        "text": narrative("PlanDefinition", program.title, rows),
        "url": program.canonical.partition("|")[0],
        "version": str(program.version),
        "name": program.code,
        "title": program.title,
        "status": status,
        **({"description": program.description} if program.description else {}),
        "type": concept(_PLAN_TYPE, "workflow-definition", "Workflow Definition"),
        **({"goal": goals} if (goals := program_actions.goals(program)) else {}),
        "action": program_actions.actions(program),
    }


def _activity_definition(program: Program, task: TaskTemplate, status: str) -> Resource:
    canonical = activity_canonical(program.code, task.code, program.version)
    return {
        "resourceType": "ActivityDefinition",
        "id": definition_id(program.code, program.version, task.code),
        "url": canonical.partition("|")[0],
        "version": str(program.version),
        "name": f"{program.code}.{task.code}",
        "title": task.title,
        "status": status,
        **({"description": task.what} if task.what else {}),
        "kind": "Task",
        "code": task_code(program, task),
        "priority": task.priority,
        "participant": [{"type": "practitioner", "role": {"coding": [{"system": ROLE_SYSTEM, "code": task.role}]}}],
    }


def task_code(program: Program, task: TaskTemplate) -> Resource:
    """`Task.code` of work made from a template."""
    coding = {"system": program_task_system(program.code), "code": task.code, "display": task.title}
    return {"coding": [coding], "text": task.title}


def _status_system(program: Program) -> Resource:
    codes: list[Resource] = [
        {"code": one.code, "display": one.title, "definition": one.means} for one in program.statuses
    ]
    codes += [
        {"code": code, "definition": "Of an earlier version", "property": [{"code": "status", "valueCode": "retired"}]}
        for code in sorted(program.former)
    ]
    system = _codes(program, "status", program.status_system, "task statuses", codes)
    return system | ({"property": [_RETIRED]} if program.former else {})


def _values(program: Program, name: str, system: str, title: str) -> Resource:
    """All codes of one of the program's systems, to choose from."""
    return {
        "resourceType": "ValueSet",
        "id": short_id(f"{program.code}-{name}"),
        "url": f"{CANONICAL}/ValueSet/{program.code}-{name}",
        "version": str(program.version),
        "name": program.code,
        "title": f"{program.title}: {title}",
        "status": "active",
        "compose": {"include": [{"system": system}]},
    }


def _stage_system(program: Program) -> Resource:
    codes = [_defined(one.code, one.title, one.means) for one in program.stages]
    return _codes(program, "stage", program.stage_system, "stages of a plan", codes)


def _reason_system(program: Program) -> Resource:
    codes = [_defined(one.code, one.title, one.means) for one in program.reasons]
    return _codes(program, "reason", program.reason_system, "coded reasons", codes)


def _defined(code: str, title: str, means: str) -> Resource:
    return {"code": code, "display": title, **({"definition": means} if means else {})}


def _task_system(program: Program) -> Resource:
    codes = [{"code": one.code, "display": one.title} for one in program.tasks]
    return _codes(program, "task", program_task_system(program.code), "kinds of work", codes)


def _codes(program: Program, name: str, url: str, title: str, codes: list[Resource]) -> Resource:
    return {
        "resourceType": "CodeSystem",
        "id": short_id(f"{program.code}-{name}"),
        "url": url,
        "version": str(program.version),
        "name": program.code,
        "title": f"{program.title}: {title}",
        "status": "active",
        "caseSensitive": True,
        "content": "complete",
        "concept": codes,
    }
