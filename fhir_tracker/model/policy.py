"""What a role may see and do, as data: rights on types, fields that are hidden or fixed, acts, programs and locations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fhir_tracker.model.grants import Grant

Fields = Mapping[str, frozenset[str]]
"""Element paths by resource type, such as `{"Task": {"note", "input.value[x]"}}`."""

ACTS: Final[Mapping[str, str]] = {
    "queue": "see queues of work",
    "patient": "open the page of a patient",
    "task": "open tasks and take the steps that the program allows the role",
    "operations": "see dashboards and numbers",
    "programs": "see the programs and what was published",
    "publish": "author, approve and publish programs",
    "connections": "see and set up connections to EHRs",
    "outbox": "see what waits to be sent, and send it again",
    "quarantine": "see what could not be taken in, and try again or discard it",
    "bulk": "take a step on many tasks at once",
    "export": "export many resources or a list",
    "people": "give people a way in, and take it away",
    "roles": "change what roles may see and do",
    "clients": "let systems in, and shut them out",
    "audit": "read the audit trail",
    "break-glass": "open a restricted patient in an emergency, with a reason and for a short time",
    "settings": "change how the server behaves",
}
"""Every act that is not one right on one type, and what it allows in words."""
READING: Final = frozenset("rs")
WRITING: Final = frozenset("cud")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a role, or a person with several, may see and do. What is not granted is not allowed.

    `hidden` fields are neither shown nor searched nor written, `fixed` ones cannot be changed. `programs` and `locations`
    None set no limit. `restricted`: patients who are restricted are seen as others are, without breaking the glass.
    """

    grants: tuple[Grant, ...] = ()
    hidden: Fields = field(default_factory=dict)
    fixed: Fields = field(default_factory=dict)
    acts: frozenset[str] = frozenset()
    programs: frozenset[str] | None = None
    locations: frozenset[str] | None = None
    restricted: bool = False
    title: str = ""
    means: str = ""

    def __hash__(self) -> int:
        parts = (_frozen(self.hidden), _frozen(self.fixed), self.acts, self.programs, self.locations, self.restricted)
        return hash((self.grants, *parts))

    def granting(self, type_: str, rights: frozenset[str]) -> tuple[Grant, ...]:
        """The grants that give any of `rights` on `type_`."""
        return tuple(one for one in self.grants if one.type in ("*", type_) and one.rights & rights)

    def types(self) -> frozenset[str]:
        """The types named by a grant or a field rule; `*` among them where a grant is for all."""
        return frozenset({one.type for one in self.grants} | self.hidden.keys() | self.fixed.keys())


def policy_of(roles: Iterable[str], defined: Mapping[str, Policy]) -> Policy:
    """What a person with these roles may see and do: all that any of them allows; unknown roles give nothing.

    A field is hidden (or fixed) when every role that may read (or write) its type hides (or fixes) it; a role that may do so
    for some resources only shows nothing more of the others'. Limits to programs and locations add up.
    """
    held = [defined[role] for role in sorted(set(roles)) if role in defined]
    if len(held) == 1:
        return held[0]
    types = sorted({name for one in held for name in one.types()})
    return Policy(
        grants=tuple(dict.fromkeys(grant for one in held for grant in one.grants)),
        hidden=_kept(types, held, lambda one: one.hidden, READING),
        fixed=_kept(types, held, lambda one: one.fixed, WRITING),
        acts=frozenset(act for one in held for act in one.acts),
        programs=_limit(one.programs for one in held),
        locations=_limit(one.locations for one in held),
        restricted=any(one.restricted for one in held),
        title=", ".join(one.title for one in held if one.title),
    )


def _kept(
    types: Iterable[str], held: Iterable[Policy], fields: Callable[[Policy], Fields], rights: frozenset[str]
) -> Fields:
    """The fields that stay ruled out, by type."""
    found: dict[str, frozenset[str]] = {}
    for type_ in types:
        ruled = [(one, fields(one).get(type_, fields(one).get("*", frozenset()))) for one in held]
        able = [(one.granting(type_, rights), paths) for one, paths in ruled]
        whole = [paths for grants, paths in able if any(not grant.filters for grant in grants)]
        some = [paths for grants, paths in able if grants]
        kept = _in_all(whole) if whole else frozenset[str]().union(*some)
        if kept:
            found[type_] = kept
    return found


def _in_all(rules: list[frozenset[str]]) -> frozenset[str]:
    """The paths that each of these rules out, itself or by an element around it."""
    every = frozenset[str]().union(*rules)
    return frozenset(path for path in every if all(any(covers(one, path) for one in rule) for rule in rules))


def covers(path: str, inner: str) -> bool:
    """Whether the element at `path` is the one at `inner`, or one around it."""
    return path == inner or inner.startswith(f"{path}.")


def _limit(limits: Iterable[frozenset[str] | None]) -> frozenset[str] | None:
    given = [one for one in limits if one is not None]
    return frozenset[str]().union(*given) if given else None


def _frozen(fields: Fields) -> tuple[tuple[str, frozenset[str]], ...]:
    return tuple(sorted(fields.items(), key=lambda pair: pair[0]))
