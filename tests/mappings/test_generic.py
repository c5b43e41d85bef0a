from __future__ import annotations

import copy
import re

import pytest

from fhir_tracker.fhir.body import read_resource, write_json
from mappings import Source, local_reference, mapping_named

SOURCE = Source(key="clinic", base_url="https://ehr.example/fhir")
LONG = "x" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", "Patient/clinic-1"),
        ("Patient/1/_history/7", "Patient/clinic-1"),
        ("https://ehr.example/fhir/Patient/1", "Patient/clinic-1"),
        ("https://ehr.example/fhir/Patient/1/_history/7", "Patient/clinic-1"),
        ("https://ehr.example/fhir/Questionnaire/q#item", "Questionnaire/clinic-q#item"),
        ("https://ehr.example/fhir2/Patient/1", "https://ehr.example/fhir2/Patient/1"),
        ("https://ehr.example:8443/fhir/Patient/1", "https://ehr.example:8443/fhir/Patient/1"),
        ("http://other.example/fhir/Patient/1", "http://other.example/fhir/Patient/1"),
        ("#contained", "#contained"),
        ("urn:uuid:6b1b1f2e-3f2a-4b8e-9a5e-0a3a1d2b3c4d", "urn:uuid:6b1b1f2e-3f2a-4b8e-9a5e-0a3a1d2b3c4d"),
        ("Patient?identifier=1", "Patient?identifier=1"),
        ("Nonsense/1", "Nonsense/1"),
        ("Patient/", "Patient/"),
        ("", ""),
    ],
)
def test_references_into_the_connection_become_local_and_others_stay(text: str, expected: str) -> None:
    assert local_reference(text, SOURCE) == expected


def test_a_remote_id_that_makes_no_legal_id_is_digested_the_same_way_in_id_and_reference() -> None:
    generic = mapping_named("generic")
    fresh = generic.to_tracker({"resourceType": "Patient", "id": LONG}, SOURCE)
    assert re.fullmatch(r"clinic-[a-z2-7]{52}", fresh["id"])
    assert local_reference(f"Patient/{LONG}", SOURCE) == f"Patient/{fresh['id']}"
    assert local_reference("Patient/under_score", SOURCE).startswith("Patient/clinic-")


def test_only_id_source_and_references_change_and_the_argument_is_untouched() -> None:
    sent = """{"resourceType":"CarePlan","id":"p1","meta":{"versionId":"3","tag":[{"code":"synthetic"}],"source":"#abc"},
      "subject":{"reference":"Patient/1","display":"Patient/1"},"status":"active","intent":"plan",
      "contained":[{"resourceType":"Goal","id":"g","subject":{"reference":"Patient/1"}}],
      "extension":[{"url":"https://ehr.example/fhir/x","valueReference":{"reference":"Practitioner/9/_history/2"}},
                   {"url":"u","valueDecimal":1.00}],
      "goal":[{"reference":"#g"}],"_created":{"id":"e"},"period":{"start":"2024-01-01"}}"""
    resource = read_resource(sent.encode())
    before = copy.deepcopy(resource)
    fresh = mapping_named("generic").to_tracker(resource, SOURCE)
    assert resource == before
    assert fresh["id"] == "clinic-p1"
    assert fresh["meta"] == {**before["meta"], "source": "https://ehr.example/fhir/CarePlan/p1"}
    assert fresh["subject"] == {"reference": "Patient/clinic-1", "display": "Patient/1"}
    assert fresh["contained"][0]["id"] == "g"
    assert fresh["contained"][0]["subject"]["reference"] == "Patient/clinic-1"
    assert fresh["extension"][0]["url"] == "https://ehr.example/fhir/x"
    assert fresh["extension"][0]["valueReference"]["reference"] == "Practitioner/clinic-9"
    assert fresh["goal"] == before["goal"]
    assert '"valueDecimal":1.00' in write_json(fresh)
    assert list(fresh) == list(before)
