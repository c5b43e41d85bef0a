"""The small readers of the API, each by its table: what is accepted, preferred, conditional, routed and joined.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fhir.bundles import address, bundle, match_entry, outcome_entry, version_entry
from api.fhir.history import page_size
from api.fhir.negotiation import (
    RETURNS,
    IfMatch,
    Preference,
    check_accepts,
    check_content_type,
    etag_of,
    http_date,
    if_match,
    is_unchanged,
    preference,
)
from api.fhir.routes import ROUTES, find_route
from fhir_tracker.errors import Incorrect, Issue, NotAcceptable, NotFound, UnknownType, UnsupportedMediaType
from fhir_tracker.fhir.body import read_resource, write_json
from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.definitions.registry import resource_types
from fhir_tracker.storage.history import PastVersion
from fhir_tracker.storage.resources import Op, Stored
from tests.fhir.examples import examples

NOW = datetime(2026, 3, 9, 14, 30, 15, 123456, tzinfo=UTC)


def passes(call: Callable[[], object], refusal: type[Exception]) -> bool:
    try:
        call()
    except refusal:
        return False
    return True


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("", True),
        ("*/*", True),
        ("application/*", True),
        ("application/fhir+json", True),
        ("APPLICATION/FHIR+JSON", True),
        ("application/json", True),
        ("text/json", True),
        ("application/json+fhir", True),
        ("application/fhir+json;q=0.1", True),
        ("application/fhir+json; charset=utf-8", True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", True),
        ("application/fhir+xml, application/fhir+json;q=0.5", True),
        ("application/fhir+json;q=1.0, application/fhir+xml;q=0.9", True),
        ("application/fhir+json;fhirVersion=4.0", True),
        ('application/fhir+json; fhirVersion="4.0.1"', True),
        ("application/fhir+json;fhirVersion=3.0, application/fhir+json;fhirVersion=4.0", True),
        ("application/fhir+json;fhirVersion=5.0", False),
        ("application/fhir+json;q=0", False),
        ("application/fhir+json;q=0.000", False),
        ("*/*;q=0", False),
        ("text/html", False),
        ("text/*", False),
        ("application/fhir+xml", False),
        ("application/fhir+xml;q=1, text/html", False),
        ("image/png", False),
        ("json", False),
        (",", False),
        ("application/", False),
    ],
)
def test_what_a_caller_may_accept(accept: str, taken: bool) -> None:
    assert passes(lambda: check_accepts(accept, []), NotAcceptable) is taken


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    ("formats", "taken"),
    [
        (["json"], True),
        (["JSON"], True),
        (["application/json"], True),
        (["application/fhir+json"], True),
        (["application/fhir json"], True),
        (["application/fhir+json; charset=utf-8"], True),
        (["text/json"], True),
        (["json", "json"], True),
        (["json", "xml"], False),
        (["xml"], False),
        (["ttl"], False),
        (["html"], False),
        (["application/fhir+xml"], False),
        (["jsonp"], False),
        ([" "], False),
    ],
)
def test_a_format_goes_before_the_header(formats: list[str], taken: bool) -> None:
    for accept in ("", "text/html", "application/fhir+xml", "application/json"):
        assert passes(lambda accept=accept: check_accepts(accept, formats), NotAcceptable) is taken  # type: ignore[misc]


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        ("application/fhir+json", True),
        ("application/json", True),
        ("Application/FHIR+JSON ; Charset=UTF-8", True),
        ('application/json; charset="utf-8"', True),
        ("application/json;charset=us-ascii", True),
        ("application/fhir+json;fhirVersion=4.0", True),
        ("application/fhir+json;fhirVersion=4.0.1", True),
        ("application/fhir+json;fhirVersion=4.3", False),
        ("application/json; charset=iso-8859-1", False),
        ("application/json; charset=utf-16", False),
        ("application/fhir+xml", False),
        ("application/json-patch+json", False),
        ("text/plain", False),
        ("multipart/form-data; boundary=x", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_what_a_body_may_be(content_type: str, taken: bool) -> None:
    assert passes(lambda: check_content_type(content_type), UnsupportedMediaType) is taken


@given(st.text(max_size=60))
def test_no_header_text_makes_the_readers_fail_otherwise_than_by_refusing(text: str) -> None:
    passes(lambda: check_accepts(text, []), NotAcceptable)
    passes(lambda: check_accepts("", [text]), NotAcceptable)
    passes(lambda: check_content_type(text), UnsupportedMediaType)
    passes(lambda: if_match(text), Incorrect)
    assert preference(text).returned in RETURNS
    assert is_unchanged('W/"1"', NOW, text, text) in (True, False)


@pytest.mark.requirement(10)
@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("", Preference()),
        ("return=minimal", Preference(returned="minimal")),
        ("return=representation", Preference()),
        ("return=OperationOutcome", Preference(returned="OperationOutcome")),
        ("RETURN=operationoutcome", Preference(returned="OperationOutcome")),
        ('return="minimal"', Preference(returned="minimal")),
        ("return = minimal", Preference(returned="minimal")),
        ("return=minimal, handling=strict", Preference(returned="minimal", strict=True)),
        ("handling=strict; return=minimal", Preference(returned="minimal", strict=True)),
        ("handling=lenient", Preference()),
        ("respond-async", Preference()),
        ("respond-async, wait=10, return=minimal", Preference(returned="minimal")),
        ("return=minimal, return=representation", Preference(returned="minimal")),
        ("return=everything", Preference()),
        ("strict", Preference()),
        ("handling", Preference()),
        (",;=,", Preference()),
    ],
)
def test_what_a_caller_may_prefer(prefer: str, expected: Preference) -> None:
    assert preference(prefer) == expected


NEVER = IfMatch()


@pytest.mark.requirement(40)
@pytest.mark.parametrize(
    ("header", "match"),
    [
        ("", None),
        ("*", IfMatch(anything=True)),
        ('W/"3"', IfMatch(versions=frozenset({3}))),
        ('"3"', IfMatch(versions=frozenset({3}))),
        (' W/"3" ', IfMatch(versions=frozenset({3}))),
        ('W/"3","4" , W/"x"', IfMatch(versions=frozenset({3, 4}))),
        ('W/"007"', NEVER),
        ('W/"0"', NEVER),
        ('W/"-1"', NEVER),
        ('W/"abc"', NEVER),
        ('""', NEVER),
        (f'"{"9" * 30}"', NEVER),
    ],
)
def test_which_version_a_condition_names(header: str, match: IfMatch | None) -> None:
    assert if_match(header) == match


@pytest.mark.parametrize(
    "header", ["3", "W/3", '"3', '3"', "**", '*, "1"', '"1",', '"1" "2"', 'w/"1"', '"a b"', '"a\x00"', "W/", " "]
)
def test_what_is_no_condition_is_refused(header: str) -> None:
    with pytest.raises(Incorrect, match="If-Match"):
        if_match(header)


@given(st.integers(1, 10**17))
def test_a_tag_given_out_names_its_version(version: int) -> None:
    assert if_match(etag_of(version)) == IfMatch(versions=frozenset({version}))
    assert is_unchanged(etag_of(version), None, etag_of(version), "")
    assert not is_unchanged(etag_of(version), None, etag_of(version + 1), "")


@pytest.mark.requirement(12)
@pytest.mark.parametrize(
    ("none_match", "since", "unchanged"),
    [
        ('W/"2"', "", True),
        ('"2"', "", True),
        ('"1", "2"', "", True),
        ("*", "", True),
        ('"1"', "", False),
        ("2", "", False),
        ('"1"', http_date(NOW), False),
        ("", http_date(NOW), True),
        ("", http_date(NOW + timedelta(seconds=1)), True),
        ("", http_date(NOW - timedelta(seconds=1)), False),
        ("", "Mon, 09 Mar 2026 14:30:15 GMT", True),
        ("", "Monday, 09-Mar-26 14:30:15 GMT", True),
        ("", "Mon, 09 Mar 2026 14:30:15", False),
        ("", "yesterday", False),
        ("", "0", False),
        ("", "", False),
    ],
)
def test_who_has_it_already(none_match: str, since: str, unchanged: bool) -> None:
    assert is_unchanged('W/"2"', NOW, none_match, since) is unchanged


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_date_given_out_is_understood_as_that_second(moment: datetime) -> None:
    assert is_unchanged('W/"1"', moment, "", http_date(moment))
    assert not is_unchanged('W/"1"', moment + timedelta(seconds=1), "", http_date(moment))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], 50), (["0"], 0), (["1"], 1), (["7", "9"], 7), (["1000"], 1000), (["1001"], 1000), (["9" * 18], 1000)],
)
def test_the_size_of_a_page(values: list[str], expected: int) -> None:
    assert page_size(values, 50, 1000) == expected


@pytest.mark.parametrize("value", ["-1", "1.5", "ten", "", "9" * 19, "٣", "1 "])
def test_what_is_no_size_is_refused(value: str) -> None:
    with pytest.raises(Incorrect):
        page_size([value], 50, 1000)


@pytest.mark.requirement(2)
@pytest.mark.parametrize("type_", sorted(resource_types()))
def test_every_type_has_the_same_routes(type_: str) -> None:
    paths = [(type_, "_search"), (type_,), (type_, "1"), (type_, "1", "_history"), (type_, "1", "_history", "2")]
    found = [find_route(path) for path in paths]
    templates = [("{type}", "_search"), ("{type}",), ("{type}", "{id}")]
    templates += [("{type}", "{id}", "_history"), ("{type}", "{id}", "_history", "{version}")]
    assert [route.template for route, _ in found] == templates
    assert [parts["type"] for _, parts in found] == [type_] * 5
    assert found[-1][1] == {"type": type_, "id": "1", "version": "2"}


@pytest.mark.requirement(32)
@pytest.mark.parametrize(
    "path", [("Patient", "1", "Task"), ("Device", "1", "*"), ("Encounter", "1", "Task", "_search")]
)
def test_a_compartment_has_addresses_of_its_own(path: tuple[str, ...]) -> None:
    if path[2] == "Task" and path[0] != "Patient":
        with pytest.raises(NotFound):
            find_route(path)
    else:
        assert find_route(path)[1] == {"type": path[0], "id": "1"}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (("Nope",), UnknownType),
        (("patient",), UnknownType),
        (("Nope", "1"), UnknownType),
        (("Resource", "1"), UnknownType),
        (("Patient", "1", "$everything", "x"), NotFound),
        (("Patient", "1", "x"), NotFound),
        (("_history", "1", "2", "3", "4"), NotFound),
        (("Patient", "1", "_history", "2", "3"), NotFound),
        (("Task", "1", "Patient"), NotFound),
        (("Patient", "1", "Medication"), NotFound),
        (("Patient", "1", "task"), NotFound),
        (("Patient", "1", "_search"), NotFound),
    ],
)
def test_other_addresses_lead_nowhere(path: tuple[str, ...], error: type[NotFound]) -> None:
    with pytest.raises(error):
        find_route(path)


def test_routes_have_names_without_ids_and_say_what_they_allow() -> None:
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)
    assert {"/fhir/", "/fhir/_history", "/fhir/{type}/_history", "/fhir/{type}/{id}/_history/{version}"} <= set(names)
    for route in ROUTES:
        assert set(route.allowed.split(", ")) - {"HEAD", ""} == set(route.actions)
        assert ("HEAD" in route.allowed) == ("GET" in route.actions)
    writing = {one.interaction for route in ROUTES for one in route.actions.values() if one.writes}
    assert {"create", "update", "delete"} <= writing
    assert not writing & {"read", "vread", "search-type", "history-instance", "history-type", "history-system"}


def stored(text: str) -> Stored:
    resource = json.loads(text)
    return Stored(
        k=1,
        type=resource["resourceType"],
        id=resource["id"],
        version=3,
        updated_at=NOW,
        deleted=False,
        body=text,
        patient=None,
        connection=None,
        remote_id=None,
        remote_version=None,
        content_hash=None,
    )


@pytest.mark.parametrize("mode", ["match", "include"])
def test_a_bundle_holds_the_stored_texts_byte_for_byte_and_is_valid(mode: str) -> None:
    sound = {(one["resourceType"], one["id"]): one for one in examples() if "id" in one and not check(one)}
    whole_texts = [write_json(one) for one in sound.values()]
    assert len(whole_texts) > 100
    texts = whole_texts[5:]
    spaced = [json.dumps(json.loads(text), ensure_ascii=True, indent=1) for text in whole_texts[:5]]
    entries = [match_entry("http://h/fhir", stored(text), mode) for text in (*texts, *spaced)]
    raw = bundle("searchset", entries, [("self", "http://h/fhir/X?a=b"), ("next", "http://h/fhir/X?_page=1")], NOW, 7)
    assert all(text.encode() in raw for text in (*texts, *spaced))
    whole = read_resource(raw)
    assert check(whole) == ()
    assert (whole["type"], whole["total"], len(whole["entry"])) == ("searchset", 7, len(entries))
    assert whole["meta"]["lastUpdated"] == "2026-03-09T14:30:15.123Z"
    assert [one["relation"] for one in whole["link"]] == ["self", "next"]
    for entry in whole["entry"]:
        body = entry["resource"]
        assert entry["fullUrl"] == f"http://h/fhir/{body['resourceType']}/{body['id']}"
        assert entry["search"] == {"mode": mode}


@pytest.mark.parametrize("total", [None, 0, 12])
def test_an_empty_bundle_has_no_entry_member(total: int | None) -> None:
    whole = read_resource(bundle("searchset", [], [("self", "http://h")], NOW, total))
    assert check(whole) == ()
    assert "entry" not in whole
    assert whole.get("total") == total


@pytest.mark.parametrize(
    ("op", "method", "url", "status"),
    [("create", "POST", "Basic", "201 Created"), ("update", "PUT", "Basic/b", "200 OK"), ("delete", "DELETE", "Basic/b", "204 No Content")],
)  # fmt: skip
def test_an_entry_of_a_history_says_what_was_asked_and_answered(op: Op, method: str, url: str, status: str) -> None:
    body = None if op == "delete" else '{"resourceType":"Basic","id":"b","code":{"text":"x"},"x":1.00}'
    number = 1 if op == "create" else 4
    version = PastVersion(k=1, type="Basic", id="b", version=number, updated_at=NOW, op=op, body=body)
    entry = version_entry("http://h/fhir", version)
    read = json.loads(entry)
    assert read["fullUrl"] == "http://h/fhir/Basic/b"
    assert read["request"] == {"method": method, "url": url}
    assert read["response"] == {"status": status, "etag": f'W/"{number}"', "lastModified": "2026-03-09T14:30:15.123Z"}
    assert ("resource" in read) == (op != "delete")
    assert body is None or body in entry


def test_what_came_into_being_again_was_put() -> None:
    again = PastVersion(
        k=1, type="Basic", id="b", version=3, updated_at=NOW, op="create", body='{"resourceType":"Basic"}'
    )
    entry = json.loads(version_entry("http://h/fhir", again))
    assert entry["request"] == {"method": "PUT", "url": "Basic/b"}
    assert entry["response"]["status"] == "201 Created"


def test_what_a_search_tells_about_itself_is_an_outcome() -> None:
    message = 'Not supported: "quoted" <b> \u2028 \\'
    entry = outcome_entry([Issue(message=message, code="not-supported", severity="warning")])
    whole = read_resource(bundle("searchset", [entry], [("self", "http://h")], NOW, 0))
    assert check(whole) == ()
    (read,) = whole["entry"]
    assert read["search"]["mode"] == "outcome"
    assert read["resource"]["issue"][0]["diagnostics"] == message


@given(st.lists(st.tuples(st.text(min_size=1, max_size=8), st.text(max_size=8)), max_size=5))
def test_a_link_carries_its_parameters_through(pairs: list[tuple[str, str]]) -> None:
    made = [
        (name.encode("utf-8", "replace").decode(), value.encode("utf-8", "replace").decode()) for name, value in pairs
    ]
    link = address("http://h/fhir", "Task", tuple(made))
    assert link.isascii()
    assert urlsplit(link).path == "/fhir/Task"
    assert parse_qsl(urlsplit(link).query, keep_blank_values=True) == made
