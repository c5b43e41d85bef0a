"""What a queue address asks for: reading it, writing it, and turning it into the store's filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import get_args
from urllib.parse import urlencode

from fhir_tracker.errors import UsageError
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.sealing import seal, unseal
from fhir_tracker.storage.queue import QueueFilter, State

TABS = ("mine", "team", "unassigned", "hold", "escalated", "done", "all")
NONE = "none"
EVERY = "every"
_STATES: tuple[State, ...] = get_args(State)
_LONGEST, _LONGEST_SEALED = 200, 2000
_OF_TAB: Mapping[str, State] = {"hold": "hold", "escalated": "escalated", "done": "done"}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The parts of a queue address, each "" when not asked for. `role`, `owner` and `program` may be `none`.

    `find` is what stands for `q` in an address: the words of a search, mostly a patient's name, sealed.
    """

    tab: str = "team"
    role: str = ""
    owner: str = ""
    program: str = ""
    status: str = ""
    flag: str = ""
    state: str = ""
    q: str = ""
    age: str = ""
    rule: str = ""
    kind: str = ""
    reason: str = ""
    find: str = ""
    after: str = ""

    def href(self, path: str = "/", **changes: str) -> str:
        """The address of this queue, with changes; a change other than `after` begins at the first page."""
        changed = replace(self, **{"after": "", **changes})
        given = {name: value for name, value in vars(changed).items() if value}
        if not changed.q:
            given.pop("find", None)
        elif changed.find:
            del given["q"]
        return f"{path}?{urlencode(given)}"

    @property
    def narrowed(self) -> dict[str, str]:
        """The filters in use, besides tab, team and page."""
        names = ("owner", "program", "status", "flag", "state", "q", "age", "rule", "kind", "reason")
        return {name: text for name in names if (text := getattr(self, name))}


def searched(wanted: Wanted, secret_key: str) -> Wanted:
    """The same with what is searched for: the words that `find` stands for; none when it is not one of ours."""
    if not wanted.find:
        return wanted
    try:
        return replace(wanted, q=unseal(secret_key, wanted.find)[:_LONGEST])
    except UsageError:
        return replace(wanted, find="")


def hidden(wanted: Wanted, secret_key: str) -> Wanted:
    """The same with its words sealed, so that no address shows them."""
    return replace(wanted, find=seal(secret_key, wanted.q)) if wanted.q else replace(wanted, find="")


def read(params: Mapping[str, str], viewer: Viewer) -> Wanted:
    """The queue that an address asks for; unknown words count as not said. Without a team the viewer's own is meant."""
    given = {name: params.get(name, "").strip()[:_LONGEST] for name in vars(Wanted())}
    given["find"] = params.get("find", "")[:_LONGEST_SEALED]
    own = next(iter(viewer.roles)) if len(viewer.roles) == 1 else EVERY
    tab = given["tab"] if given["tab"] in TABS else "team"
    named = given["state"] if given["state"] in _STATES else ""
    role = given["role"] or (EVERY if tab == "all" else own)
    return Wanted(**{**given, "tab": tab, "state": named, "role": role})


def to_filter(wanted: Wanted, viewer: Viewer, zone: str) -> QueueFilter:
    """The store's filter; `zone` says what today is."""
    mine = wanted.tab == "mine"
    unassigned = True if wanted.tab == "unassigned" or (wanted.owner == NONE and not mine) else None
    return QueueFilter(
        role=None if mine or wanted.role in (EVERY, NONE) else wanted.role or None,
        no_role=wanted.role == NONE and not mine,
        owner=viewer.who if mine else _said(wanted.owner),
        teams=mine,
        unassigned=unassigned,
        state=state_of(wanted),
        program=_said(wanted.program),
        no_program=wanted.program == NONE,
        status=wanted.status or None,
        flag=wanted.flag or None,
        text=wanted.q or None,
        reason=wanted.reason or None,
        kind=wanted.kind or None,
        age=wanted.age or None,
        escalated_by=wanted.rule or None,
        zone=zone,
    )


def state_of(wanted: Wanted) -> State:
    """The state that the tab fixes, else the one asked for, else what is open; a team also sees what waits for its answer."""
    fixed: State | None = _OF_TAB.get(wanted.tab)
    if fixed == "escalated" and of_one_team(wanted):
        fixed = "answers"
    asked = next((state for state in _STATES if state == wanted.state), None)
    return fixed or asked or "open"


def of_one_team(wanted: Wanted) -> bool:
    """Whether the address names one team."""
    return wanted.role not in ("", EVERY, NONE)


def of_filter(chosen: QueueFilter) -> Wanted:
    """The address of a list that the store counted: what a number on a page opens."""
    return Wanted(
        tab="all",
        role=NONE if chosen.no_role else chosen.role or EVERY,
        owner=NONE if chosen.unassigned else chosen.owner or "",
        program=NONE if chosen.no_program else chosen.program or "",
        status=chosen.status or "",
        flag=chosen.flag or "",
        state="" if chosen.state == "open" else chosen.state,
        q=chosen.text or "",
        age=chosen.age or "",
        rule=chosen.escalated_by or "",
        kind=chosen.kind or "",
        reason=chosen.reason or "",
    )


def _said(text: str) -> str | None:
    return text if text and text != NONE else None
