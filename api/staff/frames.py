"""What surrounds a page: navigation, who acts, what was just done, and how old the EHR's data is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from importlib.metadata import version

from api.context import Access
from api.freshness import TypeAge, age_of, is_stale, promised, type_ages
from api.staff import words
from api.staff.acts import may_open
from api.staff.ehr_answers import ANSWERS
from api.staff.home import chart_of
from api.staff.names import role_named
from api.staff.rows import person_of
from api.staff.shapes import Frame, Lasting, Person, Staff, Tab
from api.staff.visit import Visit
from fhir_tracker.storage import connections, patients
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx

SAID = {
    "claimed": "Claimed: this work is yours now.",
    "released": "Released: it is back in the team's queue.",
    "assigned": "Reassigned.",
    "logged": "Attempt logged.",
    "moved": "Moved.",
    "undone": "Undone.",
    "flagged": "Flagged: the rules of the patient's programs look at it now.",
    "unflagged": "The exception is over.",
    "noted": "Note added.",
    "acknowledged": "Acknowledged: the ladder stops climbing.",
    "taken-over": "Taken over: this escalation is yours now.",
    "sent-back": "Sent back with your reason.",
    "resolved": "Escalation resolved.",
    "decided": "Decided: it is written within a moment.",
    "retried": "It is tried again now.",
    "taken": "Applied: it is out of quarantine.",
    "discarded": "Discarded, with your reason.",
    "let-in": "They may come in from now on.",
    "roles-given": "Their roles count from their next click on.",
    "switched-off": "They are let in no more.",
    "smart-kept": "Staff is let in from there by these terms.",
    "smart-removed": "Nobody is let in from there any more.",
    "followed-so": "It is followed so already. Nothing was changed.",
    "followed-otherwise": "It is followed by these terms from now on.",
    "followed-left": "It is followed by these terms from now on. Former Subscriptions of ours are still there: have them deleted.",
    "left": "It is followed no more. What came from there stays readable.",
    "left-there": "It is followed no more. Subscriptions of ours are still there: have them deleted by its administrator.",
    "followed": "It is followed from now on. Below you say how its staff comes in.",
    "provider-kept": "People who have an account may come in by it.",
    "provider-removed": "Nobody is let in by it any more.",
    "system-in": "It may ask for tokens from now on.",
    "system-keys": "Its former keys count no more.",
    "system-unread": "Kept. Its keys cannot be used at that address now; they are asked for again when it comes.",
    "system-out": "It is shut out, and its tokens have ended.",
    "roles-loaded": "These roles count from the next click on.",
    "opened": "Opened to you for a short time. What you look at is written down with your reason.",
}
NAMED_TYPES = 4
WARNED_BEFORE = timedelta(minutes=2)
_NAV = (
    ("Queue", "/"),
    ("Operations", "/operations"),
    ("Programs", "/programs"),
    ("EHR sync", "/sync"),
    ("Setup", "/setup"),
)
_MODES = {
    Access.OPEN: "Open mode · no login",
    Access.LOCKED: "",
}


def frame_of(tx: Tx, visit: Visit, title: str, current: str = "") -> Frame:
    """The frame of one page; `current` the address of its place in the navigation."""
    known = connections.all(tx)
    overlap = visit.context.settings.poll_overlap
    told = [stale_sentence(one, type_ages(tx, one, overlap, visit.now), overlap, visit.now) for one in known]
    return replace(
        bare_frame(visit, title, current),
        stale=" ".join(one for one in told if one),
        freshness=_freshness(known, visit.now),
        banner=_banner(tx, visit),
    )


def bare_frame(visit: Visit, title: str, current: str = "") -> Frame:
    """The frame as far as it is known without the store."""
    return Frame(
        title=title,
        mode=_MODES[visit.context.access],
        csrf=visit.csrf,
        here=visit.address,
        nav=tuple(Tab(label=label, href=href, current=href in (current, visit.path)) for label, href in _nav(visit)),
        who=_who(visit),
        said=SAID.get(visit.query.get("said", ""), ""),
        density=visit.session.density,
        keys=visit.session.keys,
        version=version("fhir-tracker"),
        place=visit.place,
        session=_lasting(visit),
        styled=visit.launch is not None and bool(visit.launch.style_url),
        opens_patient=may_open(visit, "/patients/{id}"),
        opens_sync=visit.viewer.patient is None and may_open(visit, "/sync"),
    )


_AUDIT = ("Audit", "/audit")
"""A place of those who log in: where nobody does, the trail has only one name in it."""


def _nav(visit: Visit) -> Sequence[tuple[str, str]]:
    """The places there are; in a patient's chart that patient only."""
    patient = visit.viewer.patient
    if patient is None:
        places = _NAV if visit.launch is None else (*_NAV, _AUDIT)
        return tuple((label, href) for label, href in places if may_open(visit, "/pulse" if href == "/" else href))
    return (("Patient", chart_of(visit, patient)),)


def _banner(tx: Tx, visit: Visit) -> Person | None:
    patient = visit.viewer.patient
    if visit.launch is None or patient is None or not visit.launch.needs_banner:
        return None
    if ANSWERS.is_closed(visit.launch.id, patient):
        return None
    return person_of(patients.find(tx, visit.viewer, patient), patient, visit.now)


def _lasting(visit: Visit) -> Lasting | None:
    if visit.launch is None:
        return None
    idle = visit.context.settings.session_idle
    left = min(visit.now + idle, visit.launch.ends_at) - visit.now
    return Lasting(left=int(left.total_seconds()), warn=int(min(WARNED_BEFORE, idle / 2).total_seconds()))


def _who(visit: Visit) -> Staff:
    viewer = visit.viewer
    held = ", ".join(role_named(one) for one in sorted(viewer.roles))
    role = held if visit.launch else "all roles"
    return Staff(initials=words.initials(viewer.name), name=viewer.name or viewer.who, role=role, me=True)


def stale_sentence(connection: Connection, types: Sequence[TypeAge], overlap: timedelta, now: datetime) -> str:
    """`Data from north is 14 min old (promised 2 min).`, or `Appointments from north are ...` where only some are; else ""."""
    old = [one for one in types if one.stale]
    if old and len(old) < len(types):
        return " ".join(
            _stale_types(connection.key, [one for one in old if one.never is never]) for never in (False, True)
        ).strip()
    if not old and not is_stale(connection, overlap, now):
        return ""
    limit = words.span(promised(connection, overlap))
    if connection.last_success_at is None:
        return f"Nothing has come from {connection.key} for {words.span(age_of(connection, now))} (promised {limit})."
    return f"Data from {connection.key} is {words.span(age_of(connection, now))} old (promised {limit})."


def _stale_types(key: str, old: Sequence[TypeAge]) -> str:
    """One sentence about types that are all read already, or all never; the age is that of the oldest, with its promise."""
    if not old:
        return ""
    worst = max(old, key=lambda one: one.age)
    limit = words.span(worst.promised)
    named = words.listed([words.plural(one.type) for one in old], NAMED_TYPES)
    if worst.never:
        return f"{named} from {key} are not all here yet, after {words.span(worst.age)} (promised {limit})."
    return f"{named} from {key} are {words.span(worst.age)} old (promised {limit})."


def _freshness(known: Sequence[Connection], now: datetime) -> str:
    if not known:
        return "No EHR connected"
    oldest = max(age_of(one, now) for one in known)
    return f"EHR data {words.span(oldest)} old"
