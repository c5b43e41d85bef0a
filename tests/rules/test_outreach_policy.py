"""An outreach policy: how it is read, what is said of it, which channel comes next and from when on."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.contact import Contact, contact_of
from fhir_tracker.model.facts import Facts
from fhir_tracker.model.program import OutreachPolicy, Program, Quiet
from fhir_tracker.model.work import Event
from fhir_tracker.rules.conditions import judge
from fhir_tracker.rules.outreach_standing import objection, plain, spoilt_numbers, standing, standing_words
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.quiet import quiet_at, quiet_until
from fhir_tracker.rules.summary import program_summary
from tests.rules.samples import BASE, MONDAY, attempt, event, facts, hours, item, moved, ny

POLICY = "{attempts: 3, over: 5 business days, channels: [phone, sms, letter], on_channels: 2, spacing: 1 day}"
QUIET = '{from: "20:00", to: "09:00", days: Sun}'
RECORD = {
    "resourceType": "Patient",
    "id": "synthetic-1",
    "telecom": [
        {"system": "phone", "value": "555-0100", "use": "home"},
        {"system": "phone", "value": "555-0199", "use": "mobile", "rank": 1},
        {"system": "phone", "value": "555-0111", "use": "old"},
        {"system": "email", "value": "synthetic@example.org", "period": {"end": "2020-01-01"}},
    ],
    "address": [{"line": ["1 Synthetic Street"], "state": "CA"}],
    "communication": [{"language": {"coding": [{"code": "es"}]}, "preferred": True}],
}


def demo(policy: str = POLICY, quiet: str = "", more: str = "") -> Program:
    added = (f", quiet: {quiet}" if quiet else "") + (f", {more}" if more else "")
    inside = policy[:-1] + added + "}" if added else policy
    first = "role: care-coordinator, due: {after: discharge, within: 2 business days}"
    rules = "\nrules:\n  - {id: call-now, when: {next_contact: {due: 0 hours}}, do: {notify: role/rn}}\n"
    rules += "  - {id: stuck, when: {next_contact: none}, do: {notify: role/rn}}\n"
    return read_program(BASE.replace(first, f"{first}, outreach: {inside}") + rules)


def known(*events: Event, contact: Contact | None = None, **changes: object) -> Facts:
    found = facts(events=events, contact=contact, zone=contact.zone if contact else None)
    return replace(found, **changes)  # type: ignore[arg-type]


def told(program: Program, found: Facts) -> str:
    account = standing(program, found)
    assert account is not None
    return standing_words(program, account)


def test_before_any_try_the_first_is_due_when_the_site_works() -> None:
    assert told(demo(), known()) == "0 of 3 attempts, 0 of 2 channels; next call from Mon 9 Mar 2026 09:00"
    weekend = item(created_at=ny("2026-03-14 10:00"))
    assert told(demo(), known(item=weekend)).endswith("next call from Mon 16 Mar 2026 08:00")


def test_spacing_and_channels_count_on() -> None:
    one = attempt("a", MONDAY)
    assert told(demo(), known(one)) == "1 of 3 attempts, 1 of 2 channels; next call from Tue 10 Mar 2026 09:00"
    two = attempt("b", MONDAY + hours(30))
    assert told(demo(), known(one, two)) == "2 of 3 attempts, 1 of 2 channels; next text from Wed 11 Mar 2026 15:00"
    three = attempt("c", MONDAY + hours(60), channel="sms")
    assert told(demo(), known(one, two, three)) == "3 of 3 attempts, 2 of 2 channels; the policy is used up"


@pytest.mark.parametrize(
    ("outcome", "says"),
    [("reached", "the patient was reached"), ("declined", "the patient declined")],
)
def test_who_was_reached_or_declined_is_not_tried_again(outcome: str, says: str) -> None:
    assert told(demo(), known(attempt("a", MONDAY, outcome))).endswith(says)


def test_on_hold_dead_or_closed_nobody_is_tried() -> None:
    assert told(demo(), known(item=item(clock="paused"))).endswith("the work is on hold")
    assert told(demo(), known(deceased=True)).endswith("the patient has died")
    assert told(demo(), known(item=item(open=False))).endswith("the work is closed")


def test_quiet_hours_are_those_of_the_patients_zone() -> None:
    west = contact_of(RECORD)
    assert west.zone == "America/Los_Angeles"
    assert told(demo(quiet=QUIET), known(contact=west)).endswith("next call from Mon 9 Mar 2026 12:00")
    assert told(demo(quiet=QUIET[:-1] + ", zone: site}"), known(contact=west)).endswith("Mon 9 Mar 2026 09:00")


def test_the_preferred_number_comes_first_and_a_wrong_one_never_again() -> None:
    contact = contact_of(RECORD)
    account = standing(demo(), known(contact=contact))
    assert account is not None
    assert (account.next_channel, account.next_number) == ("phone", "555-0199")
    wrong = replace(attempt("a", MONDAY, "wrong-number"), detail={
        "outcome": "wrong-number", "channel": "phone", "contact": "(555) 0199"})  # fmt: skip
    account = standing(demo(), known(wrong, contact=contact))
    assert account is not None
    assert (account.next_channel, account.next_number) == ("phone", "555-0100")
    assert account.closed_to == {"sms": "each number or address was found wrong"}


def test_an_attempt_that_names_no_number_spoils_the_preferred_one_until_the_record_changes() -> None:
    wrong = attempt("a", MONDAY, "wrong-number")
    before = contact_of(RECORD, as_of=MONDAY - hours(5))
    after = contact_of(RECORD, as_of=MONDAY + hours(5))
    assert dict(spoilt_numbers((wrong,), before)) == {plain("555-0199"): "Communication/a"}
    assert spoilt_numbers((wrong,), after) == {}


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (event("Flag/f", "active", None, codes=("urn:x|do-not-call",)), "next text"),
        (event("Flag/f", "inactive", None, codes=("urn:x|do-not-call",)), "next call"),
        (event("Flag/f", "active", None, codes=("urn:x|do-not-contact",)), "no channel is left"),
        (event("Consent/c", "active", None, codes=("|do-not-call",), detail={"provision": "deny"}), "next text"),
        (event("Consent/c", "active", None, detail={"provision": "deny", "denies": "no-phone"}), "next text"),
        (event("Consent/c", "active", None, codes=("|do-not-call",)), "next call"),
        (event("Consent/c", "rejected", None, codes=("|do-not-call",), detail={"provision": "deny"}), "next call"),
        (
            event("Flag/f", "active", None, codes=("|do-not-call",), end=MONDAY - hours(1)),
            "next call",
        ),
    ],
)
def test_flags_and_consents_close_channels(refusal: Event, says: str) -> None:
    assert says in told(demo(), known(refusal))


def test_without_a_number_or_an_address_the_rule_says_that_no_channel_is_left() -> None:
    program, nothing = demo(), known(contact=contact_of({"resourceType": "Patient", "id": "x"}))
    (stuck,) = judge(program, nothing, program.rules[1].when, MONDAY)
    assert stuck.holds
    assert stuck.facts["not by letter"] == "the record has no postal address"
    assert not judge(program, known(), program.rules[1].when, MONDAY)[0].holds


def test_the_next_contact_holds_from_its_second_on() -> None:
    program, tried = demo(), known(attempt("a", MONDAY))
    edge = ny("2026-03-10 09:00")
    (late,) = judge(program, tried, program.rules[0].when, edge)
    assert (late.holds, late.since, late.next_change) == (True, edge, None)
    (early,) = judge(program, tried, program.rules[0].when, edge - timedelta(seconds=1))
    assert (early.holds, early.next_change) == (False, edge)


@given(
    now=st.integers(0, 60 * 24 * 20),
    tries=st.lists(
        st.tuples(
            st.integers(-600, 60 * 24 * 10),
            st.sampled_from(["no-answer", "wrong-number", "reached", "left-message", "declined", ""]),
            st.sampled_from(["phone", "sms", "letter", "pigeon", ""]),
        ),
        max_size=5,
    ),
    quiet=st.sampled_from(["", QUIET, '{from: "00:00", to: "06:30"}', "{days: [Sat, Sun, Mon]}"]),
)
@settings(max_examples=80, deadline=None)
def test_the_next_change_never_lies(now: int, tries: list[tuple[int, str, str]], quiet: str) -> None:
    program = demo(quiet=quiet)
    events = [attempt(str(n), MONDAY + timedelta(minutes=at), out, by) for n, (at, out, by) in enumerate(tries)]
    found, moment = known(*events, contact=contact_of(RECORD)), MONDAY + timedelta(minutes=now)
    for rule in program.rules:
        (answer,) = judge(program, found, rule.when, moment)
        until = answer.next_change or moment + timedelta(days=40)
        assert until > moment
        for part in range(6):
            between = moment + (until - moment) * part / 6
            assert judge(program, found, rule.when, between)[0].holds == answer.holds
        if answer.next_change:
            assert judge(program, found, rule.when, until)[0].holds != answer.holds


QUIETS = (
    Quiet(starts=ny("2026-03-09 20:00").time().replace(hour=20), ends=ny("2026-03-09 08:00").time().replace(hour=8)),
    Quiet(
        starts=ny("2026-03-09 01:00").time().replace(hour=1),
        ends=ny("2026-03-09 03:00").time().replace(hour=2, minute=30),
    ),
    Quiet(days=(5, 6)),
)


@given(minutes=st.integers(0, 60 * 24 * 300), quiet=st.sampled_from(QUIETS))
@settings(max_examples=150, deadline=None)
def test_quiet_is_over_at_the_first_minute_that_is_not_quiet(minutes: int, quiet: Quiet) -> None:
    zone, moment = "America/New_York", ny("2026-01-01 00:00") + timedelta(minutes=minutes)
    end = quiet_until(quiet, zone, moment)
    assert not quiet_at(quiet, zone, end)
    walked = moment
    while quiet_at(quiet, zone, walked):
        walked += timedelta(minutes=1)
    assert walked == end


def test_an_attempt_against_the_policy_is_objected_to() -> None:
    program = demo(quiet=QUIET, more="outside: refuse")
    policy = program.tasks[0].outreach
    assert policy is not None
    assert policy.outside == "refuse"
    night, flag = ny("2026-03-09 21:30"), event("Flag/f", "active", None, codes=("|no-text",))

    def why(channel: str, at: datetime, used: OutreachPolicy = policy) -> str:
        return objection(program, used, known(flag, zone="America/Chicago"), channel, at)

    assert why("phone", night) == "Phone at a quiet time: Mon 20:30 in America/Chicago, quiet from 20:00 to 09:00"
    assert why("letter", night) == ""
    assert why("phone", MONDAY + hours(3)) == ""
    assert why("sms", MONDAY + hours(3)) == "Text message: the patient does not want it (Flag/f)"
    assert why("phone", night, replace(policy, outside="allow")) == ""


def test_the_default_of_the_program_holds_where_a_task_says_nothing() -> None:
    text = BASE.replace("tasks:\n", "outreach: {attempts: 4, over: 6 days, spacing: 1 day, on_channels: 2}\ntasks:\n")
    text = text.replace(
        "{code: touch, role: rn, every: 1 month}", "{code: touch, role: rn, every: 1 month, outreach: true}"
    )
    text = text.replace(
        "{code: rebook, role: front-desk, on: rule,",
        "{code: rebook, role: front-desk, on: rule, outreach: {attempts: 2},",
    )
    program = read_program(text)
    touch, rebook, visit = (program.task(code) for code in ("touch", "rebook", "visit"))
    assert touch
    assert touch.outreach
    assert (touch.outreach.attempts, touch.outreach.on_channels) == (4, 2)
    assert rebook
    assert rebook.outreach
    assert (rebook.outreach.attempts, str(rebook.outreach.spacing)) == (2, "1 day")
    assert visit
    assert visit.outreach is None


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("{attempts: 1, over: 1 day, on_channels: 2}", "2 channels cannot be tried in 1 attempts"),
        ("{attempts: 3, over: 1 day, channels: phone, on_channels: 2}", "2 channels are asked for, and 1 may be used"),
        ("{attempts: 3, over: 1 day, channels: [fone]}", 'did you mean "phone"?'),
        ("{attempts: 3}", '"over" is missing'),
        ("{over: 1 day}", '"attempts" is missing'),
        ("true", 'write a policy, or "true" where the program has an outreach of its own'),
        ("{attempts: 3, over: 1 day, quiet: {from: \"20:00\"}}", 'quiet hours need both "from" and "to"'),
        ("{attempts: 3, over: 1 day, quiet: {from: \"20:00\", to: \"25:00\"}}", '"25:00" is not a time of day'),
        ("{attempts: 3, over: 1 day, quiet: {zone: patient}}", "say when it is quiet"),
        ("{attempts: 3, over: 1 day, quiet: {days: [Mon, Tue, Wed, Thu, Fri, Sat, Sun]}}", "every day is quiet"),
        ("{attempts: 3, over: 1 day, quiet: {days: [Monday]}}", 'unknown day "Monday"'),
        ("{attempts: 3, over: 1 day, outside: maybe}", 'unknown "maybe"'),
        ("{attempts: 3, over: 1 day, spacing: soon}", '"soon" is not a duration'),
        ("{attempts: 3, over: 1 day, spaced: 1 day}", 'did you mean "spacing"?'),
    ],
)  # fmt: skip
def test_a_bad_policy_is_refused_with_its_place(policy: str, says: str) -> None:
    with pytest.raises(Incorrect) as refused:
        demo(policy)
    issues = [issue for issue in refused.value.issues if says in issue.message]
    assert issues, refused.value.issues
    assert issues[0].message.startswith("line ")
    assert (issues[0].expression or "").startswith("tasks[0].outreach")


def test_the_summary_tells_the_whole_policy() -> None:
    (line,) = [one for one in program_summary(demo(quiet=QUIET)) if "First call" in one]
    assert (
        "3 attempts over 5 business days on 2 of phone, sms, letter at least 1 day apart never by phone or sms "
        "20:00 to 09:00 or on Sun where the patient is (warn)" in line
    )


def in_hospital(start: str, end: str = "", status: str = "", class_: str = "IMP") -> Event:
    until = ny(end) if end else None
    told = status or ("finished" if end else "in-progress")
    return event(f"Encounter/{start[-5:]}", told, ny(start), end=until, codes=(f"urn:act|{class_}",))


def pausing(policy: str = POLICY, quiet: str = "", pauses: str = "hospital", own: str = "") -> Program:
    """The program whose clocks pause by that, and the task's by its own word where there is one."""
    program = demo(policy, quiet)
    first = replace(program.tasks[0], pauses=(own,) if own else None)
    return replace(program, pauses=(pauses,), tasks=(first, *program.tasks[1:]))


@pytest.mark.parametrize(
    ("stay", "says"),
    [
        ((in_hospital("2026-03-09 12:00"),), "no tries while the patient is in hospital"),
        ((in_hospital("2026-03-09 12:00", "2026-03-12 11:00"),), "next call from Thu 12 Mar 2026 11:00"),
        (
            (in_hospital("2026-03-09 12:00", "2026-03-12 19:00", status="in-progress"),),
            "next call from Fri 13 Mar 2026 08:00",
        ),
        (
            (in_hospital("2026-03-09 12:00", "2026-03-10 12:00"), in_hospital("2026-03-10 11:00", "2026-03-11 15:00")),
            "next call from Wed 11 Mar 2026 15:00",
        ),
        (
            (in_hospital("2026-03-09 12:00", "2026-03-10 12:00"), in_hospital("2026-03-10 11:00")),
            "no tries while the patient is in hospital",
        ),
        ((in_hospital("2026-03-01 12:00", "2026-03-04 12:00"),), "next call from Mon 9 Mar 2026 09:00"),
        ((in_hospital("2026-03-09 12:00", class_="AMB"),), "next call from Mon 9 Mar 2026 09:00"),
        ((in_hospital("2026-03-09 12:00", status="planned"),), "next call from Mon 9 Mar 2026 09:00"),
        ((in_hospital("2026-03-09 12:00", status="entered-in-error"),), "next call from Mon 9 Mar 2026 09:00"),
    ],
    ids=["open", "over", "end-told-ahead", "transfer", "transfer-open", "before", "visit", "planned", "error"],
)
def test_a_stay_in_hospital_puts_the_next_contact_off_until_its_end(stay: tuple[Event, ...], says: str) -> None:
    assert told(pausing(), known(*stay)).endswith(says)
    assert told(demo(), known(*stay)).endswith("next call from Mon 9 Mar 2026 09:00")


@pytest.mark.parametrize(
    ("pauses", "own", "stops"),
    [
        ("hospital", "", True),
        ("hospital", "plan-hold", False),
        ("plan-hold", "", False),
        ("plan-hold", "hospital", True),
    ],
)
def test_what_pauses_the_clock_of_the_task_stops_its_outreach_and_nothing_else(
    pauses: str, own: str, stops: bool
) -> None:
    found = known(in_hospital("2026-03-09 12:00"))
    assert ("no tries" in told(pausing(pauses=pauses, own=own), found)) is stops


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ((("on-hold", 1),), "no tries while the plan is on hold"),
        ((("on-hold", 1), ("active", 26)), "next call from Tue 10 Mar 2026 11:00"),
        ((("on-hold", 1), ("active", 26), ("on-hold", 30)), "no tries while the plan is on hold"),
        ((("active", 1),), "next call from Mon 9 Mar 2026 09:00"),
    ],
)
def test_a_plan_on_hold_stops_outreach_where_it_pauses_clocks(rows: tuple[tuple[str, int], ...], says: str) -> None:
    plan = known().plan
    assert plan is not None
    log = tuple(moved("active", after, ny("2026-03-09 09:00") + hours(passed)) for after, passed in rows)
    held = replace(known(), plan=replace(plan, log=log))
    assert told(pausing(pauses="plan-hold"), held).endswith(says)


def test_no_rule_about_the_next_contact_holds_in_hospital_and_it_holds_from_the_discharge_on() -> None:
    program, admitted = pausing(), in_hospital("2026-03-09 12:00")
    for days in (0, 1, 30, 400):
        (verdict,) = judge(
            program, known(admitted), program.rules[0].when, ny("2026-03-09 12:00") + timedelta(days=days)
        )
        (none_left,) = judge(program, known(admitted), program.rules[1].when, MONDAY + timedelta(days=days))
        assert (verdict.holds, none_left.holds) == (False, False)
        assert "in hospital" in verdict.why
    home = known(in_hospital("2026-03-09 12:00", "2026-03-12 11:00"))
    edge = ny("2026-03-12 11:00")
    (before,) = judge(program, home, program.rules[0].when, edge - timedelta(microseconds=1))
    (after,) = judge(program, home, program.rules[0].when, edge)
    assert (before.holds, before.next_change, after.holds, after.since) == (False, edge, True, edge)


def test_an_attempt_during_a_stay_is_objected_to_before_and_after_it_is_not() -> None:
    program = pausing(quiet=QUIET)
    policy = program.tasks[0].outreach
    assert policy is not None
    found = known(in_hospital("2026-03-09 12:00", "2026-03-11 11:00"), zone="America/New_York")
    said = {
        at: objection(program, replace(policy, outside="refuse"), found, "phone", ny(at))
        for at in ("2026-03-09 11:59", "2026-03-09 12:00", "2026-03-11 10:59", "2026-03-11 11:00", "2026-03-11 21:00")
    }
    assert [*said.values()] == [
        "",
        "Phone while the patient is in hospital",
        "Phone while the patient is in hospital",
        "",
        "Phone at a quiet time: Wed 21:00 in America/New_York, quiet from 20:00 to 09:00",
    ]


STAYS = st.lists(
    st.tuples(
        st.integers(-400, 400), st.one_of(st.none(), st.integers(1, 300)), st.sampled_from(["IMP", "OBSENC", "EMER"])
    ),
    max_size=4,
)


@given(now=st.integers(0, 24 * 20), stays=STAYS, tries=st.lists(st.integers(-10, 200), max_size=3), quiet=st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_next_change_never_lies_whatever_the_stays_and_nobody_is_tried_in_hospital(
    now: int, stays: list[tuple[int, int | None, str]], tries: list[int], quiet: bool
) -> None:
    program = pausing(quiet=QUIET if quiet else "")
    events = [attempt(str(number), MONDAY + hours(at)) for number, at in enumerate(tries)]
    for number, (start, length, class_) in enumerate(stays):
        begins = MONDAY + hours(start)
        ends = None if length is None else begins + hours(length)
        status = "in-progress" if length is None else "finished"
        events.append(event(f"Encounter/{number}", status, begins, end=ends, codes=(f"urn:act|{class_}",)))
    found, moment = known(*events), MONDAY + hours(now)
    account = standing(program, found)
    assert account is not None
    in_there = [(MONDAY + hours(start), length) for start, length, class_ in stays if class_ != "EMER"]
    if account.next_at is not None:
        assert all(length is not None for _, length in in_there)
        assert all(start + hours(length or 0) <= account.next_at for start, length in in_there)
    (answer,) = judge(program, found, program.rules[0].when, moment)
    until = answer.next_change or moment + timedelta(days=40)
    assert until > moment
    for part in range(4):
        assert (
            judge(program, found, program.rules[0].when, moment + (until - moment) * part / 4)[0].holds == answer.holds
        )
    if answer.next_change:
        assert judge(program, found, program.rules[0].when, until)[0].holds != answer.holds
