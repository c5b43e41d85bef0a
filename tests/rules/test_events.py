"""Which events a test on one resource fits: type, status, code with and without system, outcome, time; and their names."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Duration, Match
from fhir_tracker.model.work import Event
from fhir_tracker.rules.events import NAMES, fits, has_code, in_order, matched_codes, named_match, service_codes
from fhir_tracker.rules.program_file import read_program
from tests.rules.samples import BASE, MONDAY, attempt, event, hours, ny, program, visit

DEMO = program()
STAY = event("Encounter/e", "finished", MONDAY, end=MONDAY + hours(9), codes=("urn:a|IMP", "urn:b|rehab"))


@pytest.mark.parametrize(
    ("match", "fitting"),
    [
        (Match(type="Encounter"), True),
        (Match(type="Appointment"), False),
        (Match(type="Encounter", status=("finished",)), True),
        (Match(type="Encounter", status=("planned", "finished")), True),
        (Match(type="Encounter", status=("planned",)), False),
        (Match(type="Encounter", codes=("IMP",)), True),
        (Match(type="Encounter", codes=("urn:a|IMP",)), True),
        (Match(type="Encounter", codes=("urn:b|IMP",)), False),
        (Match(type="Encounter", codes=("imp",)), False),
        (Match(type="Encounter", codes=("x", "rehab")), True),
        (Match(type="Encounter", codes=("|IMP",)), False),
        (Match(type="Encounter", outcomes=("reached",)), False),
        (Match(type="Encounter", status=("finished",), codes=("x",)), False),
    ],
)
def test_every_given_part_must_fit(match: Match, fitting: bool) -> None:
    assert fits(match, STAY, calendar=DEMO.calendar) is fitting


@pytest.mark.parametrize("match", [Match(type="Encounter"), Match(type="Encounter", status=("entered-in-error",))])
def test_what_was_entered_in_error_never_fits(match: Match) -> None:
    wrong = event("Encounter/e", "entered-in-error", MONDAY)
    assert not fits(match, wrong, calendar=DEMO.calendar)


@pytest.mark.parametrize(
    ("amount", "unit", "working", "until"),
    [
        (30, "days", False, "2026-04-08 18:00"),
        (2, "hours", False, "2026-03-09 20:00"),
        (1, "months", False, "2026-04-09 18:00"),
        (1, "days", True, "2026-03-10 17:00"),
        (0, "days", False, "2026-03-09 18:00"),
    ],
)
def test_within_looks_back_to_the_end_of_the_event(amount: int, unit: str, working: bool, until: str) -> None:
    within = Duration(amount=amount, unit=unit, working=working)  # type: ignore[arg-type]
    match = Match(type="Encounter", within=within)
    assert fits(match, STAY, calendar=DEMO.calendar, now=ny(until))
    assert not fits(match, STAY, calendar=DEMO.calendar, now=ny(until) + timedelta(seconds=1))
    assert fits(match, STAY, calendar=DEMO.calendar), "without a now the time does not count"


@pytest.mark.parametrize(
    ("codes", "wanted", "found"),
    [
        (("urn:a|x",), ("x",), {"x"}),
        (("urn:a|x", "urn:b|x"), ("urn:b|x",), {"urn:b|x"}),
        (("urn:a|x",), ("urn:a|x", "x", "y"), {"urn:a|x", "x"}),
        (("|x",), ("x",), {"x"}),
        (("x",), ("x",), {"x"}),
        ((), ("x",), set()),
        (("urn:a|x",), (), set()),
        (("urn:a|b|x",), ("x",), {"x"}),
    ],
)
def test_codes_match_with_their_system_or_in_any(
    codes: tuple[str, ...], wanted: tuple[str, ...], found: set[str]
) -> None:
    one = event("Appointment/a", "booked", MONDAY, codes=codes)
    assert matched_codes(one, wanted) == found
    assert has_code(one, wanted) is bool(found)


def test_a_service_in_words_is_a_code_too() -> None:
    spoken = event("Appointment/a", "booked", MONDAY, detail={"service": "visit"})
    assert has_code(spoken, ["visit"])
    assert not has_code(spoken, ["urn:x|visit"])
    assert not has_code(event("Appointment/a", "booked", MONDAY), ["visit"])


NAMED: list[tuple[str, Event, bool]] = [
    ("document.arrived", event("DocumentReference/d", "current", MONDAY), True),
    ("document.arrived", visit("a", "booked", MONDAY), False),
    ("document.note", event("DocumentReference/d", "current", MONDAY, codes=("urn:l|note",)), True),
    ("document.note", event("DocumentReference/d", "current", MONDAY, codes=("urn:l|summary",)), False),
    ("encounter.started", event("Encounter/e", "in-progress", MONDAY), True),
    ("encounter.started", event("Encounter/e", "planned", MONDAY), False),
    ("encounter.finished", STAY, True),
    ("encounter.finished", event("Encounter/e", "in-progress", MONDAY), False),
    ("observation.arrived", event("Observation/o", "final", MONDAY), True),
    ("observation.arrived", event("Observation/o", "entered-in-error", MONDAY), False),
    ("outreach.attempted", attempt("c", MONDAY), True),
    ("outreach.reached", attempt("c", MONDAY), False),
    ("outreach.reached", attempt("c", MONDAY, "reached"), True),
    *(
        (f"appointment.{name}", visit("a", status, MONDAY), status in fitting)
        for name, fitting in {
            "booked": ("booked", "arrived", "checked-in", "fulfilled"),
            "arrived": ("arrived", "checked-in", "fulfilled"),
            "fulfilled": ("fulfilled",),
            "noshow": ("noshow",),
            "cancelled": ("cancelled",),
            "missed": ("noshow", "cancelled"),
        }.items()
        for status in (
            "proposed",
            "pending",
            "booked",
            "arrived",
            "checked-in",
            "fulfilled",
            "noshow",
            "cancelled",
            "waitlist",
        )
    ),
]


@pytest.mark.parametrize(("name", "seen", "fitting"), NAMED, ids=lambda one: str(getattr(one, "status", one)))
def test_a_named_event_is_what_its_name_says(name: str, seen: Event, fitting: bool) -> None:
    match = named_match(DEMO, name)
    assert match is not None
    assert fits(match, seen, calendar=DEMO.calendar) is fitting


def test_every_name_has_its_case() -> None:
    assert {name for name, _, _ in NAMED} >= set(NAMES)


@pytest.mark.parametrize(
    "name", ["", "appointment", "appointment.", "document.gone", "lunch.eaten", "document", ".arrived"]
)
def test_an_unknown_name_is_no_event(name: str) -> None:
    assert named_match(DEMO, name) is None


@pytest.mark.parametrize(
    ("service", "codes"), [("visit", ("urn:x|visit", "check")), ("unknown", ("unknown",)), ("", ())]
)
def test_a_service_is_its_codes(service: str, codes: tuple[str, ...]) -> None:
    assert service_codes(DEMO, service) == codes


def test_events_stand_in_the_order_of_their_times_then_references() -> None:
    first = visit("b", "booked", MONDAY)
    second = event("Appointment/c", "booked", None, seen_at=MONDAY + hours(1))
    third = visit("a", "booked", MONDAY + hours(1))
    some = (first, third, second)
    expected = {("Appointment/b", "Appointment/a", "Appointment/c")}
    assert {tuple(one.ref for one in in_order(order)) for order in permutations(some)} == expected


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ("{Encounter: finished, Flag: x}", None),
        ("{encounter: x}", 'did you mean "Encounter"'),
        ("{Basic: x}", "unknown resource type"),
        ("{Encounter: {code: x, type: y}}", "give one of class, category, code, type, service only"),
        ("{Encounter: {state: x}}", 'unknown key "state"'),
        ("{Encounter: {within: 3}}", "is not a duration"),
        ("{Encounter: {count: many}}", "is not a whole number"),
        ("{Appointment: {service: nothing}}", 'unknown service "nothing"'),
        ("{Encounter: ''}", "must not be empty"),
        ("{Encounter: [[x]]}", "must be a text"),
    ],
)
def test_a_wrong_test_on_a_resource_says_what_is_wrong(test: str, says: str | None) -> None:
    text = BASE.replace("[{Encounter: {status: finished, class: IMP, within: 30 days}}]", f"[{test}]")
    with pytest.raises(Incorrect) as caught:
        read_program(text)
    messages = " ".join(issue.message for issue in caught.value.issues)
    assert (says or "one test each") in messages


@pytest.mark.parametrize(
    ("test", "match"),
    [
        ("{Flag: high-risk}", Match(type="Flag", status=("active",), codes=("high-risk",))),
        ("{Flag: [a, b]}", Match(type="Flag", status=("active",), codes=("a", "b"))),
        ("{Flag: {code: a, status: inactive}}", Match(type="Flag", status=("inactive",), codes=("a",))),
        ("{Condition: {code: [a, b], count: 2}}",
         Match(type="Condition", status=("active", "recurrence", "relapse"), codes=("a", "b"), count=2)),
        ("{Encounter: {class: IMP}}", Match(type="Encounter", codes=("IMP",))),
        ("{Appointment: {service: visit}}", Match(type="Appointment", codes=("urn:x|visit", "check"))),
        ("{Communication: {outcome: reached}}", Match(type="Communication", outcomes=("reached",))),
    ],
)  # fmt: skip
def test_a_test_on_a_resource_is_read_with_its_defaults(test: str, match: Match) -> None:
    text = BASE.replace("[{Encounter: {status: finished, class: IMP, within: 30 days}}]", f"[{test}]")
    eligible = read_program(text.replace("due: {after: discharge", "due: {after: enrolment")).eligible
    assert eligible is not None
    assert eligible.condition.children[0].match == match
