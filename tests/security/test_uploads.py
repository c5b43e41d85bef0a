"""What somebody uploads: given back as a file and never as a page of ours, and only to who may see whose it is."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from api.fhir.exchange import FhirResponse
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.database import Database
from tests.conformance.talk import JSON, created
from tests.support.asking import Asker, holder, member

MARKUP = b"<html><script>alert(1)</script>"
FHIR = {"Accept": "application/fhir+json"}
TYPES = [
    *(
        "text/html",
        "TEXT/HTML",
        "text/html;charset=utf-8",
        "text/html; charset=utf-7",
        "text/html ; a=b",
        "application/xhtml+xml",
    ),
    *(
        "image/svg+xml",
        "image/svg+xml; charset=utf-8",
        "text/xml",
        "application/xml",
        "application/xslt+xml",
        "text/xsl",
    ),
    *("multipart/related", "multipart/x-mixed-replace; boundary=x", "message/rfc822", "application/x-shockwave-flash"),
    *(
        "text/javascript",
        "application/javascript",
        "application/pdf",
        "text/cache-manifest",
        "application/wasm",
        "text/css",
    ),
    *("application/manifest+json", "text/event-stream", "application/octet-stream", "image/png", "x/x", "*/*"),
]
LONG = "a/b;" * 300
ACCEPTED = ["text/html", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "*/*", "image/svg+xml"]
POLYGLOTS = [
    b"GIF89a/*<svg onload=alert(1)>*/=1;alert(1)",
    b"%PDF-1.7\n<script>alert(1)</script>",
    b"\xff\xd8\xff\xe0<html><script>alert(1)</script>",
    b"\x89PNG\r\n\x1a\n<script>alert(1)</script>",
    b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "<script>alert(1)</script>".encode("utf-16"),
    b"\x00<script>alert(1)</script>",
    b"PK\x03\x04<script>alert(1)</script>",
]


def is_a_file(answer: httpx.Response) -> bool:
    """Whether a browser would save this, and do nothing else with it, from wherever it was linked."""
    policy = answer.headers["content-security-policy"]
    return (
        answer.headers["content-disposition"].partition(";")[0] == "attachment"
        and answer.headers["x-content-type-options"] == "nosniff"
        and answer.headers["cross-origin-resource-policy"] == "same-origin"
        and "sandbox" in policy
        and "allow" not in policy
        and "default-src 'none'" in policy
        and "no-store" in answer.headers["cache-control"]
        and answer.headers["x-frame-options"] == "DENY"
    )


@pytest.mark.security("S26")
@pytest.mark.parametrize("type_", TYPES)
def test_whatever_was_uploaded_comes_back_as_a_file(one_client: httpx.Client, type_: str) -> None:
    made = one_client.post("/Binary", content=MARKUP, headers={"Content-Type": type_})
    if made.status_code in (400, 415):
        assert made.json()["resourceType"] == "OperationOutcome"
        return
    path = f"/Binary/{created(made)['id']}"
    for accept in ACCEPTED:
        for version in ("", "/_history/1"):
            answer = one_client.get(path + version, headers={"Accept": accept})
            assert (answer.status_code, answer.content) == (200, MARKUP)
            assert is_a_file(answer), dict(answer.headers)
    assert is_a_file(one_client.head(path, headers={"Accept": "text/html"}))


@pytest.mark.security("S26")
@pytest.mark.parametrize("content", POLYGLOTS)
def test_what_looks_like_two_things_is_a_file_too(one_client: httpx.Client, content: bytes) -> None:
    made = created(one_client.post("/Binary", content=content, headers={"Content-Type": "image/png"}))
    answer = one_client.get(f"/Binary/{made['id']}", headers={"Accept": "text/html"})
    assert answer.content == content
    assert is_a_file(answer)


@pytest.mark.security("S26")
@pytest.mark.parametrize(
    "type_",
    [
        "text/html",
        "image/svg+xml",
        "text/html\r\nX-Injected: 1",
        "text/html\x0bx",
        "\u017f/x",
        "",
        "html",
        LONG,
    ],
)
@pytest.mark.parametrize("resource_type", ["Binary", "DocumentReference"])
def test_a_type_of_content_within_a_resource_never_becomes_the_type_of_an_answer(
    one_client: httpx.Client, resource_type: str, type_: str
) -> None:
    attachment = {"contentType": type_, "data": base64.b64encode(MARKUP).decode()}
    body: dict[str, Any] = {"resourceType": resource_type}
    body |= attachment if resource_type == "Binary" else {"status": "current", "content": [{"attachment": attachment}]}
    answer = one_client.post(f"/{resource_type}", content=json.dumps(body), headers=JSON)
    if answer.status_code in (400, 422):
        return
    made = created(answer)
    path = f"/{resource_type}/{made['id']}"
    for query in (
        "",
        "?_format=json",
        "?_format=text/html",
        "?_format=html",
        "?_format=xml",
        "?_summary=true",
        "?_elements=content",
    ):
        read = one_client.get(path + query, headers={"Accept": "text/html"} if query else FHIR)
        kind = read.headers["content-type"].partition(";")[0]
        assert kind in ("application/fhir+json", "application/octet-stream", type_), (query, kind)
        assert kind == "application/fhir+json" or is_a_file(read)
        assert "x-injected" not in read.headers
        assert "sandbox" in read.headers["content-security-policy"]
        assert read.headers["x-content-type-options"] == "nosniff"


@pytest.mark.security("S26", "S29", "S25")
@pytest.mark.parametrize(
    "attachment",
    [
        {"url": "javascript:alert(1)"},
        {"url": "data:text/html,<script>alert(1)</script>", "contentType": "text/html"},
        {"url": "http://169.254.169.254/latest", "title": "<script>alert(1)</script>"},
        {"url": "file:///etc/passwd"},
        {"url": "//evil.example/x", "title": '"><svg onload=alert(1)>'},
        {"url": "Binary/nobody", "size": 1, "title": "../../x.html"},
        {"data": base64.b64encode(b"x").decode(), "size": 999_999, "hash": base64.b64encode(b"no hash").decode()},
        {"data": base64.b64encode(b"x").decode(), "hash": base64.b64encode(b"\x00" * 20).decode()},
    ],
)
def test_an_attachment_is_words_on_pages_and_leads_nowhere(
    one_client: httpx.Client, attachment: dict[str, Any]
) -> None:
    one_client.put("/Patient/uploads", content=json.dumps({"resourceType": "Patient", "id": "uploads"}), headers=JSON)
    body = {
        "resourceType": "DocumentReference",
        "status": "current",
        "description": attachment.get("title", "A letter"),
    }
    body |= {
        "subject": {"reference": "Patient/uploads"},
        "content": [{"attachment": attachment}],
        "date": "2026-01-05T10:00:00Z",
    }
    answer = one_client.post("/DocumentReference", content=json.dumps(body), headers=JSON)
    assert answer.status_code in (201, 400, 422)
    if answer.status_code != 201:
        return
    task: dict[str, Any] = {
        "resourceType": "Task",
        "id": "uploads",
        "status": "requested",
        "intent": "order",
        "for": body["subject"],
    }
    task |= {
        "focus": {"reference": f"DocumentReference/{answer.json()['id']}"},
        "description": attachment.get("title", "x"),
    }
    created(one_client.put("/Task/uploads", content=json.dumps(task), headers=JSON))
    root = str(one_client.base_url).removesuffix("/fhir/").removesuffix("/fhir")
    for page in ("/patients/uploads", "/tasks/uploads", "/?tab=all"):
        text = httpx.get(root + page, timeout=60, trust_env=False).text
        assert "<script>alert" not in text
        assert "<svg onload" not in text
        for address in ("javascript:", "data:", "evil.example", "169.254", "file:"):
            assert f'href="{address}' not in text
            assert f'src="{address}' not in text


@pytest.mark.security("S26", "S34")
@pytest.mark.parametrize(
    "data", ["A" * 6_000_000, "=" * 100, "A", "@@@@", "QUJD" * 3 + "=", "QUJD\u2028", "-_-_", 7, ["QUJD"]]
)
def test_content_that_is_none_is_refused_or_kept_and_never_breaks_a_read(
    one_client: httpx.Client, data: object
) -> None:
    body = {"resourceType": "Binary", "contentType": "text/plain", "data": data}
    answer = one_client.post("/Binary", content=json.dumps(body), headers=JSON)
    assert answer.status_code in (201, 400, 413, 422)
    if answer.status_code == 201:
        assert one_client.get(f"/Binary/{answer.json()['id']}").status_code in (200, 406)


ANN, BOB = (
    holder("patient/*.cruds", patient="ann", who="Patient/ann"),
    holder("patient/*.cruds", patient="bob", who="Patient/bob"),
)
LABEL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
OPEN = open_viewer()
BYTES, LETTER = "urn:uuid:2b6d0e52-91b5-4b0e-9d43-5a3b1c2f0a11", "urn:uuid:2b6d0e52-91b5-4b0e-9d43-5a3b1c2f0a12"


def binary(id_: str, context: str) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "Binary", "id": id_, "contentType": "text/plain", "data": "QUJD"}
    return made | ({"securityContext": {"reference": context}} if context else {})


def letter(id_: str, of: str) -> dict[str, Any]:
    made: dict[str, Any] = {"resourceType": "DocumentReference", "id": id_, "status": "current"}
    return made | {"subject": {"reference": f"Patient/{of}"}, "content": [{"attachment": {"url": f"Binary/{id_}"}}]}


@pytest.fixture
def asker(database: Database) -> Asker:
    """Two patients, of whom one is restricted, with a letter each and its bytes."""
    one = Asker(database=database, viewer=OPEN)
    one.put(
        {"resourceType": "Patient", "id": "ann"},
        {"resourceType": "Patient", "id": "bob", "meta": {"security": [LABEL]}},
        letter("hers", "ann"),
        letter("his", "bob"),
        binary("hers", "Patient/ann"),
        binary("his", "Patient/bob"),
        binary("ofletter", "DocumentReference/hers"),
        binary("ofhisletter", "DocumentReference/his"),
        binary("nobodys", ""),
    )
    return one


def read_ways(asker: Asker, viewer: Viewer, id_: str) -> set[int]:
    ways: list[FhirResponse] = [
        asker.as_viewer(viewer).ask("GET", address, headers={"accept": accept})
        for address in (f"Binary/{id_}", f"Binary/{id_}/_history/1", f"Binary/{id_}/_history")
        for accept in ("application/fhir+json", "*/*")
    ]
    return {one.status for one in ways}


@pytest.mark.security("S26", "A4", "S41", "A5")
@pytest.mark.parametrize(
    ("viewer", "seen"),
    [
        (OPEN, {"hers", "his", "ofletter", "ofhisletter", "nobodys"}),
        (ANN, {"hers", "ofletter"}),
        (BOB, {"his", "ofhisletter"}),
        (member("rn", who="Practitioner/nurse"), {"hers", "ofletter", "nobodys"}),
        (holder("system/*.cruds"), {"hers", "his", "ofletter", "ofhisletter", "nobodys"}),
    ],
    ids=["open", "ann", "bob", "nurse", "system"],
)
def test_a_binary_is_seen_by_who_may_see_whose_it_is(asker: Asker, viewer: Viewer, seen: set[str]) -> None:
    for id_ in ("hers", "his", "ofletter", "ofhisletter", "nobodys"):
        statuses = read_ways(asker, viewer, id_)
        assert statuses == {200} or statuses <= {403, 404}, (id_, statuses)
    assert {
        id_ for id_ in ("hers", "his", "ofletter", "ofhisletter", "nobodys") if read_ways(asker, viewer, id_) == {200}
    } == seen


@pytest.mark.security("S26", "S45")
def test_nobody_puts_content_into_or_takes_it_from_the_record_of_another(asker: Asker) -> None:
    ann = asker.as_viewer(ANN)
    assert ann.ask("POST", "Binary", binary("x", "Patient/ann")).status == 201
    for context in ("Patient/bob", "DocumentReference/his", "Patient/nobody", "DocumentReference/nobody", ""):
        assert ann.ask("POST", "Binary", binary("x", context)).status == 403, context
        assert ann.ask("PUT", "Binary/hers", binary("hers", context)).status == 403, context
    raw = {"content-type": "text/plain", "x-security-context": "Patient/bob"}
    assert ann.ask("POST", "Binary", b"bytes", raw).status == 403
    assert ann.ask("POST", "Binary", b"bytes", raw | {"x-security-context": "Patient/ann"}).status == 201
    assert read_ways(asker, ANN, "hers") == {200}


@pytest.mark.security("S26")
@pytest.mark.parametrize("binary_first", [True, False])
def test_in_a_transaction_content_belongs_to_the_letter_that_comes_along(asker: Asker, binary_first: bool) -> None:
    entries: list[dict[str, Any]] = [
        {
            "fullUrl": BYTES,
            "resource": binary("b", LETTER),
        },
        {"fullUrl": LETTER, "resource": letter("l", "ann")},
    ]
    for one in entries:
        one["request"] = {"method": "POST", "url": one["resource"]["resourceType"]}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries if binary_first else entries[::-1]}
    answer = asker.ask("POST", "", bundle)
    assert answer.status == 200, answer.body
    (place,) = [
        one["response"]["location"]
        for one in json.loads(answer.body)["entry"]
        if "Binary/" in one["response"]["location"]
    ]
    id_ = place.rpartition("Binary/")[2].partition("/")[0]
    assert read_ways(asker, ANN, id_) == {200}
    assert read_ways(asker, BOB, id_) == {404}
