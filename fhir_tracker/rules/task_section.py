"""Reads `services`, `tasks` and `documents` of a program file: the work and what must be filed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, cast

from fhir_tracker.model.program import (
    DoneBy,
    Due,
    Duration,
    ExpectedDocument,
    Match,
    Status,
    TaskTemplate,
)
from fhir_tracker.model.vocabulary import OUTCOMES
from fhir_tracker.rules.draft import Draft, refuse_doubles, role_of, title_of
from fhir_tracker.rules.events import APPOINTMENT_STATES, NAMES, TYPES
from fhir_tracker.rules.form_section import questionnaire_url
from fhir_tracker.rules.matches import FINAL, read_match, read_one_match
from fhir_tracker.rules.outreach_section import read_outreach
from fhir_tracker.rules.plan_section import WORKING, check_starts, read_working
from fhir_tracker.rules.priority import PRIORITIES
from fhir_tracker.rules.source import Fields, Node, Table, choice_of, fields, items_of, texts_of

ON: Final = ("enrolment", "rule", "cadence", "after", "intake")
On = Literal["enrolment", "rule", "cadence", "after", "intake"]
DONE_BY: Final = ("appointment", "document", "outreach", *TYPES)


def read_services(node: Node | None, draft: Draft) -> Mapping[str, tuple[str, ...]]:
    """Service names to the codes that Appointments of the service carry."""
    if node is None:
        return {}
    if not isinstance(node, Table):
        draft.problems.add(node.place, 'must map each service to its codes, such as tcm-visit: ["system|code"]')
        return {}
    return {name: tuple(text.value for text in texts_of(codes, draft.problems)) for name, codes in node.entries.items()}


def read_documents(node: Node | None, draft: Draft) -> tuple[ExpectedDocument, ...]:
    """The documents the program expects."""
    documents = []
    for item in items_of(node, draft.problems):
        given = fields(item, draft.problems, ("code", "after", "within", "satisfied_by"), ("title", "service"))
        document = _document(given, draft) if given else None
        if document:
            documents.append(document)
    if node is not None:
        refuse_doubles(node, draft)
    return tuple(documents)


def read_tasks(
    node: Node, statuses: tuple[Status, ...], documents: tuple[ExpectedDocument, ...], draft: Draft
) -> tuple[TaskTemplate, ...]:
    """The task templates; each starts in the program's first status unless it names another open one."""
    filed = {one.code: one.satisfied_by for one in documents}
    tasks = [task for item in items_of(node, draft.problems) if (task := _task(item, statuses, filed, draft))]
    refuse_doubles(node, draft)
    check_starts(node, tuple(tasks), draft)
    if not tasks and not items_of(node, draft.problems):
        draft.problems.add(node.place, "a program needs at least one task")
    return tuple(tasks)


def implied_tasks(
    draft: Draft, tasks: tuple[TaskTemplate, ...], statuses: tuple[Status, ...]
) -> tuple[TaskTemplate, ...]:
    """Templates for tasks that only a rule names; they go to the role of the first task."""
    if not tasks or not statuses:
        return ()
    for code, place in draft.implied.items():
        draft.problems.warn(
            place, f'"{code}" is not among the tasks: it is made for {tasks[0].role}, without a due time'
        )
    return tuple(
        TaskTemplate(code=code, title=title_of(code), role=tasks[0].role, on="rule", initial=statuses[0].code)
        for code in draft.implied
    )


def _task(node: Node, statuses: tuple[Status, ...], filed: Mapping[str, Match], draft: Draft) -> TaskTemplate | None:
    optional = ("title", "what", "on", "due", "every", "priority", "outreach", "done_by", "initial", *WORKING)
    given = fields(node, draft.problems, ("code", "role"), optional)
    if given is None:
        return None
    code, role = given.code("code"), given.node("role")
    every = given.duration("every")
    return TaskTemplate(
        code=code,
        title=given.text("title", title_of(code)),
        role=role_of(role, draft) if role else "",
        what=given.text("what"),
        on=_on(given, every, draft),
        due=_due(given, draft),
        every=every,
        priority=given.choice("priority", PRIORITIES, "routine"),
        outreach=read_outreach(given.node("outreach"), draft.outreach, draft),
        done_by=_done_by(given, statuses, filed, draft),
        initial=_initial(given, statuses, draft),
        **vars(read_working(given, every, draft)),
    )


def _on(given: Fields, every: Duration | None, draft: Draft) -> On:
    on = given.choice("on", ON, "cadence" if given.node("every") else "after" if given.node("starts") else "enrolment")
    if on == "cadence" and given.node("every") is None:
        draft.problems.add(given.table.keys["on"], 'a task on cadence needs "every", such as 1 month')
    if on != "cadence" and given.node("every") is not None:
        draft.problems.add(given.table.keys["every"], f'"every" belongs to a task on cadence, not on {on}')
    if (on == "after") != (given.node("starts") is not None):
        place = given.table.keys["starts" if given.node("starts") else "on"]
        draft.problems.add(
            place, '"starts: {after: OTHER-TASK}" belongs to a task that starts after another, and to no other'
        )
    if every is not None and every.amount == 0:
        draft.problems.add(given.table.keys["every"], '"every" must be longer than nothing')
    return cast(On, on)


def _initial(given: Fields, statuses: tuple[Status, ...], draft: Draft) -> str:
    first = statuses[0].code if statuses else ""
    node = given.node("initial")
    if node is None:
        return first
    code = draft.reference(node, "status", draft.statuses)
    if any(one.code == code and one.clock == "stopped" for one in statuses):
        draft.problems.add(node.place, f'a task cannot start in the closed status "{code}"')
    return code or first


def _due(given: Fields, draft: Draft) -> Due | None:
    node = given.node("due")
    due = fields(node, draft.problems, ("within",), ("after",)) if node else None
    if due is None:
        return None
    within, after = due.duration("within"), due.node("after")
    anchor = anchor_of(after, draft, ("created",)) if after else "created"
    return Due(anchor=anchor, within=within) if within and anchor else None


def anchor_of(node: Node, draft: Draft, also: tuple[str, ...] = ()) -> str:
    """The name of a moment of the plan or of an event; "" with a problem noted otherwise."""
    documents = tuple(f"document.{code}" for code in draft.documents)
    return choice_of(node, (*draft.anchors, *also, *NAMES, *documents), draft.problems, "moment")


def _done_by(given: Fields, statuses: tuple[Status, ...], filed: Mapping[str, Match], draft: Draft) -> DoneBy | None:
    node = given.node("done_by")
    done = fields(node, draft.problems, (), (*DONE_BY, "service", "to")) if node else None
    if done is None:
        return None
    kinds = [kind for kind in DONE_BY if done.node(kind)]
    if len(kinds) != 1:
        draft.problems.add(done.place, "name exactly one thing that does it: appointment, document, outreach or a type")
        return None
    if done.node("service") and kinds != ["appointment"]:
        draft.problems.add(done.table.keys["service"], "a service belongs to an appointment")
    match = _evidence(kinds[0], done, filed, draft)
    status = _closing(done, statuses, draft)
    return DoneBy(match=match, status=status) if match and status else None


def _evidence(kind: str, done: Fields, filed: Mapping[str, Match], draft: Draft) -> Match | None:
    node = done.table.entries[kind]
    if kind == "appointment":
        state = choice_of(node, APPOINTMENT_STATES, draft.problems, "appointment state")
        codes = tuple(code for text in done.texts("service") for code in draft.service_codes(text))
        return Match(type="Appointment", status=APPOINTMENT_STATES[state], codes=codes) if state else None
    if kind == "document":
        return filed.get(draft.reference(node, "document", draft.documents))
    if kind == "outreach":
        outcomes = tuple(draft.reference(text, "outcome", tuple(OUTCOMES)) for text in texts_of(node, draft.problems))
        return Match(type="Communication", outcomes=outcomes) if all(outcomes) else None
    return read_match(kind, done.table.keys[kind], node, draft)


def _closing(done: Fields, statuses: tuple[Status, ...], draft: Draft) -> str:
    node = done.node("to")
    if node is None:
        return next((one.code for one in statuses if one.fhir == "completed"), "")
    code = draft.reference(node, "status", draft.statuses)
    if any(one.code == code and one.clock != "stopped" for one in statuses):
        draft.problems.add(node.place, f'what is done must be closed, and "{code}" is open')
    return code


def _satisfying(node: Node, draft: Draft) -> Match | None:
    """What satisfies an expectation: a resource that is there to stay, or a filled-in form of the program."""
    form = node.entries.get("form") if isinstance(node, Table) and len(node.entries) == 1 else None
    if form is None:
        match = read_one_match(node, draft)
        return replace(match, status=match.status or FINAL.get(match.type, ())) if match else None
    code = draft.reference(form, "form", tuple(one.code for one in draft.forms))
    found = next((one for one in draft.forms if one.code == code), None)
    if found is None:
        return None
    names = (questionnaire_url(draft.program, code), *found.same_as)
    return Match(type="QuestionnaireResponse", status=FINAL["QuestionnaireResponse"], codes=names)


def _document(given: Fields, draft: Draft) -> ExpectedDocument | None:
    code, within = given.code("code"), given.duration("within")
    after, shape = given.node("after"), given.node("satisfied_by")
    anchor = anchor_of(after, draft) if after else ""
    match = _satisfying(shape, draft) if shape else None
    service = given.texts("service")
    if service and not anchor.startswith("appointment."):
        draft.problems.add(given.table.keys["service"], "a service belongs to a document after an appointment")
    for text in service:
        draft.service_codes(text)
    if match is None or within is None or not anchor:
        return None
    return ExpectedDocument(
        code=code,
        title=given.text("title", title_of(code)),
        after=anchor,
        within=within,
        satisfied_by=replace(match, within=None),
        service=service[0].value if service else None,
    )
