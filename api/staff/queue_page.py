"""The queue: tabs with counts, filters, rows late first, and the pulse by which a page learns that it is out of date."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from starlette.responses import Response

from api.staff import filters
from api.staff.bulk_page import PICK, bulk_form
from api.staff.endpoint import see_other
from api.staff.filters import EVERY, NONE, Wanted
from api.staff.frames import frame_of
from api.staff.names import Names, names_for, practitioners, role_choices, role_named
from api.staff.rendering import HEADERS, answer
from api.staff.rows import digest, in_short, row_of, short_hash, state_of
from api.staff.shapes import Choice, Empty, Field, QueueView, Row, Tab
from api.staff.visit import Visit, note_reading
from fhir_tracker import programs, records
from fhir_tracker.fhir.codeable import text_of
from fhir_tracker.model.program import Program
from fhir_tracker.model.work import WorkItem
from fhir_tracker.outreach_account import accounts
from fhir_tracker.storage import resources, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.queue import AGES, MOST_COUNTED, QueueFilter, QueuePage, counts, queue
from fhir_tracker.storage.resources import Stored

_STATE_WORDS = {
    "late": "Late",
    "due-today": "Due today",
    "due-week": "Due in 7 days",
    "hold": "On hold",
    "escalated": "Escalated",
    "done": "Closed",
}
_STATE_WORDS |= {"any": "Open or closed"}
_ANY = Choice(value="", label="Any")


def queue_page(visit: Visit) -> Response:
    """GET `/`."""
    wanted = filters.searched(filters.read(visit.query, visit.viewer), visit.context.secret_key)
    with visit.context.database.read() as tx:
        zone = _zone(tx)
        page = queue(tx, visit.viewer, filters.to_filter(wanted, visit.viewer, zone), visit.now, wanted.after or None)
        names = names_for(tx, visit.viewer, [row.item for row in page.rows], _asked(wanted))
        view = QueueView(
            heading=_heading(wanted),
            tabs=_tabs(tx, visit, wanted, zone),
            filters=_filters(tx, visit, wanted, names),
            hidden=tuple((name, text) for name, text in _kept(wanted) if text),
            saved=_saved(wanted),
            rows=rows_of(tx, visit, page, names),
            shown=_shown(page),
            next_href=wanted.href(after=page.next) if page.next else "",
            first_href=wanted.href() if wanted.after else "",
            active=_active(wanted, names),
            clear_href=Wanted(tab=wanted.tab, role=wanted.role).href(),
            empty=None if page.rows else _empty(wanted, visit, names),
            pulse=wanted.href("/pulse", after=wanted.after),
            bulk=bulk_form(tx, visit, names.active, visit.address) if page.rows else None,
            limited=not visit.viewer.counts_all,
        )
        frame = frame_of(tx, visit, view.heading, "/")
    listed = [row.item.patient for row in page.rows if row.item.patient]
    note_reading(visit, "search", "Task", patients=listed)
    return answer("queue.html", frame, view=view)


def find(visit: Visit) -> Response:
    """POST `/find`: to the queue that the form asks for, by an address that does not show whom it searches for."""
    wanted = filters.hidden(filters.read(visit.form, visit.viewer), visit.context.secret_key)
    return see_other(wanted.href())


def pulse(visit: Visit) -> Response:
    """GET `/pulse`: opaque keys and digests of the rows of a queue as JSON, 304 when nothing changed."""
    wanted = filters.searched(filters.read(visit.query, visit.viewer), visit.context.secret_key)
    with visit.context.database.read() as tx:
        chosen = filters.to_filter(wanted, visit.viewer, _zone(tx))
        page = queue(tx, visit.viewer, chosen, visit.now, wanted.after or None)
        names = names_for(tx, visit.viewer, [])
    items = [row.item for row in page.rows]
    body = {
        "rows": {short_hash(item.ref): digest(item, state_of(item, visit.now, names)[0]) for item in items},
        "whole": page.next is None and not wanted.after,
    }
    text = json.dumps(body, sort_keys=True)
    etag = f'"{short_hash(text)}"'
    headers = HEADERS | {"ETag": etag}
    if visit.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return Response(text, media_type="application/json", headers=headers)


def rows_of(tx: Tx, visit: Visit, page: QueuePage, names: Names) -> tuple[Row, ...]:
    """The rows of a page, each with the version its step is checked against."""
    items = [row.item for row in page.rows]
    stored = resources.find_many(tx, visit.viewer, [item.ref for item in items])
    about = late_work(tx, visit, items)
    tries = accounts(tx, visit.viewer, items, visit.now)
    return tuple(
        _pickable(
            row_of(
                row.item,
                row.patient,
                names,
                visit.viewer,
                visit.now,
                _version(stored.get(row.item.ref)),
                about.get(row.item.focus or ""),
                tries.get(row.item.ref),
            ),
            row.item,
            stored.get(row.item.ref),
        )
        for row in page.rows
    )


def late_work(tx: Tx, visit: Visit, items: Sequence[WorkItem]) -> dict[str, WorkItem]:
    """Reference -> the work that the escalations among `items` are about."""
    wanted = [item.focus for item in items if item.kind == "escalation" and item.focus]
    return work_items.find_many(tx, visit.viewer, wanted) if wanted else {}


def _pickable(row: Row, item: WorkItem, stored: Stored | None) -> Row:
    """The row with the box by which it is ticked, as far as work can be changed here."""
    row = _with_reason(row, item, stored)
    if item.kind not in ("task", "escalation"):
        return row
    return replace(row, pick=f"{PICK}{item.ref.partition('/')[2]}", version=_version(stored))


def _with_reason(row: Row, item: WorkItem, stored: Stored | None) -> Row:
    """An escalation says in its row why it was made."""
    if item.kind != "escalation" or stored is None or stored.deleted:
        return row
    reason = text_of(records.resource_of(stored).get("reasonCode"))
    return replace(row, program=in_short(reason)) if reason else row


def _version(stored: Stored | None) -> int | None:
    return stored.version if stored else None


def _zone(tx: Tx) -> str:
    active = programs.active_programs(tx)
    return active[0].calendar.zone if active else "UTC"


def _asked(wanted: Wanted) -> list[str]:
    return [wanted.owner] if "/" in wanted.owner else []


def _heading(wanted: Wanted) -> str:
    return {
        "mine": "My work",
        "team": _team(wanted),
        "unassigned": "Unassigned work",
        "hold": "On hold",
        "escalated": "Escalated work",
        "done": "Closed work",
        "all": "All work",
    }[wanted.tab]


def _team(wanted: Wanted) -> str:
    if wanted.role == EVERY:
        return "All teams"
    return "No team" if wanted.role == NONE else f"Team {role_named(wanted.role)}"


def _tabs(tx: Tx, visit: Visit, wanted: Wanted, zone: str) -> tuple[Tab, ...]:
    base = filters.to_filter(Wanted(tab="team", role=wanted.role), visit.viewer, zone)
    team = counts(tx, visit.viewer, base, visit.now)
    mine = counts(tx, visit.viewer, QueueFilter(owner=visit.viewer.who, teams=True, zone=zone), visit.now)
    numbers = {
        "mine": ("My work", mine.open),
        "team": (_team(wanted), team.open),
        "unassigned": ("Unassigned", team.unassigned),
        "hold": ("On hold", team.hold),
        "escalated": ("Escalated", team.answers if filters.of_one_team(wanted) else team.escalated),
        "done": ("Done", None),
    }
    tabs = [
        Tab(
            label=label,
            href=Wanted(tab=tab, role="" if tab == "mine" else wanted.role).href(),
            current=tab == wanted.tab,
            count="" if number is None else str(number),
            tone="escalated" if tab == "escalated" and number else "",
        )
        for tab, (label, number) in numbers.items()
    ]
    if wanted.tab == "all":
        tabs.append(Tab(label="All work", href=Wanted(tab="all", role=wanted.role).href(), current=True))
    return tuple(tabs)


def _filters(tx: Tx, visit: Visit, wanted: Wanted, names: Names) -> tuple[Field, ...]:
    teams = (Choice(value=EVERY, label="All teams"), *role_choices(), Choice(value=NONE, label="No team"))
    owners = (_ANY, Choice(value=NONE, label="Nobody"), *practitioners(tx, visit.viewer))
    titles = tuple(Choice(value=one.code, label=one.title) for one in names.active)
    fields = [
        Field(name="q", label="Patient, MRN or work", kind="search", value=wanted.q),
        _select("role", "Team", teams, wanted.role),
        _select("program", "Program", (_ANY, *titles, Choice(value=NONE, label="No program")), wanted.program),
        _select("owner", "Owner", owners, wanted.owner),
        _select("state", "Due", _due_choices(wanted), wanted.state),
        _select("status", "Status", (_ANY, *_statuses(names.active, wanted.program)), wanted.status),
        _select("flag", "Risk", (_ANY, *_flags(names.active)), wanted.flag),
    ]
    left_out = {"mine": {"role", "owner"}, "unassigned": {"owner"}}.get(wanted.tab, set())
    left_out |= {"state"} if wanted.tab in ("hold", "escalated", "done") else set()
    return tuple(field for field in fields if field.name not in left_out)


def _select(name: str, label: str, choices: Iterable[Choice], value: str) -> Field:
    given = tuple(choices)
    if value and value not in {one.value for one in given}:
        given = (*given, Choice(value=value, label=value))
    return Field(name=name, label=label, kind="select", value=value, choices=given)


def _due_choices(wanted: Wanted) -> tuple[Choice, ...]:
    shown = (
        _STATE_WORDS
        if wanted.tab == "all"
        else {name: _STATE_WORDS[name] for name in ("late", "due-today", "due-week")}
    )
    return (_ANY, *(Choice(value=value, label=label) for value, label in shown.items()))


def _statuses(active: Sequence[Program], chosen: str) -> list[Choice]:
    known = [one for program in active for one in program.statuses if chosen in ("", program.code)]
    found = {one.code: Choice(value=one.code, label=one.title, means=one.means) for one in known}
    return sorted(found.values(), key=lambda one: one.label)


def _flags(active: Sequence[Program]) -> list[Choice]:
    raised = {
        action.value for program in active for rule in program.rules for action in rule.do if _raises(action.kind)
    }
    return [Choice(value=code, label=code.replace("-", " ").capitalize()) for code in sorted(raised | {"high-risk"})]


def _raises(kind: str) -> bool:
    return kind == "raise_flag"


def _kept(wanted: Wanted) -> list[tuple[str, str]]:
    return [("tab", wanted.tab), *((name, getattr(wanted, name)) for name in ("age", "rule", "kind", "reason"))]


def _saved(wanted: Wanted) -> tuple[Tab, ...]:
    home = Wanted(tab="team", role=wanted.role)
    views = {
        "Late": replace(home, state="late"),
        "Due today": replace(home, state="due-today"),
        "High risk": replace(home, flag="high-risk"),
        "Late and nobody's": replace(home, tab="unassigned", state="late"),
    }
    return tuple(Tab(label=label, href=one.href(), current=one == wanted) for label, one in views.items())


def _active(wanted: Wanted, names: Names) -> tuple[Tab, ...]:
    return tuple(
        Tab(label=_filter_words(name, text, names), href=wanted.href(**{name: ""}))
        for name, text in wanted.narrowed.items()
    )


def _filter_words(name: str, text: str, names: Names) -> str:
    if name == "owner":
        return f"Owner: {'nobody' if text == NONE else names.who(text)}"
    if name == "program":
        return f"Program: {'none' if text == NONE else names.program_title(text)}"
    if name == "status":
        titles = {one.code: one.title for program in names.active for one in program.statuses}
        return f"Status: {titles.get(text, text)}"
    if name == "state":
        return _STATE_WORDS.get(text, text)
    if name == "age":
        return f"In its status {text}" if text in AGES else text
    if name == "rule":
        titles = {rule.id: rule.title for program in names.active for rule in program.rules}
        return f"Escalated in 30 days: {titles.get(text, text)}"
    return f"{'Risk' if name == 'flag' else 'Search' if name == 'q' else name.capitalize()}: {text}"


def _shown(page: QueuePage) -> str:
    total = f"{MOST_COUNTED}+" if page.total > MOST_COUNTED else str(page.total)
    return f"{len(page.rows)} of {total}"


def _empty(wanted: Wanted, visit: Visit, names: Names) -> Empty:
    if wanted.narrowed:
        return Empty(why="Nothing matches these filters.", hint="Take one away above, or show all.")
    if not names.active:
        return Empty(why="No program is published yet.", hint="A program brings patients and their work in.")
    if wanted.tab == "mine":
        return Empty(why="You have no open work.", hint="Claim something from your team's queue.")
    reasons = {
        "hold": "Nothing is on hold.",
        "escalated": "Nothing is escalated.",
        "done": "Nothing was closed yet.",
        "unassigned": "Somebody has everything here.",
    }
    why = reasons.get(wanted.tab, f"{_team(wanted)} has no open work.")
    return Empty(why=why, hint="Work appears by itself when the EHR has something for a program.")
