"""The patient page: plans with stage and next step, open work, appointments, outreach, documents and timeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

from starlette.responses import Response

from api.staff import words
from api.staff.exceptions import exception_form, exceptions_of
from api.staff.forms import NOTHING, Typed, plan_form
from api.staff.frames import frame_of
from api.staff.hidden import shown_events, shown_log
from api.staff.history import attempt_lines, transition_line
from api.staff.names import Names, names_for, status_chip
from api.staff.narratives import narratives_of
from api.staff.next_step import page_of
from api.staff.rendering import answer
from api.staff.rows import person_of, row_of
from api.staff.shapes import Action, Chip, DocumentView, Line, PatientView, PlanView, Row, Tab
from api.staff.steps import stages_of
from api.staff.visit import Visit, note_reading
from fhir_tracker import flags, gathering, plan_moves, undo
from fhir_tracker.errors import NotFound
from fhir_tracker.misfiled import with_misfiled
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.patient import PatientSummary
from fhir_tracker.model.program import ExpectedDocument, Program
from fhir_tracker.model.work import Event, Transition, WorkItem
from fhir_tracker.rules.documents import MOST_NEAR, Expectation, NearMiss, expectations, near_misses, satisfied
from fhir_tracker.rules.move_words import needs_words
from fhir_tracker.rules.stage_moves import allowed_stages
from fhir_tracker.rules.time_spent import minutes, month_bounds, months_between, spans, union
from fhir_tracker.storage import events, patients, resources, transitions, work_items
from fhir_tracker.storage.database import Tx
from subscriptions import note_opened

_COMING = frozenset({"proposed", "pending", "booked", "arrived", "checked-in", "waitlist"})
_MISSED = {"noshow": "no-show", "cancelled": "cancelled"}
_NOT_HERE = (
    "The record of the patient whose chart is open is not here, or your roles do not show it. A patient who is new at the EHR "
    "comes with the next sync: open the chart again in a few minutes."
)
_LOOK_BACK = timedelta(days=90)
_MOST_LINES = 60
_MOST_MONTHS = 3
_CARDS = {
    "plans": "CarePlan",
    "exceptions": "Flag",
    "outreach": "Communication",
    "appointments": "Appointment",
    "documents": "DocumentReference",
}
"""What has to be readable for a card to be there at all; without it an empty one would say what is not so."""


def patient_page(visit: Visit) -> Response:
    """GET `/patients/{id}`."""
    return show(visit, NOTHING)


def show(visit: Visit, typed: Typed, *, status: int = 200) -> Response:
    """The page, with the form of a plan's move where the address names a plan and a stage."""
    id_ = visit.args["id"]
    with visit.context.database.read() as tx:
        summary = patients.find(tx, visit.viewer, id_)
        if summary is None:
            raise NotFound(_NOT_HERE if id_ == visit.viewer.patient else f"There is no Patient/{id_}.")
        view = _view(tx, visit, summary, typed)
        frame = frame_of(tx, visit, view.person.name)
    note_reading(visit, "read", f"Patient/{id_}", id_)
    with visit.context.database.begin() as tx:
        note_opened(tx, visit.viewer, id_, visit.now)
    return answer("patient.html", frame, status=status, view=view)


def _view(tx: Tx, visit: Visit, summary: PatientSummary, typed: Typed) -> PatientView:
    items = work_items.of_patient(tx, visit.viewer, summary.patient)
    sight = visit.viewer.sight
    seen = shown_events(events.of_patients(tx, visit.viewer, [summary.patient])[summary.patient], sight)
    log = shown_log(transitions.of_patient(tx, visit.viewer, summary.patient, _MOST_LINES), sight)
    names = names_for(tx, visit.viewer, items, _people(log))
    person = person_of(summary, summary.patient, visit.now)
    if person is None:
        raise NotFound(f"There is no Patient/{summary.patient}.")
    open_plans = [item for item in items if item.kind == "plan" and item.open]
    facts = [with_misfiled(tx, visit.viewer, one) for one in gathering.gather(tx, visit.viewer, open_plans)]
    coming, missed = _appointments(seen, visit, names)
    up = flags.exceptions_of(tx, visit.viewer, summary.patient)
    return PatientView(
        person=person,
        cards=frozenset(card for card, type_ in _CARDS.items() if sight.may("r", type_)),
        plans=tuple(
            _movable(tx, visit, item, _plan(item, items, names, visit), typed) for item in items if item.kind == "plan"
        ),
        work=_work(tx, visit, items, names),
        coming=coming,
        missed=missed,
        outreach=(*_months(seen, names, visit), *attempt_lines(_attempts(seen), names, visit.now)),
        documents=tuple(line for one in facts for line in _documents(one, names, visit)),
        timeline=_timeline(log, seen, items, names, visit),
        exceptions=exceptions_of(up, summary.patient, names, visit),
        flag=exception_form(summary.patient, up) if sight.may("c", "Flag") else None,
        ends=sight.may("u", "Flag"),
        source=f"From {summary.connection}." if summary.connection else "",
        narratives=narratives_of(
            tx, visit.viewer, [f"Patient/{summary.patient}", *(item.ref for item in items if item.kind == "plan")]
        ),
    )


def _people(log: Sequence[Transition]) -> set[str]:
    owners = {text for row in log if row.what == "owner" for text in (row.before, row.after) if text}
    return {row.who for row in log} | owners


def _work(tx: Tx, visit: Visit, items: Sequence[WorkItem], names: Names) -> tuple[Row, ...]:
    shown = [item for item in items if item.open and item.kind != "plan"]
    stored = resources.find_many(tx, visit.viewer, [item.ref for item in shown])
    ordered = sorted(shown, key=lambda item: (item.due_at is None, item.due_at or item.created_at))
    about = {item.ref: item for item in items}
    return tuple(
        row_of(
            item,
            None,
            names,
            visit.viewer,
            visit.now,
            stored[item.ref].version if item.ref in stored else None,
            about.get(item.focus or "") if item.kind == "escalation" else None,
        )
        for item in ordered
    )


def _plan(item: WorkItem, items: Sequence[WorkItem], names: Names, visit: Visit) -> PlanView:
    program = names.program(item)
    calendar = names.calendar_of(item)
    mine = [one for one in items if one.plan == item.ref and one.kind == "task" and one.open]
    first = min(mine, key=lambda one: (one.due_at is None, one.due_at or one.created_at), default=None)
    due = words.due(first.due_at, visit.now, calendar) if first and first.due_at else None
    return PlanView(
        title=item.title,
        program=names.program_title(item.program or ""),
        stage=status_chip(item, program),
        started=words.ago(item.created_at, visit.now, calendar),
        next=Line(text=first.title, href=page_of(first), when=due) if first else None,
        stages=stages_of(item, program),
        open=item.open,
    )


def _movable(tx: Tx, visit: Visit, item: WorkItem, view: PlanView, typed: Typed) -> PlanView:
    """The plan with the stages it may take, and the form of the one chosen; one of no program here as it is."""
    id_, page = item.ref.partition("/")[2], f"/patients/{quote(item.patient or '')}"
    try:
        plan = plan_moves.find_plan(tx, visit.viewer, item.ref)
    except NotFound:
        return view
    moves = allowed_stages(plan.program, plan.item, visit.viewer.roles)
    is_chosen = visit.query.get("plan", "") == id_
    chosen = next((one for one in moves if is_chosen and one.to == visit.query.get("stage")), None)
    within = visit.context.settings.undo_within
    undoable = bool(undo.last_act(tx, visit.viewer, item.ref, visit.now, within))
    version = plan.stored.version
    return replace(
        view,
        menu=tuple(
            Tab(
                label=stage.title if stage else move.to,
                href=f"{page}?plan={quote(id_)}&stage={quote(move.to)}#plan-{id_}",
                current=move is chosen,
                count=f"asks for {needs}" if (needs := needs_words(move)) else "",
                means=stage.means if stage else "",
            )
            for move in moves
            for stage in (plan.program.stage(move.to),)
        ),
        form=replace(plan_form(plan, chosen, typed), version=version) if chosen else None,
        undo=Action(label="Undo", href=f"/plans/{id_}/undo", post=True, version=version, primary=False)
        if undoable
        else None,
        refusal="" if chosen or not is_chosen else " ".join(one.message for one in typed.issues),
    )


def _appointments(seen: Sequence[Event], visit: Visit, names: Names) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    booked = [one for one in seen if one.type == "Appointment"]
    since = visit.now - _LOOK_BACK
    coming = [one for one in booked if one.status in _COMING and one.at >= visit.now]
    missed = [one for one in booked if one.status in _MISSED and one.at >= since]
    lines = tuple(_appointment(one, visit, names) for one in sorted(coming, key=lambda one: one.at))
    return lines, tuple(_appointment(one, visit, names) for one in sorted(missed, key=lambda one: one.at, reverse=True))


def _appointment(event: Event, visit: Visit, names: Names) -> Line:
    missed = event.status in _MISSED
    return Line(
        text=event.detail.get("title") or event.detail.get("description") or "Appointment",
        when=words.ahead(event.start or event.at, visit.now, names.calendar),
        note=event.detail.get("reason", ""),
        chip=Chip(
            label=_MISSED.get(event.status, event.status),
            tone="late" if missed else "",
            icon="closed" if missed else "open",
        ),
        icon="calendar",
    )


def _months(seen: Sequence[Event], names: Names, visit: Visit) -> tuple[Line, ...]:
    """The staff's time of the last months that have any, newest first, no minute counted twice."""
    zone, found = names.calendar.zone, spans(seen, visit.now)[0]
    newest = sorted(months_between(zone, found), reverse=True)[:_MOST_MONTHS]
    told = [(month, minutes(union(found, *month_bounds(zone, month)))) for month in newest]
    return tuple(
        Line(text=f"{words.counted(spent, 'minute')} of staff time in {month}", icon="note") for month, spent in told
    )


def _attempts(seen: Sequence[Event]) -> list[Event]:
    return [one for one in seen if one.type == "Communication" and one.status in ("completed", "not-done")]


def _documents(facts: Facts, names: Names, visit: Visit) -> list[DocumentView]:
    program = names.program(facts.item)
    if program is None:
        return []
    return [line for document in program.documents for line in _expected(program, facts, document, visit)]


def _expected(program: Program, facts: Facts, document: ExpectedDocument, visit: Visit) -> list[DocumentView]:
    found, near = satisfied(program, facts, document), near_misses(program, facts, document)
    return [
        _document(program, document, one, found.get(one.ref), near.get(one.ref, ()), visit)
        for one in expectations(program, facts, document)
    ]


def _document(
    program: Program,
    document: ExpectedDocument,
    expected: Expectation,
    found: Event | None,
    near: Sequence[NearMiss],
    visit: Visit,
) -> DocumentView:
    late = found is None and expected.due < visit.now
    moment = found.at if found else expected.due
    return DocumentView(
        title=document.title,
        program=program.title,
        found=found is not None,
        line="filed" if found else "" if late else "due",
        when=(words.due if late else words.ahead)(moment, visit.now, program.calendar),
        late=late,
        near="; ".join(str(one) for one in near[:MOST_NEAR]),
    )


def _timeline(
    log: Sequence[Transition], seen: Sequence[Event], items: Sequence[WorkItem], names: Names, visit: Visit
) -> tuple[Line, ...]:
    known = {item.ref: item for item in items}
    told: list[tuple[float, Line]] = []
    for row in log:
        item = known.get(row.item)
        if _is_detail(row, item):
            continue
        if row.what in ("status", "stage", "escalation") or (row.what == "owner" and row.before):
            prefix = f"{item.title}: " if item else ""
            kind, program = (item.kind, names.program(item)) if item else ("task", None)
            line = transition_line(row, kind, program, names, visit.now, prefix)
            told.append((row.effective_at.timestamp(), line))
    told += [(one.at.timestamp(), _stay(one, names, visit)) for one in seen if _is_stay(one, visit)]
    newest = sorted(told, key=lambda pair: pair[0], reverse=True)
    return tuple(line for _, line in newest[:_MOST_LINES])


def _is_detail(row: Transition, item: WorkItem | None) -> bool:
    """What another line tells already: the first tasks of a plan, and the Task of an escalation."""
    if item is None or row.before is not None:
        return False
    return item.kind == "escalation" or (item.kind == "task" and (row.rule or "").endswith("#eligible"))


def _is_stay(event: Event, visit: Visit) -> bool:
    recent = event.at >= visit.now - _LOOK_BACK
    return event.type == "Encounter" and event.status == "finished" and recent


def _stay(event: Event, names: Names, visit: Visit) -> Line:
    title = event.detail.get("title") or "Encounter"
    when = words.ago(event.at, visit.now, names.calendar)
    return Line(text=f"Ended: {title}", when=when, who="EHR", icon="person")
