"""Each happening of the demo day as a request to an EHR: valid FHIR, about its patient, marked as test data, at that moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.demo import day
from api.demo.day import DAY, Scene, Step, written
from api.demo.ehr import FhirApi
from api.demo.records import ZONE, load
from fhir_tracker.errors import NotFound
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.event import event_of
from fhir_tracker.rules.events import has_code
from fhir_tracker.rules.program_file import read_program
from fhir_tracker.rules.starters import starter_programs

NOW = datetime(2026, 3, 11, 15, 4, 9, tzinfo=UTC)
HTEST = "HTEST"


class Records(FhirApi):
    """The demo's own records in memory, answering as an EHR would."""

    def __init__(self, now: datetime = NOW) -> None:
        super().__init__(base_url="http://127.0.0.1:9/fhir")
        object.__setattr__(self, "held", {f"{one['resourceType']}/{one['id']}": one for one in load(now).resources})

    @property
    def all(self) -> dict[str, Resource]:
        held: dict[str, Resource] = self.__dict__["held"]
        return held

    def read(self, path: str) -> Resource:
        if path not in self.all:
            raise NotFound(f"There is no {path}.")
        return self.all[path]

    def update(self, resource: Resource) -> Resource:
        ref = f"{resource['resourceType']}/{resource['id']}"
        assert ref in self.all
        self.all[ref] = resource | {"meta": {**resource.get("meta", {}), "versionId": "2"}}
        return self.all[ref]

    def create(self, resource: Resource) -> Resource:
        made = resource | {"id": f"made-{len(self.all)}", "meta": {**resource.get("meta", {}), "versionId": "1"}}
        self.all[f"{made['resourceType']}/{made['id']}"] = made
        return made


def played(step: Step, now: datetime = NOW) -> Resource:
    ehr, cast = Records(now), load(now).cast
    return step.act(Scene(ehr=ehr, cast=cast, now=now), cast[step.who])


@pytest.mark.parametrize("number", range(len(DAY)))
def test_what_a_step_writes_is_valid_marked_and_about_its_patient(number: int) -> None:
    step, cast = DAY[number], load(NOW).cast
    made = played(step)
    assert [issue for issue in check(made) if issue.severity in ("error", "fatal")] == []
    assert HTEST in [tag["code"] for tag in made["meta"]["tag"]]
    event = event_of(made, seen_at=NOW)
    assert event is not None
    assert event.patient == cast[step.who]


@pytest.mark.parametrize("number", range(len(DAY)))
@pytest.mark.parametrize("days", range(7))
def test_a_step_can_be_played_on_any_day_of_the_week(number: int, days: int) -> None:
    now = NOW + timedelta(days=days)
    made = played(DAY[number], now)
    event = event_of(made, seen_at=now)
    assert event is not None
    if made["resourceType"] == "Encounter":
        assert event.end == now.replace(microsecond=0)
        assert event.start is not None
        assert event.start < event.end
    if made.get("status") == "booked":
        assert event.start is not None
        assert now < event.start
        assert event.start.astimezone(ZONE).weekday() < 5


def test_the_steps_come_in_order_with_titles_of_their_own_and_patients_of_the_cast() -> None:
    assert [step.at for step in DAY] == sorted(step.at for step in DAY)
    assert len({step.title for step in DAY}) == len(DAY)
    assert {step.who for step in DAY} <= set(load(NOW).cast)
    assert all(step.expect and step.why.endswith(".") for step in DAY)


def test_every_title_of_an_expected_reaction_is_told_once_a_step() -> None:
    for step in DAY:
        assert all(title and title == title.strip() for title in step.expect)


def test_the_visit_of_the_demo_is_the_visit_of_the_starter_program() -> None:
    tcm = read_program(starter_programs()["tcm"])
    made = next(one for one in map(played, DAY) if one.get("status") == "booked")
    event = event_of(made, seen_at=NOW)
    assert event is not None
    assert any(has_code(event, codes) for codes in tcm.services.values())


def test_statuses_after_each_step_are_what_the_rules_wait_for() -> None:
    assert [(played(step)["resourceType"], played(step)["status"]) for step in DAY] == [
        ("Appointment", "noshow"),
        ("Encounter", "finished"),
        ("Encounter", "finished"),
        ("Appointment", "cancelled"),
        ("DocumentReference", "current"),
        ("Appointment", "booked"),
    ]


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (
            {"resourceType": "Encounter", "id": "e", "status": "finished", "meta": {"versionId": "1"}},
            'POST /Encounter  "status": "finished"',
        ),
        (
            {"resourceType": "Appointment", "id": "a", "status": "noshow", "meta": {"versionId": "2"}},
            'PUT /Appointment/a  "status": "noshow"',
        ),
        (
            {"resourceType": "Appointment", "id": "a", "status": "noshow", "meta": {"versionId": "17"}},
            'PUT /Appointment/a  "status": "noshow"',
        ),
    ],
)
def test_a_request_is_told_as_it_was_made(resource: Resource, said: str) -> None:
    assert written(resource) == said


def test_a_step_about_somebody_without_a_visit_is_refused_by_the_ehr() -> None:
    with pytest.raises(NotFound):
        day.missed(Scene(ehr=Records(), cast={}, now=NOW), "nobody")
