from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.staff import forms
from api.staff.forms import NOTHING, Typed
from api.staff.shapes import Choice, Field, Form
from fhir_tracker.errors import Incorrect, Issue
from fhir_tracker.fhir.dates import parse_datetime
from fhir_tracker.model.moves import FIELDS
from fhir_tracker.model.program import Calendar, Move
from fhir_tracker.model.vocabulary import CHANNELS, OUTCOMES
from fhir_tracker.rules.moves import PATHS
from tests.api.staff.samples import CALENDAR, ESCALATION, ITEM, MOVES, PROGRAM, item

OWNERS = (Choice(value="Practitioner/nurse", label="The nurse, RN"), Choice(value="Practitioner/desk", label="Desk"))
DOCUMENTS = (Choice(value="DocumentReference/d1", label="Summary, 2026-03-01"),)
ROLES = (Choice(value="rn", label="RN"), Choice(value="care-coordinator", label="Care coordinator"))


def form_for(*require: str, known: frozenset[str] = frozenset(), typed: Typed = NOTHING) -> Form:
    move = Move(sources=("to-call",), to="reached", require=require)
    return forms.move_form(ITEM, PROGRAM, move, known, OWNERS, DOCUMENTS, typed)


def named(form: Form) -> dict[str, Field]:
    return {field.name: field for field in form.fields}


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_move_asks_for_each_required_field_once_and_marks_it(name: str) -> None:
    form = form_for(name)
    asked = [field.name for field in form.fields]
    assert asked.count(name) == 1
    assert named(form)[name].required
    assert named(form)[name].label
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("name", list(FIELDS))
def test_what_the_task_has_already_is_not_asked_again(name: str) -> None:
    form = form_for(name, known=frozenset({name}))
    assert not [field for field in form.fields if field.required]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("note", "textarea"),
        ("output", "textarea"),
        ("reason", "text"),
        ("due", "moment"),
        ("hold.until", "moment"),
        ("owner", "select"),
        ("document", "select"),
        ("outreach.outcome", "select"),
    ],
)
def test_each_field_has_the_input_that_fits_it(name: str, kind: str) -> None:
    assert named(form_for(name))[name].kind == kind


def test_every_select_begins_with_a_choice_that_chooses_nothing() -> None:
    for name in ("owner", "document", "outreach.outcome"):
        assert named(form_for(name))[name].choices[0] == Choice(value="", label="Choose")


def test_an_outcome_brings_its_channel_along_before_it() -> None:
    asked = [field.name for field in form_for("outreach.outcome").fields]
    assert asked == ["outreach.channel", "outreach.outcome", "note"]
    assert {one.value for one in named(form_for("outreach.outcome"))["outreach.channel"].choices} == set(CHANNELS)


def test_a_note_can_always_be_given() -> None:
    assert named(form_for("reason"))["note"].label == "Note (optional)"
    assert not named(form_for("reason"))["note"].required


def test_a_move_says_what_the_status_chosen_means() -> None:
    for move in MOVES:
        own = PROGRAM.status(move.to)
        assert own is not None
        form = forms.move_form(ITEM, PROGRAM, move, frozenset(), OWNERS, DOCUMENTS)
        assert form.hint == own.means
        assert form.title == form.submit == f"Move to {own.title}"
        assert form.hidden == (("to", move.to),)
        assert form.action == "/tasks/call-1/move"


def test_a_move_outside_programs_has_no_definition_to_show() -> None:
    form = forms.move_form(ITEM, None, Move(sources=("requested",), to="in-progress"), frozenset(), OWNERS, DOCUMENTS)
    assert (form.title, form.hint) == ("Move to In progress", "")


def test_an_attempt_offers_the_programs_channels_first_and_every_outcome() -> None:
    form = forms.attempt_form(ITEM, ("sms", "phone", "pigeon"))
    assert [one.value for one in named(form)["outreach.channel"].choices][:2] == ["sms", "phone"]
    assert {one.value for one in named(form)["outreach.channel"].choices} == set(CHANNELS)
    assert [one.value for one in named(form)["outreach.outcome"].choices] == ["", *OUTCOMES]


def test_reassigning_starts_from_how_it_is() -> None:
    form = forms.reassign_form(item(owner="Practitioner/nurse"), OWNERS, ROLES)
    assert named(form)["owner"].value == "Practitioner/nurse"
    assert named(form)["role"].value == "care-coordinator"
    assert [one.value for one in named(form)["owner"].choices] == ["", "Practitioner/nurse", "Practitioner/desk"]


def test_an_owner_who_is_not_on_the_list_is_kept_as_now() -> None:
    form = forms.reassign_form(item(owner="Practitioner/gone"), OWNERS, ROLES)
    assert Choice(value="Practitioner/gone", label="As now") in named(form)["owner"].choices


def test_work_of_no_team_can_stay_so() -> None:
    form = forms.reassign_form(item(role=None), OWNERS, ROLES)
    assert named(form)["role"].choices[0] == Choice(value="", label="No team")
    assert named(form)["role"].value == ""


def test_notes_and_refusals_need_words() -> None:
    assert [field.required for field in forms.note_form(ITEM).fields] == [True]
    form = forms.send_back_form(ESCALATION)
    assert [field.required for field in form.fields] == [True]
    assert "The ladder goes on" in form.hint
    assert form.action == "/tasks/esc-1/send-back"


def test_what_was_typed_is_kept_and_what_was_not_keeps_its_start() -> None:
    form = forms.filled(
        Form(action="/x", submit="Go", fields=(Field(name="a", label="A", value="1"), Field(name="b", label="B"))),
        Typed(values={"b": "typed", "c": "unasked"}),
    )
    assert {field.name: field.value for field in form.fields} == {"a": "1", "b": "typed"}


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_missing_field_is_told_at_that_field(name: str) -> None:
    issue = Issue(message=f"{FIELDS[name]} is missing.", code="required", expression=PATHS[name])
    form = form_for(*FIELDS, typed=Typed(values={}, issues=(issue,)))
    assert {field.name for field in form.fields if field.error} == {name}
    assert named(form)[name].error == issue.message
    assert form.error == ""


def test_all_missing_fields_are_told_at_once() -> None:
    issues = tuple(
        Issue(message=f"{words} is missing.", code="required", expression=PATHS[name]) for name, words in FIELDS.items()
    )
    form = form_for(*FIELDS, typed=Typed(values={}, issues=issues))
    assert {field.name for field in form.fields if field.error} == set(FIELDS)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Communication.medium", "outreach.channel"),
        ("Communication.statusReason", "outreach.outcome"),
        ("Task.due", "due"),
        ("Task.hold.until", "hold.until"),
        ("Task.restriction.period.end", "due"),
        ("Task.extension", "hold.until"),
        ("Task.statusReason", "reason"),
        ("Task.owner", "owner"),
    ],
)
def test_an_issue_finds_its_field_by_its_path(path: str, name: str) -> None:
    found = forms.field_errors([Issue(message="Not so.", code="value", expression=path)], [*FIELDS, "outreach.channel"])
    assert found == {name: "Not so."}


def test_what_is_about_no_field_stands_above_the_form_once() -> None:
    issue = Issue(message="This cannot be.", code="business-rule", expression="Task.businessStatus")
    form = form_for("note", typed=Typed(values={}, issues=(issue, issue)))
    assert form.error == "This cannot be."
    assert not [field for field in form.fields if field.error]


def test_a_field_shows_its_first_issue_only() -> None:
    issues = [Issue(message=text, code="value", expression="Task.owner") for text in ("First.", "Second.")]
    assert forms.field_errors(issues, ["owner"]) == {"owner": "First."}


def test_a_moves_fields_leave_out_what_is_empty_or_was_not_asked() -> None:
    values = {"reason": " because ", "note": "  ", "owner": "Practitioner/x", "to": "calling", "csrf": "t"}
    assert forms.moves_fields(values, ["reason"], CALENDAR) == {"reason": "because"}


def test_a_channel_travels_only_with_an_outcome() -> None:
    values = {"outreach.channel": "sms", "outreach.outcome": ""}
    assert forms.moves_fields(values, ["outreach.outcome"], CALENDAR) == {}
    both = values | {"outreach.outcome": "reached"}
    assert forms.moves_fields(both, ["outreach.outcome"], CALENDAR) == {
        "outreach.outcome": "reached",
        "outreach.channel": "sms",
    }


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("2026-03-11T09:00", "America/New_York", "2026-03-11T09:00:00-04:00"),
        ("2026-01-11T09:00", "America/New_York", "2026-01-11T09:00:00-05:00"),
        ("2026-01-11T09:00:30", "America/Chicago", "2026-01-11T09:00:30-06:00"),
        ("2026-07-01T00:00", "UTC", "2026-07-01T00:00:00+00:00"),
        ("2026-13-41T09:00", "UTC", "2026-13-41T09:00"),
        ("tomorrow", "UTC", "tomorrow"),
        ("", "UTC", ""),
        ("2026-03-11T09:00Z", "UTC", "2026-03-11T09:00Z"),
        ("٢٠٢٦-03-11T09:00", "UTC", "٢٠٢٦-03-11T09:00"),
    ],
)
def test_a_local_time_gets_the_sites_offset_and_nonsense_stays_to_be_refused(text: str, zone: str, said: str) -> None:
    assert forms.zoned(text, Calendar(zone=zone)) == said


@settings(max_examples=60)
@given(
    st.integers(min_value=0, max_value=60_000_000),
    st.sampled_from(["America/New_York", "America/Phoenix", "Pacific/Honolulu", "UTC"]),
)
def test_every_minute_a_browser_can_send_is_that_minute_on_the_sites_clock(minutes: int, zone: str) -> None:
    typed = f"{datetime(1990, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes):%Y-%m-%dT%H:%M}"
    meant = parse_datetime(forms.zoned(typed, Calendar(zone=zone))).astimezone(ZoneInfo(zone))
    wanted = datetime.fromisoformat(typed).replace(tzinfo=UTC)
    assert meant.replace(tzinfo=UTC) - wanted in (timedelta(0), timedelta(hours=1)), "only a skipped hour moves"


@settings(max_examples=60)
@given(st.text(max_size=30))
def test_no_typed_time_breaks_the_page(text: str) -> None:
    said = forms.zoned(text, CALENDAR)
    try:
        parse_datetime(said)
    except Incorrect:
        assert said == text


def test_a_form_can_be_shown_twice_without_growing() -> None:
    form = form_for("note", typed=Typed(values={"note": "x"}))
    assert forms.filled(form, Typed(values={"note": "x"})) == replace(form)
