"""Binary as the bytes themselves, in and out.

https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import base64
import gzip
import json
from uuid import uuid4

import httpx
import pytest

from tests.conformance.bundles import SYSTEM, entry, number, send
from tests.conformance.talk import JSON, Body, created, issue_of

PIXEL = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + bytes(range(256))
FHIR = {"Accept": "application/fhir+json"}


def sent(client: httpx.Client, content: bytes = PIXEL, type_: str = "image/png", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/Binary", content=content, headers={"Content-Type": type_, **named})


@pytest.mark.requirement(3, 11)
@pytest.mark.parametrize(
    ("type_", "content"),
    [
        ("image/png", PIXEL),
        ("text/plain; charset=iso-8859-1", "naïve".encode("latin-1")),
        ("application/pdf", b"%PDF-1.7 \xff\xfe"),
        ("text/html", b"<script>alert(1)</script>"),
        ("application/hl7-v2+er7", b"MSH|^~\\&|A?"),
        ("application/x-www-form-urlencoded", b"a=1&b=2"),
        ("application/dicom+json", b"[]"),
        ("application/json", b'{"a": 1.00}'),
        ("application/json", b"[1, 2]"),
        ("application/octet-stream", b'{"resourceType":"Binary","contentType":"text/plain"}'),
        ("application/octet-stream", b""),
        ("application/xml", b'<Binary xmlns="http://hl7.org/fhir"/>'),
    ],
)
def test_bytes_become_a_binary_and_come_back_as_they_were(client: httpx.Client, type_: str, content: bytes) -> None:
    answer = sent(client, content, type_)
    made = created(answer)
    assert answer.status_code == 201
    assert answer.headers["location"].endswith(f"/Binary/{made['id']}/_history/1")
    assert made["contentType"] == type_
    assert base64.b64decode(made.get("data", "")) == content
    for path in (f"/Binary/{made['id']}", f"/Binary/{made['id']}/_history/1"):
        read = client.get(path, headers={"Accept": "image/*, text/html"})
        assert read.status_code == 200
        assert read.content == content
        assert read.headers["content-type"] == type_
        assert read.headers["etag"] == 'W/"1"'


@pytest.mark.requirement(5, 11)
@pytest.mark.parametrize("accept", ["*/*", "", "text/html,application/xhtml+xml,*/*;q=0.8", "image/png", "nonsense"])
def test_who_names_no_format_of_fhir_gets_the_content(client: httpx.Client, accept: str) -> None:
    made = created(sent(client))
    assert client.get(f"/Binary/{made['id']}", headers={"Accept": accept}).content == PIXEL


@pytest.mark.requirement(5, 11)
@pytest.mark.parametrize(
    ("accept", "query"),
    [
        ("application/fhir+json", ""),
        ("application/json", ""),
        ("application/json, text/plain, */*", ""),
        ("image/png", "?_format=json"),
        ("*/*", "?_format=application/fhir%2Bjson&_pretty=true"),
        ("*/*", "?_summary=true"),
    ],
)
def test_who_names_json_gets_the_resource(client: httpx.Client, accept: str, query: str) -> None:
    made = created(sent(client))
    answer = client.get(f"/Binary/{made['id']}{query}", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.json()["id"] == made["id"]
    assert "content-disposition" not in answer.headers


@pytest.mark.requirement(11)
@pytest.mark.parametrize("accept", ["application/fhir+xml", "application/fhir+json; fhirVersion=5.0"])
def test_forms_of_fhir_that_are_not_spoken_are_406(client: httpx.Client, accept: str) -> None:
    made = created(sent(client))
    issue_of(client.get(f"/Binary/{made['id']}", headers={"Accept": accept}), 406)
    issue_of(client.get(f"/Binary/{made['id']}?_format=xml"), 406)
    issue_of(client.get("/Binary", headers={"Accept": "image/png"}), 406)
    issue_of(client.get(f"/Binary/{made['id']}/_history", headers={"Accept": "image/png"}), 406)


@pytest.mark.requirement(5, 12, 13)
def test_head_etags_gzip_and_deletion_are_as_for_others(client: httpx.Client) -> None:
    content = b"compressible " * 500
    made = created(sent(client, content, "text/plain"))
    path = f"/Binary/{made['id']}"
    head = client.head(path)
    assert head.headers["content-type"] == "text/plain"
    assert head.content == b""
    assert client.get(path, headers={"If-None-Match": 'W/"1"'}).status_code == 304
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == content
    assert client.get(f"{path}?_pretty=true").content == content
    issue_of(client.get("/Binary/never-was", headers={"Accept": "image/png"}), 404)
    assert client.delete(path).status_code == 204
    issue_of(client.get(path, headers={"Accept": "image/png"}), 410)
    issue_of(client.get(f"{path}/_history/2"), 410)


@pytest.mark.requirement(7, 40)
def test_bytes_can_be_put(client: httpx.Client) -> None:
    path = f"/Binary/{uuid4()}"
    first = client.put(path, content=b"one", headers={"Content-Type": "text/plain"})
    assert first.status_code == 201
    second = client.put(path, content=PIXEL, headers={"Content-Type": "image/png", "If-Match": 'W/"1"'})
    assert second.status_code == 200
    assert second.headers["etag"] == 'W/"2"'
    issue_of(client.put(path, content=b"x", headers={"Content-Type": "text/plain", "If-Match": 'W/"1"'}), 412)
    assert client.get(path).content == PIXEL
    assert client.get(f"{path}/_history/1").content == b"one"


@pytest.mark.requirement(3)
def test_a_binary_can_still_be_sent_as_a_resource(client: httpx.Client) -> None:
    body: Body = {"resourceType": "Binary", "contentType": "text/plain", "data": "QUJD\nREVG"}
    for type_ in ("application/fhir+json", "application/json"):
        made = created(client.post("/Binary", content=json.dumps(body), headers={"Content-Type": type_}))
        assert made["data"] == body["data"]
        assert client.get(f"/Binary/{made['id']}").content == b"ABCDEF"


@pytest.mark.requirement(3, 5)
def test_the_security_context_goes_in_and_out_as_a_header(client: httpx.Client) -> None:
    own = f"{str(client.base_url).rstrip('/')}/Patient/1"
    made = created(sent(client, X_Security_Context=own))
    assert made["securityContext"] == {"reference": "Patient/1"}
    assert client.get(f"/Binary/{made['id']}").headers["x-security-context"] == "Patient/1"
    for wrong in ("Patient?identifier=1", "two words", "x" * 3000):
        issue_of(sent(client, X_Security_Context=wrong), 400)


@pytest.mark.requirement(4, 11)
@pytest.mark.parametrize(
    ("type_", "content", "status"),
    [
        ("application/fhir+xml", b"<Binary/>", 415),
        ("application/fhir+json", b"[]", 400),
        ("application/fhir+json", b'{"resourceType":"Patient"}', 400),
        ("application/json", b'{"resourceType":"Patient"}', 400),
        ("application/json", b'{"a":', 400),
        ("nonsense", b"x", 415),
        ("", b"x", 415),
        ("text/plain; x=" + "x" * 500, b"x", 415),
        ("text/plain" + "\t;" * 2000 + "x", b"x", 415),
        ("text/plain", b"x" * 5_000_001, 413),
    ],
)
def test_what_is_no_content_is_refused(client: httpx.Client, type_: str, content: bytes, status: int) -> None:
    issue_of(sent(client, content, type_), status)


@pytest.mark.requirement(4)
def test_packed_content_is_unpacked_before(client: httpx.Client) -> None:
    made = created(sent(client, gzip.compress(PIXEL), Content_Encoding="gzip"))
    assert client.get(f"/Binary/{made['id']}").content == PIXEL
    issue_of(sent(client, gzip.compress(bytes(6_000_000)), Content_Encoding="gzip"), 413)


@pytest.mark.requirement(11)
def test_only_binary_takes_bytes(client: httpx.Client) -> None:
    issue_of(client.post("/Patient", content=b"x", headers={"Content-Type": "text/plain"}), 415)
    issue_of(client.get("/Patient/x", headers={"Accept": "image/png"}), 406)


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    "type_", ["text/html", "image/svg+xml", "text/html\r\nX-Injected: yes", "text/html\nX: y", "é/x"]
)
def test_stored_markup_never_runs_as_a_page_of_ours(client: httpx.Client, type_: str) -> None:
    body = {"resourceType": "Binary", "contentType": type_, "data": base64.b64encode(b"<script>").decode()}
    answer = client.post("/Binary", content=json.dumps(body), headers=JSON)
    if answer.status_code == 400:
        return
    read = client.get(f"/Binary/{created(answer)['id']}", headers={"Accept": "text/html"})
    assert read.headers["content-disposition"] == "attachment"
    assert read.headers["content-security-policy"].startswith("sandbox")
    assert read.headers["x-content-type-options"] == "nosniff"
    assert read.headers["content-type"] in (type_, "application/octet-stream")
    assert "x-injected" not in read.headers
    assert "x" not in read.headers


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    "type_", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"]
)
def test_pages_of_other_sites_store_nothing(client: httpx.Client, type_: str) -> None:
    """A form or a `fetch` without questions can send these to any address."""
    issue_of(sent(client, b"x", type_, Origin="https://evil.example"), 403)
    issue_of(sent(client, b"x", type_, Origin="null"), 403)
    issue_of(sent(client, b"x", type_, Sec_Fetch_Site="cross-site"), 403)
    own = str(client.base_url).removesuffix("/fhir/")
    assert sent(client, b"x", type_, Origin=own, Sec_Fetch_Site="same-origin").status_code == 201


@pytest.mark.requirement(37, 43)
def test_in_bundles_a_binary_is_a_resource(client: httpx.Client) -> None:
    made = created(sent(client))
    for type_ in ("batch", "transaction"):
        answer = send(client, type_, entry("GET", f"Binary/{made['id']}"), headers={"Accept": "*/*"})
        assert answer.json()["entry"][0]["resource"]["data"] == made["data"]


@pytest.mark.requirement(43)
def test_bytes_by_a_condition(client: httpx.Client) -> None:
    tag = number()
    path = f"/Binary?_tag={SYSTEM}|{tag}"
    first = client.put(path, content=b"one", headers={"Content-Type": "text/plain"})
    assert first.status_code == 201
    unless = sent(client, b"two", "text/plain", If_None_Exist=f"_id={created(first)['id']}")
    assert unless.status_code == 200
    assert unless.json()["id"] == first.json()["id"]
