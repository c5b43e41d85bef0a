"""Each section of a program file, each of its keys: left out, misspelt, of the wrong kind, and out of range."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

import pytest
import yaml

from fhir_tracker.errors import Incorrect
from fhir_tracker.model.program import Program
from fhir_tracker.rules.program_file import OPTIONAL, REQUIRED, read_program
from tests.rules.samples import BASE, LADDERS

RULES = """
rules:
  - {id: late, title: Late, subject: task, when: {all: [{task: visit}, {overdue_by: 0 hours}]}, do: {escalate: late}}
  - {id: told, when: {in_status_for: {status: calling, for: 1 day}}, do: [{notify: {to: rn, by: [in-app]}}, {set_priority: asap}]}
  - {id: tried, when: {outreach_failed: {attempts: 2, over: 1 day, channels: 2}}, do: {create_task: rebook}}
  - {id: missed, when: {appointment_missed: {service: visit, grace: 1 day}}, do: {raise_flag: missed}}
stages:
  - {code: active, title: Active, means: Being worked, is: active}
  - {code: over, is: completed}
"""
FULL: Final[dict[str, Any]] = yaml.load(
    (BASE + LADDERS + RULES).replace(
        "{code: touch, role: rn, every: 1 month}",
        "{code: touch, title: Touch, what: Call, role: rn, on: cadence, every: 1 month, priority: routine, initial: to-call,"
        " outreach: {attempts: 2, over: 1 day, channels: [phone]}}",
    ),
    Loader=yaml.BaseLoader,  # noqa: S506 - the loader that makes nothing but texts: `on` stays a word
)
Path_ = tuple[str | int, ...]
SECTIONS: list[tuple[Path_, tuple[str, ...], tuple[str, ...]]] = [
    ((), REQUIRED, OPTIONAL),
    (("calendar",), ("zone",), ("hours", "holidays", "closed")),
    (("statuses", 0), ("code", "is", "means"), ("clock", "title", "hold")),
    (("statuses", 2, "hold"), ("until",), ("or",)),
    (("stages", 0), ("code",), ("title", "means", "is")),
    (("transitions", 0), ("from", "to"), ("by", "require")),
    (("tasks", 3), ("code", "role"), ("title", "what", "on", "due", "every", "priority", "outreach", "initial")),
    (("tasks", 0, "due"), ("within",), ("after",)),
    (("tasks", 3, "outreach"), ("attempts", "over"), ("channels",)),
    (("documents", 0), ("code", "after", "within", "satisfied_by"), ("title", "service")),
    (("rules", 0), ("id", "when", "do"), ("title", "subject")),
    (("rules", 1, "when", "in_status_for"), ("for",), ("status",)),
    (("rules", 1, "do", 0, "notify"), ("to",), ("by",)),
    (("rules", 2, "when", "outreach_failed"), ("attempts",), ("over", "channels")),
    (("rules", 3, "when", "appointment_missed"), (), ("service", "grace")),
    (("ladders", "late"), ("levels",), ("stop_when",)),
    (("ladders", "late", "levels", 1), ("to",), ("after", "notify", "priority")),
]
FREE_TEXTS = {"title", "means", "what", "description", "attempts", "role"}
"""What may be the word 7: a text, a number, and a role, which only earns a warning."""
ROLES = {"rules[1].do[0].notify.to", "ladders.late.levels[1].to", "transitions[0].by"}


def spelled(path: Path_) -> str:
    """`tasks[1].due` for a path."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def changed(path: Path_, value: object, *, drop: bool = False) -> str:
    """The whole file with one place changed; JSON is YAML."""
    whole = copy.deepcopy(FULL)
    place: Any = whole
    for part in path[:-1]:
        place = place[part]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(whole)


def problems(text: str) -> dict[str | None, list[str]]:
    """Path -> messages of a file that must be refused."""
    with pytest.raises(Incorrect) as caught:
        read_program(text)
    found: dict[str | None, list[str]] = {}
    for issue in caught.value.issues:
        found.setdefault(issue.expression, []).append(issue.message)
    return found


NEEDED = [(path, key) for path, keys, _ in SECTIONS for key in keys]
ALL_KEYS = [(path, key) for path, keys, more in SECTIONS for key in (*keys, *more)]


def test_the_full_file_is_read_and_uses_every_section() -> None:
    full = read_program(json.dumps(FULL))
    assert isinstance(full, Program)
    assert len(full.rules) == 4
    for path, keys, _ in SECTIONS:
        place: Any = FULL
        for part in path:
            place = place[part]
        assert set(keys) <= set(place), path


@pytest.mark.parametrize(("path", "key"), NEEDED, ids=lambda one: spelled(one) if isinstance(one, tuple) else one)
def test_a_required_key_left_out_is_named_at_its_section(path: Path_, key: str) -> None:
    found = problems(changed((*path, key), None, drop=True))
    assert f'"{key}" is missing' in " ".join(found.get(spelled(path) or None, []))


@pytest.mark.parametrize("path", [path for path, _, _ in SECTIONS], ids=spelled)
def test_an_unknown_key_is_refused_at_its_place(path: Path_) -> None:
    found = problems(changed((*path, "wibble"), "x"))
    assert any('unknown key "wibble"' in message for message in found[spelled((*path, "wibble"))])


@pytest.mark.parametrize(("path", "key"), ALL_KEYS, ids=lambda one: spelled(one) if isinstance(one, tuple) else one)
def test_a_misspelt_key_is_told_the_right_one(path: Path_, key: str) -> None:
    wrong = f"{key}x"
    found = problems(changed((*path, wrong), "x"))
    messages = " ".join(found[spelled((*path, wrong))])
    assert f'unknown key "{wrong}"' in messages
    assert f'did you mean "{key}"' in messages


@pytest.mark.parametrize(("path", "key"), ALL_KEYS, ids=lambda one: spelled(one) if isinstance(one, tuple) else one)
@pytest.mark.parametrize(
    "wrong", [{"wibble": {"wobble": "x"}}, [[["x"]]], "", 7], ids=["mapping", "lists", "empty", "7"]
)
def test_a_value_of_the_wrong_kind_is_refused_below_its_key(path: Path_, key: str, wrong: object) -> None:
    place = spelled((*path, key))
    if wrong == 7 and (key in FREE_TEXTS or place in ROLES):
        assert read_program(changed((*path, key), wrong)).code == "demo"
        return
    found = problems(changed((*path, key), wrong))
    assert any(one is not None and one.startswith(place) for one in found) or _elsewhere(found, key), found


def _elsewhere(found: dict[str | None, list[str]], key: str) -> bool:
    """Some keys give names that other sections then miss; two numbers are judged together."""
    defining = {"code", "services", "program", "documents", "statuses", "tasks", "ladders", "stages", "eligible"}
    return key in {*defining, "channels"} and bool(found)


CODES = ["Upper", "with space", "under_score", "-lead", "trail-", "two--hyphens", "9first", "é", "x" * 65, "a.b", "a/b"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "path",
    [("program",), ("statuses", 1, "code"), ("tasks", 1, "code"), ("rules", 0, "id"), ("rules", 3, "do", "raise_flag")],
    ids=spelled,
)
def test_what_is_no_code_is_refused_wherever_a_code_is_given(path: Path_, code: str) -> None:
    messages = " ".join(problems(changed(path, code))[spelled(path)])
    assert "is not a code: use lower-case letters, digits and hyphens" in messages


@pytest.mark.parametrize("code", ["a", "a1", "a-b", "a-1-b2", "x" * 64])
def test_a_code_may_have_letters_digits_and_single_hyphens(code: str) -> None:
    assert read_program(changed(("program",), code)).code == code


@pytest.mark.parametrize("key", ["program", "title", "description"])
def test_a_text_has_a_length(key: str) -> None:
    assert "longer than 2000 characters" in " ".join(problems(changed((key,), "x" * 2001))[key])


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("calendar", "zone"), "Mars/Olympus", "unknown time zone"),
        (("calendar", "zone"), "US/Easter", 'did you mean "US/Eastern"'),
        (("calendar", "holidays"), "US-XX", "unknown country or region"),
        (("calendar", "holidays"), "us", "unknown country or region"),
        (("calendar", "closed"), ["2026-02-30"], "is not a date"),
        (("calendar", "closed"), ["tomorrow"], "is not a date"),
        (("statuses", 0, "clock"), "ticking", 'unknown "ticking"'),
        (("statuses", 2, "hold", "until"), "maybe", 'unknown "maybe"'),
        (("statuses", 2, "hold", "or"), "document.nothing", "unknown event"),
        (("stages", 0, "is"), "completed", "must be one in which a plan is active"),
        (("stages", 0, "is"), "going", 'unknown "going"'),
        (("stages", 1, "code"), "active", "already defined on line"),
        (("transitions", 0, "to"), "nowhere", "unknown status"),
        (("transitions", 0, "from"), ["to-call", "nowhere"], "unknown status"),
        (("transitions", 0, "require"), ["note", "blood"], "unknown field"),
        (("tasks", 0, "priority"), "now", 'unknown "now"'),
        (("tasks", 0, "on"), "tuesday", 'unknown "tuesday"'),
        (("tasks", 0, "every"), "0 days", "longer than nothing"),
        (("tasks", 0, "initial"), "reached", "cannot start in the closed status"),
        (("tasks", 0, "due", "after"), "birth", "unknown moment"),
        (("tasks", 0, "due", "within"), "-2 days", "is not a duration"),
        (("tasks", 1, "done_by"), {"appointment": "fulfilled", "outreach": "reached"}, "exactly one thing"),
        (("tasks", 1, "done_by"), {}, "exactly one thing"),
        (("tasks", 1, "done_by"), {"outreach": "laughed"}, "unknown outcome"),
        (("tasks", 1, "done_by"), {"outreach": "reached", "service": "visit"}, "belongs to an appointment"),
        (("tasks", 1, "done_by"), {"document": "nothing"}, "unknown document"),
        (("tasks", 3, "outreach", "attempts"), 0, "is not a whole number"),
        (("tasks", 3, "outreach", "attempts"), 101, "is not a whole number"),
        (("tasks", 3, "outreach", "channels"), ["pigeon"], "unknown channel"),
        (("documents", 0, "after"), "birth", "unknown moment"),
        (("documents", 0, "satisfied_by"), {"DocumentReference": {}, "Flag": "x"}, "must name one resource type"),
        (("documents", 0, "satisfied_by"), {"Doc": "x"}, "unknown resource type"),
        (("documents", 1, "service"), "visit", "after an appointment"),
        (("documents", 1, "code"), "note", "already defined on line"),
        (("rules", 0, "subject"), "patient", 'unknown "patient"'),
        (("rules", 0, "subject"), "plan", "looks at a task"),
        (("rules", 0, "do"), [], "must do something"),
        (("rules", 0, "do"), [{"raise_flag": "x"}, {"raise_flag": "x"}], "is done already"),
        (("rules", 0, "do"), {"escalate": "late", "raise_flag": "x"}, "must be one action"),
        (("rules", 0, "do"), {"escalate": "early"}, "unknown ladder"),
        (("rules", 0, "do"), {"set_status": "gone"}, "unknown status"),
        (("rules", 0, "do"), {"set_priority": "now"}, "unknown priority"),
        (("rules", 0, "do"), {"return_to_queue": "false"}, 'write "return_to_queue: true"'),
        (("rules", 0, "do"), {"notify": {"to": "rn", "by": "fax"}}, "unknown channel"),
        (("rules", 1, "id"), "late", "already defined on line"),
        (("rules", 0, "when"), {"all": {"task": "visit"}}, "must be a list"),
        (("rules", 0, "when"), {"not": [{"task": "visit"}]}, "must be one test"),
        (("rules", 0, "when"), {}, "must be one test"),
        (("eligible", "once"), "often", 'unknown "often"'),
        (("eligible", "anchor"), "The End", "is not a code"),
        (("eligible", "any"), [], "at least one test"),
        (("eligible", "any"), [{"Encounter": {"count": 0}}], "is not a whole number"),
    ],
)  # fmt: skip
def test_a_value_out_of_range_says_so(path: Path_, value: object, says: str) -> None:
    assert says in " ".join(message for found in problems(changed(path, value)).values() for message in found)


@pytest.mark.parametrize("holidays", ["none", "no", "false", "US-CA", "DE", "CA-QC"])
def test_holidays_are_a_country_a_region_or_none(holidays: str) -> None:
    expected = None if holidays in ("none", "no", "false") else holidays
    assert read_program(changed(("calendar", "holidays"), holidays)).calendar.holidays == expected


@pytest.mark.parametrize("closed", ["2026-12-24", ["2026-12-31", "2026-12-24"]])
def test_closed_days_are_one_or_many_in_order(closed: object) -> None:
    days = read_program(changed(("calendar", "closed"), closed)).calendar.closed
    assert list(days) == sorted(days)
    assert days[0].isoformat() == "2026-12-24"


@pytest.mark.parametrize(("after", "refused"), [("4 business hours", False), ("5 business hours", True)])
def test_hours_so_few_that_a_level_would_take_years_are_refused(after: str, refused: bool) -> None:
    text = changed(("ladders", "late", "levels", 1, "after"), after).replace("Mon-Fri 08:00-17:00", "Mon 00:00-00:01")
    if refused:
        assert "5 business hours would take 300 weeks with so few hours" in problems(text)["calendar"][0]
    else:
        assert read_program(text).code == "demo"
