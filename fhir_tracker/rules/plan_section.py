"""Reads what a program file says of every plan: `pauses`, `goals` and `team`; and of its work: who owns it, when it starts."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from fhir_tracker.model.program import Duration, GoalTemplate, Starts, TaskTemplate, TeamRole
from fhir_tracker.model.values import parse_quantity
from fhir_tracker.rules.draft import Draft, refuse_doubles, role_of, title_of
from fhir_tracker.rules.sla import PAUSES
from fhir_tracker.rules.source import Fields, Node, Table, Text, choice_of, fields, items_of, text_of, texts_of

LONGEST_HORIZON = 400
"""Days: occurrences are made ahead for a year at most."""
_MOST_AHEAD = 60
_MOST_SHOWN = 12
_DAYS = {"seconds": 1 / 86400, "minutes": 1 / 1440, "hours": 1 / 24, "days": 1.0, "weeks": 7.0, "months": 30.0}


@dataclass(frozen=True, kw_only=True)
class Working:
    """What a task says of its owner, its start and what it serves."""

    owner: Literal["", "primary", "team"] = ""
    starts: Starts | None = None
    zone: Literal["site", "patient"] = "site"
    horizon: Duration | None = None
    pauses: tuple[str, ...] | None = None
    goal: str = ""
    part_of: str = ""


WORKING = ("owner", "starts", "zone", "horizon", "pauses", "goal", "part_of")


def read_pauses(node: Node | None, draft: Draft) -> tuple[str, ...]:
    """What pauses clocks besides statuses: a word or a list of them, `none` for nothing."""
    if node is None:
        return ()
    words = [choice_of(text, (*PAUSES, "none"), draft.problems, "pause") for text in texts_of(node, draft.problems)]
    if "none" in words and len(words) > 1:
        draft.problems.add(node.place, '"none" stands alone')
    return tuple(dict.fromkeys(word for word in words if word and word != "none"))


def read_goals(node: Node | None, draft: Draft) -> tuple[GoalTemplate, ...]:
    """The goals of every plan."""
    goals = []
    for item in items_of(node, draft.problems):
        given = fields(item, draft.problems, ("code",), ("title", "target"))
        if given is not None:
            goals.append(_goal(given, draft))
    if node is not None:
        refuse_doubles(node, draft)
    return tuple(goals)


def read_team(node: Node | None, draft: Draft) -> tuple[TeamRole, ...]:
    """The care team of every plan; the first role is primary unless another says so."""
    found = []
    for item in items_of(node, draft.problems):
        given = fields(item, draft.problems, ("role",), ("title", "primary"))
        role = given.node("role") if given else None
        if given is not None and role is not None:
            primary = given.choice("primary", ("true", "false", "yes", "no"), "false") in ("true", "yes")
            name = role_of(role, draft)
            found.append(TeamRole(role=name, title=given.text("title", title_of(name)), primary=primary))
    if node is not None:
        refuse_doubles(node, draft, "role")
        if sum(one.primary for one in found) > 1:
            draft.problems.add(node.place, "only one role of the team can be primary")
    if found and not any(one.primary for one in found):
        found[0] = TeamRole(role=found[0].role, title=found[0].title, primary=True)
    return tuple(found)


def read_working(given: Fields, every: Duration | None, draft: Draft) -> Working:
    """The words of one task that `WORKING` names."""
    horizon = _horizon(given, every, draft)
    zone, owner = (
        given.choice("zone", ("site", "patient"), "site"),
        given.choice("owner", ("none", "primary", "team"), "none"),
    )
    if given.node("zone") and every is None:
        draft.problems.add(
            given.table.keys["zone"], '"zone" belongs to a task on cadence: it says whose wall clock counts'
        )
    if owner != "none" and not draft.has_team:
        draft.problems.add(given.table.keys["owner"], f'"owner: {owner}" needs a "team" with its roles')
    goal, part_of = given.node("goal"), given.node("part_of")
    pauses = given.node("pauses")
    whole = draft.reference(part_of, "task", draft.tasks) if part_of else ""
    if part_of and whole and whole == _own_code(given):
        draft.problems.add(part_of.place, "a task cannot be part of itself")
    return Working(
        owner=cast('Literal["", "primary", "team"]', "" if owner == "none" else owner),
        starts=_starts(given, draft),
        zone=cast('Literal["site", "patient"]', zone),
        horizon=horizon,
        pauses=read_pauses(pauses, draft) if pauses else None,
        goal=draft.reference(goal, "goal", draft.goals) if goal else "",
        part_of=whole,
    )


def check_starts(node: Node, tasks: tuple[TaskTemplate, ...], draft: Draft) -> None:
    """Note work that could never start, because it waits for itself in a circle."""
    _check_circles(node, {task.code: task.starts.after for task in tasks if task.starts}, "starts", draft)
    _check_circles(
        node, {task.code: (task.part_of,) for task in tasks if task.part_of not in ("", task.code)}, "part_of", draft
    )


def _check_circles(node: Node, ways: Mapping[str, tuple[str, ...]], key: str, draft: Draft) -> None:
    """Note each task from which `ways` lead back to itself."""
    ways = _without_ends(ways)
    says, joined = (
        ("could never start: it waits for itself", "after") if key == "starts" else ("is part of itself", "in")
    )
    for item in items_of(node, draft.problems):
        code = item.entries.get("code") if isinstance(item, Table) else None
        if not isinstance(item, Table) or not isinstance(code, Text) or code.value not in ways:
            continue
        circle = _circle(code.value, ways)
        if circle:
            shown = circle if len(circle) <= _MOST_SHOWN else [*circle[: _MOST_SHOWN - 2], "...", code.value]
            draft.problems.add(item.entries[key].place, f"{says}, {f' {joined} '.join(shown)}")


def _without_ends(ways: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """What is left when each task from which no way leads on is taken out, again and again: nothing without a circle."""
    left = {code: set(after) for code, after in ways.items()}
    back: dict[str, list[str]] = {}
    for code, after in left.items():
        for one in after:
            back.setdefault(one, []).append(code)
    ends = [one for one in back if one not in left]
    while ends:
        end = ends.pop()
        for code in back.get(end, ()):
            left[code].discard(end)
            if not left[code]:
                ends.append(code)
    return {code: tuple(one for one in ways[code] if left.get(one)) for code, after in left.items() if after}


def _circle(code: str, ways: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The shortest way from a task back to itself; empty when there is none."""
    came_from: dict[str, str] = {}
    ends = deque([code])
    while ends and code not in came_from:
        end = ends.popleft()
        for one in ways.get(end, ()):
            if one not in came_from:
                came_from[one] = end
                ends.append(one)
    if code not in came_from:
        return []
    circle = [code, came_from[code]]
    while circle[-1] != code:
        circle.append(came_from[circle[-1]])
    return circle[::-1]


def _own_code(given: Fields) -> str:
    code = given.node("code")
    return code.value if isinstance(code, Text) else ""


def _starts(given: Fields, draft: Draft) -> Starts | None:
    node = given.node("starts")
    inner = fields(node, draft.problems, ("after",), ("in",)) if node else None
    if inner is None:
        return None
    after = tuple(draft.reference(text, "task", draft.tasks) for text in inner.texts("after"))
    statuses = tuple(draft.reference(text, "status", draft.statuses) for text in inner.texts("in"))
    return Starts(after=tuple(dict.fromkeys(after)), statuses=statuses) if after and all((*after, *statuses)) else None


def _horizon(given: Fields, every: Duration | None, draft: Draft) -> Duration | None:
    node, horizon = given.node("horizon"), given.duration("horizon")
    if node is None or horizon is None:
        return None
    if every is None:
        draft.problems.add(given.table.keys["horizon"], '"horizon" belongs to a task on cadence')
        return None
    if horizon.working:
        draft.problems.add(node.place, "a horizon is calendar time, such as 14 days")
    days = horizon.amount * _DAYS[horizon.unit]
    if days > LONGEST_HORIZON:
        draft.problems.add(node.place, f"a horizon is {LONGEST_HORIZON} days at most")
    elif every.amount and days / (every.amount * _DAYS[every.unit]) > _MOST_AHEAD:
        draft.problems.add(node.place, f"{horizon} ahead every {every} would be more than {_MOST_AHEAD} tasks at once")
    return horizon


def _goal(given: Fields, draft: Draft) -> GoalTemplate:
    code = given.code("code")
    goal = GoalTemplate(code=code, title=given.text("title", title_of(code)))
    node = given.node("target")
    target = fields(node, draft.problems, (), ("measure", "at_least", "at_most", "within")) if node else None
    if target is None:
        return goal
    least, most = _value(target, "at_least", draft), _value(target, "at_most", draft)
    units = {unit for amount, unit in (least, most) if amount}
    if len(units) > 1:
        draft.problems.add(target.place, "at_least and at_most are in different units")
    if units and target.node("measure") is None:
        draft.problems.add(target.place, 'a value needs the "measure" that shows it, such as http://loinc.org|4548-4')
    return GoalTemplate(
        code=goal.code,
        title=goal.title,
        measure=_measure(target, draft),
        at_least=least[0],
        at_most=most[0],
        unit=next(iter(units), ""),
        within=target.duration("within"),
    )


def _measure(target: Fields, draft: Draft) -> str:
    node, text = target.node("measure"), target.text("measure")
    if node is not None and text and (not text.partition("|")[0] or not text.partition("|")[2]):
        draft.problems.add(node.place, f'"{text}" is not a coded value: write http://loinc.org|4548-4')
    return text


def _value(target: Fields, key: str, draft: Draft) -> tuple[str, str]:
    node = target.node(key)
    text = text_of(node, draft.problems) if node else ""
    if node is None or not text:
        return "", ""
    try:
        found = parse_quantity(text)
    except ValueError as error:
        draft.problems.add(node.place, str(error))
        return "", ""
    return str(found.number), found.unit
