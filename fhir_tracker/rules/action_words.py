"""What an action does in plain words, for people who approve a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fhir_tracker.model.program import Action
from fhir_tracker.rules.words import listed


def describe_action(action: Action) -> str:
    """What a rule does: `escalate late-call`, `create task letter`."""
    say = _WORDS.get(action.kind)
    words = say(action) if say else f"{action.kind.replace('_', ' ')} {action.value}".strip()
    reason = action.args.get("reason", "")
    return f'{words} because "{reason}"' if reason else words


def _create_task(action: Action) -> str:
    args = action.args
    parts = [
        f"for {args['role']}" if "role" in args else "",
        "for the owner of this work" if args.get("owner") == "same" else "",
        "for the primary owner of the plan" if args.get("owner") == "primary" else "",
        f"with priority {args['priority']}" if "priority" in args else "",
        f"due within {action.within}" if action.within else "",
    ]
    return " ".join(["create task", action.value, *(part for part in parts if part)])


def _clear_flag(action: Action) -> str:
    cause = action.args.get("cause")
    return f"clear flag {action.value}" + (f" as far as the rule {cause} raised it" if cause else "")


def _notify(action: Action) -> str:
    return f"notify {_whom(action)} by {action.args.get('by', 'in-app').replace(',', ', ')}"


def _reassign(action: Action) -> str:
    return f"reassign to {_whom(action)}"


def _whom(action: Action) -> str:
    named = {"owner": "the owner", "primary": "the primary owner of the plan", "substitute": "the owner's substitute"}
    return named.get(action.args.get("to", ""), action.value)


def _hold(action: Action) -> str:
    event = action.args.get("or")
    return f"hold as {action.value} for {action.within}" + (f" or until {event}" if event else "")


def _disenrol(action: Action) -> str:
    return f"end the plan as {action.value} and close its open tasks"


def _close_tasks(action: Action) -> str:
    tasks = [one for one in action.args.get("tasks", "").split(",") if one]
    which = f"the plan's open {listed(tasks, 'and')} tasks" if tasks else "all open tasks of the plan"
    return f"close {which} as {action.value}"


_WORDS: Final[Mapping[str, Callable[[Action], str]]] = {
    "create_task": _create_task,
    "clear_flag": _clear_flag,
    "notify": _notify,
    "reassign": _reassign,
    "hold": _hold,
    "disenrol": _disenrol,
    "close_tasks": _close_tasks,
    "enrol": lambda action: f"enrol into {action.value}",
}
