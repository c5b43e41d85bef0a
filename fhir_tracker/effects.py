"""Applying what rules asked for: each effect once, under its firing key, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fhir_tracker import (
    care_team,
    consequences,
    enrolment,
    escalation,
    failpoints,
    flags,
    form_scores,
    plan_changes,
    plan_parts,
    programs,
    provenance,
    records,
    substitutes,
    task_resources,
    transitions,
    withdrawing,
)
from fhir_tracker.errors import RuleBroken
from fhir_tracker.fhir.dates import instant
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.summary_text import with_text_in_step
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import (
    ClearFlag,
    CloseTasks,
    CreateTask,
    Decide,
    Disenrol,
    Effect,
    EnrolInto,
    Equip,
    Escalate,
    Hold,
    Notify,
    RaiseFlag,
    Reassign,
    RecordScore,
    ReturnToQueue,
    SetDue,
    SetPriority,
    SetStage,
    SetStatus,
    WithdrawTask,
)
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program, TaskTemplate
from fhir_tracker.model.viewer import RULE_WORKER
from fhir_tracker.model.work import Firing
from fhir_tracker.rules.due import due_at
from fhir_tracker.rules.renaming import causes_of
from fhir_tracker.storage import firings, notifications, patients, resources, work_items
from fhir_tracker.storage import transitions as stored_transitions
from fhir_tracker.storage.database import Tx
from fhir_tracker.transitions import OpenTask

Skipped = str | None
"""Why an effect did not apply any more; None when it was done."""

KINDS: Mapping[type[Effect], str] = {
    Escalate: "escalate",
    CreateTask: "create-task",
    RaiseFlag: "raise-flag",
    RecordScore: "record-score",
    Decide: "decide",
    ClearFlag: "clear-flag",
    SetStatus: "set-status",
    SetPriority: "set-priority",
    Notify: "notify",
    ReturnToQueue: "return-to-queue",
    SetStage: "set-stage",
    Reassign: "reassign",
    Hold: "hold",
    EnrolInto: "enrol",
    Disenrol: "disenrol",
    CloseTasks: "close-tasks",
    WithdrawTask: "withdraw-task",
    SetDue: "set-due",
    Equip: "equip",
}
"""What a firing of each effect is called."""


def apply(tx: Tx, program: Program, facts: Facts, effect: Effect, now: datetime) -> bool:
    """Do what the effect says unless it has been done before; True when it was done now.

    What no longer applies (the work was closed meanwhile, the plan is gone) is not done and never tried again: its
    firing stays as `skipped`, with the reason.
    """
    author = Author(viewer=RULE_WORKER, origin="rules", at=now)
    if not firings.fire(tx, firing_of(program, effect, now), facts.item.patient):
        return False
    return do(tx, program, facts, effect, author, why_of(program, effect))


def firing_of(program: Program, effect: Effect, now: datetime, task: str | None = None) -> Firing:
    """The row under which an effect happens once; `task` is the Task that it makes, where that is known already."""
    return Firing(
        key=effect.key,
        fired_at=now,
        kind=KINDS[type(effect)],
        task=task,
        to_role=getattr(effect, "to_role", None) or None,
        program=program.code,
        program_version=program.version,
        reason=effect.reason,
    )


def why_of(program: Program, effect: Effect) -> Why:
    """The effect's reason and rule, for the rows and the Provenance of what it writes."""
    return Why(reason=effect.reason, rule=f"{program.code}|{program.version}#{effect.key.rule}")


def do(tx: Tx, program: Program, facts: Facts, effect: Effect, author: Author, why: Why) -> bool:
    """Do what an effect says whose firing was just written down; False, and the firing says why, when it cannot be."""
    skipped = _APPLY[type(effect)](tx, program, facts, effect, author, why)
    failpoints.reached(f"effect-{KINDS[type(effect)]}")
    consequences.draw(tx, apply)
    if skipped is not None:
        firings.skip(tx, effect.key, f"{effect.reason} (skipped: {skipped})")
    return skipped is None


def _open_task(tx: Tx, facts: Facts, author: Author) -> OpenTask | str:
    """The item's Task as it is now, or why there is nothing to change any more."""
    now = work_items.find(tx, author.viewer, facts.item.ref)
    if now is None:
        return "the work is gone"
    return transitions.find_task(tx, author.viewer, now.ref) if now.open else f"the work is closed: {now.status}"


def _escalate(tx: Tx, program: Program, facts: Facts, effect: Escalate, author: Author, why: Why) -> Skipped:
    now = work_items.find(tx, author.viewer, facts.item.ref)
    if now is None or not now.open:
        return f"the work is closed: {now.status}" if now else "the work is gone"
    id_ = records.fresh_id(author.at)
    firings.link_task(tx, effect.key, f"Task/{id_}")
    escalation.fire(tx, facts.item, effect, author, why.rule or "", id_)
    return None


def _create_task(tx: Tx, program: Program, facts: Facts, effect: CreateTask, author: Author, why: Why) -> Skipped:
    template = template_of(program, effect)
    if template is None:
        return f"the program has no task {effect.template}"
    plan = resources.find(tx, author.viewer, *facts.item.plan.split("/")) if facts.item.plan else None
    if facts.item.plan and (plan is None or plan.deleted):
        return "there is no plan any more"
    resource = task_of(program, template, facts, effect, author, records.fresh_id(author.at))
    owner = facts.item.owner if effect.owner == "same" else None
    if effect.owner in ("primary", "team") and plan is not None:
        body, role = records.resource_of(plan), effect.role or template.role
        owner = care_team.owner_of(tx, author.viewer, body, effect.owner, role, author.at)
    if owner:
        resource["owner"] = {"reference": owner}
    task = records.save(tx, resource, author, why=why, fresh=True)
    written = [task]
    if plan is not None:
        changed = with_work(records.resource_of(plan), [(task.ref, template.title)])
        written.append(records.save(tx, changed, author, why=why))
    provenance.record(tx, written, author, why, activity="CREATE")
    firings.link_task(tx, effect.key, task.ref)
    return None


def task_of(
    program: Program, template: TaskTemplate, facts: Facts, effect: CreateTask, author: Author, id_: str
) -> Resource:
    """The Task that an effect makes, under the fresh id `id_`."""
    anchors = dict(facts.plan.anchors) if facts.plan else {}
    about = next((event for event in facts.events if event.ref == effect.about), None)
    if about is not None:
        anchors[f"{about.type.lower()}.{about.status}"] = anchors["event"] = about.at
    new = task_resources.NewTask(
        id=id_,
        patient=facts.item.patient,
        plan=facts.item.plan,
        due_at=effect.due_at or due_at(program, template, anchors, author.at),
        reason=effect.reason,
        about=effect.about,
        priority=effect.priority or None,
        starts_at=effect.starts_at,
        goal=facts.plan.goals.get(template.goal) if facts.plan else None,
        part_of=_whole(template, facts),
    )
    for_role = replace(template, role=effect.role) if effect.role else template
    resource = task_resources.from_template(program, for_role, new, author.at)
    if effect.activity is None:
        return resource
    known = program.task(effect.template) is not None
    return task_resources.of_activity(resource, program, effect.activity, facts.item.plan or "", known)


def template_of(program: Program, effect: CreateTask) -> TaskTemplate | None:
    """The template of what is to be made; an intervention that is none of the program's tasks brings its own."""
    if effect.activity is None or effect.template:
        return program.task(effect.template)
    primary = next((one.role for one in program.team if one.primary), program.tasks[0].role)
    return TaskTemplate(code="", title=effect.activity.title, role=primary, initial=program.statuses[0].code)


def _whole(template: TaskTemplate, facts: Facts) -> str | None:
    """The latest open work of the plan that this is a part of."""
    found = [one for one in facts.tasks if template.part_of and one.code == template.part_of and one.open]
    return found[-1].ref if found else None


def with_work(plan: Resource, made: Sequence[tuple[str, str]]) -> Resource:
    """The CarePlan with what was made for it, each a reference and a title, among its activities."""
    work = [{"reference": {"reference": ref, "display": title}} for ref, title in made]
    return with_text_in_step(plan, plan | {"activity": [*(plan.get("activity") or []), *work]})


def _raise_flag(tx: Tx, program: Program, facts: Facts, effect: RaiseFlag, author: Author, why: Why) -> Skipped:
    return flags.put_up(tx, facts.item.patient, effect.code, effect.cause, author, why)


def _decide(tx: Tx, program: Program, facts: Facts, effect: Decide, author: Author, why: Why) -> Skipped:
    rows = stored_transitions.of_items(tx, author.viewer, [effect.task])[effect.task]
    told = next((row for row in reversed(rows) if row.what == "status"), None)
    if told is not None and (told.reason or told.reason_code):
        why = replace(why, reason=f"{effect.reason}: {told.reason or told.reason_code}", code=told.reason_code)
    ends = any(one.code == effect.stage and one.fhir not in ("draft", "active", "on-hold") for one in program.stages)
    change = plan_changes.disenrol if ends else plan_changes.set_stage
    return change(tx, facts.item.plan, effect.stage, author, why)


def _record_score(tx: Tx, program: Program, facts: Facts, effect: RecordScore, author: Author, why: Why) -> Skipped:
    return form_scores.record(tx, program, facts.item.patient, effect, author, why)


def _clear_flag(tx: Tx, program: Program, facts: Facts, effect: ClearFlag, author: Author, why: Why) -> Skipped:
    causes = causes_of(program, effect.cause)
    return flags.take_down(tx, facts.item.patient, effect.code, causes, author, why)


def _set_status(tx: Tx, program: Program, facts: Facts, effect: SetStatus, author: Author, why: Why) -> Skipped:
    task = _open_task(tx, facts, author)
    if isinstance(task, str):
        return task
    if task.program is not None and task.program.status(effect.status) is None:
        return f"the work is under version {task.program.version}, which has no status {effect.status}"
    said = replace(why, note=effect.note or None)
    transitions.move_by_rule(tx, facts.item.ref, effect.status, author, said, effect.evidence)
    return None


def _set_priority(tx: Tx, program: Program, facts: Facts, effect: SetPriority, author: Author, why: Why) -> Skipped:
    task = _open_task(tx, facts, author)
    if isinstance(task, str):
        return task
    changed = task_resources.stamped(task.resource, author.at) | {"priority": effect.priority}
    transitions.store(tx, changed, author, why)
    return None


def notify(tx: Tx, program: Program, facts: Facts, effect: Notify, author: Author, why: Why) -> Skipped:
    person = facts.item.owner if effect.to == "owner" else None
    if effect.to == "primary":
        person = substitutes.primary_of(tx, facts.item, author.at)
    role = effect.to_role or (None if person else facts.item.role)
    if not role and not person:
        return "there is nobody to tell: no owner and no role"
    """Tell a role by each channel."""
    for channel in effect.channels:
        notifications.add(
            tx,
            to_role=role,
            to_person=person,
            channel=channel,
            subject=facts.item.ref,
            patient=facts.item.patient,
            text=effect.reason,
            at=author.at,
        )
    return None


def _return_to_queue(
    tx: Tx, program: Program, facts: Facts, effect: ReturnToQueue, author: Author, why: Why
) -> Skipped:
    task = _open_task(tx, facts, author)
    if isinstance(task, str):
        return task
    if not task.item.owner:
        return "nobody has the work"
    transitions.assign(tx, facts.item.ref, None, author, reason=effect.reason, rule=why.rule)
    return None


def _set_stage(tx: Tx, program: Program, facts: Facts, effect: SetStage, author: Author, why: Why) -> Skipped:
    return plan_changes.set_stage(tx, facts.item.plan, effect.stage, author, why)


def _reassign(tx: Tx, program: Program, facts: Facts, effect: Reassign, author: Author, why: Why) -> Skipped:
    task = _open_task(tx, facts, author)
    if isinstance(task, str):
        return task
    if effect.to_role:
        if task.item.role == effect.to_role and not task.item.owner:
            return f"the work waits for {effect.to_role} already"
        transitions.give_role(tx, facts.item.ref, effect.to_role, author, reason=effect.reason, rule=why.rule)
        return None
    if effect.to == "primary":
        person = substitutes.primary_of(tx, task.item, author.at)
    else:
        person = substitutes.stand_in(tx, task.item.owner, author.at)
    if person is None:
        return "the plan has no primary owner" if effect.to == "primary" else "the owner has no substitute now"
    if person == task.item.owner:
        return "the work is theirs already"
    transitions.assign(tx, facts.item.ref, person, author, reason=effect.reason, rule=why.rule)
    return None


def _hold(tx: Tx, program: Program, facts: Facts, effect: Hold, author: Author, why: Why) -> Skipped:
    task = _open_task(tx, facts, author)
    if isinstance(task, str):
        return task
    if task.program is not None and task.program.status(effect.status) is None:
        return f"the work is under version {task.program.version}, which has no status {effect.status}"
    if task.item.clock == "paused":
        return f"the work is on hold already: {task.item.status}"
    changed = task_resources.with_status(task.resource, task.program, effect.status, author.at)
    given = {"hold.until": instant(effect.until), "hold.event": effect.event, "reason": effect.reason}
    transitions.store(tx, task_resources.with_fields(changed, given, author), author, why)
    return None


def _enrol(tx: Tx, program: Program, facts: Facts, effect: EnrolInto, author: Author, why: Why) -> Skipped:
    wanted, patient = programs.load(tx, effect.program), facts.item.patient
    if wanted is None:
        return f"there is no active program {effect.program}"
    known = patients.find(tx, author.viewer, patient) if patient else None
    if patient is None or known is None:
        return "the work is about no patient that is known here"
    if known.deceased:
        return "the patient has died"
    try:
        plan = enrolment.by_hand(tx, wanted, patient, author, reason=effect.reason)
    except RuleBroken as error:
        return error.message
    firings.link_task(tx, effect.key, plan.ref)
    return None


def _disenrol(tx: Tx, program: Program, facts: Facts, effect: Disenrol, author: Author, why: Why) -> Skipped:
    return plan_changes.disenrol(tx, facts.item.plan, effect.stage, author, why)


def _close_tasks(tx: Tx, program: Program, facts: Facts, effect: CloseTasks, author: Author, why: Why) -> Skipped:
    found = plan_changes.find(tx, facts.item.plan, author)
    if isinstance(found, str):
        return found
    plan, present = found
    if present.status(effect.status) is None:
        return f"the plan is under version {present.version}, which has no status {effect.status}"
    closed = plan_changes.close_open(tx, plan.ref, effect.status, author, why, tasks=effect.tasks)
    return None if closed else "nothing of it is open"


def _withdraw(tx: Tx, program: Program, facts: Facts, effect: WithdrawTask, author: Author, why: Why) -> Skipped:
    return withdrawing.withdraw(tx, effect.task, author, why)


def _set_due(tx: Tx, program: Program, facts: Facts, effect: SetDue, author: Author, why: Why) -> Skipped:
    return withdrawing.set_due(tx, facts.item.ref, effect.due_at, author, why)


def _equip(tx: Tx, program: Program, facts: Facts, effect: Equip, author: Author, why: Why) -> Skipped:
    return plan_parts.equip(tx, program, facts.item.plan, facts.item.patient, author, why)


_APPLY: Mapping[type[Effect], Callable[..., Skipped]] = {
    WithdrawTask: _withdraw,
    SetDue: _set_due,
    Equip: _equip,
    Escalate: _escalate,
    CreateTask: _create_task,
    RaiseFlag: _raise_flag,
    RecordScore: _record_score,
    Decide: _decide,
    ClearFlag: _clear_flag,
    SetStatus: _set_status,
    SetPriority: _set_priority,
    Notify: notify,
    ReturnToQueue: _return_to_queue,
    SetStage: _set_stage,
    Reassign: _reassign,
    Hold: _hold,
    EnrolInto: _enrol,
    Disenrol: _disenrol,
    CloseTasks: _close_tasks,
}
