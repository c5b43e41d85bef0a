"""Reads `rules` and `ladders` of a program file: conditions, actions and escalation levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

from fhir_tracker.model.program import Condition, Ladder, Level, Rule
from fhir_tracker.rules.action_section import NOTIFY, read_actions
from fhir_tracker.rules.catalog import PREDICATES
from fhir_tracker.rules.draft import Draft, refuse_doubles, role_of, title_of
from fhir_tracker.rules.predicate import Subject
from fhir_tracker.rules.priority import PRIORITIES
from fhir_tracker.rules.source import (
    Fields,
    Listing,
    Node,
    Place,
    Table,
    code_of,
    fields,
    items_of,
    suggestion,
)

STOPS: Final = ("task.closed", "acknowledged")
OPERATORS: Final = ("all", "any", "not")
Leaf = Callable[[str, Place, Node, Draft], Condition | None]


def read_rules(node: Node | None, draft: Draft) -> tuple[Rule, ...]:
    """The rules, in the order written; the order has no meaning."""
    rules = [rule for item in items_of(node, draft.problems) if (rule := _rule(item, draft))]
    if node is not None:
        refuse_doubles(node, draft, "id")
    return tuple(rules)


def read_ladders(node: Node | None, draft: Draft) -> tuple[Ladder, ...]:
    """The escalation ladders by name."""
    if node is None:
        return ()
    if not isinstance(node, Table):
        draft.problems.add(node.place, "must map each ladder's name to its levels")
        return ()
    return tuple(ladder for name, item in node.entries.items() if (ladder := _ladder(name, item, draft)))


def read_condition(node: Node, draft: Draft, leaf: Leaf) -> Condition | None:
    """A tree of `all`, `any`, `not` and single tests, which `leaf` reads; None with problems noted."""
    if not isinstance(node, Table) or not node.entries:
        draft.problems.add(node.place, "must be one test, or all:, any: or not: with tests under it")
        return None
    if len(node.entries) > 1:
        names = ", ".join(node.entries)
        draft.problems.add(node.place, f"one test each: write {names} as a list under all: or any:")
        return None
    ((name, inner),) = node.entries.items()
    if name not in OPERATORS:
        return leaf(name, node.keys[name], inner, draft)
    if name == "not":
        child = read_condition(inner, draft, leaf)
        return Condition(op="not", children=(child,)) if child else None
    children = [read_condition(item, draft, leaf) for item in items_of(inner, draft.problems)]
    if isinstance(inner, Listing) and not children:
        draft.problems.add(inner.place, f'"{name}" needs at least one test under it')
    found = tuple(child for child in children if child)
    if not found or len(found) < len(children):
        return None
    return Condition(op="all" if name == "all" else "any", children=found)


def _predicate(name: str, place: Place, node: Node, draft: Draft) -> Condition | None:
    predicate = PREDICATES.get(name)
    if predicate is None:
        draft.problems.add(place, f'unknown test "{name}"{suggestion(name, (*PREDICATES, *OPERATORS))}')
        return None
    args = predicate.read(node, draft)
    return None if args is None else Condition(op="predicate", name=name, args=args)


def leaves(condition: Condition) -> tuple[Condition, ...]:
    """The single tests in a tree, in order."""
    if not condition.children:
        return (condition,)
    return tuple(leaf for child in condition.children for leaf in leaves(child))


def _rule(node: Node, draft: Draft) -> Rule | None:
    given = fields(node, draft.problems, ("id", "when", "do"), ("title", "subject", "was"))
    when_node, do_node = (given.node("when"), given.node("do")) if given else (None, None)
    if given is None or when_node is None or do_node is None:
        return None
    rule_id = given.code("id")
    when = read_condition(when_node, draft, _predicate)
    subject = _subject(given.choice("subject", ("task", "plan"), ""), when)
    actions = read_actions(do_node, subject, draft)
    if when is None or not rule_id:
        return None
    for one in leaves(when):
        if subject not in PREDICATES[one.name].subjects:
            draft.problems.add(
                when_node.place, f'"{one.name}" looks at a task, and this rule\'s subject is the {subject}'
            )
    title, was = given.text("title", title_of(rule_id)), _former_names(given, draft)
    return Rule(id=rule_id, title=title, subject=subject, when=when, do=actions, was=was)


def _former_names(given: Fields, draft: Draft) -> tuple[str, ...]:
    """What the rule was called before; no name of a rule that there is, and none that two rules were called."""
    names = []
    for node in given.texts("was"):
        name = code_of(node, draft.problems)
        if name in draft.rules:
            draft.problems.add(
                node.place, f'"{name}" is a rule of this file: a rule was called what none is called now'
            )
        elif name in draft.former_rules:
            draft.problems.add(node.place, f'"{name}" is said already to have been another name of a rule')
        elif name:
            draft.former_rules.append(name)
            names.append(name)
    return tuple(names)


def _subject(given: str, when: Condition | None) -> Subject:
    """As given; else a task when any test can look at tasks alone, else the plan."""
    if given or when is None:
        return cast(Subject, given or "task")
    about_tasks = any("plan" not in PREDICATES[one.name].subjects for one in leaves(when))
    return "task" if about_tasks else "plan"


def _ladder(name: str, node: Node, draft: Draft) -> Ladder | None:
    given = fields(node, draft.problems, ("levels",), ("stop_when",))
    levels_node = given.node("levels") if given else None
    if given is None or levels_node is None:
        return None
    stops = tuple(draft.reference(text, "stop", STOPS) for text in given.texts("stop_when")) or STOPS
    nodes = items_of(levels_node, draft.problems)
    if isinstance(levels_node, Listing) and not nodes:
        draft.problems.add(levels_node.place, f'the ladder "{name}" has no level')
    levels = [one for index, item in enumerate(nodes) if (one := _level(item, index + 1, draft))]
    return Ladder(code=name, levels=_never_calmer(levels), stop_when=stops)


def _never_calmer(levels: Sequence[Level]) -> tuple[Level, ...]:
    """A level that names no priority keeps that of the one before."""
    kept = list(levels)
    for index in range(1, len(kept)):
        kept[index] = replace(kept[index], priority=kept[index].priority or kept[index - 1].priority)
    return tuple(kept)


def _level(node: Node, number: int, draft: Draft) -> Level | None:
    given = fields(node, draft.problems, ("to",), ("after", "notify", "priority", "by"))
    to = given.node("to") if given else None
    if given is None or to is None:
        return None
    if number > 1 and given.node("after") is None:
        draft.problems.add(node.place, f'level {number} needs "after": how long after level {number - 1}')
    channels = tuple(draft.reference(text, "channel", NOTIFY) for text in given.texts("notify"))
    return Level(
        number=number,
        to=role_of(to, draft),
        after=given.duration("after"),
        notify=channels or ("in-app",),
        priority=given.choice("priority", PRIORITIES, "") or None,
        by=tuple(role_of(text, draft) for text in given.texts("by")),
    )
