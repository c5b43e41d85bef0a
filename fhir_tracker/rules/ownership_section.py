"""Reads `ownership` of a program file: who gets work that nobody owns, and how much one person has at most."""

from __future__ import annotations

from typing import Final, Literal, cast

from fhir_tracker.model.program import Ownership
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.source import Node, Table, fields

ASSIGN: Final = ("queue", "round-robin", "least-loaded", "primary")
MOST_WORK: Final = 10_000
_Assign = Literal["queue", "round-robin", "least-loaded", "primary"]


def read_ownership(node: Node | None, draft: Draft) -> Ownership:
    """The policy, with what counts for some roles instead; work stays in its queue when there is none."""
    if node is None:
        return Ownership()
    base = _policy(node, ("assign", "cap", "roles"), Ownership(), draft)
    given = node.entries.get("roles") if isinstance(node, Table) else None
    if given is None:
        return base
    if not isinstance(given, Table):
        draft.problems.add(given.place, "must map roles to what counts for them")
        return base
    known = draft.roles
    for role, place in given.keys.items():
        if known and role not in known:
            draft.problems.warn(place, f'no task of this program is for the role "{role}"')
    roles = {role: _policy(one, ("assign", "cap"), base, draft) for role, one in given.entries.items()}
    return Ownership(assign=base.assign, cap=base.cap, roles=roles)


def _policy(node: Node, known: tuple[str, ...], base: Ownership, draft: Draft) -> Ownership:
    given = fields(node, draft.problems, (), known)
    if given is None:
        return base
    assign = cast(_Assign, given.choice("assign", ASSIGN, base.assign))
    cap = given.number("cap", 0, least=1, most=MOST_WORK) if given.node("cap") is not None else base.cap
    return Ownership(assign=assign, cap=cap or None)


def ownership_words(policy: Ownership) -> str:
    """In words, for people who approve the program."""
    others = [f"{role}: {_words(one)}" for role, one in sorted(policy.roles.items())]
    return "; ".join([_words(policy), *others])


def _words(policy: Ownership) -> str:
    how = {
        "queue": "work waits in its role's queue",
        "round-robin": "given to the people of its role by turns",
        "least-loaded": "given to whoever of its role has least open work",
        "primary": "given to the plan's primary owner, else by turns",
    }[policy.assign]
    return f"{how}, at most {policy.cap} pieces a person" if policy.cap else how
