"""Pages as servers send them: what is believed of the envelope, how entries are cut out, and what a refusal says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import RemoteFailure
from subscriptions.bundles import Page, is_outcome, outcome_codes, read_object, read_page, refuse
from subscriptions.client import Answer

URL = "https://ehr.example/fhir/Patient?_count=2"
NOON = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)


def answer(
    body: object, *, status: int = 200, content_type: str = "application/fhir+json", at: datetime | None = NOON
) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    return Answer(status=status, url=URL, body=text.encode(), content_type=content_type, served_at=at)


def page(kind: str = "searchset", at: datetime | None = NOON, **members: Any) -> Page:
    return read_page(answer({"resourceType": "Bundle", "type": kind, **members}, at=at), kind)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"resourceType": "Patient"}, "no Bundle"),
        ({"resourceType": ["Bundle"]}, "no Bundle"),
        ({}, "no Bundle"),
        ({"resourceType": "Bundle"}, "not a searchset"),
        ({"resourceType": "Bundle", "type": "history"}, "not a searchset"),
        ({"resourceType": "Bundle", "type": 7}, "not a searchset"),
        ({"resourceType": "Bundle", "type": "searchset", "entry": {}}, "entry is not a list"),
        ({"resourceType": "Bundle", "type": "searchset", "entry": "x"}, "entry is not a list"),
        ({"resourceType": "Bundle", "type": "searchset", "link": 7}, "link is not a list"),
        ({"resourceType": "OperationOutcome", "issue": [{"code": "throttled"}]}, "(OperationOutcome throttled)"),
        ({"resourceType": "OperationOutcome", "issue": "x"}, "(OperationOutcome)"),
    ],
)
def test_what_is_no_page_is_refused_for_good(body: object, said: str) -> None:
    with pytest.raises(RemoteFailure) as caught:
        read_page(answer(body), "searchset")
    assert said in caught.value.message
    assert caught.value.permanent


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '{"a":1} {"b":2}', "{'a':1}", '{"a"', "{" * 5000])
def test_what_is_no_complete_object_may_be_had_another_time(body: str) -> None:
    with pytest.raises(RemoteFailure, match="not complete JSON") as caught:
        read_object(answer(body))
    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("content_type", "shown"),
    [
        ("text/html", "text/html"),
        ("", "no content type"),
        ("application/xml", "application/xml"),
        ("<script>alert(1)</script>", "no content type"),
        ("x" * 500, "no content type"),
        ("a b", "no content type"),
    ],
)
def test_another_content_type_is_named_only_if_it_is_one(content_type: str, shown: str) -> None:
    with pytest.raises(RemoteFailure) as caught:
        read_object(answer("{}", content_type=content_type))
    assert caught.value.message == f"The server answered with {shown} instead of FHIR JSON; is it a login page?"


@pytest.mark.parametrize("content_type", ["application/fhir+json", "application/json", "application/json+fhir"])
def test_every_name_for_fhir_json_is_taken(content_type: str) -> None:
    assert read_object(answer('{"a": 1.00}', content_type=content_type)) == {"a": b"1.00"}


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(201, False), (204, False), (304, False), (400, True), (401, False), (403, True), (404, True), (406, True), (408, False),
     (410, True), (412, True), (422, True), (425, False), (429, False), (500, False), (502, False), (503, False), (504, False)],
)  # fmt: skip
def test_a_status_other_than_200_says_whether_to_try_again(status: int, permanent: bool) -> None:
    with pytest.raises(RemoteFailure, match=f"answered {status}") as caught:
        refuse(answer("", status=status))
    assert caught.value.permanent is permanent


def test_a_refusal_carries_codes_and_hint_but_no_free_text() -> None:
    issue = {
        "severity": "error",
        "code": "login",
        "diagnostics": "HAPI-0417: patient CANARY is unknown",
        "details": {"text": "CANARY", "coding": [{"code": "4101"}, {"code": "CANARY with spaces"}, {"code": 7}]},
    }
    with pytest.raises(RemoteFailure) as caught:
        refuse(answer({"resourceType": "OperationOutcome", "issue": [issue]}, status=401))
    assert caught.value.message == (
        "The server answered 401 (OperationOutcome login 4101 HAPI-0417): it refused our credentials; "
        "fhir-tracker connection test says what it has to know of us."
    )


@pytest.mark.parametrize(
    "issues",
    [
        None,
        {},
        "x",
        [],
        [7],
        [None],
        [{}],
        [{"code": 7}],
        [{"details": "x"}],
        [{"details": {"coding": [7]}}],
        [{"diagnostics": {}}],
    ],
)
def test_an_outcome_of_any_shape_is_read_without_raising(issues: object) -> None:
    raw = json.dumps({"resourceType": "OperationOutcome", "issue": issues}).encode()
    assert outcome_codes(raw) == ""


def test_few_codes_are_kept_and_none_twice() -> None:
    issues = [{"code": f"c{number % 9}"} for number in range(50)]
    assert outcome_codes(json.dumps({"issue": issues}).encode()) == "c0 c1 c2 c3 c4 c5"


@pytest.mark.parametrize(
    ("links", "following"),
    [
        ([], None),
        ([{"relation": "next"}], None),
        ([{"relation": "next", "url": ""}], None),
        ([{"relation": "next", "url": 7}], None),
        ([{"relation": "self", "url": URL}], None),
        ([{"relation": "next", "url": "https://x/y?z"}], "https://x/y?z"),
        ([{"relation": "next", "url": "?page=2"}], "https://ehr.example/fhir/Patient?page=2"),
        ([{"relation": "next", "url": "Patient?page=2"}], "https://ehr.example/fhir/Patient?page=2"),
        ([{"relation": "next", "url": "/other?page=2"}], "https://ehr.example/other?page=2"),
        ([{"relation": "next", "url": "//evil.example/x"}], "https://evil.example/x"),
        ([{"relation": "next", "url": "?a"}, {"relation": "next", "url": "?b"}], "https://ehr.example/fhir/Patient?a"),
        ([7, None, "x", {"url": "?x"}, {"relation": "next", "url": "?a"}], "https://ehr.example/fhir/Patient?a"),
    ],
)
def test_the_next_page_is_where_its_link_says_relative_or_not(links: list[Any], following: str | None) -> None:
    assert page(link=links).next_url == following


@pytest.mark.parametrize(
    ("stamp", "date", "as_of"),
    [
        (None, NOON, NOON),
        (None, None, None),
        ("2024-05-06T11:59:00Z", NOON, NOON.replace(hour=11, minute=59)),
        ("2024-05-06T12:30:00Z", NOON, NOON),
        ("2024-05-06T12:30:00Z", None, NOON.replace(minute=30)),
        ("2024-05-06T13:30:00+02:00", NOON, NOON.replace(hour=11, minute=30)),
        ("yesterday", NOON, NOON),
        (7, NOON, NOON),
        ("", None, None),
    ],
)
def test_a_page_describes_the_earlier_of_the_moments_its_server_names(
    stamp: object, date: datetime | None, as_of: datetime | None
) -> None:
    found = page(at=date, meta={"lastUpdated": stamp} if stamp is not None else {})
    assert (found.as_of, found.served_at) == (as_of, date)


def test_entries_are_cut_out_to_the_letter() -> None:
    sent = '{ "resourceType":"Patient", "id":"a" , "x":1.00, "y":"\\u00e9é" }'
    body = f'{{"resourceType":"Bundle","type":"searchset","entry":[{{"resource":{sent},"search":{{"mode":"match"}}}}]}}'
    (entry,) = read_page(answer(body), "searchset").entries
    assert entry.raw == sent.encode()
    assert (entry.mode, entry.problem) == ("match", "")


def test_a_history_entry_brings_method_place_version_and_moment() -> None:
    told = {
        "fullUrl": "urn:uuid:1",
        "request": {"method": "delete", "url": "Patient/1"},
        "response": {"etag": 'W/"3"', "lastModified": "2024-05-06T12:00:00Z"},
    }
    (entry,) = page("history", entry=[told]).entries
    assert (entry.method, entry.location, entry.etag, entry.modified, entry.raw) == (
        "DELETE", "Patient/1", 'W/"3"', "2024-05-06T12:00:00Z", b"",
    )  # fmt: skip


@pytest.mark.parametrize("odd", [7, None, "x", [], True])
def test_an_entry_that_is_no_object_is_told_alone(odd: object) -> None:
    good = {"resource": {"resourceType": "Patient", "id": "a"}}
    first, second, third = page(entry=[good, odd, good]).entries
    assert (first.problem, second.problem, third.problem) == ("", "the entry is not an object", "")


@pytest.mark.parametrize("member", ["search", "request", "response"])
@pytest.mark.parametrize(
    "odd", [7, None, "x", [], {"mode": 7, "method": [], "url": {}, "etag": 1, "lastModified": True}]
)
def test_the_parts_of_an_entry_may_have_any_shape(member: str, odd: object) -> None:
    (entry,) = page(entry=[{member: odd}]).entries
    assert (entry.mode, entry.method, entry.location, entry.etag, entry.modified) == ("", "", "", "", "")


@pytest.mark.parametrize(
    ("entry", "word"),
    [
        ({"search": {"mode": "outcome"}, "resource": {}}, True),
        ({"resource": {"resourceType": "OperationOutcome"}}, True),
        ({"resource": {"resourceType": "Patient", "x": "OperationOutcome"}}, False),
        ({"resource": {"resourceType": "Patient"}, "search": {"mode": "match"}}, False),
        ({}, False),
    ],
)
def test_a_word_about_the_answer_is_told_from_a_part_of_it(entry: dict[str, Any], word: bool) -> None:
    (found,) = page(entry=[entry]).entries
    assert is_outcome(found) is word


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["resource", "search", "link", "entry", "meta", "relation", "url", "id"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["link", "entry", "meta", "total", "signature"]), JSON, max_size=5))
@settings(max_examples=300, deadline=None)
def test_any_bundle_is_a_page_or_a_remote_failure(members: dict[str, Any]) -> None:
    try:
        found = page(**members)
    except RemoteFailure:
        assert not all(isinstance(members.get(name, []), list) for name in ("link", "entry"))
    else:
        assert len(found.entries) == len(members.get("entry", []))


@given(st.binary(max_size=120))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_page_or_a_remote_failure(raw: bytes) -> None:
    sent = Answer(status=200, url=URL, body=raw, content_type="application/fhir+json", served_at=None)
    with pytest.raises(RemoteFailure):
        read_page(sent, "searchset")
