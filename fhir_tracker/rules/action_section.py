"""Reads what a rule or a transition does: the actions under `do` of a program file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Final

from fhir_tracker.model.program import Action
from fhir_tracker.rules.draft import Draft, role_of
from fhir_tracker.rules.events import NAMES
from fhir_tracker.rules.predicate import Subject
from fhir_tracker.rules.priority import PRIORITIES
from fhir_tracker.rules.source import Fields, Listing, Node, Table, Text, code_of, fields, suggestion, text_of

ACTIONS: Final = (
    "escalate",
    "create_task",
    "raise_flag",
    "clear_flag",
    "set_status",
    "set_priority",
    "notify",
    "return_to_queue",
    "set_stage",
    "reassign",
    "hold",
    "enrol",
    "disenrol",
    "close_tasks",
)
TASK_ONLY: Final = ("set_status", "set_priority", "return_to_queue", "reassign", "hold")
NOTIFY: Final = ("in-app", "email", "webhook")
REASSIGN_TO: Final = ("primary", "substitute")
NOTIFY_TO: Final = ("owner", "primary")
TASK_OWNERS: Final = ("same", "primary")
_Read = Callable[[Node, Draft], Action | None]


def read_actions(node: Node, subject: Subject, draft: Draft) -> tuple[Action, ...]:
    """One action or a list of them; at least one, none of them twice, at most one ladder."""
    nodes = node.items if isinstance(node, Listing) else (node,)
    if isinstance(node, Listing) and not nodes:
        draft.problems.add(node.place, f"must do something: {', '.join(ACTIONS)}")
    actions: list[Action] = []
    for item in nodes:
        action = _action(item, subject, draft)
        if action and action.kind == "escalate" and any(one.kind == "escalate" for one in actions):
            draft.problems.add(item.place, "a rule climbs one ladder: write a second rule for the other")
        elif action and action in actions:
            draft.problems.add(item.place, "this is done already")
        elif action:
            actions.append(action)
    return tuple(actions)


def _action(node: Node, subject: Subject, draft: Draft) -> Action | None:
    if not isinstance(node, Table) or len(node.entries) != 1:
        draft.problems.add(node.place, f"must be one action: {', '.join(ACTIONS)}")
        return None
    ((kind, value),) = node.entries.items()
    if kind not in ACTIONS:
        draft.problems.add(node.keys[kind], f'unknown action "{kind}"{suggestion(kind, ACTIONS)}')
        return None
    if kind in TASK_ONLY and subject == "plan":
        draft.problems.add(node.keys[kind], f'"{kind}" changes a task, and this rule\'s subject is the plan')
    return _READ[kind](value, draft)


def _escalate(node: Node, draft: Draft) -> Action | None:
    return _named("escalate", draft.reference(node, "ladder", draft.ladders))


def _named(kind: str, value: str) -> Action | None:
    return Action(kind=kind, value=value) if value else None


def _create_task(node: Node, draft: Draft) -> Action | None:
    if isinstance(node, Text):
        return _named("create_task", _made_task(node, draft))
    given = fields(node, draft.problems, ("task",), ("role", "owner", "priority", "due"))
    task = given.node("task") if given else None
    if given is None or task is None:
        return None
    role = given.node("role")
    args = {
        "role": role_of(role, draft) if role else "",
        "owner": given.choice("owner", TASK_OWNERS, ""),
        "priority": given.choice("priority", PRIORITIES, ""),
    }
    if args["role"] and args["owner"]:
        draft.problems.add(given.place, 'say "role" or "owner", not both')
    code = _made_task(task, draft)
    return Action(kind="create_task", value=code, args=_said(args), within=given.duration("due")) if code else None


def _made_task(node: Node, draft: Draft) -> str:
    """A task's code; one that resembles no template is made with defaults, one that nearly is a template is a slip."""
    code = code_of(node, draft.problems)
    if not code or code in draft.tasks:
        return code
    if difflib.get_close_matches(code, draft.tasks, n=1, cutoff=0.6):
        return draft.reference(node, "task", draft.tasks)
    draft.implied.setdefault(code, node.place)
    return code


def _raise_flag(node: Node, draft: Draft) -> Action | None:
    return _named("raise_flag", code_of(node, draft.problems))


def _clear_flag(node: Node, draft: Draft) -> Action | None:
    if isinstance(node, Text):
        return _named("clear_flag", code_of(node, draft.problems))
    given = fields(node, draft.problems, ("code",), ("cause",))
    code = given.code("code") if given else ""
    if given is None or not code:
        return None
    cause = given.node("cause")
    named = draft.reference(cause, "rule", draft.rules) if cause else ""
    return Action(kind="clear_flag", value=code, args=_said({"cause": named}))


def _set_status(node: Node, draft: Draft) -> Action | None:
    return _named("set_status", draft.reference(node, "status", draft.statuses))


def _set_priority(node: Node, draft: Draft) -> Action | None:
    return _named("set_priority", draft.reference(node, "priority", PRIORITIES))


def _set_stage(node: Node, draft: Draft) -> Action | None:
    return _named("set_stage", draft.reference(node, "stage", draft.stages))


def _return_to_queue(node: Node, draft: Draft) -> Action | None:
    if isinstance(node, Table):
        given = fields(node, draft.problems, ("reason",))
        return Action(kind="return_to_queue", args=_said({"reason": given.text("reason")})) if given else None
    if text_of(node, draft.problems) not in ("true", "yes"):
        draft.problems.add(node.place, 'write "return_to_queue: true"')
    return Action(kind="return_to_queue")


def _notify(node: Node, draft: Draft) -> Action | None:
    if isinstance(node, Text):
        return _told(node, ("in-app",), draft)
    given = fields(node, draft.problems, ("to",), ("by",))
    to = given.node("to") if given else None
    if given is None or to is None:
        return None
    channels = tuple(draft.reference(text, "channel", NOTIFY) for text in given.texts("by")) or ("in-app",)
    return _told(to, channels, draft)


def _told(to: Node, channels: tuple[str, ...], draft: Draft) -> Action | None:
    by = {"by": ",".join(dict.fromkeys(channels))}
    if isinstance(to, Text) and to.value in NOTIFY_TO:
        return Action(kind="notify", args=by | {"to": to.value})
    role = role_of(to, draft)
    return Action(kind="notify", value=role, args=by) if role else None


def _reassign(node: Node, draft: Draft) -> Action | None:
    to: Node | None = node
    args: dict[str, str] = {}
    if not isinstance(node, Text):
        given = fields(node, draft.problems, ("to",), ("reason",))
        to = given.node("to") if given else None
        args = {"reason": given.text("reason")} if given else {}
    if to is None:
        return None
    if isinstance(to, Text) and to.value in REASSIGN_TO:
        return Action(kind="reassign", args=_said(args | {"to": to.value}))
    role = role_of(to, draft)
    return Action(kind="reassign", value=role, args=_said(args)) if role else None


def _hold(node: Node, draft: Draft) -> Action | None:
    given = fields(node, draft.problems, ("for",), ("status", "or", "reason"))
    within = given.duration("for") if given else None
    if given is None or within is None:
        return None
    status = _paused(given, draft)
    node_or = given.node("or")
    known = (*NAMES, *(f"document.{code}" for code in draft.documents))
    event = draft.reference(node_or, "event", known) if node_or else ""
    args = {"or": event, "reason": given.text("reason")}
    return Action(kind="hold", value=status, args=_said(args), within=within) if status else None


def _paused(given: Fields, draft: Draft) -> str:
    node = given.node("status")
    if node is not None:
        status = draft.reference(node, "status", draft.statuses)
        if status and status not in draft.paused:
            draft.problems.add(node.place, f'"{status}" does not pause the clock{suggestion(status, draft.paused)}')
        return status if status in draft.paused else ""
    if len(draft.paused) == 1:
        return draft.paused[0]
    why = f"one of {', '.join(draft.paused)}" if draft.paused else "and no status pauses the clock"
    draft.problems.add(given.place, f'say which "status" it waits in: {why}')
    return ""


def _enrol(node: Node, draft: Draft) -> Action | None:
    code = code_of(node, draft.problems)
    if code and code == draft.program:
        draft.problems.add(node.place, "the patient is in this program already: name another one")
    return _named("enrol", code)


def _disenrol(node: Node, draft: Draft) -> Action | None:
    reason = ""
    stage_node: Node | None = node
    if not isinstance(node, Text):
        given = fields(node, draft.problems, ("stage",), ("reason",))
        stage_node = given.node("stage") if given else None
        reason = given.text("reason") if given else ""
    if stage_node is None:
        return None
    stage = draft.reference(stage_node, "stage", draft.stages)
    if stage and stage not in draft.ending:
        draft.problems.add(
            stage_node.place, f'the stage "{stage}" does not end a plan{suggestion(stage, draft.ending)}'
        )
        return None
    return Action(kind="disenrol", value=stage, args=_said({"reason": reason})) if stage else None


def _close_tasks(node: Node, draft: Draft) -> Action | None:
    args: dict[str, str] = {}
    status_node: Node | None = node
    if not isinstance(node, Text):
        given = fields(node, draft.problems, ("status",), ("tasks", "reason"))
        status_node = given.node("status") if given else None
        if given is not None:
            tasks = [draft.reference(text, "task", draft.tasks) for text in given.texts("tasks")]
            args = {"tasks": ",".join(tasks), "reason": given.text("reason")}
    if status_node is None:
        return None
    status = draft.reference(status_node, "status", draft.statuses)
    if status and status not in draft.closing:
        draft.problems.add(status_node.place, f'"{status}" closes nothing{suggestion(status, draft.closing)}')
        return None
    return Action(kind="close_tasks", value=status, args=_said(args)) if status else None


def _said(args: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in args.items() if text}


_READ: Final[Mapping[str, _Read]] = {
    "escalate": _escalate,
    "create_task": _create_task,
    "raise_flag": _raise_flag,
    "clear_flag": _clear_flag,
    "set_status": _set_status,
    "set_priority": _set_priority,
    "notify": _notify,
    "return_to_queue": _return_to_queue,
    "set_stage": _set_stage,
    "reassign": _reassign,
    "hold": _hold,
    "enrol": _enrol,
    "disenrol": _disenrol,
    "close_tasks": _close_tasks,
}
