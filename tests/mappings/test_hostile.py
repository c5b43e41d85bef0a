"""Whatever an EHR sends, the mapping gives a copy with local id, source and references, changes nothing else, never raises."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.intake import Received, Unusable, read_entry
from mappings import Source, mapping_named, mapping_names

SOURCE = Source(key="clinic", base_url="https://ehr.example/fhir")
GENERIC = mapping_named("generic")
NAMES = st.sampled_from(
    "reference display identifier contained extension url resourceType id meta _id language education x".split()
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.text(max_size=12)
    | st.sampled_from(["Patient/1", "https://ehr.example/fhir/Task/2", "#a", "urn:uuid:1", "Patient/1/_history/2"])
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=25
)
RESOURCES = st.dictionaries(
    st.sampled_from(["owner", "focus", "extension", "contained", "text", "_status", "x"]), TREES, max_size=6
)


def translate(resource: Any) -> Any:
    return GENERIC.to_tracker(resource, SOURCE)


def without_references(value: Any) -> Any:
    """The value with every `reference` text blanked: what may not change at all."""
    if isinstance(value, dict):
        return {
            name: "" if name == "reference" and isinstance(member, str) else without_references(member)
            for name, member in value.items()
        }
    return [without_references(item) for item in value] if isinstance(value, list) else value


@given(RESOURCES)
@settings(max_examples=300, deadline=None)
def test_any_resource_is_translated_and_nothing_but_references_differs(members: dict[str, Any]) -> None:
    resource = {"resourceType": "Task", "id": "t", "status": "requested", **members}
    before = copy.deepcopy(resource)
    fresh = translate(resource)
    assert resource == before
    assert list(fresh)[: len(resource)] == list(resource)
    assert fresh["id"] == "clinic-t"
    assert fresh["meta"] == {"source": "https://ehr.example/fhir/Task/t"}
    for name in members:
        assert without_references(fresh[name]) == without_references(resource[name])
    assert translate(resource) == fresh


@given(RESOURCES)
@settings(max_examples=200, deadline=None)
def test_any_json_is_either_received_whole_or_unusable_with_a_reason(members: dict[str, Any]) -> None:
    raw = json.dumps({"resourceType": "Task", "id": "t", "status": "requested", **members})
    entry = read_entry(raw.encode(), "Task", translate)
    assert entry.body == raw
    if isinstance(entry, Received):
        assert entry.resource["id"] == "clinic-t"
    else:
        assert entry.reason


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_at_all_are_unusable_and_do_not_raise(raw: bytes) -> None:
    assert isinstance(read_entry(raw, "Task", translate), Unusable)


DEEP = "[" * 40 + '{"reference":"Patient/1"}' + "]" * 40

MEMBERS = [
    ("decimals", '"valueQuantity":{"value":1.00}', None),
    ("many digits", '"valueDecimal":0.10000000000000000000000000001', None),
    ("exponents", '"valueDecimal":1E2', None),
    ("negative zero", '"valueDecimal":-0.0', None),
    ("large whole numbers", '"valueInteger":123456789012345678901234567890', None),
    ("times with parts of seconds", '"effectiveDateTime":"2024-05-06T12:00:00.1234567+02:00"', None),
    ("primitive extensions", '"_status":{"extension":[{"url":"u","valueCode":"x"}]}', None),
    ("primitive extensions in lists", '"given":["a",null],"_given":[null,{"id":"g"}]', None),
    ("unknown members", '"vendorThing":{"a":[1,{"b":null}]}', None),
    ("empty containers", '"x":{},"y":[],"z":""', None),
    ("modifier extensions", '"modifierExtension":[{"url":"u","valueBoolean":true}]', None),
    ("narrative", '"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\">Patient/1</div>"}', None),
    ("a uri that only looks like a reference", '"url":"Patient/1","instantiatesUri":["Patient/1"]', None),
    ("a canonical", '"instantiatesCanonical":"https://ehr.example/fhir/PlanDefinition/p|1"', None),
    ("an identifier of a reference", '"subject":{"identifier":{"system":"urn:x","value":"Patient/1"}}', None),
    ("a reference that is no text", '"subject":{"reference":["Patient/1"]}', None),
    ("a reference that is null", '"subject":{"reference":null}', None),
    ("a reference", '"subject":{"reference":"Patient/1"}', '"subject":{"reference":"Patient/clinic-1"}'),
    ("a reference with its type and display", '"for":{"reference":"Patient/1","type":"Patient","display":"Patient/1"}',
     '"for":{"reference":"Patient/clinic-1","type":"Patient","display":"Patient/1"}'),
    ("references in lists", '"basedOn":[{"reference":"CarePlan/c"},{"reference":"#x"}]',
     '"basedOn":[{"reference":"CarePlan/clinic-c"},{"reference":"#x"}]'),
    ("references in extensions", '"extension":[{"url":"u","extension":[{"url":"v","valueReference":{"reference":"Task/1"}}]}]',
     '"extension":[{"url":"u","extension":[{"url":"v","valueReference":{"reference":"Task/clinic-1"}}]}]'),
    ("references in contained resources", '"contained":[{"resourceType":"Goal","id":"g","subject":{"reference":"Patient/1"}}]',
     '"contained":[{"resourceType":"Goal","id":"g","subject":{"reference":"Patient/clinic-1"}}]'),
    ("a contained id like a remote one", '"contained":[{"resourceType":"Patient","id":"1"}],"for":{"reference":"#1"}', None),
    ("references far down", f'"x":{DEEP}', f'"x":{DEEP.replace("Patient/1", "Patient/clinic-1")}'),
    ("an expression with a reference", '"condition":{"language":"text/fhirpath","reference":"Patient/1"}', None),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "here"), [row[1:] for row in MEMBERS], ids=[row[0] for row in MEMBERS])
def test_members_come_through_to_the_digit_and_only_references_change(sent: str, here: str | None) -> None:
    resource = read_resource(f'{{"resourceType":"Task","id":"t","status":"requested",{sent}}}'.encode())
    text = write_json(translate(resource))
    expected = here or sent
    assert text == (
        f'{{"resourceType":"Task","id":"clinic-t","status":"requested",{expected},"meta":{{"source":"https://ehr.example/fhir/Task/t"}}}}'
    )


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"source": "#theirs"},
        {"versionId": "7", "lastUpdated": "2024-05-06T12:00:00Z"},
        {"tag": [{"code": "a"}], "security": [{"code": "R"}], "profile": ["http://x"]},
        {"extension": [{"url": "u", "valueCode": "x"}], "_lastUpdated": {"id": "q"}},
    ],
)
def test_meta_is_kept_and_its_source_names_the_original(meta: dict[str, Any]) -> None:
    fresh = translate({"resourceType": "Patient", "id": "a_b", "meta": meta})
    assert fresh["meta"] == {**meta, "source": "https://ehr.example/fhir/Patient/a_b"}


@pytest.mark.parametrize("name", mapping_names())
def test_every_mapping_leaves_the_argument_and_its_hash_alone(name: str) -> None:
    resource: dict[str, Any] = {
        "resourceType": "Task",
        "id": "t",
        "status": "requested",
        "meta": {"tag": [{"code": "x"}]},
        "for": {"reference": "Patient/1"},
    }
    before, digest = copy.deepcopy(resource), content_hash(resource)
    fresh = mapping_named(name).to_tracker(resource, SOURCE)
    fresh["meta"]["versionId"] = "changed"
    assert resource == before
    assert content_hash(resource) == digest


@given(st.permutations([("Patient", "1"), ("CarePlan", "c"), ("Task", "t")]))
def test_the_order_of_arrival_changes_no_reference(order: list[tuple[str, str]]) -> None:
    links: dict[str, dict[str, Any]] = {"Patient": {}, "CarePlan": {"subject": {"reference": "Patient/1"}},
             "Task": {"for": {"reference": "Patient/1"}, "basedOn": [{"reference": "CarePlan/c"}]}}  # fmt: skip
    here: dict[str, Any] = {
        type_: translate({"resourceType": type_, "id": id_, "status": "completed", **links[type_]})
        for type_, id_ in order
    }
    assert here["CarePlan"]["subject"]["reference"] == f"Patient/{here['Patient']['id']}"
    assert here["Task"]["for"]["reference"] == f"Patient/{here['Patient']['id']}"
    assert here["Task"]["basedOn"] == [{"reference": f"CarePlan/{here['CarePlan']['id']}"}]
