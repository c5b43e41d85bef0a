"""The work of a plan as its program and its own interventions ask for it: what is to be made now, and what is wanted no more.

Everything is asked anew of the plan, its tasks and what fired before, so that it may be asked any number of times: what was
made is never made twice, and what somebody has begun is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker.model.activity import OVER, Activity
from fhir_tracker.model.effects import CreateTask, Effect, Equip, WithdrawTask
from fhir_tracker.model.facts import Facts, PlanFacts
from fhir_tracker.model.program import Program, TaskTemplate
from fhir_tracker.model.vocabulary import program_task_system
from fhir_tracker.model.work import FiringKey, WorkItem
from fhir_tracker.rules.cadence import Rhythm, recurrence
from fhir_tracker.rules.candidates import decision, first_decision, first_work, is_candidate
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.words import listed

STARTS: Final = "starts:"
ACTIVITY: Final = "activity:"
ENROLMENT: Final = "enrolment:"
EQUIP: Final = "plan-parts"


@dataclass(frozen=True, kw_only=True)
class PlanWork:
    """What a plan wants at one moment: effects, most of which have fired already, and when time alone changes that."""

    effects: tuple[Effect, ...]
    moments: tuple[datetime, ...]


def plan_work(program: Program, facts: Facts, now: datetime) -> PlanWork:
    """Everything the plan of `facts` wants. A plan that is not active gets no new work, one of the dead none at all."""
    effects: list[Effect] = list(decision(program, facts))
    moments: list[datetime] = []
    if is_candidate(program, facts):
        return PlanWork(effects=(*effects, *first_decision(program, facts, now)), moments=())
    effects.extend(first_work(program, facts, now))
    for template in program.tasks:
        if template.on == "cadence":
            found = recurrence(program, facts, template, now)
            moments.extend([found.next_at] if found.next_at else [])
            effects.extend((*found.effects, *found.withdrawn))
    plan = facts.plan
    if plan is not None and plan.status == "active":
        effects.extend(_filed(program, facts, plan, now))
        effects.extend(_followers(program, facts, plan))
        for activity in plan.activities:
            found_more, at = _intervention(program, facts, activity, now)
            effects.extend(found_more)
            moments.extend(at)
        effects.extend(_dropped(facts, plan))
        effects.extend(_equipment(program, facts, plan))
    kept = [one for one in effects if not (facts.deceased and isinstance(one, CreateTask))]
    return PlanWork(effects=tuple(kept), moments=tuple(moments))


def missing(program: Program, facts: Facts, now: datetime) -> Iterator[CreateTask]:
    """The work made with a plan that this one has none of, such as what a new version of the program added."""
    if facts.plan is None:
        return
    there = {one.code for one in facts.tasks if one.kind == "task"}
    for template in program.tasks:
        if template.on == "enrolment" and template.code not in there:
            yield CreateTask(
                key=FiringKey(item=facts.item.ref, rule=f"{ENROLMENT}{template.code}", cycle="0", level=0),
                template=template.code,
                reason=f"{program.title} begins with it",
                due_at=due_at(program, template, facts.plan.anchors, now),
                owner=template.owner,
            )


def _filed(program: Program, facts: Facts, plan: PlanFacts, now: datetime) -> Iterator[CreateTask]:
    """The first work of a plan that a client filed without any."""
    if not plan.is_enrolment and not any(one.kind == "task" for one in facts.tasks):
        yield from missing(program, facts, now)


def _followers(program: Program, facts: Facts, plan: PlanFacts) -> Iterator[Effect]:
    for template in program.tasks:
        if template.starts is None:
            continue
        before = [_latest(facts, code) for code in template.starts.after]
        found = [one for one in before if one is not None]
        if len(found) == len(before) and all(_has_ended(program, template, one) for one in found):
            yield _follower(program, facts, plan, template, found)
        yield from _too_early(program, facts, template, found)


def _latest(facts: Facts, code: str) -> WorkItem | None:
    tasks = (one for one in facts.tasks if one.code == code and one.kind == "task")
    return max(tasks, key=lambda one: (one.starts_at or one.created_at, one.created_at, one.ref), default=None)


def _has_ended(program: Program, template: TaskTemplate, item: WorkItem) -> bool:
    wanted = template.starts.statuses if template.starts else ()
    return item.status in wanted if wanted else item.fhir_status == "completed"


def _case(facts: Facts, template: TaskTemplate, before: list[WorkItem]) -> str:
    """The name of one start: of what ended, and how often a start after it was taken back."""
    base = " ".join(sorted(one.ref for one in before))
    rule = f"{STARTS}{template.code}"
    back = sum(
        one.key.rule == rule and one.key.cycle.startswith(f"withdraw {base} ") and one.state != "skipped"
        for one in facts.fired
    )
    return f"{base} again {back}" if back else base


def _follower(
    program: Program, facts: Facts, plan: PlanFacts, template: TaskTemplate, before: list[WorkItem]
) -> CreateTask:
    ended = max(one.status_since for one in before)
    names = listed([one.title for one in before])
    return CreateTask(
        key=FiringKey(
            item=facts.item.ref, rule=f"{STARTS}{template.code}", cycle=_case(facts, template, before), level=0
        ),
        template=template.code,
        reason=f"{names} {'is' if len(before) == 1 else 'are'} {listed(sorted({one.status for one in before}))}",
        due_at=due_at(program, template, {**plan.anchors, "event": ended}, ended),
        owner=template.owner,
    )


def _too_early(
    program: Program, facts: Facts, template: TaskTemplate, before: list[WorkItem]
) -> Iterator[WithdrawTask]:
    """Work that was started by other work which has since been opened again."""
    reopened = [one for one in before if one.open and not _has_ended(program, template, one)]
    begun = {f"{one.key.cycle}": one.task for one in facts.fired if one.key.rule == f"{STARTS}{template.code}"}
    case = _case(facts, template, before)
    task = begun.get(case)
    if reopened and task and any(one.ref == task and one.open for one in facts.tasks):
        rule = f"{STARTS}{template.code}"
        back = case.partition(" again ")[2] or "0"
        base = case.partition(" again ")[0]
        yield WithdrawTask(
            key=FiringKey(item=facts.item.ref, rule=rule, cycle=f"withdraw {base} {back}", level=0),
            task=task,
            reason=f"{listed([one.title for one in reopened])} was opened again: this starts after it",
        )


def _intervention(
    program: Program, facts: Facts, activity: Activity, now: datetime
) -> tuple[list[Effect], list[datetime]]:
    if not activity.wanted:
        return [], []
    rule, template = f"{ACTIVITY}{activity.key}", _template(program, activity)
    begins, cycle, moments = activity.starts_at, "0", list[datetime]()
    following: datetime | None = None
    if activity.every is not None:
        since = activity.starts_at or (facts.plan.started if facts.plan else facts.item.created_at)
        rhythm = Rhythm(name=rule, every=activity.every, since=since, calendar=program.calendar)
        index = rhythm.latest(now)
        begins, following, cycle = rhythm.begins(index), rhythm.begins(index + 1), str(index)
        if activity.due_at is not None and begins >= activity.due_at:
            return [], []
        moments = [following]
        if _open_of(facts, rule):
            return [], moments
    anchors = facts.plan.anchors if facts.plan else {}
    own = due_at(program, template, anchors, begins or now) if template else None
    due = following or activity.due_at or own
    effect = CreateTask(
        key=FiringKey(item=facts.item.ref, rule=rule, cycle=cycle, level=0),
        template=template.code if template else "",
        reason=f"{activity.title} is among the plan's interventions",
        due_at=due if following is None or activity.due_at is None else min(following, activity.due_at),
        owner="" if activity.owner else template.owner if template else "primary",
        starts_at=begins if begins and begins > now else None,
        activity=activity,
    )
    return [effect], moments


def _open_of(facts: Facts, rule: str) -> bool:
    made = {one.task for one in facts.fired if one.key.rule == rule}
    return any(one.ref in made and one.open for one in facts.tasks)


def _template(program: Program, activity: Activity) -> TaskTemplate | None:
    """The program's task that an intervention names: by its ActivityDefinition or its code."""
    for template in program.tasks:
        definition = f"/ActivityDefinition/{program.code}.{template.code}"
        names = (name.partition("|")[0] for name in activity.names)
        if any(name.endswith(definition) for name in names):
            return template
        if f"{program_task_system(program.code)}|{template.code}" in activity.names:
            return template
    return None


def _dropped(facts: Facts, plan: PlanFacts) -> Iterator[WithdrawTask]:
    """Open work for interventions that the plan no longer lists, or lists as over."""
    listed_ = {one.key: one for one in plan.activities}
    is_open = {one.ref for one in facts.tasks if one.open}
    for fired in facts.fired:
        if not fired.key.rule.startswith(ACTIVITY) or fired.task not in is_open or fired.task is None:
            continue
        activity = listed_.get(fired.key.rule.removeprefix(ACTIVITY))
        if activity is None or activity.status in OVER:
            state = f"is {activity.status} in the plan" if activity else "is no longer among the plan's interventions"
            yield WithdrawTask(
                key=FiringKey(item=facts.item.ref, rule=fired.key.rule, cycle=f"withdraw {fired.task}", level=0),
                task=fired.task,
                reason=f"{activity.title if activity else 'it'} {state}",
            )


def _equipment(program: Program, facts: Facts, plan: PlanFacts) -> Iterator[Equip]:
    lacking = [one.code for one in program.goals if one.code not in plan.goals]
    parts = [f"goals {listed(lacking)}"] if lacking else []
    parts += ["a care team"] if program.team and not plan.has_team else []
    if parts:
        key = FiringKey(item=facts.item.ref, rule=EQUIP, cycle=f"version {program.version}", level=0)
        yield Equip(key=key, reason=f"{program.title} has {listed(parts)}")
