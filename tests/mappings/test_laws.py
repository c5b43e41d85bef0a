"""What holds for every mapping: what came goes back as it came, and no input makes it raise anything but its own errors."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect, TrackerError
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.model.vocabulary import CODE_SENT, MAPPED_CODE, UNMAPPED_CODE
from mappings import Source, mapping_named, mapping_names
from mappings.medplum import OWN_META
from mappings.tables import shipped, status_codes
from subscriptions.strategies import STRATEGIES
from tests.mappings.fixtures import BASE, FIXTURES, SOURCE, as_it_takes_it, sent_by, source, taken_back

ROOT = Path(__file__).parents[2]
CASES = [(vendor, name) for vendor in mapping_names() for name in sent_by(vendor)]
WRITES = {"create", "update", "patch", "status", "communication", "note", "none"}


@pytest.mark.parametrize("vendor", mapping_names())
def test_a_vendor_is_four_files_and_a_line_in_the_registry(vendor: str) -> None:
    assert (ROOT / "mappings" / f"{vendor}.py").is_file()
    assert shipped(vendor) is not None
    assert sent_by(vendor)
    assert "icence" in (FIXTURES / vendor / "SOURCES.md").read_text()
    assert (ROOT / "tests" / "mappings" / f"test_{vendor}.py").is_file()


@pytest.mark.parametrize("vendor", mapping_names())
def test_every_hint_names_a_strategy_and_tells_why(vendor: str) -> None:
    mapping = mapping_named(vendor)
    for hint in mapping.strategy_hints.values():
        assert hint.strategy in STRATEGIES
        assert hint.why
    assert set(mapping.writes.values()) <= WRITES


@pytest.mark.parametrize(("vendor", "name"), CASES)
def test_what_came_goes_back_as_it_came(vendor: str, name: str) -> None:
    mapping, resource = mapping_named(vendor), sent_by(vendor)[name]
    before = copy.deepcopy(resource)
    for at in (SOURCE, source()):
        back = taken_back(mapping, resource, at)
        assert resource == before
        if back is None:
            assert mapping.writes.get(resource["resourceType"], "none") == "none"
        else:
            drops = OWN_META if vendor == "medplum" else frozenset()
            assert back == as_it_takes_it(resource, drops)
            assert write_json(back).count(".") == write_json(as_it_takes_it(resource, drops)).count(".")


@pytest.mark.parametrize(("vendor", "name"), CASES)
def test_what_comes_is_right_fhir_here_and_its_references_lead_to_what_is_here(vendor: str, name: str) -> None:
    resource = sent_by(vendor)[name]
    fresh = mapping_named(vendor).to_tracker(resource, SOURCE)
    assert fresh["id"] == f"clinic-{resource['id']}"
    assert fresh["meta"]["source"] == f"{BASE}/{resource['resourceType']}/{resource['id']}"
    if vendor != "us_core":  # The published examples refer to things of profiles that are not checked here.
        assert not [issue for issue in check(read_resource(write_json(fresh).encode())) if issue.severity == "error"]


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=8)
    | st.sampled_from(
        ["booked", "scheduled", "completed", "not-done", "local", "away", "7", "Task/1", f"{BASE}/Task/1"]
    )
    | st.sampled_from([CODE_SENT, UNMAPPED_CODE, MAPPED_CODE])
)
NAMES = st.sampled_from(
    "reference coding code system extension url valueString valueCode text id meta contained tag display".split()
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=15
)
FIELDS = st.sampled_from(
    "status _status statusReason medium serviceType appointmentType cancelationReason about basedOn meta id subject "
    "extension contained text".split()
)
TYPES = st.sampled_from(["Appointment", "Task", "Communication", "CarePlan", "Patient", "Nonsense"])


@given(st.sampled_from(mapping_names()), TYPES, st.dictionaries(FIELDS, TREES, max_size=7))
@settings(max_examples=400, deadline=None)
def test_no_input_makes_it_raise_anything_but_its_own_errors(vendor: str, type_: str, members: dict[str, Any]) -> None:
    resource = {"resourceType": type_, "id": "x", **members}
    before = copy.deepcopy(resource)
    mapping = mapping_named(vendor)
    try:
        fresh = mapping.to_tracker(resource, source())
    except TrackerError:
        assert resource == before
        return
    assert resource == before
    assert mapping.to_tracker(resource, source()) == fresh
    here = copy.deepcopy(fresh)
    mapping.to_ehr(fresh, source())
    assert fresh == here


CODINGS = st.fixed_dictionaries(
    {"code": st.sampled_from(["7", "away", "other", "rang out", "call", "PHONE", "new"])},
    optional={
        "system": st.sampled_from(
            ["local", "http://terminology.hl7.org/CodeSystem/v3-ParticipationMode", "urn:oid:1.2.840.114350.9", "urn:x"]
        ),
        "display": st.text(max_size=5),
        "extension": st.just([{"url": "urn:theirs", "valueDecimal": 1}]),
    },
)
CONCEPTS = st.fixed_dictionaries({}, optional={"coding": st.lists(CODINGS, max_size=3), "text": st.text(max_size=5)})
STATUS = st.sampled_from(["booked", "scheduled", "checked out", "cancelled"])
VISITS = st.fixed_dictionaries(
    {
        "resourceType": st.just("Appointment"),
        "id": st.from_regex(r"[A-Za-z0-9.\-]{1,50}", fullmatch=True),
        "status": STATUS,
    },
    optional={
        "_status": st.just({"id": "s", "extension": [{"url": "urn:theirs", "valueCode": "x"}]}),
        "serviceType": st.lists(CONCEPTS, min_size=1, max_size=2),
        "appointmentType": CONCEPTS,
        "cancelationReason": CONCEPTS,
        "extension": st.just([{"url": "urn:theirs", "valueDecimal": 1}]),
        "participant": st.just([{"actor": {"reference": "Patient/1"}, "status": "accepted"}]),
    },
)


@given(st.sampled_from(["epic", "oracle_health", "hapi", "medplum", "generic"]), VISITS)
@settings(max_examples=300, deadline=None)
def test_any_visit_goes_back_as_it_came_under_any_table(vendor: str, visit: dict[str, Any]) -> None:
    mapping = mapping_named(vendor)
    for at in (SOURCE, source()):
        try:
            fresh = mapping.to_tracker(visit, at)
        except Incorrect:
            assert at is SOURCE
            assert visit["status"] not in status_codes("Appointment")
            continue
        assert fresh["status"] in status_codes("Appointment")
        assert mapping.to_ehr(fresh, at) in (None, visit)


@pytest.mark.parametrize("vendor", mapping_names())
def test_decimals_and_extensions_that_nobody_knows_come_through_to_the_digit(vendor: str) -> None:
    text = (
        '{"resourceType":"QuestionnaireResponse","id":"q","status":"completed","_status":{"id":"s"},'
        '"extension":[{"url":"urn:theirs","valueDecimal":1.00}],"item":[{"linkId":"1","answer":[{"valueDecimal":0.10}]}]}'
    )
    resource = read_resource(text.encode())
    mapping = mapping_named(vendor)
    fresh = mapping.to_tracker(resource, SOURCE)
    assert '"valueDecimal":1.00' in write_json(fresh)
    back = mapping.to_ehr(fresh, SOURCE)
    if back is None:
        assert "QuestionnaireResponse" not in mapping.writes
    else:
        assert write_json(back) == write_json(resource)
        assert content_hash(back) == content_hash(resource)


@pytest.mark.parametrize("vendor", mapping_names())
@pytest.mark.parametrize(
    "hostile",
    [
        {"id": "x"},
        {"resourceType": "Task"},
        {"resourceType": "Task", "id": 7},
        {"resourceType": ["Task"], "id": "x"},
        {"resourceType": "Task", "id": "x"},
        {"resourceType": "Task", "id": "x", "status": "requested", "meta": []},
        {"resourceType": "Task", "id": "x", "status": ["requested"]},
        {"resourceType": "Task", "id": "x", "status": "x" * 10_000},
    ],
    ids=["no type", "no id", "number", "list", "nothing", "meta", "status", "endless"],
)
def test_what_cannot_be_used_is_refused_in_words(vendor: str, hostile: dict[str, Any]) -> None:
    with pytest.raises(Incorrect) as refused:
        mapping_named(vendor).to_tracker(hostile, SOURCE)
    assert len(refused.value.message) < 200


def test_ids_of_two_connections_stay_apart_on_the_way_back() -> None:
    north = Source(key="north", base_url=BASE)
    mapping = mapping_named("hapi")
    task = {"resourceType": "Task", "status": "requested", "for": {"reference": "Patient/2"}}
    here = mapping.to_tracker({**task, "id": "1"}, SOURCE)
    back = mapping.to_ehr(here, north)
    assert back == {**task, "for": {"reference": "Patient/clinic-2"}}
