"""Formats, preferences, HEAD and request ids.

https://hl7.org/fhir/R4/http.html#mime-type
"""

from __future__ import annotations

import gzip
import json
import re

import httpx
import pytest

from tests.conformance.talk import FORM, JSON, Corner, issue_of

BODY = {"resourceType": "Patient", "gender": "other"}


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+json",
        "application/json",
        "application/fhir+json; fhirVersion=4.0",
        "application/fhir+json;charset=utf-8",
        "application/xml;q=0.1, application/fhir+json",
        "text/html, */*;q=0.1",
        "*/*",
        "application/*",
        "APPLICATION/FHIR+JSON",
        "application/fhir+json;q=0, application/json",
        "application/json;q=0, */*",
        "*/*;q=0, application/*",
        "application/fhir+json; fhirVersion=5.0, application/fhir+json; fhirVersion=4.0.1",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "",
    ],
)
def test_json_is_given_to_who_accepts_it(one_client: httpx.Client, accept: str) -> None:
    answer = one_client.get("/Patient?_count=1", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+xml",
        "text/turtle",
        "text/html",
        "application/fhir+json;q=0",
        "application/fhir+json;q=0, */*",
        "application/fhir+json;q=0.000, application/*;q=1",
        "application/*;q=0, */*",
        "*/*;q=0",
        "application/fhir+json; fhirVersion=5.0",
        "nonsense",
        ",",
    ],
)
def test_who_accepts_no_json_gets_406(one_client: httpx.Client, accept: str) -> None:
    issue_of(one_client.get("/Patient?_count=1", headers={"Accept": accept}), 406)


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    ("format_", "status"),
    [
        ("json", 200),
        ("application/json", 200),
        ("application/fhir%2Bjson", 200),
        ("application/fhir+json", 200),
        ("text/json", 200),
        ("application/fhir%2Bjson;fhirVersion=4.0", 200),
        ("application/fhir%2Bjson;fhirVersion=3.0", 406),
        ("xml", 406),
        ("text/xml", 406),
        ("application/xml", 406),
        ("application/fhir%2Bxml", 406),
        ("ttl", 406),
        ("html", 406),
    ],
)
def test_format_goes_before_accept(one_client: httpx.Client, format_: str, status: int) -> None:
    other = "application/fhir+xml" if status == 200 else "application/fhir+json"
    answer = one_client.get(f"/Patient?_count=1&_format={format_}", headers={"Accept": other})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/fhir+json")


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/fhir+json", 201),
        ("application/json", 201),
        ("application/fhir+json; charset=UTF-8", 201),
        ('application/fhir+json; charset="utf-8"', 201),
        ("application/fhir+json; charset=iso-8859-1", 415),
        ("application/fhir+json; charset=utf-16", 415),
        ("application/fhir+json; fhirVersion=3.0", 415),
        ("application/fhir+xml", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("nonsense", 415),
        ("", 415),
    ],
)
def test_only_json_in_utf_8_is_taken(one_client: httpx.Client, content_type: str, status: int) -> None:
    answer = one_client.post("/Patient", content=json.dumps(BODY), headers={"Content-Type": content_type})
    assert answer.status_code == status
    if status != 201:
        issue_of(answer, 415)


@pytest.mark.requirement(11, 16)
def test_the_format_of_a_posted_search_may_be_in_its_form(one_client: httpx.Client) -> None:
    refused = one_client.post("/Patient/_search", content="_count=1&_format=xml", headers=FORM)
    issue_of(refused, 406)
    taken = one_client.post("/Patient/_search?_format=json", content="_count=1", headers=FORM | {"Accept": "text/xml"})
    assert taken.status_code == 200


@pytest.mark.requirement(11)
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_a_packed_body_is_stored_as_it_was_before_packing(one_client: httpx.Client, encoding: str) -> None:
    packed = gzip.compress(json.dumps(BODY).encode())
    answer = one_client.post("/Patient", content=packed, headers=JSON | {"Content-Encoding": encoding})
    assert (answer.status_code, answer.json()["gender"]) == (201, "other")


@pytest.mark.requirement(14)
@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"{}", 415),
        ("gzip, gzip", b"{}", 415),
        ("gzip", b"{}", 400),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-3], 400),
        ("gzip", gzip.compress(b" " * 30_000_000, mtime=0), 413),
    ],
    ids=["other", "twice", "plain", "cut", "bomb"],
)
def test_a_body_packed_otherwise_or_too_large_is_refused(
    one_client: httpx.Client, encoding: str, body: bytes, status: int
) -> None:
    issue_of(one_client.post("/Patient", content=body, headers=JSON | {"Content-Encoding": encoding}), status)


@pytest.mark.requirement(1, 13)
def test_a_large_answer_is_packed_for_who_takes_it(one_client: httpx.Client) -> None:
    plain = one_client.get("/metadata", headers={"Accept-Encoding": "identity"})
    packed = one_client.get("/metadata", headers={"Accept-Encoding": "gzip"})
    refused = one_client.get("/metadata", headers={"Accept-Encoding": "gzip;q=0, *"})
    assert "content-encoding" not in plain.headers
    assert "content-encoding" not in refused.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 4
    assert packed.content == plain.content == refused.content
    assert {one.headers["vary"] for one in (plain, packed, refused)} == {"Accept-Encoding"}
    head = one_client.head("/metadata", headers={"Accept-Encoding": "gzip"})
    assert (head.headers["content-length"], head.content) == (packed.headers["content-length"], b"")


@pytest.mark.requirement(10)
@pytest.mark.parametrize("prefer", ["", "return=representation", "return=nonsense", "respond-async"])
def test_a_write_gives_the_resource_back_unless_told_otherwise(one_client: httpx.Client, prefer: str) -> None:
    answer = one_client.post("/Patient", content=json.dumps(BODY), headers=JSON | {"Prefer": prefer})
    assert (answer.status_code, answer.json()["gender"]) == (201, "other")


@pytest.mark.requirement(10)
def test_a_write_gives_back_what_was_preferred(one_client: httpx.Client) -> None:
    minimal = one_client.post("/Patient", content=json.dumps(BODY), headers=JSON | {"Prefer": "return=minimal"})
    assert (minimal.status_code, minimal.content) == (201, b"")
    assert minimal.headers["location"]
    assert minimal.headers["etag"] == 'W/"1"'
    outcome = one_client.post(
        "/Patient", content=json.dumps(BODY), headers=JSON | {"Prefer": "handling=strict, return=OperationOutcome"}
    )
    assert issue_of(outcome, 201)["severity"] == "information"


@pytest.mark.requirement(13)
def test_head_says_what_get_says_without_the_body(corner: Corner) -> None:
    corner.put("Patient", "p")
    address = f"/Patient/{corner.id('p')}"
    for path in (address, f"{address}/_history/1", f"{address}/_history", "/Patient?_count=1", "/metadata", "/Nope/1"):
        got, head = corner.client.get(path), corner.client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b"")
        for name in ("content-type", "etag", "last-modified"):
            assert head.headers.get(name) == got.headers.get(name), (path, name)


@pytest.mark.requirement(15)
def test_a_request_id_comes_back_and_a_missing_one_is_made(one_client: httpx.Client) -> None:
    assert one_client.get("/metadata", headers={"X-Request-Id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    first, second = (one_client.get("/Patient/none").headers["x-request-id"] for _ in range(2))
    assert first != second
    assert re.fullmatch("[0-9a-f]{16}", first)


@pytest.mark.requirement(15)
@pytest.mark.parametrize("given", ["a b", "<script>", "x" * 65, "../../x", "-x", "a;b"])
def test_a_request_id_of_a_strange_form_is_replaced(one_client: httpx.Client, given: str) -> None:
    assert re.fullmatch(
        "[0-9a-f]{16}", one_client.get("/metadata", headers={"X-Request-Id": given}).headers["x-request-id"]
    )


@pytest.mark.requirement(14)
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/Nope", 404),
        ("GET", "/Patient/none", 404),
        ("PATCH", "/Patient/none", 415),
        ("POST", "/Patient", 415),
        ("GET", "/Patient?birthdate=x", 400),
        ("GET", "/Patient?_format=xml", 406),
        ("GET", "//x", 404),
        ("GET", "/Patient//", 404),
        ("GET", "/Patient/../../etc/passwd", 404),
        ("GET", "/%2e%2e/metadata", 404),
    ],
)
def test_every_refusal_is_an_operation_outcome(one_client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = one_client.request(method, f"{str(one_client.base_url).rstrip('/')}{path}", content=b"")
    assert answer.status_code in (status, 404, 405)
    if answer.request.url.path.startswith("/fhir"):
        issue_of(answer, answer.status_code)


@pytest.mark.requirement(4)
@pytest.mark.parametrize(
    ("body", "expression"),
    [
        ({"resourceType": "Patient", "birthDate": "yesterday"}, "Patient.birthDate"),
        ({"resourceType": "Patient", "gender": "robot"}, "Patient.gender"),
        ({"resourceType": "Patient", "nonsense": 1}, "Patient"),
        ({"resourceType": "Patient", "name": {"family": "x"}}, "Patient.name"),
        ({"resourceType": "Patient", "active": "true"}, "Patient.active"),
        (
            {"resourceType": "Patient", "managingOrganization": {"reference": "Patient/1"}},
            "Patient.managingOrganization",
        ),
        ({"resourceType": "Patient", "deceasedBoolean": True, "deceasedDateTime": "2026"}, "Patient"),
    ],
)
def test_a_body_that_is_not_fhir_is_400_and_the_element_is_named(
    one_client: httpx.Client, body: dict[str, object], expression: str
) -> None:
    answer = one_client.post("/Patient", content=json.dumps(body), headers=JSON)
    assert issue_of(answer, 400)["expression"][0].startswith(expression)
