"""From the actions of a rule or a transition to the effects they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fhir_tracker.errors import Fault
from fhir_tracker.model.effects import (
    ClearFlag,
    CloseTasks,
    CreateTask,
    Disenrol,
    Effect,
    EnrolInto,
    Hold,
    Notify,
    RaiseFlag,
    Reassign,
    ReturnToQueue,
    SetPriority,
    SetStage,
    SetStatus,
)
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import Action, Program
from fhir_tracker.model.work import FiringKey
from fhir_tracker.rules.calendar import add
from fhir_tracker.rules.due import due_at


@dataclass(frozen=True, kw_only=True)
class Case:
    """On whose behalf something is done: the rule (or `move:...`) and cycle of the firing keys, why, and since when."""

    rule: str
    cycle: str
    why: str
    since: datetime | None = None
    occurrence: str = ""


def effects_of(
    program: Program, facts: Facts, actions: Sequence[Action], case: Case, now: datetime
) -> Iterator[Effect]:
    """The effect of each action but `escalate`; action n fires as level -n (0, -1, -2 ...) of the case."""
    for index, action in enumerate(one for one in actions if one.kind != "escalate"):
        key = FiringKey(item=facts.item.ref, rule=case.rule, cycle=case.cycle, level=-index)
        yield _MAKE[action.kind](_Wish(program=program, facts=facts, case=case, action=action, key=key, now=now))


@dataclass(frozen=True, kw_only=True)
class _Wish:
    program: Program
    facts: Facts
    case: Case
    action: Action
    key: FiringKey
    now: datetime

    @property
    def reason(self) -> str:
        """The program's own words where it gives some, before what the rule found."""
        said = self.action.args.get("reason", "")
        return f"{said}: {self.case.why}" if said else self.case.why


def _create_task(wish: _Wish) -> CreateTask:
    template = wish.program.task(wish.action.value)
    if template is None:
        raise Fault(f"a rule creates {wish.action.value}, which the program does not have")
    anchors = dict(wish.facts.plan.anchors) if wish.facts.plan else {}
    anchors["event"] = wish.case.since or wish.now
    within = wish.action.within
    due = add(wish.program.calendar, wish.now, within) if within else None
    return CreateTask(
        key=wish.key,
        template=template.code,
        reason=wish.reason,
        about=_about(wish.case.occurrence),
        due_at=due or due_at(wish.program, template, anchors, wish.now),
        role=wish.action.args.get("role", ""),
        priority=wish.action.args.get("priority", ""),
        owner=wish.action.args.get("owner", "") or template.owner,
    )


def _about(occurrence: str) -> str | None:
    """The event a case is named by, as what the work is about; an attempt to reach somebody is no such thing."""
    ref = occurrence.split(" ")[0].partition("#")[0]
    return ref if ref and not ref.startswith("Communication/") else None


def _raise_flag(wish: _Wish) -> RaiseFlag:
    cause = f"{wish.program.code}#{wish.case.rule}"
    return RaiseFlag(key=wish.key, code=wish.action.value, reason=wish.reason, cause=cause)


def _clear_flag(wish: _Wish) -> ClearFlag:
    rule = wish.action.args.get("cause", "")
    cause = f"{wish.program.code}#{rule}" if rule else ""
    return ClearFlag(key=wish.key, code=wish.action.value, reason=wish.reason, cause=cause)


def _notify(wish: _Wish) -> Notify:
    return Notify(
        key=wish.key,
        to_role=wish.action.value,
        channels=tuple(wish.action.args.get("by", "in-app").split(",")),
        reason=wish.reason,
        to=wish.action.args.get("to", ""),
    )


def _reassign(wish: _Wish) -> Reassign:
    to = wish.action.args.get("to", "")
    return Reassign(key=wish.key, reason=wish.reason, to_role=wish.action.value, to=to)


def _hold(wish: _Wish) -> Hold:
    if wish.action.within is None:
        raise Fault("a hold without its length was read")
    return Hold(
        key=wish.key,
        status=wish.action.value,
        until=add(wish.program.calendar, wish.now, wish.action.within),
        event=wish.action.args.get("or", ""),
        reason=wish.reason,
    )


def _close_tasks(wish: _Wish) -> CloseTasks:
    tasks = tuple(one for one in wish.action.args.get("tasks", "").split(",") if one)
    return CloseTasks(key=wish.key, status=wish.action.value, reason=wish.reason, tasks=tasks)


_MAKE: Final[Mapping[str, Callable[[_Wish], Effect]]] = {
    "create_task": _create_task,
    "raise_flag": _raise_flag,
    "clear_flag": _clear_flag,
    "set_status": lambda wish: SetStatus(key=wish.key, status=wish.action.value, reason=wish.reason),
    "set_priority": lambda wish: SetPriority(key=wish.key, priority=wish.action.value, reason=wish.reason),
    "return_to_queue": lambda wish: ReturnToQueue(key=wish.key, reason=wish.reason),
    "notify": _notify,
    "set_stage": lambda wish: SetStage(key=wish.key, stage=wish.action.value, reason=wish.reason),
    "reassign": _reassign,
    "hold": _hold,
    "enrol": lambda wish: EnrolInto(key=wish.key, program=wish.action.value, reason=wish.reason),
    "disenrol": lambda wish: Disenrol(key=wish.key, stage=wish.action.value, reason=wish.reason),
    "close_tasks": _close_tasks,
}
