"""Links between entries are rewritten where R4 allows one, in a copy (https://hl7.org/fhir/R4/http.html#trules)."""

from __future__ import annotations

import copy
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.bundle_references import (
    Links,
    Target,
    conditional_references,
    local_form,
    relinked,
    root_of,
)
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.references import walk_references
from tests.fhir.examples import examples

BASE = "https://tracker.example/fhir"
FAR = "https://ehr.example/fhir"
ID = "01a2030c-2263-7eac-a114-7e014c220b3a"
URN = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"
LINKS = Links(
    base=BASE,
    targets={
        URN: Target(ref=f"Patient/{ID}", version=1),
        "urn:oid:2.999.7": Target(ref="Patient/chosen"),
        "Patient/old": Target(ref=f"Patient/{ID}", version=1),
        f"{FAR}/Patient/7": Target(ref="Patient/there", version=4),
    },
    conditional={"Patient?identifier=a|b": "Patient/found"},
)


@pytest.mark.parametrize(
    ("text", "root", "stored"),
    [
        (URN, "", f"Patient/{ID}"),
        (f"{URN}/_history/9", "", f"Patient/{ID}/_history/1"),
        (f"{URN}#part", "", f"Patient/{ID}#part"),
        ("urn:oid:2.999.7", "", "Patient/chosen"),
        ("urn:oid:2.999.7/_history/3", "", "Patient/chosen/_history/3"),
        ("Patient/old", "", f"Patient/{ID}"),
        (f"{BASE}/Patient/old", "", f"Patient/{ID}"),
        ("Patient/other", "", "Patient/other"),
        (f"{BASE}/Patient/other", "", "Patient/other"),
        (f"{BASE}/other", "", f"{BASE}/other"),
        (f"{BASE}x/Patient/other", "", f"{BASE}x/Patient/other"),
        (f"{FAR}/Patient/7", "", "Patient/there"),
        (f"{FAR}/Patient/7/_history/2", "", "Patient/there/_history/4"),
        ("Patient/7", FAR, "Patient/there"),
        ("Patient/7", "", "Patient/7"),
        ("Patient/8", FAR, "Patient/8"),
        ("#contained", FAR, "#contained"),
        ("Patient?identifier=a|b", "", "Patient/found"),
        (f"{BASE}/Patient?identifier=a|b", "", "Patient/found"),
        ("", FAR, ""),
    ],
)
def test_a_reference_becomes(text: str, root: str, stored: str) -> None:
    resource: Resource = {"resourceType": "Basic", "subject": {"reference": text}}
    before = copy.deepcopy(resource)
    assert relinked(resource, LINKS, root)["subject"]["reference"] == stored
    assert resource == before


@pytest.mark.parametrize(
    ("member", "value", "stored"),
    [
        ("valueUri", URN, f"Patient/{ID}"),
        ("valueUrl", URN, f"Patient/{ID}"),
        ("valueUri", f"{BASE}/Patient/old", f"Patient/{ID}"),
        ("valueUuid", URN, f"urn:uuid:{ID}"),
        ("valueOid", URN, f"urn:oid:2.25.{UUID(ID).int}"),
        ("valueUuid", "urn:oid:2.999.7", "urn:oid:2.999.7"),
        ("valueOid", "urn:oid:2.999.7", "urn:oid:2.999.7"),
        ("valueCanonical", URN, URN),
        ("valueString", URN, URN),
        ("valueMarkdown", URN, URN),
        ("valueCode", URN, URN),
        ("valueId", URN, URN),
        ("valueUri", "urn:uuid:nobody", "urn:uuid:nobody"),
    ],
)
def test_an_element_becomes(member: str, value: str, stored: str) -> None:
    inner = {"url": "https://example.org/x", member: value}
    resource: Resource = {
        "resourceType": "Basic",
        "extension": [{"url": "https://example.org/y", "extension": [inner]}],
    }
    assert relinked(resource, LINKS, "")["extension"][0]["extension"][0][member] == stored


def test_names_of_things_stay() -> None:
    resource: Resource = {
        "resourceType": "ValueSet",
        "url": URN,
        "meta": {"profile": [URN], "source": URN},
        "extension": [{"url": URN, "valueReference": {"reference": URN}}],
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}],
    }
    stored = relinked(resource, LINKS, "")
    assert stored["url"] == URN
    assert stored["meta"] == {"profile": [URN], "source": f"Patient/{ID}"}
    assert stored["extension"] == [{"url": URN, "valueReference": {"reference": f"Patient/{ID}"}}]
    assert stored["identifier"] == resource["identifier"]


@pytest.mark.parametrize(
    ("attribute", "stored"),
    [
        (f'href="{URN}"', f'href="Patient/{ID}"'),
        (f"src = '{FAR}/Patient/7'", "src = 'Patient/there'"),
        (f'href="{FAR}&#x2F;Patient/7"', 'href="Patient/there"'),
        (f'href="{URN}#note"', f'href="Patient/{ID}#note"'),
        (f'title="{URN}"', f'title="{URN}"'),
        ('href="https://elsewhere.example"', 'href="https://elsewhere.example"'),
    ],
)
def test_a_link_of_a_narrative_becomes(attribute: str, stored: str) -> None:
    section = {
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><a {attribute}/></div>'}
    }
    resource: Resource = {"resourceType": "Composition", **section, "section": [section]}
    changed = relinked(resource, LINKS, "")
    assert stored in changed["text"]["div"]
    assert stored in changed["section"][0]["text"]["div"]


@pytest.mark.parametrize("text", ["urn:uuid:nobody", "urn:oid:1.2.3"])
def test_a_urn_that_no_entry_has_is_refused_by_its_place(text: str) -> None:
    resource: Resource = {"resourceType": "Basic", "extension": [{"url": "x", "valueReference": {"reference": text}}]}
    with pytest.raises(Incorrect) as caught:
        relinked(resource, LINKS, "")
    assert caught.value.issues[0].expression == "Basic.extension[0].valueReference.reference"


def test_bundles_stay_as_they_are() -> None:
    bundle: Resource = {"resourceType": "Bundle", "entry": [{"resource": {"subject": {"reference": URN}}}]}
    assert relinked(bundle, LINKS, "") is bundle
    parameters: Resource = {"resourceType": "Parameters", "parameter": [{"name": "x", "resource": bundle}]}
    assert relinked(parameters, LINKS, "") is parameters


def test_conditional_references_are_found_with_their_place() -> None:
    resource: Resource = {
        "resourceType": "Basic",
        "subject": {"reference": "Patient?identifier=a|b"},
        "author": {"reference": f"{BASE}/Patient?family=x"},
        "extension": [
            {"url": "x", "valueReference": {"reference": "Patient?identifier=a|b"}},
            {"url": "x", "valueReference": {"reference": "https://ehr.example/binary?x=1"}},
            {"url": "x", "valueReference": {"reference": "Nonsense?x=1"}},
            {"url": "x", "valueString": "Patient?x=1"},
        ],
    }
    assert conditional_references(resource, BASE) == {
        "Patient?identifier=a|b": "Basic.subject.reference",
        "Patient?family=x": "Basic.author.reference",
        "Nonsense?x=1": "Basic.extension[2].valueReference.reference",
    }


@pytest.mark.parametrize(
    ("full_url", "root"),
    [
        (f"{FAR}/Patient/7", FAR),
        ("http://ehr.example/Patient/7", "http://ehr.example"),
        (URN, ""),
        ("", ""),
        ("Patient/7", ""),
        ("https://ehr.example", ""),
    ],
)
def test_the_root_of_a_full_url(full_url: str, root: str) -> None:
    assert root_of(full_url) == root


def test_only_our_own_address_is_taken_off() -> None:
    assert local_form(f"{BASE}/Patient/1", BASE) == "Patient/1"
    assert local_form(f"{BASE}2/Patient/1", BASE) == f"{BASE}2/Patient/1"
    assert local_form(BASE, BASE) == BASE


@pytest.mark.parametrize("resource", list(examples()), ids=lambda one: f"{one['resourceType']}-{one.get('id')}")
def test_official_examples_without_links_come_back_themselves(resource: Resource) -> None:
    if any(one["reference"].startswith("urn:") for _, one in walk_references(resource)):
        return
    assert relinked(resource, LINKS, "") == resource


_json: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from([URN, "Patient/old", "#x"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["reference", "resourceType", "url", "div", "extension", "valueUri", "text", "contained"]),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=25,
)


@given(_json)
def test_no_shape_of_json_breaks_it_and_the_input_is_never_changed(value: Any) -> None:
    resource: Resource = {"resourceType": "Basic", "extension": value}
    before = copy.deepcopy(resource)
    relinked(resource, LINKS, FAR)
    assert resource == before
