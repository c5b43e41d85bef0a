"""Where an EHR is read in people's own names, a patient's pages open only to whom the EHR shows that patient."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from api.demo.simulator.faults import Faults
from api.demo.simulator.ledger import Context
from api.staff import own_reading
from api.staff.ehr_answers import ANSWERS, FRESH, SILENT_FOR, Answers, Asked, Said
from api.staff.own_reading import GRACE
from fhir_tracker import clock, writes
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import open_viewer
from tests.support.launching import Browser, Launchpad, launch_of

ADA = "clinic-ada"


@pytest.fixture
def pad(pad: Launchpad) -> Launchpad:
    """The EHR is read in the nurse's own name."""
    pad.set_up(reads_as_user=True)
    return pad


class Chart:
    """A launch with Ada's chart open; `get` is a page below it."""

    def __init__(self, pad: Launchpad, browser: Browser, launch: str) -> None:
        self.pad, self.browser, self.launch = pad, browser, launch

    def get(self, path: str = f"/patients/{ADA}") -> Any:
        return self.browser.get(f"/l/{self.launch}{path}")

    def reads(self) -> int:
        return sum(one.endpoint == "fhir" for one in self.pad.simulator.ledger.seen)

    def pass_time(self, by: timedelta) -> None:
        """As though the EHR had been asked so long ago."""
        told = ANSWERS.of(self.launch, ADA)
        assert told.at is not None
        told.at -= by

    def rows(self) -> list[tuple[str, str]]:
        """Outcome and what the trail says of readings at the EHR."""
        with self.pad.database.read() as tx:
            found = tx.connection.execute(
                text("SELECT outcome, detail FROM audit WHERE patient = :p AND detail LIKE '%person%'"), {"p": ADA}
            )
            return [(one.outcome, one.detail) for one in found]


def opened(pad: Launchpad, context: Context | None = None) -> Chart:
    browser = pad.browser()
    return Chart(pad, browser, launch_of(browser.come_in(context=context or Context(patient="ada"))))


def task_of_ada(pad: Launchpad) -> str:
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": f"Patient/{ADA}"}}
    author = Author(viewer=open_viewer(), origin="api", at=clock.now())
    with pad.database.begin() as tx:
        return writes.create(tx, {**task, "description": "call her"}, author).id


@pytest.mark.requirement(96)
@pytest.mark.security("A4", "S50")
def test_the_ehr_is_asked_in_the_persons_name_and_not_more_than_once_a_minute(pad: Launchpad) -> None:
    chart = opened(pad)
    before = chart.reads()
    assert [chart.get().status_code for _ in range(3)] == [200, 200, 200]
    assert chart.get("/session").status_code == 200
    assert chart.reads() == before + 1
    chart.pass_time(FRESH)
    assert chart.get().status_code == 200
    assert chart.reads() == before + 2
    assert [outcome for outcome, _ in chart.rows()] == ["success", "success"]
    assert all("clinic" in detail for _, detail in chart.rows())
    other = opened(pad)
    assert other.get().status_code == 200
    assert chart.reads() == before + 4, "the launch and the page of another session"
    assert pad.simulator.violations == ()


@pytest.mark.requirement(96)
def test_the_page_shows_what_the_ehr_says_of_the_patient_now(pad: Launchpad) -> None:
    chart = opened(pad)
    with pad.database.begin() as tx:
        tx.connection.execute(text("UPDATE resource SET remote_version = '0' WHERE id = :p"), {"p": ADA})
    assert "Ada" in chart.get().text


@pytest.mark.security("A4")
def test_without_the_option_nobody_is_asked(pad: Launchpad) -> None:
    pad.set_up()
    chart = opened(pad)
    before = chart.reads()
    assert chart.get().status_code == 200
    assert (chart.reads(), chart.rows()) == (before, [])


@pytest.mark.parametrize(("has_say", "looked_up"), [(False, 1), (True, 2)])
def test_its_connection_is_looked_up_for_that_only_where_the_ehr_has_a_say(
    pad: Launchpad, has_say: bool, looked_up: int
) -> None:
    pad.set_up(reads_as_user=has_say)
    chart = opened(pad)
    chart.get()
    said: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        assert chart.get().status_code == 200
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert sum(re.search(r"WHERE connection\.\"?key\"? = ", one) is not None for one in said) == looked_up


@pytest.mark.security("A4", "S50")
def test_what_the_ehr_does_not_show_to_this_person_is_shown_on_no_page_of_that_patient(pad: Launchpad) -> None:
    opened(pad)
    task = task_of_ada(pad)
    pad.set_up(reads_as_user=True, scopes="openid fhirUser launch")
    chart = opened(pad, Context())
    before = chart.reads()
    for path in (f"/patients/{ADA}", f"/tasks/{task}", f"/patients/{ADA}?plan=1&stage=2"):
        answer = chart.get(path)
        assert answer.status_code == 403
        assert own_reading.REFUSED in answer.text
        assert "Ada" not in answer.text
        assert "call her" not in answer.text
    assert chart.reads() == before + 1
    with pad.database.read() as tx:
        denied = "SELECT count(*) FROM audit WHERE session = :s AND outcome = 'denied'"
        assert tx.connection.execute(text(denied), {"s": chart.launch}).scalar_one() == 3


@pytest.mark.security("A4", "S50")
def test_a_step_is_refused_as_the_page_is(pad: Launchpad) -> None:
    opened(pad)
    task = task_of_ada(pad)
    pad.set_up(reads_as_user=True, scopes="openid fhirUser launch")
    chart = opened(pad, Context())
    page = chart.get("/preferences")
    token = page.text.split('name="csrf" value="')[1].split('"')[0]
    form = {"csrf": token, "text": "left a note", "version": "1"}
    answer = chart.browser.client.post(
        f"/l/{chart.launch}/tasks/{task}/note", data=form, headers={"origin": "https://testserver"}
    )
    assert answer.status_code == 403
    assert own_reading.REFUSED in answer.text


@pytest.mark.requirement(96)
@pytest.mark.security("S10")
def test_a_token_that_ended_is_renewed_on_the_way(pad: Launchpad) -> None:
    chart = opened(pad)
    pad.simulator.ledger.end_access()
    assert chart.get().status_code == 200
    assert pad.session(chart.launch).renewed == 1


@pytest.mark.requirement(96)
@pytest.mark.security("A4", "S50")
def test_who_left_the_ehr_sees_no_patient_and_is_told_to_open_the_tracker_again(pad: Launchpad) -> None:
    chart = opened(pad)
    assert chart.get().status_code == 200
    pad.simulator.ledger.end_everything()
    chart.pass_time(FRESH)
    answer = chart.get()
    assert answer.status_code == 403
    assert "open the tracker again from there" in answer.text
    assert "Ada" not in answer.text
    assert chart.get().status_code == 401


@pytest.mark.requirement(96)
@pytest.mark.parametrize("fault", [Faults(down=frozenset({"fhir"})), Faults(not_json=frozenset({"fhir"}))])
def test_an_ehr_that_says_nothing_useful_is_told_of_and_no_page_fails(pad: Launchpad, fault: Faults) -> None:
    chart = opened(pad)
    pad.simulator.faults = fault
    answer = chart.get()
    assert answer.status_code in (403, 503)
    assert any(one in answer.text for one in (own_reading.SILENT, own_reading.REFUSED))
    assert "Ada" not in answer.text
    assert chart.get("/session").status_code == 200, "the session goes on"
    assert "Ada" not in chart.get("/preferences").text, "nor does a banner say who it is"


@pytest.mark.requirement(96)
def test_whom_it_showed_lately_stays_open_for_a_while_when_it_is_silent(pad: Launchpad) -> None:
    chart = opened(pad)
    assert chart.get().status_code == 200
    pad.simulator.faults = Faults(down=frozenset({"fhir"}))
    chart.pass_time(FRESH)
    assert chart.get().status_code == 200
    chart.pass_time(GRACE)
    answer = chart.get()
    assert (answer.status_code, own_reading.SILENT in answer.text) == (503, True)
    before = chart.reads()
    assert chart.get().status_code == 503
    assert chart.reads() == before, "who is silent is left alone for a moment"
    pad.simulator.faults = Faults()
    chart.pass_time(SILENT_FOR)
    assert chart.get().status_code == 200
    assert "Ada" in chart.get("/preferences").text


def test_an_answer_counts_for_its_time_and_not_after_the_clock_was_put_back() -> None:
    now = clock.now()
    assert not Asked().counts(now, GRACE)
    second = timedelta(seconds=1)
    lasting: dict[Said, timedelta] = {"shown": FRESH, "refused": FRESH, "silent": SILENT_FOR}
    for said, lasts in lasting.items():
        told = Asked()
        assert not told.is_fresh(now)
        told.note(said, now)
        assert [told.is_fresh(now + by) for by in (-second, 0 * second, lasts - second, lasts)] == [
            False,
            True,
            True,
            False,
        ]


def test_of_very_many_answers_the_oldest_are_forgotten() -> None:
    answers = Answers(most=3)
    first = answers.of("s", "0")
    for number in range(1, 3):
        answers.of("s", str(number))
    assert answers.of("s", "0") is first
    answers.of("s", "3")
    assert len(answers) == 3
    assert answers.of("s", "0") is first
    assert answers.of("t", "0") is not first
