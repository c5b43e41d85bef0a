"""What a Patient's record says of the patient's standing, in the shapes that EHRs send it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.model.standing import PatientFacts, standing_of

NOW = datetime(2026, 3, 9, 13, tzinfo=UTC)
HERE = {"use": "home", "city": "Albany", "state": "NY", "postalCode": "12203"}
THERE = {"use": "home", "city": "Boise", "state": "ID", "postalCode": "83702", "period": {"start": "2026-03-01"}}
OLD = HERE | {"use": "old", "period": {"end": "2026-02-28"}}
MOVED = datetime(2026, 3, 1, tzinfo=UTC)


def standing(**members: Any) -> PatientFacts:
    return standing_of({"resourceType": "Patient", "id": "ann"} | members, as_of=NOW)


def test_a_patient_of_whom_nothing_is_said_is_simply_there() -> None:
    assert standing() == PatientFacts(ref="Patient/ann")
    assert standing(deceasedBoolean=False, active=True, address=[HERE]) == PatientFacts(ref="Patient/ann")


def test_death_inactivity_and_a_merge_are_known_with_their_times() -> None:
    assert standing(deceasedDateTime="2026-03-01T10:00:00Z").deceased_at == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert standing(deceasedBoolean=True).deceased_at == NOW
    assert standing(deceasedDateTime="unknown").deceased_at == NOW
    assert standing(active=False).inactive_since == NOW
    merged = standing(link=[{"type": "replaced-by", "other": {"reference": "Patient/anna"}}])
    assert (merged.merged_at, merged.merged_into) == (NOW, "anna")
    assert standing(link=[{"type": "replaces", "other": {"reference": "Patient/anna"}}]).merged_at is None


@pytest.mark.parametrize(
    ("addresses", "moved"),
    [
        ([OLD, THERE], MOVED),
        ([HERE | {"period": {"end": "2026-02-28"}}, THERE], MOVED),
        ([HERE | {"use": "old"}, THERE], MOVED),
        ([OLD, {**THERE, "period": {}}], datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)),
        ([HERE | {"use": "old"}, {**THERE, "period": {}}], None),
        ([OLD, HERE], None),
        ([THERE], None),
        ([OLD], None),
        ([HERE | {"use": "work"}, THERE], None),
        ([OLD, THERE | {"use": "temp"}], None),
        ([OLD, HERE | {"line": ["2 Other Street"]}], None),
        (["nonsense", 7, None], None),
    ],
)
def test_a_move_is_a_present_home_in_another_place_than_an_earlier_one(addresses: Any, moved: datetime | None) -> None:
    assert standing(address=addresses).moved_at == moved


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(("old", "home", "2026-03")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("use period start end city state type other reference".split()), inner)
    ),
    max_leaves=10,
)


@given(
    members=st.dictionaries(
        st.sampled_from("deceasedBoolean deceasedDateTime active link address".split()), ANY, max_size=5
    )
)
@settings(max_examples=150, deadline=None)
def test_any_record_has_a_standing(members: dict[str, Any]) -> None:
    assert standing(**members).ref == "Patient/ann"
