"""Making a plan's work anew: what its program and its interventions want is made, what they no longer want is taken back.

It may be asked any number of times: what was made is not made again, what people changed stays theirs, and what somebody has
begun is kept. The sweep does the same by itself for what a plan lists; this adds what a new version of the program changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from fhir_tracker import care_team, effects, gathering, programs, records, task_resources, transitions, withdrawing
from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import text_at
from fhir_tracker.model.author import Author, Why
from fhir_tracker.model.effects import CreateTask, Effect, WithdrawTask
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Program, TaskTemplate
from fhir_tracker.model.work import WorkItem
from fhir_tracker.rules.plan_work import ACTIVITY, missing, plan_work
from fhir_tracker.rules.recount import recounted
from fhir_tracker.rules.words import listed, moment
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage import transitions as rows
from fhir_tracker.storage.database import Tx

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing done (or, in a rehearsal, to be done): `what` with which work, and why."""

    what: Literal["made", "changed", "withdrawn", "kept", "equipped"]
    work: str
    why: str


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A step and what does it, which tells why it could not be done after all."""

    step: Step
    do: Callable[[], str | None]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """The plan that is made anew: its facts, its program as it counts at its place, and the version its work is from."""

    tx: Tx
    author: Author
    facts: Facts
    program: Program
    whole: Program
    before: Program | None

    @property
    def rule(self) -> str:
        """As what the rows of history name it."""
        return f"{self.program.code}|{self.program.version}#regenerate"


def regenerate(
    tx: Tx,
    ref: str,
    author: Author,
    *,
    rehearse: bool = False,
    re_own: bool = False,
    before: Program | None = None,
) -> tuple[Step, ...]:
    """Bring the work of `CarePlan/<id>` in step with its program and its own interventions; what was done.

    `rehearse` writes nothing, `re_own` also gives work that nobody has begun to whom the care team names now, `before` is
    the version that the plan's work was made under where it no longer says so itself. Raises NotFound for a plan that is
    not there, RuleBroken for one that is over or in no program.
    """
    plan = _found(tx, ref, author, before)
    planned = [*_effects(plan), *_tasks(plan), *(_owners(plan) if re_own else ())]
    steps = []
    for one in planned:
        refused = None if rehearse else one.do()
        steps.append(replace(one.step, what="kept", why=refused) if refused else one.step)
    return tuple(steps)


def _found(tx: Tx, ref: str, author: Author, before: Program | None) -> _Plan:
    item = work_items.find(tx, author.viewer, ref)
    if item is None or item.kind != "plan" or item.program is None:
        raise NotFound(f"There is no plan {ref} of a program.")
    if not item.open:
        raise RuleBroken(f"The plan is over ({item.status}).", expression="CarePlan.status")
    facts = gathering.gather(tx, author.viewer, [item])[0]
    whole = programs.required(tx, item.program, item.program_version)
    return _Plan(tx=tx, author=author, facts=facts, program=whole.at(*facts.places), whole=whole, before=before)


def _effects(plan: _Plan) -> Iterator[_Planned]:
    """What the sweep would do by itself, and the work that the program begins with and this plan never had."""
    fired = {one.key for one in plan.facts.fired}
    now = plan.author.at
    wanted = {one.key: one for one in (*plan_work(plan.program, plan.facts, now).effects, *_missing(plan))}
    for key, effect in wanted.items():
        if key not in fired:
            yield _Planned(step=_step(plan, effect), do=partial(_apply, plan, effect))


def _missing(plan: _Plan) -> Iterator[CreateTask]:
    is_active = plan.facts.plan is not None and plan.facts.plan.status == "active"
    return missing(plan.program, plan.facts, plan.author.at) if is_active and not plan.facts.deceased else iter(())


def _apply(plan: _Plan, effect: Effect) -> str | None:
    done = effects.apply(plan.tx, plan.program, plan.facts, effect, plan.author.at)
    return None if done else "it did not apply any more"


def _step(plan: _Plan, effect: Effect) -> Step:
    if isinstance(effect, CreateTask):
        template = effects.template_of(plan.program, effect)
        return Step(what="made", work=template.title if template else effect.template, why=effect.reason)
    if isinstance(effect, WithdrawTask):
        begun = withdrawing.begun(plan.tx, effect.task)
        return Step(what="kept" if begun else "withdrawn", work=effect.task, why=begun or effect.reason)
    return Step(what="equipped", work=plan.facts.item.ref, why=effect.reason)


def _tasks(plan: _Plan) -> Iterator[_Planned]:
    """Open work whose template has changed or gone since it was made."""
    by_activity = {one.task for one in plan.facts.fired if one.key.rule.startswith(ACTIVITY)}
    for item in plan.facts.tasks:
        if not item.open or item.kind != "task" or item.program != plan.program.code or item.ref in by_activity:
            continue
        base = plan.before or _made_under(plan.tx, item, plan.author)
        old = base.task(_former_code(plan.tx, item, plan.author)) if base else None
        if base is None or old is None or base.version == plan.program.version:
            continue
        new = plan.program.task(item.code)
        if new is None:
            yield _withdrawal(plan, item)
        else:
            yield from _renewal(plan, item, base, old, new)


def _withdrawal(plan: _Plan, item: WorkItem) -> _Planned:
    begun = withdrawing.begun(plan.tx, item.ref)
    reason = f"version {plan.program.version} of {plan.program.title} has no {item.title}"
    step = Step(
        what="kept" if begun else "withdrawn", work=item.ref, why=f"somebody has begun it: {begun}" if begun else reason
    )
    return _Planned(
        step=step, do=partial(withdrawing.withdraw, plan.tx, item.ref, plan.author, Why(reason=reason, rule=plan.rule))
    )


def _renewal(plan: _Plan, item: WorkItem, base: Program, old: TaskTemplate, new: TaskTemplate) -> Iterator[_Planned]:
    """What the template changed and people did not: queue, priority, words and due time."""
    task = transitions.find_task(plan.tx, plan.author.viewer, item.ref)
    changed, said = dict(task.resource), list[str]()
    if old.role != new.role and item.role == old.role and item.owner is None:
        changed["performerType"] = [task_resources.role_concept(new.role)]
        said.append(f"for {new.role}, not {old.role}")
    if old.priority != new.priority and item.priority == old.priority:
        changed["priority"] = new.priority
        said.append(f"{new.priority}, not {old.priority}")
    if old.what != new.what and (text_at(task.resource, "description") or "") == old.what:
        changed["description"] = new.what or new.title
        said.append("described anew")
    due = _due(plan, item, base)
    if due is not None:
        changed = task_resources.with_due(changed, due[0])
        said.append(due[1])
    if said:
        reason = f"{plan.program.title} version {plan.program.version}: {listed(said)}"
        resource = task_resources.stamped(changed, plan.author.at)
        yield _Planned(
            step=Step(what="changed", work=item.ref, why=reason),
            do=partial(_store, plan, resource, Why(reason=reason, rule=plan.rule)),
        )


def recount_work(tx: Tx, refs: Sequence[str], before: Program, after: Program, author: Author) -> int:
    """Count the due times of open Tasks by the calendar of `after` where that of `before` counted them; how many moved.

    Each has a row that names both. What somebody else set stays.
    """
    moved = 0
    for item in work_items.find_many(tx, author.viewer, refs).values():
        due = _counted(tx, item, before, after, author) if item.open and item.kind == "task" else None
        if due is not None:
            reason = f"version {after.version} of {after.title} has another calendar: {due[1]}"
            why = Why(reason=reason, rule=f"{after.code}|{after.version}#recount")
            moved += withdrawing.set_due(tx, item.ref, due[0], author, why) is None
    return moved


def _made_under(tx: Tx, item: WorkItem, author: Author) -> Program | None:
    """The version that work was made under, or brought in step with last: before its latest move to another version."""
    log = rows.of_items(tx, author.viewer, [item.ref])[item.ref]
    done = [row.recorded_at for row in log if row.rule and row.rule.endswith("#regenerate")]
    moves = [
        row for row in log if row.what == "program" and row.before and row.recorded_at >= max(done, default=_NEVER)
    ]
    code, _, version = (moves[0].before or "").partition("|") if moves else ("", "", "")
    if code == item.program and version.isdigit():
        return programs.load(tx, code, int(version))
    return programs.load(tx, item.program, item.program_version) if item.program else None


def _former_code(tx: Tx, item: WorkItem, author: Author) -> str:
    """What work was called before it went to another version of its program; its code when it never did."""
    log = rows.of_items(tx, author.viewer, [item.ref])[item.ref]
    return next((row.note for row in log if row.what == "program" and row.note), item.code)


def _due(plan: _Plan, item: WorkItem, base: Program) -> tuple[datetime, str] | None:
    return _counted(plan.tx, item, base, plan.whole, plan.author)


def _counted(tx: Tx, item: WorkItem, base: Program, wanted: Program, author: Author) -> tuple[datetime, str] | None:
    facts = gathering.gather(tx, author.viewer, [item])[0]
    before, after = base.at(*facts.places), wanted.at(*facts.places)
    due = recounted(before, after, facts, _former_code(tx, item, author))
    if due is None or item.due_at is None or due == item.due_at:
        return None
    return due, f"due {moment(after.calendar, due)}, not {moment(before.calendar, item.due_at)}"


def _owners(plan: _Plan) -> Iterator[_Planned]:
    """Work that nobody has begun and whose owner is that of the care team: given to whom the team names now."""
    stored = resources.find(plan.tx, plan.author.viewer, *plan.facts.item.ref.split("/"))
    body = records.resource_of(stored) if stored and not stored.deleted else {}
    for item in plan.facts.tasks:
        template = plan.program.task(item.code)
        if not item.open or item.kind != "task" or template is None or not template.owner:
            continue
        role = item.role or template.role
        owner = care_team.owner_of(plan.tx, plan.author.viewer, body, template.owner, role, plan.author.at)
        if owner is None or owner == item.owner:
            continue
        begun = withdrawing.begun(plan.tx, item.ref)
        why = f"somebody has begun it: {begun}" if begun else f"the care team names {owner}"
        yield _Planned(
            step=Step(what="kept" if begun else "changed", work=item.ref, why=why),
            do=partial(_give, plan, item, owner, why) if begun is None else _nothing,
        )


def _give(plan: _Plan, item: WorkItem, owner: str, why: str) -> str | None:
    transitions.assign(plan.tx, item.ref, owner, plan.author, reason=why)
    return None


def _nothing() -> None:
    """What is kept needs nothing done."""


def _store(plan: _Plan, resource: Resource, why: Why) -> str | None:
    transitions.store(plan.tx, resource, plan.author, why)
    return None
