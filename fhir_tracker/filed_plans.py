"""Plans that clients file themselves: each names one program, and stays on the version of it that it was filed under.

https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

from typing import Final

from fhir_tracker import programs, withdrawing
from fhir_tracker.errors import Conflict, RuleBroken
from fhir_tracker.fhir.json_types import Json, Resource
from fhir_tracker.fhir.reading import at, extension_value, references_at, text_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.program import CANONICAL, Program, TaskTemplate
from fhir_tracker.model.viewer import worker_viewer
from fhir_tracker.model.vocabulary import PLAN_TRIGGER, program_named
from fhir_tracker.records import resource_of
from fhir_tracker.rules.cadence import CADENCE
from fhir_tracker.rules.plan_work import ENROLMENT
from fhir_tracker.storage import firings, resources, work_items
from fhir_tracker.storage.database import Tx

NAMED: Final = "instantiatesCanonical"
_OURS: Final = (f"{CANONICAL}/PlanDefinition/", f"{CANONICAL}/ActivityDefinition/")
_GOING_ON: Final = frozenset({"draft", "active", "on-hold"})
_READER = worker_viewer("filed-plans")


def pinned(tx: Tx, plan: Resource) -> Resource:
    """The CarePlan with the version that is active now wherever it names a program of the practice without one.

    Raises RuleBroken where it names more than one program or version, a part of one, or one that no plan can be of.
    """
    named = at(plan, NAMED)
    if not isinstance(named, list) or not any(_is_ours(one) for one in named):
        return plan
    goes_on = text_at(plan, "status") in _GOING_ON
    found = [_with_version(tx, str(one), goes_on) if _is_ours(one) else one for one in named]
    ours = {program_named(one): one for one in found if _is_ours(one)}
    if len(ours) > 1:
        raise _refused(
            f"A plan is of one version of one program; this one names {' and '.join(sorted(ours.values()))}."
        )
    return plan | {NAMED: list(dict.fromkeys(found))}


def as_before(before: Json, after: Json) -> Json:
    """What an element names, with the versions it had where it is sent without them."""
    if isinstance(before, list) and isinstance(after, list):
        known = {str(one).partition("|")[0]: one for one in before}
        return [known.get(one, one) if isinstance(one, str) else one for one in after]
    return before if isinstance(before, str) and before.partition("|")[0] == after else after


def program_of_task(tx: Tx, task: Resource) -> Program | None:
    """The program of a new Task: the version of its plan where it names none, else the active one."""
    named = program_named(text_at(task, NAMED) or "")
    if named is not None and named[1] is None:
        plans = work_items.find_many(tx, _READER, list(references_at(task, "basedOn"))[:5])
        of_plan = next((one for one in plans.values() if one.kind == "plan" and one.program == named[0]), None)
        if of_plan is not None and (own := programs.load(tx, named[0], of_plan.program_version)):
            return own
    return programs.of_resource(tx, task)


def take_place(tx: Tx, task: Resource, template: TaskTemplate, author: Author) -> None:
    """Take back what the tracker made of a filed plan by itself before its client filed that very work.

    Raises Conflict when somebody has begun it: there is one such piece of work and not two.
    """
    rules = {f"{ENROLMENT}{template.code}", *([f"{CADENCE}{template.code}"] if template.horizon is None else [])}
    for plan in references_at(task, "basedOn"):
        if not plan.startswith("CarePlan/") or not _is_filed(tx, plan):
            continue
        made = [one.task for one in firings.of_items(tx, _READER, [plan])[plan] if one.key.rule in rules and one.task]
        for item in work_items.find_many(tx, _READER, made).values():
            why = Why(reason=f"{template.title} was filed with the plan by {author.viewer.name or author.viewer.who}")
            refused = withdrawing.withdraw(tx, item.ref, author, why) if item.open else None
            if refused:
                raise Conflict(f"The plan has this work already, as {item.ref}: {refused}.")


def _is_filed(tx: Tx, plan: str) -> bool:
    stored = resources.find(tx, _READER, *plan.split("/", 1))
    if stored is None or stored.deleted or stored.connection:
        return False
    return extension_value(resource_of(stored), PLAN_TRIGGER, "valueString") is None


def _is_ours(canonical: Json) -> bool:
    return isinstance(canonical, str) and canonical.startswith(_OURS)


def _with_version(tx: Tx, canonical: str, goes_on: bool) -> str:
    url, _, part = canonical.partition("#")
    if part or url != canonical:
        raise _refused(f"{canonical} names a part of a program; a plan is of the whole: {url}.")
    named = program_named(canonical)
    known = programs.all_programs(tx, named[0]) if named else []
    if named is None or not known:
        raise _refused(f"No program is published as {canonical}.")
    code, version = named
    active = next((one.version for one in known if one.status == "active"), None)
    if version is None and active is not None:
        return f"{canonical}|{active}"
    if active is None and (goes_on or version is None):
        raise _refused(f"No version of the program {code} is active: no plan can begin with it.")
    if not any(one.version == version and one.status in programs.USED for one in known):
        now = f"; version {active} is active" if active is not None else ""
        raise _refused(f"No program is published as {canonical}{now}.")
    return canonical


def _refused(message: str) -> RuleBroken:
    return RuleBroken(message, expression=f"CarePlan.{NAMED}")
