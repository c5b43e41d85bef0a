"""The names one program file defines, known before its parts are read: a reference may come before its target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fhir_tracker.model.forms import Form
from fhir_tracker.model.program import Reason
from fhir_tracker.model.viewer import ROLES
from fhir_tracker.rules.source import (
    Listing,
    Node,
    Place,
    Problems,
    Table,
    Text,
    choice_of,
    items_of,
    suggestion,
    text_of,
)


@dataclass(kw_only=True)
class Draft:
    """A file being read. `services` maps a service's name to its codes; `implied` are tasks only a rule has named.

    `paused` and `closing` are the statuses that pause or stop the clock, `ending` the stages that end a plan; they are
    known once these sections were read.
    """

    problems: Problems
    program: str = ""
    statuses: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    ladders: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    closing: tuple[str, ...] = ()
    ending: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = ()
    anchors: tuple[str, ...] = ("enrolment",)
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    implied: dict[str, Place] = field(default_factory=dict)
    outreach: Table | None = None
    forms: list[Form] = field(default_factory=list)
    goals: tuple[str, ...] = ()
    former_rules: list[str] = field(default_factory=list)
    has_team: bool = False

    def reference(self, node: Node, what: str, known: tuple[str, ...]) -> str:
        """The name in `node` when it is among `known`; "" with a problem noted otherwise."""
        return choice_of(node, known, self.problems, what)

    def service_codes(self, name: Text) -> tuple[str, ...]:
        """The codes of a named service; without a `services` map the name is itself the code."""
        if not self.services:
            return (name.value,)
        choice_of(name, self.services, self.problems, "service")
        return self.services.get(name.value, ())


def codes_in(node: Node | None, key: str = "code") -> tuple[str, ...]:
    """The `code` of each entry of a list, without a word about what is wrong with them."""
    items = node.items if isinstance(node, Listing) else ()
    found = (item.entries.get(key) for item in items if isinstance(item, Table))
    return tuple(code.value for code in found if isinstance(code, Text))


def title_of(code: str) -> str:
    """`first-call` as `First call`."""
    return code.replace("-", " ").replace("_", " ").capitalize()


def role_of(node: Node, draft: Draft) -> str:
    """A role, with or without `role/` before it. Roles are free words; one the product does not know is a warning."""
    text = text_of(node, draft.problems)
    role = text.removeprefix("role/")
    if text and (not role or "/" in role or " " in role):
        draft.problems.add(node.place, f'"{text}" is not a role: write rn or role/rn')
        return ""
    if role and role not in ROLES:
        draft.problems.warn(node.place, f'no one here has the role "{role}" by default{suggestion(role, ROLES)}')
    return role


def refuse_doubles(node: Node, draft: Draft, key: str = "code") -> None:
    """Note each entry of a list whose code is already taken."""
    seen: dict[str, Place] = {}
    for item in items_of(node, draft.problems):
        code = item.entries.get(key) if isinstance(item, Table) else None
        if not isinstance(code, Text):
            continue
        if code.value in seen:
            first = seen[code.value].line
            draft.problems.add(code.place, f'"{code.value}" is already defined on line {first}')
        seen.setdefault(code.value, code.place)
