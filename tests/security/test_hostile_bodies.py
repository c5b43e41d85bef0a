"""Bodies made to hurt: refused as OperationOutcome, soon, and nothing of them is stored."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.talk import JSON, issue_of

START = b'{"resourceType":"Basic","id":"hostile","code":{"text":"x"}'
DEEP_EXTENSION = b'{"url":"u","extension":['
BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 400),
    "white space": (b" \r\n\t ", 400),
    "not json": (b"<Basic/>", 400),
    "cut off": (START, 400),
    "two documents": (START + b"}{}", 400),
    "trailing comma": (START + b",}", 400),
    "single quotes": (b"{'resourceType':'Basic'}", 400),
    "a comment": (START + b"/* x */}", 400),
    "an array": (b"[" + START + b"}]", 400),
    "a string": (b'"Basic"', 400),
    "null": (b"null", 400),
    "a number": (b"1", 400),
    "no type": (b'{"id":"hostile"}', 400),
    "a type of no kind": (b'{"resourceType":null,"id":"hostile"}', 400),
    "an abstract type": (b'{"resourceType":"DomainResource","id":"hostile"}', 400),
    "a type that is a path": (b'{"resourceType":"../Basic","id":"hostile"}', 400),
    "another type": (b'{"resourceType":"Flag","id":"hostile"}', 400),
    "deep arrays": (b'{"resourceType":"Basic","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "deep objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 400),
    "deep open arrays": (b"[" * 1_000_000, 400),
    "deep extensions": (START + b',"extension":[' + DEEP_EXTENSION * 20_000 + b"]}" * 20_000 + b"]}", 400),
    "deep contained": (b'{"resourceType":"Basic","id":"hostile","contained":[' * 5000 + b"]}" * 5000, 400),
    "NaN": (START + b',"x":NaN}', 400),
    "Infinity": (START + b',"x":-Infinity}', 400),
    "a duplicate key": (START + b',"id":"other"}', 400),
    "a duplicate key deep down": (START + b',"extension":[{"url":"a","url":"b","valueCode":"c"}]}', 400),
    "a duplicate key in escapes": (START + b',"\\u0069d":"other"}', 400),
    "a lone surrogate": (START + b',"language":"\\ud800"}', 400),
    "surrogates the wrong way round": (START + b',"language":"\\udc00\\ud800"}', 400),
    "a surrogate in UTF-8": (START + b',"language":"\xed\xa0\x80"}', 400),
    "NUL": (START + b',"language":"a\\u0000b"}', 400),
    "a raw NUL": (START + b',"language":"a\x00b"}', 400),
    "NUL in a name": (START + b',"a\\u0000":1}', 400),
    "a huge integer": (START + b',"x":' + b"9" * 100_000 + b"}", 400),
    "a huge exponent": (START + b',"x":1e400}', 400),
    "a huge negative exponent": (START + b',"x":1e-999999999}', 400),
    "an exponent beyond all": (START + b',"x":1e99999999999999999999}', 400),
    "a leading zero": (START + b',"x":007}', 400),
    "bad UTF-8": (START + b',"language":"\xff\xfe"}', 400),
    "overlong UTF-8": (START + b',"language":"\xc0\xaf"}', 400),
    "UTF-16": (START.decode().encode("utf-16"), 400),
    "a byte order mark": (b"\xef\xbb\xbf" + START + b"}", 400),
    "a control character": (START + b',"language":"a\nb"}', 400),
    "six million bytes": (START + b',"x":"' + b"a" * 6_000_000 + b'"}', 413),
    "a key of a million letters": (START + b',"' + b"k" * 1_000_000 + b'":1}', 400),
    "many keys": (START + b"," + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}", 400),
    "one name a hundred thousand times": (START + b',"x":1' * 100_000 + b"}", 400),
    "a prototype": (START + b',"__proto__":{"x":1},"constructor":{"y":2}}', 400),
}


@pytest.mark.security("S34")
@pytest.mark.requirement(4, 14)
@pytest.mark.parametrize("name", sorted(BODIES))
def test_a_hostile_body_is_refused_soon_and_nothing_is_stored(one_client: httpx.Client, name: str) -> None:
    body, status = BODIES[name]
    for method, path in (("POST", "/Basic"), ("PUT", "/Basic/hostile")):
        began = time.monotonic()
        answer = one_client.request(method, path, content=body, headers=JSON)
        assert issue_of(answer, status)["severity"] in ("error", "fatal")
        assert len(answer.content) < 20_000
        assert time.monotonic() - began < 40
    issue_of(one_client.get("/Basic/hostile"), 404)


@pytest.mark.security("S34")
def test_a_hundred_thousand_extensions_are_taken_or_refused_soon_and_searches_go_on(one_client: httpx.Client) -> None:
    extension = b'{"url":"http://x/y","valueBoolean":true}'
    body = START + b',"extension":[' + b",".join([extension] * 100_000) + b"]}"
    answer = one_client.put("/Basic/hostile", content=body, headers=JSON)
    assert answer.status_code in (201, 413), answer.text[:300]
    assert one_client.get("/Basic?_count=1").status_code == 200
    assert one_client.delete("/Basic/hostile").status_code == 204
    issue_of(one_client.get("/Basic/hostile"), 410 if answer.status_code == 201 else 404)


@pytest.mark.security("S34")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x-nonsense"])
def test_a_packed_body_is_unpacked_up_to_the_limit_and_no_further(one_client: httpx.Client, encoding: str) -> None:
    bomb = gzip.compress(b" " * 50_000_000) if "gzip" in encoding else zlib.compress(b" " * 50_000_000)
    began = time.monotonic()
    answer = one_client.post("/Basic", content=bomb, headers=JSON | {"Content-Encoding": encoding})
    issue_of(answer, 413 if encoding == "gzip" else 415)
    assert time.monotonic() - began < 30


@pytest.mark.security("S34")
def test_an_endless_body_in_chunks_is_cut_off(one_client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield START + b',"x":"'
        for _ in range(200):
            yield b"a" * 100_000

    try:
        answer = one_client.post("/Basic", content=chunks(), headers=JSON)
    except httpx.WriteError:
        return
    issue_of(answer, 413)


@pytest.mark.security("S34")
@pytest.mark.parametrize(
    "content_type", ["application/fhir+json; charset=utf-7", "application/fhir+json; charset=x", "text/xml"]
)
def test_a_body_said_to_be_something_else_is_not_guessed_at(one_client: httpx.Client, content_type: str) -> None:
    answer = one_client.post("/Basic", content=START + b"}", headers={"Content-Type": content_type})
    issue_of(answer, 415)


@pytest.mark.security("S35")
def test_xml_with_entities_is_not_even_read(one_client: httpx.Client) -> None:
    xml = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Basic xmlns="http://hl7.org/fhir"><id value="&e;"/></Basic>'
    for content_type in ("application/fhir+xml", "application/xml", "text/xml"):
        issue_of(one_client.post("/Basic", content=xml, headers={"Content-Type": content_type}), 415)
    answer = one_client.post("/Basic", content=xml, headers=JSON)
    issue_of(answer, 400)
    assert "root:" not in answer.text


@pytest.mark.security("S38")
@pytest.mark.parametrize("kind", ["history", "message", "collection", "document", "searchset", "transaction-response"])
def test_a_bundle_of_a_kind_that_is_not_processed_does_nothing(one_client: httpx.Client, kind: str) -> None:
    issue_of(one_client.post("", content=json.dumps(_smuggling(kind)), headers=JSON), 400)
    issue_of(one_client.get("/Basic/smuggled"), 404)


@pytest.mark.security("S38")
@pytest.mark.parametrize("kind", ["transaction", "batch"])
def test_an_entry_cannot_smuggle_a_bundle_in(one_client: httpx.Client, kind: str) -> None:
    entry = {"resource": _smuggling(kind), "request": {"method": "POST", "url": ""}}
    bundle = {"resourceType": "Bundle", "type": kind, "entry": [entry]}
    answer = one_client.post("", content=json.dumps(bundle), headers=JSON)
    if kind == "transaction":
        issue_of(answer, 400)
    else:
        assert [one["response"]["status"].partition(" ")[0] for one in answer.json()["entry"]] == ["400"]
    issue_of(one_client.get("/Basic/smuggled"), 404)


def _smuggling(kind: str) -> dict[str, object]:
    entry = {"resource": {"resourceType": "Basic", "id": "smuggled", "code": {"text": "x"}}}
    request = {"request": {"method": "PUT", "url": "Basic/smuggled"}}
    return {"resourceType": "Bundle", "type": kind, "entry": [entry | request]}


@pytest.mark.security("S24", "S25")
def test_script_in_a_resource_is_only_ever_json(one_client: httpx.Client) -> None:
    text = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></div>'}
    body = {"resourceType": "Basic", "text": text, "code": {"text": "<img src=x onerror=alert(1)>"}}
    answer = one_client.post("/Basic", content=json.dumps(body), headers=JSON)
    assert answer.status_code in (201, 400, 422)
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["x-content-type-options"] == "nosniff"
