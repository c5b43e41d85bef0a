"""The context of a launch: read tolerantly, told in this store's words, and never another patient's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_tracker import launch_context as contexts
from fhir_tracker.errors import Forbidden
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.launch_context import LaunchContext, read_context
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer

EHR = Issuer(
    key="clinic", url="https://ehr.example/fhir", client_id="tracker", changed_at=datetime(2026, 3, 9, tzinfo=UTC)
)
OURS = "https://tracker.example/fhir"


def test_nothing_told_is_a_context_without_a_chart() -> None:
    assert read_context({}) == LaunchContext()
    assert read_context({"patient": None}) == read_context({"patient": ""}) == LaunchContext()


@pytest.mark.requirement(94)
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"need_patient_banner": False}, False),
        ({"need_patient_banner": True}, True),
        ({"need_patient_banner": None}, True),
        ({"need_patient_banner": "false"}, True),
        ({"need_patient_banner": 0}, True),
        ({}, True),
    ],
)
def test_the_banner_is_left_out_only_where_the_ehr_clearly_says_so(told: dict[str, Any], expected: bool) -> None:
    assert read_context(told).needs_banner is expected


ODD: tuple[object, ...] = (
    True,
    False,
    -7,
    7.0,
    [],
    ["ada"],
    {},
    {"a": 1},
    "x" * 256,
    "\udc80",
    "<b>",
    " ",
    "a/b",
    "a\nb",
)
ELSEWHERE = (".", "..", "Patient/", "Patient/..", "Patient/Patient/1", "Practitioner/1", "Patient/1/_history/2", "#1")


@pytest.mark.requirement(94)
@pytest.mark.parametrize("odd", [*ODD, *ELSEWHERE, "%2e%2e"])
def test_a_patient_that_cannot_be_told_is_refused(odd: object) -> None:
    if odd in ([], {}):
        odd = [odd]
    with pytest.raises(Forbidden, match="cannot be read"):
        read_context({"patient": odd})


@pytest.mark.requirement(94)
@pytest.mark.parametrize(("told", "found"), [("Patient/ada", "ada"), (123456, "123456"), (0, "0"), ("...", "...")])
def test_a_patient_told_in_another_way_is_that_very_patient(told: object, found: str) -> None:
    assert read_context({"patient": told}).patient == found


@pytest.mark.requirement(94)
@pytest.mark.parametrize("odd", [".", "..", "a/b", "Encounter/1", 7, None, "x" * 201])
def test_an_encounter_that_cannot_be_told_is_none(odd: object) -> None:
    assert read_context({"encounter": odd}).encounter == ""


@pytest.mark.requirement(94)
@pytest.mark.parametrize(
    ("told", "items"),
    [
        (["Task/1", "CarePlan/2"], ("Task/1", "CarePlan/2")),
        ([{"reference": "Task/1", "role": "http://ehr.example/prior"}, {"reference": "Task/2"}], ("Task/2", "Task/1")),
        (
            [{"reference": "Task/1", "role": 7}, {"reference": "Task/2", "role": "launch", "type": "Task"}],
            ("Task/2", "Task/1"),
        ),
        (
            [{"identifier": {"value": "x"}, "type": "Task"}, "Task/1\n", {"reference": "Task/3", "role": None}],
            ("Task/3",),
        ),
        ([], ()),
    ],
)
def test_items_that_were_launched_for_come_before_those_of_another_role(told: object, items: tuple[str, ...]) -> None:
    assert read_context({"fhirContext": told}).items == items


@pytest.mark.requirement(94)
@pytest.mark.parametrize("remote", ["1", "a-1.b", "eq081-VQEgP8drUUqCWzHfw3", "with_underscore", "x" * 200])
def test_a_patient_is_always_the_one_of_that_connection(database: Database, remote: str) -> None:
    with database.read() as tx:
        assert contexts.local_patient(tx, EHR, remote) == (local_id("clinic", remote, "Patient"), False)
        other = contexts.local_patient(tx, Issuer(**{**vars(EHR), "key": "north"}), remote)[0]
    assert other != local_id("clinic", remote, "Patient")


@pytest.mark.requirement(94)
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("Task/1", "Task/clinic-1"),
        ("Task/1/_history/3", "Task/clinic-1"),
        (f"{EHR.url}/Appointment/2", "Appointment/clinic-2"),
        (f"{OURS}/CarePlan/0196", "CarePlan/0196"),
        ("https://evil.example/fhir/Task/1", ""),
        (f"{EHR.url}.evil.example/Task/1", ""),
        ("Task", ""),
        ("Task/", ""),
        ("Nonsense/1", ""),
        ("Task/../Patient/1", ""),
        ("Task/..", ""),
        ("Task/.", ""),
        ("#contained", ""),
        ("urn:uuid:0196", ""),
        ("", ""),
    ],
)
def test_items_are_those_of_the_ehr_or_ours(database: Database, told: str, expected: str) -> None:
    with database.read() as tx:
        assert contexts.local_items(tx, EHR, (told,), OURS) == ((expected,) if expected else ())


@pytest.mark.requirement(94)
def test_many_items_are_cut_and_those_told_twice_are_one(database: Database) -> None:
    told = {"fhirContext": [{"reference": f"Task/{n % 3}"} for n in range(100)]}
    items = read_context(told).items
    assert len(items) == 20
    with database.read() as tx:
        assert contexts.local_items(tx, EHR, items, OURS) == ("Task/clinic-0", "Task/clinic-1", "Task/clinic-2")


@pytest.mark.parametrize(
    "odd", [None, 7, "Task/1", {"reference": "Task/1"}, [7, None, ["Task/1"], {"reference": 7}, {"canonical": "x"}]]
)
def test_items_of_no_known_shape_are_left_out(odd: object) -> None:
    assert read_context({"fhirContext": odd}).items == ()


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://ehr.example/style.json", True),
        ("http://localhost:9000/style.json", True),
        ("http://ehr.example/style.json", False),
        ("http://localhost.evil.example/style.json", False),
        ("https://user@ehr.example/style.json", False),
        ("https://", False),
        ("javascript:alert(1)", False),
        ("https://ehr.example/" + "x" * 2000, False),
        ("https://ehr.example/\n", False),
        (7, False),
    ],
)
def test_a_style_is_named_by_a_safe_address_or_not_at_all(url: object, kept: bool) -> None:
    assert read_context({"smart_style_url": url}).style_url == (url if kept else "")


def test_an_encounter_without_a_name_is_none(database: Database) -> None:
    with database.read() as tx:
        assert contexts.local_encounter(tx, EHR, "") is None
        assert contexts.local_encounter(tx, EHR, "v1") == "clinic-v1"
