"""Reads a YAML file of roles into policies, or says everything that is wrong with it, with line and column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from fhir_tracker.fhir.definitions.registry import elements, resource_types
from fhir_tracker.fhir.own_parameters import parameters_of
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from fhir_tracker.model.grants import Grant, parse_scope
from fhir_tracker.model.held_filters import CANNOT, is_understood
from fhir_tracker.model.policy import ACTS, Fields, Policy
from fhir_tracker.rules.source import (
    Fields as Entries,
)
from fhir_tracker.rules.source import (
    Listing,
    Node,
    Problems,
    Table,
    Text,
    TooManyProblems,
    choice_of,
    fields,
    items_of,
    load,
    suggestion,
    text_of,
)

REQUIRED: Final = ("role", "may")
OPTIONAL: Final = ("title", "means", "hide", "fix", "acts", "programs", "locations", "restricted")
MOST_ROLES: Final = 100
RESERVED: Final = frozenset({"system"})
"""Names that stand for the tracker's own workers."""
ALWAYS: Final = frozenset({"resourceType", "id", "meta"})
"""What every resource shows, so that it stays one."""
LISTED: Final = frozenset(
    "status businessStatus code owner performerType priority restriction for focus basedOn authoredOn location".split()
)
"""Elements of a Task that lists and figures of work are made of: who opens these pages sees them."""
OF_WORK: Final = frozenset({"queue", "patient", "task", "bulk", "operations"})
"""The acts that open pages of work."""
_SHARED: Final = frozenset({"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"})


def read_roles(text: str, *, name: str = "roles", is_kept: bool = False) -> Mapping[str, Policy]:
    """The roles that a file defines, in its order; raises Incorrect with every problem, each with its place.

    `is_kept`: it counts already, and may hide what lists of work are made of, as was allowed once.
    """
    problems = Problems()
    found: dict[str, Policy] = {}
    with suppress(TooManyProblems):
        found = _read(text, problems, is_kept=is_kept)
    problems.check(name)
    return found


def _read(text: str, problems: Problems, *, is_kept: bool) -> dict[str, Policy]:
    root = load(text, problems)
    table = fields(root, problems, ("roles",)) if root is not None else None
    rows = items_of(table.node("roles"), problems) if table else ()
    if table and not rows and not problems.issues:
        problems.add(table.place, "no role is defined")
    if len(rows) > MOST_ROLES:
        problems.add(rows[MOST_ROLES].place, f"more than {MOST_ROLES} roles")
    found: dict[str, Policy] = {}
    for node in rows:
        entries = fields(node, problems, REQUIRED, OPTIONAL)
        if entries is None:
            continue
        role = entries.code("role")
        if role in found:
            problems.add(entries.place, f'"{role}" is already defined')
        elif role in RESERVED:
            problems.add(entries.place, f'"{role}" is the name of no role: it stands for the tracker itself')
        elif role:
            found[role] = _policy(entries, role, problems, is_kept=is_kept)
    return found


def _policy(entries: Entries, role: str, problems: Problems, *, is_kept: bool) -> Policy:
    acts = frozenset(_acts(entries.node("acts"), problems))
    return Policy(
        grants=tuple(dict.fromkeys(_grants(entries.node("may"), problems))),
        hidden=_fields(
            entries.node("hide"), problems, listed=LISTED if acts & OF_WORK and not is_kept else frozenset()
        ),
        fixed=_fields(entries.node("fix"), problems),
        acts=acts,
        programs=_names(entries, "programs"),
        locations=_locations(entries, problems),
        restricted=entries.choice("restricted", ("yes", "no", "true", "false"), "no") in ("yes", "true"),
        title=entries.text("title", role.replace("-", " ").capitalize()),
        means=entries.text("means"),
    )


def _leaves(node: Node | None, problems: Problems) -> Iterator[Text]:
    """The texts of a list, or of lists within it."""
    for item in items_of(node, problems):
        inner = item.items if isinstance(item, Listing) else (item,)
        for one in inner:
            if text_of(one, problems) and isinstance(one, Text):
                yield one


def _grants(node: Node | None, problems: Problems) -> Iterator[Grant]:
    for one in _leaves(node, problems):
        grant = parse_scope(f"user/{one.value}")
        if grant is None:
            problems.add(one.place, _not_a_right(one.value))
        elif unknown := _unknown_parameters(grant):
            known = parameters_of(grant.type).keys() if grant.type != "*" else _SHARED
            told = f'{grant.type} has no search parameter "{unknown[0]}"{suggestion(unknown[0], known)}'
            problems.add(one.place, told)
        elif not is_understood(grant):
            problems.add(one.place, f'"{one.value}" has {CANNOT}')
        else:
            yield grant


def _not_a_right(text: str) -> str:
    type_ = text.partition(".")[0]
    if type_ not in resource_types() and type_ != "*":
        return f'"{text}" names no resource type{suggestion(type_, resource_types())}'
    return f'"{text}" is no right: write a type and letters of cruds in this order, such as Task.rs or Task.rs?status=ready'


def _unknown_parameters(grant: Grant) -> list[str]:
    known = _SHARED | (parameters_of(grant.type).keys() if grant.type != "*" else frozenset())
    return [name for name, _ in grant.filters if name.partition(":")[0].partition(".")[0] not in known]


def _fields(node: Node | None, problems: Problems, listed: frozenset[str] = frozenset()) -> Fields:
    if node is None:
        return {}
    if not isinstance(node, Table):
        problems.add(node.place, "must be a mapping: a resource type, then a list of its elements")
        return {}
    found: dict[str, frozenset[str]] = {}
    for type_, paths in node.entries.items():
        if type_ not in resource_types():
            problems.add(node.keys[type_], f'"{type_}" is no resource type{suggestion(type_, resource_types())}')
            continue
        texts = tuple(_leaves(paths, problems))
        for one in texts:
            if told := path_problem(type_, one.value):
                problems.add(one.place, told)
            elif type_ == "Task" and one.value.partition(".")[0] in listed:
                told = f'"{one.value}" is what lists of work are made of: who has the acts {", ".join(sorted(OF_WORK))} sees it'
                problems.add(one.place, told)
        found[type_] = frozenset(one.value for one in texts)
    return found


def path_problem(type_: str, path: str) -> str:
    """What is wrong with the path of an element such as `input.value[x]`; "" when the type has it and it may be ruled out."""
    if path.partition(".")[0] in ALWAYS:
        return f'"{path}" is shown of every resource'
    here: Iterable[str] = (type_,)
    for part in path.split("."):
        known = {name: element for one in here for name, element in elements(one).items()}
        element = known.get(part)
        if element is None:
            return f'{type_} has no element "{path}": there is no "{part}"{suggestion(part, known)}'
        here = element.types
    return ""


def _acts(node: Node | None, problems: Problems) -> Iterator[str]:
    for one in _leaves(node, problems):
        if act := choice_of(one, ACTS, problems, "act"):
            yield act


def _names(entries: Entries, key: str) -> frozenset[str] | None:
    if entries.node(key) is None:
        return None
    return frozenset(one.value.strip() for one in entries.texts(key))


def _locations(entries: Entries, problems: Problems) -> frozenset[str] | None:
    if entries.node("locations") is None:
        return None
    texts = entries.texts("locations")
    for one in texts:
        parsed = parse_reference(one.value)
        if parsed.kind is not ReferenceKind.RELATIVE or not one.value.startswith("Location/"):
            problems.add(one.place, f'"{one.value}" is no place: write Location/id')
    return frozenset(one.value for one in texts)
