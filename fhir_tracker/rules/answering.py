"""Who may answer an escalation: acknowledge it, take it over, send it back, resolve it, hand it on."""

from __future__ import annotations

from typing import Final

from fhir_tracker.errors import Issue, RuleBroken
from fhir_tracker.model.program import Level, Program
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.work import FiringKey, WorkItem
from fhir_tracker.rules.renaming import present
from fhir_tracker.rules.words import listed

ANSWERS_ALL: Final = "clinic-admin"
_SYSTEM: Final = "system"


def roles_to_answer(program: Program | None, key: FiringKey | None, item: WorkItem) -> tuple[str, ...]:
    """The roles of whom an escalation waits for: those that its level names under `by`, else that of the level, those that
    the ladder goes on to, and the clinic admin. A role that it was handed on to is one of them.
    """
    levels = _levels(program, key)
    told = levels[0].by if levels else ()
    meant = told or (*(one.to for one in levels), ANSWERS_ALL)
    handed = (item.role,) if item.role and item.role not in [one.to for one in levels[:1]] else ()
    return tuple(dict.fromkeys((*handed, *meant)))


def may_answer(roles: tuple[str, ...], owner: str | None, viewer: Viewer) -> bool:
    """Whether somebody may answer what waits for these roles: one of them, its owner, or the tracker itself."""
    return viewer.who == owner or _SYSTEM in viewer.roles or not viewer.roles.isdisjoint(roles)


def check_answer(roles: tuple[str, ...], owner: str | None, viewer: Viewer) -> None:
    """Raise RuleBroken, saying who may, unless the viewer may answer it."""
    if not may_answer(roles, owner, viewer):
        message = f"Only {listed(roles, 'or')}, or who has taken it over, may answer this escalation."
        raise RuleBroken(message, issues=(Issue(message=message, code="business-rule", expression="Task.status"),))


def _levels(program: Program | None, key: FiringKey | None) -> tuple[Level, ...]:
    """The level that fired and those after it; none where the program has no such rule any more."""
    if program is None or key is None:
        return ()
    name = present(program, key).rule
    climbs = (one.value for rule in program.rules if rule.id == name for one in rule.do if one.kind == "escalate")
    ladder = next((program.ladder(code) for code in climbs), None)
    levels = ladder.levels if ladder else ()
    return tuple(one for one in levels if one.number >= key.level)
