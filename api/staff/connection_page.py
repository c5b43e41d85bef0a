"""One EHR connection for the clinic admin: what that server can do, how it is followed and why, and what is stuck or odd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from starlette.responses import Response

from api.freshness import age_of, promised, type_ages
from api.staff import words
from api.staff.follow_form import follow_form, leave_form
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.shapes import Chip, Form
from api.staff.smart_form import smart_view
from api.staff.sync_page import state_of
from api.staff.visit import Visit
from api.staff.words import When
from fhir_tracker import connections
from fhir_tracker.model.program import Calendar
from fhir_tracker.storage import inbox, outbox, quarantine, remote_subscriptions
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.remote_subscriptions import RemoteSubscription
from subscriptions import next_due
from subscriptions.budget import Standing
from subscriptions.shared_ways import told as way_of_searches
from subscriptions.showing import Server, Way, budget_of, reconciled_at, server_of, ways_of

_WAYS = {
    "last_updated": "by time of change",
    "last_updated_patient": "by time of change, patient by patient",
    "roster": "patient by patient, compared",
    "windowed": "by windows of dates",
    "bulk": "by bulk export",
    "launch": "when a page opens",
    "none": "not followed",
}
_CIRCUITS = {
    "closed": "it is asked as usual",
    "open": "it failed too often in a row and is left alone for a while",
    "half-open": "one request tries whether it is back",
}
_SUBSCRIPTIONS = {
    "active": Chip(label="active", tone="done", icon="done", means="The EHR tells of changes"),
    "requested": Chip(label="requested", tone="today", icon="progress", means="The EHR has not switched it on yet"),
    "arming": Chip(label="being made", tone="today", icon="progress", means="It is being asked for"),
    "lost": Chip(
        label="lost", tone="late", icon="late", means="It works no more; renewed after what it missed is read"
    ),
    "refused": Chip(label="refused", tone="hold", icon="hold", means="The EHR does not take it; it is polled"),
}
_UNKNOWN = Chip(label="unknown", tone="hold", icon="hold")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One figure: as text, as a moment, or both; `href` is its list."""

    label: str
    text: str = ""
    when: When | None = None
    note: str = ""
    href: str = ""
    bad: bool = False


@dataclass(frozen=True, kw_only=True)
class Menu:
    """A form that is folded away; `open` where it was refused just now."""

    label: str
    form: Form
    open: bool


@dataclass(frozen=True, kw_only=True)
class TypeRow:
    """How one type is followed."""

    type: str
    way: str
    why: str
    lag: str
    complete: When | None
    missed: int
    absent: int
    roster: str
    quirks: str


@dataclass(frozen=True, kw_only=True)
class SubscriptionRow:
    """One Subscription of ours at the EHR."""

    type: str
    kind: str
    state: Chip
    reason: str
    heard: When | None
    gaps: int


def connection_page(visit: Visit, refused: Form | None = None, *, status: int = 200) -> Response:
    """GET `/connections/{key}`; `refused` is a form of this page that could not be taken."""
    now = visit.now
    with visit.context.database.read() as tx:
        one = connections.get(tx, visit.args.get("key", ""))
        calendar = names_for(tx, visit.viewer, []).calendar
        ways = ways_of(tx, one, now)
        view = {
            "now": (*_following(tx, one, visit, calendar), *_waiting(tx, one, ways)),
            "types": [_type(way, now, calendar) for way in ways],
            "subscriptions": [
                _subscription(held, now, calendar) for held in remote_subscriptions.of_connection(tx, one.key)
            ],
            "server": (*_server(server_of(tx, one), one, now, calendar), _searches(tx, one, now)),
            "budget": tuple(_budget(budget_of(tx, one, now), now, calendar)),
        }
        frame = frame_of(tx, visit, f"EHR {one.key}", "/setup")
        overlap = visit.context.settings.poll_overlap
        state = state_of(one, type_ages(tx, one, overlap, now), overlap, now, budget_of(tx, one, now).circuit)
        smart = smart_view(tx, visit, one, refused)
        menus = tuple(_menu(label, form, refused) for label, form in _steps(one))
    return answer(
        "connection.html", frame, status=status, connection=one, state=state, view=view, smart=smart, menus=menus
    )


def _steps(one: Connection) -> tuple[tuple[str, Form], ...]:
    return ("Other terms…", follow_form(one)), ("Stop following…", leave_form(one))


def _menu(label: str, form: Form, refused: Form | None) -> Menu:
    is_refused = refused is not None and refused.action == form.action
    return Menu(label=label, form=refused if refused and is_refused else form, open=is_refused)


def _following(tx: Tx, one: Connection, visit: Visit, calendar: Calendar) -> Iterator[Fact]:
    now, overlap = visit.now, visit.context.settings.poll_overlap
    last, compared = one.last_success_at, reconciled_at(tx, one)
    age = f"{words.span(age_of(one, now))} old" if last else "nothing has come yet"
    yield Fact(label="Data", text=age, note=f"promised {words.span(promised(one, overlap))}")
    yield Fact(label="Last success", when=_ago(last, now, calendar), text="" if last else "never")
    tried = one.last_attempt_at
    yield Fact(label="Last try", when=_ago(tried, now, calendar), text="" if tried else "never")
    yield Fact(label="Next try", when=words.ahead(next_due(tx, one), now, calendar))
    told = "" if compared else "not yet"
    yield Fact(label="Compared as a whole", when=_ago(compared, now, calendar), text=told)
    if one.last_error:
        yield Fact(label="Problem", text=one.last_error, note=f"see fhir-tracker connection test {one.key}", bad=True)


def _waiting(tx: Tx, one: Connection, ways: Sequence[Way]) -> Iterator[Fact]:
    held = quarantine.open_count(tx, one.key)
    counts = outbox.counts(tx, one.key)
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    missed = sum(way.missed for way in ways)
    yield Fact(label="In quarantine", text=str(held), href=f"/quarantine?connection={one.key}", bad=held > 0)
    yield Fact(label="To be written there", text=str(sum(counts.values())), note=told, href="/outbox")
    yield Fact(label="Told and not yet read", text=str(inbox.waiting(tx, one.key)))
    yield Fact(label="Missed events", text=str(missed), note="found only by comparing everything")


def _server(server: Server | None, one: Connection, now: datetime, calendar: Calendar) -> Iterator[Fact]:
    if server is None:
        yield Fact(label="Server", text="it has not told yet what it can do")
    else:
        version = f"FHIR {server.fhir_version}" if server.fhir_version else ""
        asked = words.ago(server.asked_at, now, calendar)
        yield Fact(label="Server", text=server.software or "does not say what it is", note=version)
        yield Fact(label="Asked", when=asked)
        yield Fact(label="Searches", text=words.counted(len(server.searchable), "type"))
        yield Fact(label="Tells of deletions", text=", ".join(server.history) or "of no type")
        yield Fact(label="Bulk export", text=", ".join(server.exports) or "none")
        ahead = round(server.ahead_seconds)
        yield Fact(label="Its clock", text=f"{ahead:+d} s from ours" if abs(ahead) > 1 else "as ours")
    yield Fact(label="Mapping", text=one.mapping)
    yield Fact(label="We show ourselves by", text=str(one.options.get("auth", "none")))
    yield Fact(label="Written there", text=", ".join(one.options.get("write_back", ())) or "nothing")
    yield Fact(label="Asked to tell of changes", text=one.subscribe)


def _searches(tx: Tx, one: Connection, now: datetime) -> Fact:
    return Fact(label="Searches about a patient go by", text=way_of_searches(tx, one, now))


def _budget(standing: Standing, now: datetime, calendar: Calendar) -> Iterator[Fact]:
    limit = f"{standing.per_minute} requests a minute" if standing.per_minute else "as many requests as are needed"
    aligned = "counted from each full minute" if standing.aligned else ""
    yield Fact(label="Allowed", text=limit, note=aligned)
    if standing.used is not None:
        yield Fact(label="Taken this minute", text=str(standing.used))
    is_bad = standing.circuit != "closed"
    yield Fact(label="Circuit", text=standing.circuit, note=_CIRCUITS[standing.circuit], bad=is_bad)
    if standing.failures:
        yield Fact(label="Failures in a row", text=str(standing.failures), bad=is_bad)
    if standing.until:
        yield Fact(label="Nothing is asked before", when=words.ahead(standing.until, now, calendar))


def _type(way: Way, now: datetime, calendar: Calendar) -> TypeRow:
    roster = way.roster
    return TypeRow(
        type=way.type,
        way=_WAYS[way.choice.strategy],
        why=way.choice.why,
        lag="" if way.lag_seconds is None else words.span(timedelta(seconds=way.lag_seconds)),
        complete=_ago(way.last_success, now, calendar),
        missed=way.missed,
        absent=way.absent,
        roster=f"{roster.due} of {roster.members} due" if roster else "",
        quirks="; ".join(way.quirks),
    )


def _subscription(held: RemoteSubscription, now: datetime, calendar: Calendar) -> SubscriptionRow:
    return SubscriptionRow(
        type=held.type,
        kind=held.kind,
        state=_SUBSCRIPTIONS.get(held.status, _UNKNOWN),
        reason=held.reason,
        heard=_ago(held.heard_at, now, calendar),
        gaps=held.gaps,
    )


def _ago(moment: datetime | None, now: datetime, calendar: Calendar) -> When | None:
    return words.ago(moment, now, calendar) if moment else None
