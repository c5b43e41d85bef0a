"""Any situation of one item that rules can be asked about, and any condition on it, for the laws that all tests keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

from hypothesis import strategies as st

from fhir_tracker.model.answers import Answer, as_text
from fhir_tracker.model.facts import Facts, Verdict
from fhir_tracker.model.program import Program
from fhir_tracker.model.staff import Away, Person
from fhir_tracker.model.standing import PatientFacts
from fhir_tracker.model.vocabulary import FLAG_SYSTEM
from fhir_tracker.model.work import Event, Firing, Transition
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.draft import Draft
from fhir_tracker.rules.form_section import questionnaire_url
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.rule_section import read_rules
from fhir_tracker.rules.source import Problems, load
from tests.rules.samples import BASE, LADDERS, MONDAY, attempt, event, facts, fired, item, moved, plan, plan_item, visit

REASONS: Final = """
forms:
  - code: mood
    title: Mood
    items: [{code: sad, text: Sad, least: 0, most: 9}]
reasons:
  - {code: waiting-for-payer, means: Waiting for the payer, for: [hold]}
  - {code: other, means: Something else}
"""
moments = st.integers(-12 * 24 * 60, 20 * 24 * 60).map(lambda m: MONDAY + timedelta(minutes=m))
FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)
poisoned = st.sampled_from((FIRST, FIRST + timedelta(hours=30), LAST - timedelta(days=300), LAST)) | moments
durations = st.one_of(
    st.builds("{} {}".format, st.integers(0, 90), st.sampled_from(("seconds", "minutes", "hours"))),
    st.builds("{} {}".format, st.integers(0, 6), st.sampled_from(("days", "business days", "business hours", "weeks"))),
)
spans = st.builds("{} {}".format, st.integers(1, 9), st.sampled_from(("hours", "days", "business days", "weeks")))
some = st.integers(1, 3)
states = st.sampled_from(("booked", "arrived", "fulfilled", "noshow", "cancelled", "missed", "waiting", "any"))
READING: Final = "Observation: {code: bp, component: sys, at_least: '150 mm[Hg]'}"
LEAVES: Final[Mapping[str, st.SearchStrategy[str]]] = {
    "task": st.sampled_from(("first-call", "visit")),
    "overdue_by": durations,
    "due_within": spans,
    "unassigned_for": durations,
    "in_status_for": st.builds("{{status: [to-call, waiting], for: {}}}".format, durations),
    "untouched_for": durations,
    "handed_over": st.builds("{{times: {}, within: {}}}".format, some, spans),
    "owner": st.sampled_from(("none", "away", "inactive", "unknown", "wrong-role", "present", "[none, away]")),
    "hold": st.one_of(
        st.just("true"),
        st.builds("{{for: {}, reason: waiting-for-payer}}".format, durations),
        st.builds("{{ends_within: {}}}".format, spans),
        st.just("{without_end: true}"),
    ),
    "reason": st.sampled_from(("waiting-for-payer", "[waiting-for-payer, other]")),
    "escalated": st.one_of(
        st.builds("{{level: {}}}".format, some), st.builds("{{unanswered_for: {}}}".format, durations)
    ),
    "outreach_failed": st.builds("{{attempts: {}, over: {}}}".format, some, durations),
    "outreach_reached": st.just("true"),
    "outreach": st.one_of(
        st.builds("{{outcome: [no-answer, declined], times: {}, within: {}}}".format, some, spans),
        st.just("{outcome: reached}"),
    ),
    "next_contact": st.one_of(st.just("none"), st.builds("{{due: {}}}".format, durations)),
    "appointment_missed": st.builds("{{service: visit, grace: {}}}".format, durations),
    "no_show_chain": st.builds("{{service: visit, times: {}, within: {}, grace: {}}}".format, some, spans, durations),
    "appointment": st.one_of(
        st.builds("{{state: {}}}".format, states),
        st.builds("{{state: {}, service: visit, ahead: {}}}".format, states, spans),
        st.builds("{{state: {}, within: {}}}".format, states, spans),
    ),
    "document_missing": st.sampled_from(("note", "summary")),
    "absent": st.one_of(
        st.builds(
            "{{expect: {{DocumentReference: {{type: 'urn:l|note'}}}}, after: {}, within: {}, times: {}}}".format,
            st.sampled_from(("discharge", "created", "status", "appointment.fulfilled", "{Encounter: {class: IMP}}")),
            durations,
            some,
        ),
        st.builds("{{expect: {{{}}}, after: enrolment, within: {}}}".format, st.just(READING), durations),
    ),
    "seen": st.one_of(
        st.builds("{{Appointment: {{status: noshow, within: {}}}, times: {}}}".format, spans, some),
        st.builds("{{Encounter: {{class: IMP, within: {}}}, each: true, after: created}}".format, spans),
        st.just(f"{{{READING}, after: enrolment}}"),
    ),
    "observation": st.one_of(
        st.builds("{{code: bp, component: sys, above: '150 mm[Hg]', times: {}}}".format, some),
        st.builds("{{code: bp, component: sys, above: 20 kPa, times: {}, within: {}}}".format, some, spans),
        st.builds("{{code: bp, interpretation: H, times: {}, of: any, within: {}}}".format, some, spans),
    ),
    "monitoring_incomplete": st.builds(
        "{{Observation: {{code: bp}}, at_least: {}, every: {} days, by: {}, grace: {}}}".format,
        some,
        some,
        st.sampled_from(("day", "reading")),
        durations,
    ),
    "score": st.one_of(
        st.sampled_from(("{form: mood, at_least: 4}", "{form: mood, at_most: 3}")),
        st.builds("{{form: mood, missing: {}}}".format, spans),
    ),
    "flag": st.just("risk"),
    "exception": st.sampled_from(("deceased", "[missing-labs, prior-auth-denied]")),
    "patient": st.sampled_from(("deceased", "[moved, merged]", "inactive", "moved")),
    "in_hospital": st.one_of(st.just("true"), st.builds("{{for: {}}}".format, durations)),
    "authorization": st.one_of(
        st.sampled_from(("pending", "[approved, partial]")),
        st.builds("{{is: [pending, denied], for: {}}}".format, durations),
    ),
    "stage": st.sampled_from(("enrolled", "completed")),
    "plan_for": st.one_of(durations, st.builds("{{after: discharge, for: {}}}".format, durations)),
    "open_work": st.sampled_from(("{at_most: 0}", "{at_least: 1}", "{task: visit}")),
    "priority": st.sampled_from(("urgent", "[urgent, stat]")),
}
"""What can stand after each test, by its name."""
leaves = st.one_of([st.builds(f"{{{{{name}: {{}}}}}}".format, inner) for name, inner in LEAVES.items()])
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("{{not: {}}}".format, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{all: [{', '.join(parts)}]}}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"{{any: [{', '.join(parts)}]}}"),
    ),
    max_leaves=6,
)


POLICY: Final = "outreach: {attempts: 3, over: 2 business days, channels: [phone, sms]}"
DEMO: Final = read_program(f"{BASE}{REASONS}{LADDERS}".replace("{code: first-call,", f"{{code: first-call, {POLICY},"))


@lru_cache(maxsize=4096)
def asking(when: str, subject: str = "task") -> Program:
    """The demo program with that one rule."""
    problems = Problems()
    draft = Draft(
        problems=problems,
        statuses=tuple(one.code for one in DEMO.statuses),
        stages=tuple(one.code for one in DEMO.stages),
        tasks=tuple(one.code for one in DEMO.tasks),
        documents=tuple(one.code for one in DEMO.documents),
        ladders=("late",),
        anchors=("enrolment", "discharge"),
        services=DEMO.services,
        reasons=DEMO.reasons,
        forms=list(DEMO.forms),
    )
    node = load(f"[{{id: r, subject: {subject}, when: {when}, do: [{{raise_flag: x}}, {{escalate: late}}]}}]", problems)
    rules = read_rules(node, draft)
    problems.check("rule")
    return replace(DEMO, rules=rules)


def answered(when: str, known: Facts, now: datetime, subject: str = "task") -> tuple[Verdict, ...]:
    """Every answer."""
    demo = asking(when, subject)
    return judge(demo, known, demo.rules[0].when, now)


def flips(one: tuple[Verdict, ...], other: tuple[Verdict, ...]) -> bool:
    """Whether two answers differ in what holds, and for which cases."""
    return [(each.holds, each.occurrence) for each in one] != [(each.holds, each.occurrence) for each in other]


def _appointment(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    status = draw(st.sampled_from(("booked", "noshow", "cancelled", "fulfilled", "arrived")))
    start = draw(when)
    codes = draw(st.sampled_from((("urn:x|visit",), ("urn:x|other",))))
    end = draw(st.none() | st.just(start + timedelta(minutes=30) if start < LAST - timedelta(days=1) else None))
    return visit(name, status, start, end=end, codes=codes)


def _reading(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    value = draw(st.sampled_from(("152 mm[Hg]", "140 mm[Hg]", "21 kPa", ">300 mm[Hg]", "7 %", "")))
    detail = {"component |sys value": value, "interpretation": draw(st.sampled_from(("|H", "|N")))}
    status = draw(st.sampled_from(("final", "entered-in-error")))
    return event(f"Observation/{name}", status, draw(when), codes=("|bp",), detail=detail)


def _stay(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    status = draw(st.sampled_from(("in-progress", "finished", "planned")))
    return event(f"Encounter/{name}", status, draw(st.none() | when), end=draw(st.none() | when), codes=("|IMP",))


def _document(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    about = draw(st.sampled_from(((), ("Appointment/e0",), ("Encounter/e1",))))
    return event(f"DocumentReference/{name}", "current", draw(st.none() | when), codes=("urn:l|note",), about=about)


def _try(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    outcome = draw(st.sampled_from(("no-answer", "reached", "declined", "left-message")))
    return attempt(name, draw(when), outcome, draw(st.sampled_from(("phone", "sms"))))


def _flag(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    known = ("deceased", "moved", "missing-labs", "prior-auth-pending", "prior-auth-denied")
    codes = draw(st.sampled_from((("risk",), *((f"{FLAG_SYSTEM}|{one}",) for one in known))))
    status = draw(st.sampled_from(("active", "active", "inactive")))
    return event(f"Flag/{name}", status, draw(st.none() | when), end=draw(st.none() | when), codes=codes)


def _claim(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    detail = {"authorization": draw(st.sampled_from(("pending", "approved", "denied", "partial")))}
    about = draw(st.sampled_from(((), ("Claim/c",))))
    return event(f"ClaimResponse/{name}", "active", draw(st.none() | when), detail=detail, about=about)


def _response(draw: st.DrawFn, name: str, when: st.SearchStrategy[datetime]) -> Event:
    answers = as_text((Answer(link="sad", number=Decimal(draw(st.integers(0, 9)))),))
    detail = {"form": questionnaire_url("demo", "mood"), "answers": answers}
    status = draw(st.sampled_from(("completed", "in-progress")))
    return event(f"QuestionnaireResponse/{name}", status, draw(st.none() | when), detail=detail)


_KINDS: Final = (_appointment, _reading, _stay, _document, _try, _flag, _claim, _response)
_MOSTLY: Final = {
    **dict.fromkeys(("appointment", "appointment_missed", "no_show_chain"), (_appointment,)),
    **dict.fromkeys(("outreach_failed", "outreach_reached", "outreach", "next_contact", "untouched_for"), (_try,)),
    **dict.fromkeys(("document_missing", "absent"), (_appointment, _document, _stay)),
    **dict.fromkeys(("observation", "monitoring_incomplete"), (_reading,)),
    **dict.fromkeys(("flag", "exception", "patient"), (_flag,)),
    "authorization": (_claim, _claim, _flag),
    "seen": (_appointment, _stay, _reading),
    "in_hospital": (_stay,),
    "score": (_response,),
}
"""The events that each test is mostly asked with, so that it holds often enough."""


def events(draw: st.DrawFn, when: st.SearchStrategy[datetime], about: str = "") -> tuple[Event, ...]:
    """Some events of any kind, or two to five of those that the test `about` looks at."""
    if about in _MOSTLY:
        kinds = draw(st.lists(st.sampled_from(_MOSTLY[about]), min_size=2, max_size=5))
    else:
        kinds = draw(st.lists(st.sampled_from(_KINDS), max_size=6))
    found = [kind(draw, f"e{number}", when) for number, kind in enumerate(kinds)]
    return tuple(replace(one, seen_at=draw(when)) for one in found)


def log(draw: st.DrawFn, created: datetime) -> tuple[Transition, ...]:
    """Up to four changes of status or owner after the item was made."""
    at, status, owner = created, "to-call", "Practitioner/a"
    rows: list[Transition] = []
    for _ in range(draw(st.integers(0, 4))):
        at = at + timedelta(minutes=draw(st.integers(1, 3000))) if at < LAST - timedelta(days=9) else at
        rule = draw(st.sampled_from((None, "demo|1#r")))
        if draw(st.booleans()):
            after = draw(st.sampled_from(("to-call", "waiting", "calling")))
            code = draw(st.sampled_from((None, "waiting-for-payer", "other")))
            rows.append(replace(moved(status, after, at), rule=rule, reason_code=code))
            status = after
        else:
            to = draw(st.sampled_from(("Practitioner/a", "Practitioner/b")))
            rows.append(replace(moved(owner, to, at, what="owner"), rule=rule))
            owner = to
    return tuple(rows)


def _people(draw: st.DrawFn, when: st.SearchStrategy[datetime]) -> dict[str, Person]:
    roles = frozenset(draw(st.sampled_from(((), ("rn",), ("care-coordinator",)))))
    start = draw(when)
    absences = draw(st.sampled_from(((), (Away(start=start),), (Away(start=start, end=max(start, draw(when))),))))
    ref = "Practitioner/a"
    return {ref: Person(ref=ref, name="Synthetic Person", active=draw(st.booleans()), roles=roles, absences=absences)}


def _standing(draw: st.DrawFn, when: st.SearchStrategy[datetime]) -> PatientFacts:
    maybe = st.none() | when
    return PatientFacts(
        ref="Patient/synthetic-1",
        deceased_at=draw(maybe),
        inactive_since=draw(maybe),
        merged_at=draw(maybe),
        moved_at=draw(maybe),
    )


def _fired(draw: st.DrawFn, when: st.SearchStrategy[datetime], least: int) -> tuple[Firing, ...]:
    states_ = st.sampled_from(("open", "acknowledged", "sent-back", "resolved"))
    count = draw(st.integers(least, 2))
    return tuple(fired(number + 1, draw(when), rule="earlier", state=draw(states_)) for number in range(count))


@st.composite
def situations(
    draw: st.DrawFn, when: st.SearchStrategy[datetime] = moments, subject: str = "task", about: str = ""
) -> Facts:
    """The facts of one open item; `when` draws every moment in them, `about` names the test they are mostly for."""
    created = draw(when)
    rows = log(draw, created)
    kept = [one for one in rows if one.what == "status"]
    status = kept[-1].after if kept and subject == "task" else "to-call"
    work = item(
        created_at=created,
        status=status,
        status_since=kept[-1].effective_at if kept else created,
        due_at=draw(st.none() | when),
        owner=draw(st.sampled_from((None, "Practitioner/a", "Practitioner/b"))),
        hold_until=draw(st.none() | when),
        priority=draw(st.sampled_from(("routine", "urgent"))),
        code=draw(st.sampled_from(("first-call", "visit", "rebook"))),
    )
    if subject == "plan":
        work = plan_item(created_at=created, status_since=created)
    other = item(ref="Task/t2", code="visit", open=draw(st.booleans()), status_since=draw(when))
    return facts(
        work,
        plan=plan(draw(when), discharge=draw(when)),
        log=rows,
        events=events(draw, when, about),
        tasks=draw(st.sampled_from(((), (other,)))),
        people=draw(st.just({}) | st.just(_people(draw, when))),
        patient=draw(st.none() | st.just(_standing(draw, when))),
        fired=_fired(draw, when, 1 if about == "escalated" else 0),
    )
