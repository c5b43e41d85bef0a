"""The operations page: every number is counted by the store together with the filter of the list it opens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from starlette.responses import Response

from api.staff import filters
from api.staff.frames import frame_of
from api.staff.names import Names, names_for, status_title
from api.staff.rendering import answer
from api.staff.shapes import Bar, BarPart, Cell, HeatRow, OperationsView, Tile
from api.staff.sync_page import health_of
from api.staff.visit import Visit, note_reading
from api.staff.words import Tone
from fhir_tracker import brake
from fhir_tracker.storage import connections, dispatches, figures, jobs, poisoned
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.figures import Figure
from fhir_tracker.storage.queue import AGES, QueueCounts, QueueFilter

_TILES: tuple[tuple[str, str, Tone, str], ...] = (
    ("open", "Open", "", "open"),
    ("late", "Late", "late", "late"),
    ("due_today", "Due today", "today", "today"),
    ("escalated", "Escalated", "escalated", "escalated"),
    ("hold", "On hold", "hold", "hold"),
    ("unassigned", "No owner", "", "person"),
)
_AGE_WORDS = {
    "<1d": "under 1 day",
    "1-3d": "1-3 days",
    "3-7d": "3-7 days",
    "7-14d": "7-14 days",
    ">14d": "over 14 days",
}


def operations_page(visit: Visit) -> Response:
    """GET `/operations`."""
    sight = visit.viewer.sight
    with visit.context.database.read() as tx:
        overdue = figures.overdue(tx, visit.viewer, visit.now, "owner")
        names = names_for(tx, visit.viewer, [], [one.row for one in overdue if one.row])
        zone = names.calendar.zone
        codes = tuple(dict.fromkeys(one.column for one in overdue))
        view = OperationsView(
            tiles=_tiles(figures.totals(tx, visit.viewer, visit.now, zone), zone),
            ages=tuple(_AGE_WORDS.values()),
            bars=_bars(figures.aging(tx, visit.viewer, visit.now), names),
            programs=tuple(code.upper() if code else "No program" for code in codes),
            heat=_heat(overdue, codes, names),
            reasons=_reasons(figures.escalations(tx, visit.viewer, visit.now), names),
            stopped=tuple(_stopped(tx)),
            limited=not visit.viewer.counts_all,
            works="queue" in sight.acts and (sight.may("s", "Task") or sight.may("s", "CarePlan")),
            sync=tuple(health_of(tx, one, visit, names.calendar) for one in connections.all(tx)),
        )
        frame = frame_of(tx, visit, "Operations", "/operations")
    note_reading(visit, "search", "Task")
    return answer("operations.html", frame, view=view)


def _stopped(tx: Tx) -> Iterator[str]:
    """What the rules and workers do not do just now, each with the command that tells more."""
    for one in brake.all_engaged(tx):
        whose = f"of the program {one.program}" if one.program else "of all programs"
        yield f"Escalations {whose} are held: {one.escalations} at once were too many (fhir-tracker rules release)."
    for program, count in sorted(poisoned.counts(tx).items()):
        yield f"The rules cannot work on {count} of {program or 'no program'} (fhir-tracker rules poisoned)."
    dead = sum(one.dead for one in jobs.states(tx))
    if dead:
        yield f"{dead} background jobs failed for good (fhir-tracker jobs list)."
    untold = dispatches.counts(tx)
    if lost := untold.get("dead", 0):
        yield f"{lost} mails or webhook calls were refused for good (fhir-tracker notifications list)."
    if lost := untold.get("unsupported", 0):
        yield f"{lost} mails or webhook calls have no address to go to (fhir-tracker notifications list)."


def _href(chosen: QueueFilter) -> str:
    return filters.of_filter(chosen).href()


def _tiles(totals: QueueCounts, zone: str) -> tuple[Tile, ...]:
    opens = figures.total_filters(zone)
    return tuple(
        Tile(label=label, number=getattr(totals, name), href=_href(opens[name]), tone=tone, icon=icon)
        for name, label, tone, icon in _TILES
    )


def _bars(aging: Sequence[Figure], names: Names) -> tuple[Bar, ...]:
    groups: dict[tuple[str, str], list[Figure]] = {}
    for one in aging:
        groups.setdefault((one.opens.program or "", one.row), []).append(one)
    longest = max((sum(one.count for one in group) for group in groups.values()), default=1)
    return tuple(_bar(program, status, group, longest, names) for (program, status), group in groups.items())


def _bar(program: str, status: str, group: Sequence[Figure], longest: int, names: Names) -> Bar:
    parts: list[BarPart] = []
    for one in group:
        step = tuple(AGES).index(one.column)
        left = parts[-1].left + parts[-1].width if parts else 0.0
        width = max(round(96 * one.count / longest, 2), 0.8) if one.count else 0.0
        label = _AGE_WORDS[one.column]
        parts.append(
            BarPart(label=label, number=one.count, href=_href(one.opens), left=round(left, 2), width=width, step=step)
        )
    whole = QueueFilter(program=program or None, no_program=not program, status=status)
    known = next((one for one in names.active if one.code == program), None)
    return Bar(
        label=status_title(known, status),
        program=program.upper() if program else "No program",
        total=sum(one.count for one in group),
        href=_href(whole),
        parts=tuple(parts),
    )


def _heat(overdue: Sequence[Figure], codes: Sequence[str], names: Names) -> tuple[HeatRow, ...]:
    most = max((one.count for one in overdue), default=1)
    rows: dict[str, dict[str, Figure]] = {}
    for one in overdue:
        rows.setdefault(one.row, {})[one.column] = one
    return tuple(
        HeatRow(
            label=names.who(owner) if owner else "Nobody yet",
            cells=tuple(_cell(found.get(code), most) for code in codes),
            total=Cell(
                number=sum(one.count for one in found.values()),
                href=_href(QueueFilter(state="late", owner=owner or None, unassigned=None if owner else True)),
            ),
        )
        for owner, found in rows.items()
    )


def _cell(figure: Figure | None, most: int) -> Cell:
    if figure is None:
        return Cell(number=0)
    return Cell(number=figure.count, href=_href(figure.opens), heat=-(-4 * figure.count // most))


def _reasons(fired: Sequence[Figure], names: Names) -> tuple[tuple[str, Cell], ...]:
    titles = {rule.id: f"{rule.title} ({program.code.upper()})" for program in names.active for rule in program.rules}
    return tuple((titles.get(one.row, one.row), Cell(number=one.count, href=_href(one.opens))) for one in fired)
