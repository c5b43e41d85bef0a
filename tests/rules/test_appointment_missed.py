"""`appointment_missed`: chains of misses as one case, what makes them good, grace, and cases after closed ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.work import Event, Firing
from tests.rules.samples import MONDAY, event, facts, fired, hours, item, plan, plan_item, verdict, visit, with_rule

MISSED = "{appointment_missed: {service: visit, grace: 2 hours}}"
NOW = MONDAY + hours(72)
DAY = timedelta(days=1)
A = visit("a", "noshow", MONDAY)


def known(*visits: Event, tasks: tuple[object, ...] = (), cases: tuple[Firing, ...] = ()) -> Facts:
    return facts(plan_item(), events=visits, tasks=tasks, fired=cases)


CHAINS: list[tuple[str, tuple[Event, ...], str]] = [
    ("a no-show", (A,), "a"),
    ("a cancellation", (visit("a", "cancelled", MONDAY),), "a"),
    ("nothing", (), ""),
    ("two no-shows are one case", (A, visit("b", "noshow", MONDAY + DAY)), "a"),
    ("three", (A, visit("b", "cancelled", MONDAY + DAY), visit("c", "noshow", MONDAY + 2 * DAY)), "a"),
    ("booked again", (A, visit("b", "booked", MONDAY + hours(99))), ""),
    ("fulfilled later", (A, visit("b", "fulfilled", MONDAY + DAY)), ""),
    ("arrived later", (A, visit("b", "arrived", MONDAY + DAY)), ""),
    ("checked in later", (A, visit("b", "checked-in", MONDAY + DAY)), ""),
    ("only proposed", (A, visit("b", "proposed", MONDAY + hours(99))), "a"),
    ("only waitlisted", (A, visit("b", "waitlist", MONDAY + hours(99))), "a"),
    ("the new one in error", (A, visit("b", "entered-in-error", MONDAY + hours(99))), "a"),
    ("a status nobody knows", (A, visit("b", "teleported", MONDAY + hours(99))), "a"),
    ("after a good one", (visit("a", "fulfilled", MONDAY), visit("b", "noshow", MONDAY + DAY)), "b"),
    ("made good, missed again",
     (A, visit("b", "fulfilled", MONDAY + hours(9)), visit("c", "noshow", MONDAY + DAY)), "c"),
    ("another service", (visit("a", "noshow", MONDAY, codes=("urn:x|other",)),), ""),
    ("the service by bare code", (visit("a", "noshow", MONDAY, codes=("urn:other|check",)),), "a"),
    ("the service in words", (visit("a", "noshow", MONDAY, codes=(), detail={"service": "check"}),), "a"),
    ("no service at all", (visit("a", "noshow", MONDAY, codes=()),), ""),
    ("another service does not make it good",
     (A, visit("b", "booked", MONDAY + hours(99), codes=("urn:x|other",))), "a"),
    ("before the plan", (visit("a", "noshow", MONDAY - 400 * DAY),), ""),
    ("a second before the plan", (visit("a", "noshow", MONDAY - timedelta(seconds=1)),), ""),
    ("booked, no outcome", (visit("a", "booked", MONDAY),), "a"),
    ("pending, no outcome", (visit("a", "pending", MONDAY),), "a"),
    ("proposed, no outcome", (visit("a", "proposed", MONDAY),), ""),
    ("booked, within the grace", (visit("a", "booked", MONDAY + hours(71)),), ""),
    ("booked, long ones count from their end", (visit("a", "booked", MONDAY, end=MONDAY + hours(71)),), ""),
    ("cancelled, booked sooner instead",
     (visit("a", "cancelled", MONDAY + 14 * DAY, seen_at=MONDAY), visit("b", "booked", MONDAY + 10 * DAY)), ""),
    ("cancelled after the good one",
     (visit("a", "fulfilled", MONDAY), visit("b", "cancelled", MONDAY + 14 * DAY, seen_at=MONDAY + DAY)), "b"),
    ("an Encounter is no appointment", (event("Encounter/a", "noshow", MONDAY, codes=("urn:x|visit",)),), ""),
    ("without a start", (event("Appointment/a", "noshow", None, codes=("urn:x|visit",), seen_at=MONDAY + hours(1)),), "a"),
]  # fmt: skip


@pytest.mark.parametrize(("visits", "case"), [row[1:] for row in CHAINS], ids=[row[0] for row in CHAINS])
def test_a_chain_of_misses_is_one_case_named_by_its_first(visits: tuple[Event, ...], case: str) -> None:
    answers = {
        (found.holds, found.occurrence)
        for order in permutations(visits)
        for found in (verdict(MISSED, known(*order), NOW, "plan"),)
    }
    assert answers == {(bool(case), f"Appointment/{case}" if case else "")}


@pytest.mark.parametrize("grace", ["0 hours", "2 hours", "1 business day", "3 days"])
def test_a_booked_visit_without_outcome_is_missed_when_the_grace_is_over(grace: str) -> None:
    edge = {"0 hours": MONDAY, "2 hours": MONDAY + hours(2), "1 business day": MONDAY + hours(32)}.get(
        grace, MONDAY + 3 * DAY
    )
    when = f"{{appointment_missed: {{service: visit, grace: {grace}}}}}"
    booked = known(visit("a", "booked", MONDAY))
    early = verdict(when, booked, edge - timedelta(seconds=1), "plan")
    assert (early.holds, early.next_change) == (False, edge)
    late = verdict(when, booked, edge, "plan")
    assert (late.holds, late.since, late.next_change) == (True, edge, None)
    assert "was never marked as attended, and no later one is booked" in late.why


def test_without_grace_a_booked_visit_is_never_missed() -> None:
    found = verdict("{appointment_missed: visit}", known(visit("a", "booked", MONDAY)), NOW + 900 * DAY, "plan")
    assert (found.holds, found.next_change) == (False, None)
    assert found.why == "no missed appointment for visit is without a later one"


def test_any_service_is_meant_when_none_is_named() -> None:
    odd = visit("a", "noshow", MONDAY, codes=("urn:x|dental",))
    assert verdict("{appointment_missed: {grace: 1 day}}", known(odd), NOW, "plan").holds
    both = "{appointment_missed: {service: [visit, visit]}}"
    assert verdict(both, known(A), NOW, "plan").why.startswith("the appointment for visit, visit on Mon 9 Mar")


def test_why_tells_the_last_of_a_chain_and_facts_the_first() -> None:
    found = verdict(MISSED, known(A, visit("b", "cancelled", MONDAY + DAY)), NOW, "plan")
    assert found.why == (
        "the appointment for visit on Tue 10 Mar 2026 09:00 was cancelled, the last of 2 in a row,"
        " and no later one is booked"
    )
    assert found.facts == {
        "appointment": "Appointment/b (cancelled)",
        "first missed": "Appointment/a",
        "appointments": "Appointment/a, Appointment/b",
    }
    assert "was a no-show" in verdict(MISSED, known(A), NOW, "plan").why


def test_a_case_begins_when_the_miss_was_seen() -> None:
    late_news = visit("a", "noshow", MONDAY, seen_at=MONDAY + hours(50))
    assert verdict(MISSED, known(late_news), NOW, "plan").since == MONDAY + hours(50)


def closed(at: datetime, ref: str = "Task/rebook", *, open_: bool = False) -> object:
    return item(ref=ref, code="rebook", open=open_, status_since=at)


def case_of(occurrence: str, task: str | None = "Task/rebook", state: str = "open") -> Firing:
    return fired(0, MONDAY, cycle=f"0:{occurrence}", item_ref="CarePlan/p1", task=task, state=state)


B_LATER = visit("b", "noshow", MONDAY + hours(48), seen_at=MONDAY + hours(49))


@pytest.mark.parametrize(
    ("visits", "tasks", "cases", "occurrence"),
    [
        ((A, B_LATER), (closed(MONDAY + hours(20)),), (case_of("Appointment/a"),), "Appointment/b"),
        ((A, B_LATER), (closed(MONDAY + hours(50)),), (case_of("Appointment/a"),), "Appointment/a"),
        ((A, B_LATER), (closed(MONDAY + hours(60), "Task/second"), closed(MONDAY + hours(20))),
         (case_of("Appointment/a", "Task/second"), case_of("Appointment/a")), "Appointment/b"),
        ((A, B_LATER), (closed(MONDAY + hours(20), open_=True),), (case_of("Appointment/a"),), "Appointment/a"),
        ((A, B_LATER), (), (case_of("Appointment/a"),), "Appointment/a"),
        ((A, B_LATER), (), (case_of("Appointment/a", task=None, state="resolved"),), "Appointment/b"),
        ((A, B_LATER), (), (case_of("Appointment/a", task=None, state="acknowledged"),), "Appointment/a"),
        ((A,), (closed(MONDAY + hours(20)),), (case_of("Appointment/a"),), "Appointment/a"),
        ((visit("a", "noshow", MONDAY + hours(60), seen_at=MONDAY + hours(61)),),
         (closed(MONDAY + hours(20)),), (case_of("Appointment/a"),), "Appointment/a#2"),
        ((visit("a", "noshow", MONDAY + hours(60), seen_at=MONDAY + hours(61)),),
         (closed(MONDAY + hours(10)), closed(MONDAY + hours(40), "Task/second")),
         (case_of("Appointment/a"), case_of("Appointment/a#2", "Task/second")), "Appointment/a#3"),
        ((visit("a", "noshow", MONDAY, seen_at=MONDAY + hours(61)),),
         (closed(MONDAY + hours(20)),), (case_of("Appointment/a"),), "Appointment/a"),
    ],
    ids=["missed after it was closed", "missed before it was closed", "closed by the first of two", "still open",
         "its work is gone", "resolved",
         "only acknowledged", "the same miss", "moved and missed again", "and a third time", "news of the old miss"],
)  # fmt: skip
def test_a_visit_missed_after_the_work_was_done_is_a_new_case(
    visits: tuple[Event, ...], tasks: tuple[object, ...], cases: tuple[Firing, ...], occurrence: str
) -> None:
    assert verdict(MISSED, known(*visits, tasks=tasks, cases=cases), NOW, "plan").occurrence == occurrence


def test_a_task_judges_by_its_own_start_when_there_is_no_plan() -> None:
    before, after = visit("a", "noshow", MONDAY - hours(1)), visit("b", "noshow", MONDAY + hours(1))
    alone = facts(item(), plan=None, events=(before, after))
    assert verdict(MISSED, alone, NOW).occurrence == "Appointment/b"


def test_a_miss_between_discharge_and_enrolment_counts() -> None:
    early = facts(plan_item(), plan=plan(MONDAY + 2 * DAY, discharge=MONDAY), events=(visit("a", "noshow", MONDAY),))
    assert verdict(MISSED, early, NOW, "plan").holds


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("visist", 'unknown service "visist"'),
        ("{service: visist}", 'unknown service "visist"'),
        ("{service: visit, grace: soon}", "is not a duration"),
        ("{services: visit}", 'unknown key "services"'),
        ("[visit]", "must be a mapping"),
    ],
)
def test_its_argument_is_read_strictly(argument: str, says: str) -> None:
    with pytest.raises(Incorrect) as caught:
        with_rule(f"{{appointment_missed: {argument}}}")
    assert any(says in issue.message for issue in caught.value.issues)
