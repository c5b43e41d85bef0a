"""Code tables: what a file may say, what is refused and in which words, and who goes first."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fhir_tracker.errors import Incorrect, UsageError
from fhir_tracker.model.vocabulary import OUTCOME_SYSTEM
from fhir_tracker.unmapped import unmapped_in
from mappings import Source, mapping_named, read_tables
from mappings.tables import CANCELLED_BECAUSE, SERVICE_SYSTEM
from tests.mappings.fixtures import BASE, SOURCE, source

HAPI = mapping_named("hapi")


def concept(code: str, system: str = "local") -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def visit(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Appointment", "id": "1", "status": "booked", **members}


def attempt(reason: str, system: str = "local", **members: Any) -> dict[str, Any]:
    return {
        "resourceType": "Communication",
        "id": "1",
        "status": "not-done",
        "statusReason": concept(reason, system),
        "about": [{"reference": f"{BASE}/Task/9"}],
        **members,
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[status", "cannot be read"),
        ("\xff", "cannot be read"),
        ("[colour]\na = 'b'", "has 'colour'; there are status, reason"),
        ("[status.Patient]\na = 'b'", "has a status of Patient"),
        ("[status.Task]\nopen = 'opened'", "'opened', which is no status of a Task"),
        ("[status.Task]\nopen = 1", "no status of a Task"),
        ("[status.Task]\nopen = ['requested']", "no status of a Task"),
        ("[status.Task]\nopen = {a = 1}", "no status of a Task"),
        ("status = 7", "tables of texts"),
        ("[outreach.codes]\n'a|b' = 'spoke'", "gives 'spoke' as outreach; there are reached"),
        ("[outreach.codes]\n'a|b' = 'urn:x|reached'", "as outreach"),
        ("[channel.codes]\n'a|b' = 'pigeon'", "there are phone"),
        ("[reason.codes]\n'a|b' = ['pat']", "leads to a text"),
        ("[reason.codes]\n'a|b' = 'x|'", "as reason"),
        ("[reason]\ncovers = 'x'", "`covers` as a list"),
        ("[reason]\ncovers = ['']", "`covers` as a list"),
        ("[reason]\n'a|b' = 'pat'", "`codes`"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_and_the_place_is_named(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=r"practice\.toml") as refused:
        read_tables(text.encode("latin-1"), "practice.toml")
    assert says in refused.value.message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# ours\n\n[status.Task]\nopen = 'requested'\nshut = 'shut down'", 5),
        ("[reason]\n[colour]", 2),
        ("[outreach.codes]\n'a|b' = 'reached'\n'a|c' = 'spoke'", 3),
        ("[channel]\ncovers = 'x'", 2),
        ("[channel.codes]\n'a|b' = 7", 2),
        ("\n[status.Patient]\na = 'b'", 2),
        ("[status.Task]\nopen = requested", 2),
        ('{\n "status": {\n  "Task": {"open": "opened"}}}', 3),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_line(text: str, line: int) -> None:
    name = "practice.json" if text.startswith("{") else "practice.toml"
    with pytest.raises(UsageError, match=rf"\bline {line}\b"):
        read_tables(text.encode(), name)


def test_a_table_may_be_json() -> None:
    told = {"status": {"Task": {"open": "requested"}}, "reason": {"codes": {"local|away": "pat"}}}
    found = read_tables(json.dumps(told).encode(), "practice.json")
    assert found.status["Task"]["open"] == "requested"
    assert found.codings["reason"].codes["local", "away"] == (CANCELLED_BECAUSE, "pat")
    for raw in (b"[]", b"[" * 100_000, b"{"):
        with pytest.raises(UsageError):
            read_tables(raw, "practice.json")


def test_a_status_that_no_table_knows_is_refused_with_the_code() -> None:
    with pytest.raises(Incorrect, match=r"No code table knows the Appointment.status 'scheduled'"):
        HAPI.to_tracker(visit(status="scheduled"), SOURCE)
    with pytest.raises(Incorrect, match="that was sent"):
        HAPI.to_tracker(visit(status="<script>"), SOURCE)


def test_a_status_of_the_practice_s_table_is_the_fhir_one_here_and_its_own_there() -> None:
    here = HAPI.to_tracker(visit(status="scheduled"), source())
    assert here["status"] == "booked"
    assert HAPI.to_ehr(here, source()) == visit(status="scheduled")
    assert HAPI.to_ehr(here | {"status": "cancelled"}, source()) == visit(status="cancelled")
    assert HAPI.to_ehr(here | {"status": "booked"}, SOURCE) == visit(status="booked")


def test_the_practice_s_table_goes_before_what_r4_says() -> None:
    own = source("[status.Appointment]\nbooked = 'pending'")
    here = HAPI.to_tracker(visit(), own)
    assert here["status"] == "pending"
    assert HAPI.to_ehr(here, own) == visit()


def test_a_code_that_the_practice_explained_is_added_in_front_and_taken_off_again() -> None:
    sent = visit(appointmentType=concept("7"), cancelationReason=concept("away"))
    here = HAPI.to_tracker(sent, source())
    first = here["appointmentType"]["coding"][0]
    assert (first["system"], first["code"]) == (SERVICE_SYSTEM, "tcm-visit")
    assert here["cancelationReason"]["coding"][0]["system"] == CANCELLED_BECAUSE
    assert HAPI.to_ehr(here, source()) == sent


def test_codes_of_a_system_that_a_table_covers_are_marked_and_others_stay() -> None:
    own = source("[reason]\ncovers = ['loc']\n[reason.codes]\n'local|away' = 'pat'\n'local|other' = ''")
    for code, marked in (("away", False), ("other", False), ("new", True)):
        found = list(unmapped_in(HAPI.to_tracker(visit(cancelationReason=concept(code)), own)))
        assert found == ([("reason", f"local|{code}")] if marked else [])
    assert not list(unmapped_in(HAPI.to_tracker(visit(cancelationReason=concept("new", "urn:x")), own)))


def test_what_came_of_an_attempt_has_to_be_known_where_rules_count_it() -> None:
    with pytest.raises(Incorrect, match=r"what came of this attempt: 'local\|rang out'"):
        HAPI.to_tracker(attempt("rang out"), SOURCE)
    here = HAPI.to_tracker(attempt("rang out"), source())
    assert here["statusReason"]["coding"][0]["code"] == "no-answer"
    assert HAPI.to_ehr(here, source()) == attempt("rang out") | {"about": [{"reference": "Task/9"}]}
    assert HAPI.to_tracker(attempt("reached", OUTCOME_SYSTEM), SOURCE)["statusReason"] == concept(
        "reached", OUTCOME_SYSTEM
    )


@pytest.mark.parametrize("about", [[], [{"reference": "CarePlan/1"}], [{"reference": "Task/1/x"}], ["Task/1"], None])
def test_what_came_of_other_messages_only_colours(about: Any) -> None:
    here = HAPI.to_tracker(attempt("rang out", about=about), SOURCE)
    assert here["statusReason"] == concept("rang out")


def test_a_source_is_the_same_with_and_without_tables_of_the_practice() -> None:
    assert Source(key="clinic", base_url=BASE, tables=read_tables(b"", "practice.toml")) == SOURCE
