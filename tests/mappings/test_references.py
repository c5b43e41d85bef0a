"""Every form a reference can have, and ids of every kind: what points into the connection becomes local, all else stays."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.fhir.identity import is_legal_id, local_id
from fhir_tracker.fhir.references import ReferenceKind, parse_reference
from mappings import Source, local_reference

SOURCE = Source(key="clinic", base_url="https://ehr.example/fhir")
BASE = SOURCE.base_url
KEYS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True)
LEGAL = st.from_regex(r"[A-Za-z0-9\-.]{1,64}", fullmatch=True)
ANY_ID = LEGAL | st.text(
    st.characters(codec="utf-8", exclude_characters="/?#", exclude_categories=["Z", "C"]), min_size=1, max_size=80
)

LOCAL = [
    ("relative", "Patient/1", "Patient/clinic-1"),
    ("relative, versioned", "Patient/1/_history/2", "Patient/clinic-1"),
    ("absolute", f"{BASE}/Patient/1", "Patient/clinic-1"),
    ("absolute, versioned", f"{BASE}/Patient/1/_history/abc", "Patient/clinic-1"),
    ("with a fragment", "Questionnaire/q#7.1", "Questionnaire/clinic-q#7.1"),
    ("absolute with version and fragment", f"{BASE}/Questionnaire/q/_history/1#g", "Questionnaire/clinic-q#g"),
    ("with an empty fragment", "Patient/1#", "Patient/clinic-1#"),
    ("id with dots", "Patient/a.b.c", "Patient/clinic-a.b.c"),
    ("id with capitals", "Patient/AbC", "Patient/clinic-AbC"),
    ("id that is a UUID", "Patient/6b1b1f2e-3f2a-4b8e-9a5e-0a3a1d2b3c4d", "Patient/clinic-6b1b1f2e-3f2a-4b8e-9a5e-0a3a1d2b3c4d"),
    ("id that looks mapped already", "Patient/clinic-1", "Patient/clinic-clinic-1"),
    ("id that is a type", "Patient/Patient", "Patient/clinic-Patient"),
    ("id called _history", "Patient/_history", "Patient/" + local_id("clinic", "_history", "Patient")),
    ("a type without meaning for us", "VisionPrescription/1", "VisionPrescription/clinic-1"),
    ("a type with lower case inside", "CareTeam/1", "CareTeam/clinic-1"),
    ("absolute, host in capitals", "https://EHR.Example/fhir/Patient/1", "Patient/clinic-1"),
    ("absolute, scheme in capitals", "HTTPS://ehr.example/fhir/Patient/1", "Patient/clinic-1"),
    ("absolute, usual port", "https://ehr.example:443/fhir/Patient/1/_history/2", "Patient/clinic-1"),
    ("absolute, without encryption", "http://ehr.example/fhir/Patient/1", "Patient/clinic-1"),
    ("absolute, without encryption, usual port", "http://ehr.example:80/fhir/Patient/1", "Patient/clinic-1"),
]  # fmt: skip

UNTOUCHED = [
    ("empty", ""),
    ("space", " "),
    ("a type alone", "Patient"),
    ("no id", "Patient/"),
    ("no type", "/1"),
    ("lower case type", "patient/1"),
    ("unknown type", "Pirate/1"),
    ("three parts", "Patient/1/2"),
    ("history without version", "Patient/1/_history"),
    ("history with empty version", "Patient/1/_history/"),
    ("compartment", "Patient/1/Observation/2"),
    ("operation", "Patient/1/$everything"),
    ("contained", "#pat"),
    ("the container itself", "#"),
    ("urn uuid", "urn:uuid:6b1b1f2e-3f2a-4b8e-9a5e-0a3a1d2b3c4d"),
    ("urn oid", "urn:oid:1.2.3"),
    ("conditional", "Patient?identifier=urn:x|1"),
    ("conditional, absolute", f"{BASE}/Patient?identifier=1"),
    ("another host", "https://other.example/fhir/Patient/1"),
    ("another port", "https://ehr.example:444/fhir/Patient/1"),
    ("another scheme on another port", "http://ehr.example:443/fhir/Patient/1"),
    ("another path by its case", "https://ehr.example/FHIR/Patient/1"),
    ("a host with a dot at its end", "https://ehr.example./fhir/Patient/1"),
    ("a port that is none", "https://ehr.example:99999/fhir/Patient/1"),
    ("an endless port", "https://ehr.example:000443443/fhir/Patient/1"),
    ("ftp", "ftp://ehr.example/fhir/Patient/1"),
    ("nobody before the host", "https://@ehr.example/fhir/Patient/1"),
    ("a back slash", "https://ehr.example\\fhir/Patient/1"),
    ("another base on the host", "https://ehr.example/fhir/r4/Patient/1"),
    ("a base that only begins like ours", "https://ehr.example/fhir2/Patient/1"),
    ("a host that only begins like ours", "https://ehr.example.evil.example/fhir/Patient/1"),
    ("user before the host", "https://ehr.example@evil.example/fhir/Patient/1"),
    ("the base alone", BASE),
    ("the base with a slash", BASE + "/"),
    ("a path that climbs", f"{BASE}/../Patient/1"),
    ("no scheme", "//ehr.example/fhir/Patient/1"),
    ("javascript", "javascript:alert(1)"),
    ("a file", "file:///etc/passwd"),
    ("a new line", "Patient/1\n"),
    ("a space inside", "Patient/1 2"),
    ("a query", "Patient/1?x=1"),
    ("a binary in a query", f"{BASE}?Patient/1"),
    ("an endless id", "Patient/" + "x" * 256),
]


@pytest.mark.parametrize(("sent", "here"), [row[1:] for row in LOCAL], ids=[row[0] for row in LOCAL])
def test_a_reference_into_the_connection_becomes_local(sent: str, here: str) -> None:
    assert local_reference(sent, SOURCE) == here
    assert local_reference(here, Source(key="north", base_url=BASE)) != here


@pytest.mark.parametrize("itself", ["http://node-7.internal:8080/r4", "http://NODE-7.internal:8080/r4/"])
def test_a_server_is_also_what_it_calls_itself(itself: str) -> None:
    inside = Source(key="clinic", base_url=BASE, calls_itself=itself)
    for sent in ("http://node-7.internal:8080/r4/Patient/1", f"{BASE}/Patient/1/_history/7", "Patient/1"):
        assert local_reference(sent, inside) == "Patient/clinic-1"
    for sent in (
        "http://node-7.internal/r4/Patient/1",
        "http://node-7.internal:8080/r4b/Patient/1",
        "http://x/r4/Patient/1",
    ):
        assert local_reference(sent, inside) == sent
    for odd in ("", "node-7", "urn:uuid:1", "http://", "http://:80/", "https://[::1"):
        assert local_reference("https://other.example/fhir/Patient/1", replace(inside, calls_itself=odd)).startswith(
            "https"
        )


@pytest.mark.parametrize("sent", [row[1] for row in UNTOUCHED], ids=[row[0] for row in UNTOUCHED])
def test_every_other_reference_stays_to_the_letter(sent: str) -> None:
    assert local_reference(sent, SOURCE) == sent


@pytest.mark.parametrize("type_", sorted(resource_types()))
def test_each_type_of_fhir_can_be_pointed_to(type_: str) -> None:
    for sent in (f"{type_}/1", f"{BASE}/{type_}/1", f"{type_}/1/_history/9"):
        assert local_reference(sent, SOURCE) == f"{type_}/clinic-1"


@given(ANY_ID)
def test_a_reference_has_the_id_that_its_target_gets_whatever_comes_first(remote_id: str) -> None:
    here = local_id("clinic", remote_id, "Patient")
    assert is_legal_id(here)
    for sent in (f"Patient/{remote_id}", f"{BASE}/Patient/{remote_id}", f"Patient/{remote_id}/_history/3"):
        assert local_reference(sent, SOURCE) == f"Patient/{here}"
    assert parse_reference(f"Patient/{here}").kind is ReferenceKind.RELATIVE


@given(st.text(max_size=120))
def test_no_text_makes_it_raise_and_what_it_makes_is_local_or_the_same(text: str) -> None:
    here = local_reference(text, SOURCE)
    assert here == text or re.fullmatch(r"[A-Z][A-Za-z]+/clinic-[A-Za-z0-9\-.]{1,57}(#\S*)?", here)


@given(ANY_ID, ANY_ID)
def test_two_remote_ids_are_two_ids_here(first: str, second: str) -> None:
    assert (local_id("clinic", first, "Patient") == local_id("clinic", second, "Patient")) == (first == second)


@given(KEYS, KEYS, LEGAL, LEGAL)
def test_two_connections_never_make_one_id_unless_one_key_continues_the_other(
    one: str, two: str, first: str, second: str
) -> None:
    apart = one != two and not one.startswith(f"{two}-") and not two.startswith(f"{one}-")
    if apart:
        assert local_id(one, first, "Patient") != local_id(two, second, "Patient")


def test_a_key_that_continues_another_would_make_its_ids() -> None:
    assert local_id("clinic", "b-1", "Patient") == local_id("clinic-b", "1", "Patient")


@given(ANY_ID)
def test_an_id_that_has_to_be_digested_differs_from_type_to_type(remote_id: str) -> None:
    patient, task = local_id("clinic", remote_id, "Patient"), local_id("clinic", remote_id, "Task")
    assert (patient == task) == (patient == f"clinic-{remote_id}")


@pytest.mark.parametrize(
    ("remote_id", "plain"),
    [
        ("1", True),
        ("x" * 57, True),
        ("x" * 58, False),
        ("a_b", False),
        ("ä", False),
        ("a:b", False),
        ("a%20b", False),
        ("-", True),
        (".", True),
        ("A" * 20, True),
    ],
)
def test_a_remote_id_is_kept_readable_where_the_rules_allow(remote_id: str, plain: bool) -> None:
    here = local_id("clinic", remote_id, "Patient")
    assert (here == f"clinic-{remote_id}") is plain
    assert plain or re.fullmatch(r"clinic-[a-z2-7]{52}", here)
