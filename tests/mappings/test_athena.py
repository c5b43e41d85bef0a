"""athenahealth: days, ids of practice and number, and actors by identifier alone."""

from __future__ import annotations

from fhir_tracker.unmapped import unmapped_in
from mappings import mapping_named
from tests.mappings.fixtures import SOURCE, sent_by

ATHENA = mapping_named("athena")
SENT = sent_by("athena")


def test_plans_are_asked_for_by_the_day_and_visits_not_at_all() -> None:
    assert ATHENA.strategy_hints["CarePlan"].days
    assert ATHENA.strategy_hints["Patient"].strategy == "roster"
    assert ATHENA.strategy_hints["Appointment"].strategy == "none"
    assert "Task" not in ATHENA.wanted


def test_an_actor_by_identifier_alone_stays_as_it_is() -> None:
    here = ATHENA.to_tracker(SENT["Appointment"], SOURCE)
    assert here["participant"] == SENT["Appointment"]["participant"]
    assert [table for table, _ in unmapped_in(here)] == ["appointment-type"]


def test_only_answers_to_questionnaires_have_a_place_there() -> None:
    assert ATHENA.to_ehr({"resourceType": "Communication", "id": "1"}, SOURCE) is None
    assert ATHENA.to_ehr(ATHENA.to_tracker(SENT["QuestionnaireResponse"], SOURCE), SOURCE) is not None
