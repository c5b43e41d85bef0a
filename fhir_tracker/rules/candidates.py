"""Intake: a patient who qualifies waits as a candidate until a person decides; then the plan begins, or ends with a reason.

The decision is the closing status of the intake task. A candidate gets no other work; one who is accepted gets the work
that plans begin with, counted from the acceptance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from fhir_tracker.model.effects import CreateTask, Decide
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Intake, Program
from fhir_tracker.model.work import FiringKey, WorkItem
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.source import Node, Table, Text, fields

DECISION: Final = "intake"
ACCEPTED: Final = "intake:"
_OPEN: Final = ("draft", "active", "on-hold")


def read_intake(node: Node | None, given_stages: dict[str, str], draft: Draft) -> Intake | None:
    """The program's `intake`; `given_stages` maps each stage to its CarePlan.status."""
    given = fields(node, draft.problems, ("task", "stage", "outcomes"), ("again",)) if node is not None else None
    task, stage, outcomes = (given.node(name) if given else None for name in ("task", "stage", "outcomes"))
    if given is None or task is None or stage is None or outcomes is None:
        return None
    waiting = draft.reference(stage, "stage", draft.stages)
    if waiting and given_stages.get(waiting) not in ("draft", "on-hold"):
        draft.problems.add(stage.place, f'a candidate\'s plan has not begun: "{waiting}" must be draft or on-hold')
    if waiting and next(iter(given_stages), "") != waiting:
        draft.problems.add(stage.place, f'plans begin in the first stage, and "{waiting}" is not it')
    found = _outcomes(outcomes, given_stages, waiting, draft)
    code = draft.reference(task, "task", draft.tasks)
    if not (code and waiting and found):
        return None
    again = given.choice("again", ("new-event", "never"), "new-event") == "new-event"
    return Intake(task=code, stage=waiting, outcomes=found, again=again)


def _outcomes(node: Node, stages: dict[str, str], waiting: str, draft: Draft) -> dict[str, str]:
    if not isinstance(node, Table):
        draft.problems.add(
            node.place, "must map the closing statuses of the task to stages, such as accepted: enrolled"
        )
        return {}
    found: dict[str, str] = {}
    for status, stage in node.entries.items():
        name = Text(place=node.keys[status], value=status, quoted=True)
        known = draft.reference(name, "status", draft.statuses)
        if known and known not in draft.closing:
            draft.problems.add(node.keys[status], f'a decision closes the work, and "{known}" is open')
        to = draft.reference(stage, "stage", draft.stages)
        if to and to == waiting:
            draft.problems.add(stage.place, f'a decision leaves the stage "{waiting}"')
        if known and to:
            found[known] = to
    if not any(stages.get(stage) == "active" for stage in found.values()):
        draft.problems.add(node.place, "no decision lets the plan begin: one must lead to an active stage")
    return found


def is_candidate(program: Program, facts: Facts) -> bool:
    """Whether the plan waits for its decision."""
    return program.intake is not None and facts.plan is not None and facts.plan.stage == program.intake.stage


def decision(program: Program, facts: Facts) -> Iterator[Decide]:
    """What the closed intake task decides; nothing while it is open."""
    intake = program.intake
    if intake is None or not is_candidate(program, facts):
        return
    task = _latest(facts, intake.task)
    stage = intake.outcomes.get(task.status) if task and not task.open else None
    if task is None or stage is None:
        return
    status = program.status(task.status)
    yield Decide(
        key=FiringKey(item=facts.item.ref, rule=DECISION, cycle=f"{task.ref}:{task.cycle}", level=0),
        stage=stage,
        task=task.ref,
        reason=f"{task.title}: {status.title if status else task.status}",
    )


def first_decision(program: Program, facts: Facts, now: datetime) -> Iterator[CreateTask]:
    """The decision on a candidate whose plan a client filed without any work."""
    if facts.plan is None or facts.plan.is_enrolment or any(one.kind == "task" for one in facts.tasks):
        return
    for index, template in enumerate(one for one in program.tasks if one.on == "intake"):
        yield CreateTask(
            key=FiringKey(item=facts.item.ref, rule=DECISION, cycle="filed", level=-1 - index),
            template=template.code,
            reason=f"A candidate for {program.title}",
            due_at=due_at(program, template, facts.plan.anchors, now),
            owner=template.owner,
        )


def first_work(program: Program, facts: Facts, now: datetime) -> Iterator[CreateTask]:
    """The work of an accepted candidate, each once, due from the acceptance on."""
    intake, plan = program.intake, facts.plan
    if intake is None or plan is None or plan.status != "active" or plan.stage == intake.stage:
        return
    accepted = [row.effective_at for row in plan.log if row.what == "stage" and row.before == intake.stage]
    if not accepted:
        return
    anchors = dict(plan.anchors) | {"enrolment": accepted[-1]}
    there = {one.code for one in facts.tasks if one.kind == "task"}
    for template in program.tasks:
        if template.on == "enrolment" and template.code not in there:
            yield CreateTask(
                key=FiringKey(item=facts.item.ref, rule=f"{ACCEPTED}{template.code}", cycle="0", level=0),
                template=template.code,
                reason=f"Accepted into {program.title}",
                due_at=due_at(program, template, anchors, now),
                owner=template.owner,
            )


def refusing_stages(program: Program) -> frozenset[str]:
    """The stages in which a candidate was turned down."""
    if program.intake is None:
        return frozenset()
    known = {one.code: one.fhir for one in program.stages}
    return frozenset(stage for stage in program.intake.outcomes.values() if known.get(stage) not in _OPEN)


def _latest(facts: Facts, code: str) -> WorkItem | None:
    tasks = [one for one in facts.tasks if one.kind == "task" and one.code == code]
    return max(tasks, key=lambda one: (one.created_at, one.ref), default=None)


def reconsidering(program: Program) -> Program:
    """The program as it looks at what happened after a patient was turned down: each event may bring them in again."""
    if program.eligible is None:
        return program
    return replace(program, eligible=replace(program.eligible, once="event"))
