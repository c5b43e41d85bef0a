"""The task page: what to do, what is asked before it can be closed, why it is here, and what happened so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from urllib.parse import quote

from starlette.responses import Response

from api.staff import forms, trail, words
from api.staff.forms import NOTHING, Typed
from api.staff.frames import frame_of
from api.staff.hidden import shown_answers, shown_events, shown_log, shown_resource
from api.staff.history import attempt_lines, changes_since, closing_line, history_lines, note_lines
from api.staff.home import chart_of
from api.staff.names import Names, names_for, practitioners, role_choices, role_named, status_chip
from api.staff.narratives import narratives_of
from api.staff.next_step import forward, hold_move, move_label, move_means, next_step, page_of
from api.staff.rendering import answer
from api.staff.rows import person_of
from api.staff.shapes import Action, Choice, Form, Line, Requirement, RuleAnswer, Tab, TaskView
from api.staff.steps import steps_of
from api.staff.visit import Visit, note_reading
from api.staff.words import When
from api.staff.written_there import written_there
from fhir_tracker import undo
from fhir_tracker.explain import Explanation, explain
from fhir_tracker.fhir.codeable import text_of
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import objects_at, references_at, text_at
from fhir_tracker.model.app_launch import app_asked
from fhir_tracker.model.facts import Finding
from fhir_tracker.model.program import Move, Program
from fhir_tracker.model.vocabulary import CHANNELS
from fhir_tracker.model.work import Event, Transition
from fhir_tracker.moves_told import missing_of
from fhir_tracker.outreach_account import account_of
from fhir_tracker.rules.documents import MOST_NEAR, near_misses
from fhir_tracker.rules.events import fits, has_code
from fhir_tracker.rules.move_words import field_words
from fhir_tracker.rules.words import listed
from fhir_tracker.storage import events, patients, resources, transitions
from fhir_tracker.storage.database import Tx
from fhir_tracker.transitions import OpenTask, find_task, options_of

_STATES = {"open": "waiting for an answer", "acknowledged": "acknowledged", "taken-over": "taken over"}
_STATES |= {"sent-back": "sent back", "resolved": "resolved"}
_WITHOUT_MENU = ("outside", "plan")
_LOOK_BACK = timedelta(days=60)
_MOST_LINKED = 8
_ANSWER_ACTIONS = (("Acknowledge", "acknowledge"), ("Take over", "take-over"), ("Resolve", "resolve"))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Everything one task page is made from."""

    task: OpenTask
    explanation: Explanation
    names: Names
    moves: Sequence[Move]
    log: tuple[Transition, ...]
    events: tuple[Event, ...]
    now: datetime
    undoable: bool = False

    @property
    def program(self) -> Program | None:
        """The program of the task itself."""
        return self.task.program

    @property
    def menu(self) -> Sequence[Move]:
        """The moves to choose from; an escalation is answered instead."""
        return () if self.task.item.kind == "escalation" else self.moves


def task_page(visit: Visit) -> Response:
    """GET `/tasks/{id}`."""
    return show(visit, visit.query.get("do", ""), visit.query.get("move", ""), NOTHING)


def show(visit: Visit, do: str, move: str, typed: Typed, *, status: int = 200, version: int | None = None) -> Response:
    """The page with the form asked for; `version` is given when somebody else was faster, and says since when."""
    ref = f"Task/{visit.args['id']}"
    back = trail.behind(visit)
    visit = replace(visit, address=visit.address if visit.path == page_at(ref) else trail.carried(page_at(ref), back))
    with visit.context.database.read() as tx:
        subject = subject_of(tx, visit, ref)
        form = _form(tx, visit, subject, do, move, typed, back)
        changed = _changes(tx, visit, subject, version) if version is not None else ()
        view = _carrying(replace(_view(tx, visit, subject, form, changed), refusal=_refusal(form, typed)), back)
        frame = frame_of(tx, visit, f"{view.heading}" + (f" for {view.person.name}" if view.person else ""))
    note_reading(visit, "read", ref, subject.task.item.patient)
    return answer("task.html", frame, status=status, view=view, back=trail.crumb(back, _chart(visit)))


def subject_of(tx: Tx, visit: Visit, ref: str) -> Subject:
    """Gather a task page; raises NotFound or Gone."""
    task, sight = find_task(tx, visit.viewer, ref), visit.viewer.sight
    explanation = explain(tx, visit.viewer.behind(), ref, visit.now)
    log = shown_log(transitions.of_items(tx, visit.viewer, [ref])[ref], sight)
    patient = task.item.patient
    seen = shown_events(events.of_patients(tx, visit.viewer, [patient])[patient], sight) if patient else ()
    others = {row.who for row in log} | {row.after for row in log if row.what == "owner" and row.after}
    others |= {row.before for row in log if row.what == "owner" and row.before}
    names = names_for(tx, visit.viewer, [task.item, explanation.item], others)
    moves = () if task.item.kind in _WITHOUT_MENU else options_of(task, visit.viewer)
    within = visit.context.settings.undo_within
    undoable = bool(undo.last_act(tx, visit.viewer, ref, visit.now, within))
    return Subject(
        task=replace(task, resource=shown_resource(task.resource, sight)),
        explanation=explanation,
        names=names,
        moves=moves,
        log=log,
        events=seen,
        now=visit.now,
        undoable=undoable,
    )


def given_of(subject: Subject, move: Move) -> frozenset[str]:
    """The fields that a move requires and that the task has already."""
    return frozenset(move.require) - frozenset(missing_of(subject.task, move, subject.now))


def _chart(visit: Visit) -> str:
    """The chart that the launch is locked to; "" when it is to none."""
    return chart_of(visit, visit.viewer.patient) if visit.viewer.patient is not None else ""


def _carrying(view: TaskView, back: str) -> TaskView:
    """The view with every link and step of it leading back to the same list."""
    return replace(
        view,
        actions=tuple(one if one.post else replace(one, href=trail.carried(one.href, back)) for one in view.actions),
        menu=tuple(replace(one, href=trail.carried(one.href, back)) for one in view.menu),
        about=replace(view.about, href=trail.carried(view.about.href, back))
        if view.about and view.about.href
        else view.about,
    )


def _form(tx: Tx, visit: Visit, subject: Subject, do: str, move: str, typed: Typed, back: str) -> Form | None:
    item = subject.task.item
    if item.kind in ("outside", "plan"):
        return None
    form: Form | None = None
    chosen = next((one for one in subject.menu if one.to == move), None)
    if chosen:
        owners = practitioners(tx, visit.viewer)
        documents = _documents(subject)
        given, reasons = given_of(subject, chosen), subject.task.reasons(chosen.to)
        form = forms.move_form(item, subject.program, chosen, given, owners, documents, typed, reasons)
    elif not item.open:
        return None
    elif do == "attempt" and item.patient:
        form = forms.attempt_form(item, _channels(subject), typed)
    elif do == "reassign":
        owners = practitioners(tx, visit.viewer)
        form = forms.reassign_form(item, owners, role_choices(), typed)
    elif do == "note":
        form = forms.note_form(item, typed)
    elif do == "send-back" and item.kind == "escalation" and subject.moves:
        form = forms.send_back_form(item, typed, subject.task.reasons("rejected"))
    return _bound(form, subject, back) if form else None


def _refusal(form: Form | None, typed: Typed) -> str:
    return "" if form else " ".join(dict.fromkeys(issue.message for issue in typed.issues))


def page_at(ref: str) -> str:
    """The address of `Task/<id>`."""
    return f"/tasks/{ref.partition('/')[2]}"


def _bound(form: Form, subject: Subject, back: str) -> Form:
    return replace(form, version=subject.task.stored.version, back=trail.carried(page_of(subject.task.item), back))


def _view(tx: Tx, visit: Visit, subject: Subject, form: Form | None, conflict: tuple[Line, ...]) -> TaskView:
    item, names, program = subject.task.item, subject.names, subject.program
    calendar = names.calendar_of(subject.explanation.item)
    summary = patients.find(tx, visit.viewer, item.patient) if item.patient else None
    template = program.task(item.code) if program else None
    goal = forward(program, subject.menu)
    due, live = subject.explanation.due_at, item.open and subject.explanation.item.clock == "running"
    return TaskView(
        heading=item.title,
        program=names.program_title(item.program) if item.program else _origin(subject),
        program_version=f"version {item.program_version}" if item.program_version else "",
        chip=status_chip(item, program),
        clock=_clock(subject),
        person=person_of(summary, item.patient, visit.now),
        due=(words.due if live else words.ahead)(due, visit.now, calendar) if due else None,
        owner=names.person(item.owner) if item.owner else None,
        team=role_named(item.role) if item.role else "",
        priority="" if item.priority == "routine" else item.priority,
        steps=steps_of(subject.log, item, program, goal),
        what=(template.what if template else "") or _said(subject),
        actions=_actions(visit, subject),
        menu=_menu(subject, visit.query.get("move", "")),
        form=form,
        requirements=_requirements(subject, goal),
        requirements_for=move_label(program, goal) if goal else "",
        why=shown_answers(
            (_rule(one, subject) for one in _by_weight(subject.explanation.findings)), visit.viewer.sight
        ),
        facts=_facts(subject),
        linked=_linked(subject),
        attempts=attempt_lines(_attempts(subject), names, visit.now),
        history=history_lines(subject.log, item.kind, program, names, visit.now),
        notes=note_lines(subject.task.resource, names, visit.now),
        escalation=_escalation(subject),
        about=_about(subject),
        closed="" if item.open else f"Closed: {status_chip(item, program).label}.",
        closing=None if item.open else closing_line(subject.log, item, program, names, visit.now),
        outside=item.kind == "outside",
        conflict=conflict,
        elsewhere=() if visit.viewer.sight.hidden("Task") else written_there(tx, visit.viewer, item.ref),
        narratives=narratives_of(tx, visit.viewer, [item.ref]),
    )


def _said(subject: Subject) -> str:
    if subject.task.item.kind == "escalation" and not subject.moves:
        return f"It waits for {listed([role_named(one) for one in subject.task.answering], 'or')}."
    if subject.task.item.kind == "escalation":
        return "Look at the late work, then acknowledge it, take it over, or send it back with a reason."
    return text_at(subject.task.resource, "description") or ""


def _actions(visit: Visit, subject: Subject) -> tuple[Action, ...]:
    item, program, page = subject.task.item, subject.program, page_of(subject.task.item)
    version = subject.task.stored.version
    undoing = Action(label="Undo", href=f"{page}/undo", post=True, version=version, primary=False)
    if not item.open or item.kind in ("outside", "plan"):
        return (undoing,) if subject.undoable else ()
    is_mine = subject.task.owner == visit.viewer.who
    own = item.having(owner=visit.viewer.who) if is_mine else item
    first = next_step(own, visit.viewer.who, program, subject.moves, version)
    actions = [first] if first.primary else []
    actions += [undoing] if subject.undoable else []
    if item.kind == "escalation" and not subject.moves:
        return tuple(actions)
    if item.kind == "escalation":
        actions += [
            Action(label=label, href=f"{page}/{path}", post=True, version=version, primary=False)
            for label, path in _ANSWER_ACTIONS
            if label != first.label and (path, item.fhir_status) not in (("acknowledge", "in-progress"),)
        ]
        return (*actions, Action(label="Send back", href=f"{page}?do=send-back#form", primary=False))
    if item.patient and first.label != "Log attempt":
        actions.append(Action(label="Log attempt", href=f"{page}?do=attempt#form", primary=False))
    if hold := hold_move(program, subject.moves):
        actions.append(Action(label="Hold", href=f"{page}?move={quote(hold.to)}#form", primary=False))
    if is_mine:
        actions.append(Action(label="Release", href=f"{page}/release", post=True, version=version, primary=False))
    actions.append(Action(label="Reassign", href=f"{page}?do=reassign#form", primary=False))
    return (*actions, Action(label="Note", href=f"{page}?do=note#form", primary=False))


def _menu(subject: Subject, current: str) -> tuple[Tab, ...]:
    page = page_of(subject.task.item)
    return tuple(
        Tab(
            label=move_label(subject.program, move),
            href=f"{page}?move={quote(move.to)}#form",
            current=move.to == current,
            count=_asks([field_words(name, move) for name in missing_of(subject.task, move, subject.now)]),
            means=move_means(subject.program, move),
        )
        for move in subject.menu
    )


def _asks(labels: Sequence[str]) -> str:
    return f"asks for {', '.join(labels)}" if labels else ""


def _requirements(subject: Subject, goal: Move | None) -> tuple[Requirement, ...]:
    if goal is None or not subject.task.item.open:
        return ()
    given = given_of(subject, goal)
    return tuple(Requirement(label=field_words(name, goal), met=name in given) for name in goal.require)


def _clock(subject: Subject) -> str:
    item = subject.task.item
    if item.clock == "paused" and item.hold_until:
        until = words.ahead(item.hold_until, subject.now, subject.names.calendar_of(item))
        return f"paused until {until.words}"
    return item.clock


def _facts(subject: Subject) -> tuple[tuple[str, str, When | None], ...]:
    item, now = subject.task.item, subject.now
    calendar = subject.names.calendar_of(subject.explanation.item)
    due, look = subject.explanation.due_at, subject.explanation.next_at
    rows: list[tuple[str, str, When | None]] = [
        ("Opened", "", words.ago(item.created_at, now, calendar)),
        ("In this status", "since", words.ago(item.status_since, now, calendar)),
    ]
    if reason := text_of(subject.task.resource.get("reasonCode")):
        rows.append(("Made because", words.without_ids(reason), None))
    if due and item.kind != "escalation":
        moved = item.due_at is not None and due != item.due_at
        rows.append(("Due", "after pauses" if moved else "", words.ahead(due, now, calendar)))
    rows.extend(_outreach(subject))
    if item.hold_until:
        rows.append(("Hold ends", item.hold_event or "", words.ahead(item.hold_until, now, calendar)))
    if look and item.open:
        rows.append(("Looked at again", "", words.ahead(look, now, calendar)))
    return tuple(rows)


def _outreach(subject: Subject) -> list[tuple[str, str, When | None]]:
    """Where outreach stands, and what a caller should know before the next attempt."""
    found = account_of(subject.program, subject.explanation.facts, subject.now)
    if found is None or subject.task.item.kind != "task":
        return []
    rows: list[tuple[str, str, When | None]] = [("Outreach", found.words, None)]
    if found.standing.next_number:
        rows.append(("Next number", found.standing.next_number, None))
    if found.best:
        rows.append(("Best time", str(found.best), None))
    if found.now_against and subject.task.item.open:
        rows.append(("Not now", found.now_against, None))
    return rows + [(CHANNELS.get(one, one), f"not used: {why}", None) for one, why in found.standing.closed_to.items()]


def _by_weight(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda one: (not one.verdict.holds, not one.fired, one.next_level is None))


def _rule(finding: Finding, subject: Subject) -> RuleAnswer:
    calendar, now = subject.names.calendar_of(subject.explanation.item), subject.now
    program = subject.explanation.program
    level = finding.next_level
    return RuleAnswer(
        title=finding.title,
        rule=f"{program.code} version {program.version}, {finding.rule}" if program else finding.rule,
        holds=finding.verdict.holds,
        why=finding.verdict.why,
        facts=tuple(sorted(finding.verdict.facts.items())),
        fired=tuple(
            f"Level {one.key.level} went to {role_named(one.to_role or '')} "
            f"{words.ago(one.fired_at, now, calendar).words}, {_STATES[one.state]}"
            for one in finding.fired
            if one.kind == "escalate"
        ),
        next=f"Level {level.number} goes to {role_named(level.to.removeprefix('role/'))}" if level else "",
        next_when=words.ahead(level.at, now, calendar) if level else None,
        stopped=f"Stopped: {finding.stopped}" if finding.stopped else "",
    )


def _escalation(subject: Subject) -> str:
    item = subject.task.item
    if item.kind == "escalation" and item.open:
        return text_of(subject.task.resource.get("reasonCode")) or "Escalated."
    return f"Level {item.escalation_level}: {item.escalation_reason}" if item.escalation_reason else ""


def _about(subject: Subject) -> Line | None:
    item, about = subject.task.item, subject.explanation.item
    if item.kind == "escalation" and about.ref != item.ref:
        calendar = subject.names.calendar_of(about)
        due = words.due(about.due_at, subject.now, calendar) if about.due_at else None
        return Line(text=about.title, href=page_of(about), when=due if about.open else None)
    event = next((one for one in subject.events if one.ref == item.focus), None)
    return _event_line(event, subject) if event else None


def _linked(subject: Subject) -> tuple[Line, ...]:
    program, resource = subject.program or subject.explanation.program, subject.task.resource
    named = {subject.task.item.focus, *references_at(resource, "basedOn")}
    for part in ("input", "output"):
        named |= {text for one in objects_at(resource, part) if (text := text_at(one, "valueReference", "reference"))}
    since = subject.task.item.created_at - _LOOK_BACK
    found = [
        event
        for event in subject.events
        if event.type in ("Appointment", "DocumentReference", "Encounter")
        and (event.ref in named or subject.task.item.ref in event.about or _belongs(program, event, since))
    ]
    newest = sorted(found, key=lambda event: event.at, reverse=True)[:_MOST_LINKED]
    near = _near(subject)
    lines = tuple(_event_line(event, subject, near.pop(event.ref, "")) for event in newest)
    elsewhere = (Line(text=f"Filed elsewhere? {text}", icon="document") for text in near.values())
    return (*_app(resource), *lines, *elsewhere)


def _app(task: Resource) -> tuple[Line, ...]:
    """The app that somebody is asked to open: a link where it opens by itself; else its address, for only the EHR can open it."""
    asked = app_asked(task)
    if asked is None:
        return ()
    where = "by itself" if asked.standalone else "from within the EHR"
    away = asked.url if asked.standalone else ""
    return (Line(text=f"Open the app {asked.url}, {where}", note=asked.context, away=away, icon="document"),)


def _near(subject: Subject) -> dict[str, str]:
    """What may be a document that is missing here and was filed under something else: its reference -> where."""
    program, facts = subject.program or subject.explanation.program, subject.explanation.facts
    if program is None or not subject.task.item.open:
        return {}
    missed = (near_misses(program, facts, one) for one in program.documents)
    found = [miss for each in missed for some in each.values() for miss in some[:MOST_NEAR]]
    return {one.ref: str(one) for one in found}


def _belongs(program: Program | None, event: Event, since: datetime) -> bool:
    """Whether an appointment of the program's services, or a document it expects, lies in the time of this work."""
    if program is None or event.at < since:
        return False
    if event.type == "Appointment":
        return any(has_code(event, codes) for codes in program.services.values())
    return any(fits(one.satisfied_by, event, calendar=program.calendar) for one in program.documents)


def _event_line(event: Event, subject: Subject, near: str = "") -> Line:
    from_ = event.start or event.at
    return Line(
        text=event.detail.get("title") or event.detail.get("description") or event.type,
        when=words.ahead(from_, subject.now, subject.names.calendar),
        who=event.status,
        note=f"Filed elsewhere? {near}" if near else event.detail.get("reason", ""),
        icon={"Appointment": "calendar", "Encounter": "person"}.get(event.type, "document"),
    )


def _attempts(subject: Subject) -> list[Event]:
    ref = subject.task.item.ref
    return [one for one in subject.events if one.type == "Communication" and ref in one.about]


def _documents(subject: Subject) -> tuple[Choice, ...]:
    found = [one for one in subject.events if one.type == "DocumentReference"]
    return tuple(
        Choice(value=one.ref, label=f"{one.detail.get('title') or one.ref}, {one.at:%Y-%m-%d}")
        for one in sorted(found, key=lambda event: event.at, reverse=True)
    )


def _channels(subject: Subject) -> tuple[str, ...]:
    template = subject.program.task(subject.task.item.code) if subject.program else None
    return template.outreach.channels if template and template.outreach else ()


def _changes(tx: Tx, visit: Visit, subject: Subject, version: int) -> tuple[Line, ...]:
    stored = subject.task.stored
    before = resources.find_version(tx, visit.viewer, "Task", stored.id, version)
    since = before.updated_at if before else stored.updated_at
    return changes_since(subject.log, subject.task.item.kind, since, subject.program, subject.names, visit.now)


def _origin(subject: Subject) -> str:
    kind = subject.task.item.kind
    return {"outside": "From the EHR", "escalation": "Escalation"}.get(kind, "Outside programs")
