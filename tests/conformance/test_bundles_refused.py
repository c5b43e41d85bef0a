"""Bundles that are not to be processed, and entries made to hurt: refused by their place, and nothing of them is stored."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.conformance.bundles import SYSTEM, about, done, entry, found, number, patient, post, put, send, statuses
from tests.conformance.talk import JSON, Body, issue_of


@pytest.mark.requirement(38, 33)
@pytest.mark.parametrize(
    ("bundle", "status"),
    [
        ({"resourceType": "Bundle"}, 400),
        ({"resourceType": "Bundle", "type": "nonsense"}, 400),
        *[
            ({"resourceType": "Bundle", "type": type_}, 400)
            for type_ in ("history", "searchset", "collection", "document")
        ],
        ({"resourceType": "Bundle", "type": "message"}, 400),
        ({"resourceType": "Bundle", "type": "transaction-response"}, 400),
        ({"resourceType": "Patient"}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "total": 1}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "nonsense": 1}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": []}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": {}}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": [None]}, 400),
        ({"resourceType": "Bundle", "type": "transaction", "entry": [{}]}, 400),
        ([], 400),
    ],
)
def test_what_is_not_to_be_processed_is_refused_with_the_reason(
    one_client: httpx.Client, bundle: Any, status: int
) -> None:
    issue = issue_of(one_client.post("", content=json.dumps(bundle), headers=JSON), status)
    assert issue["diagnostics"]


def test_a_bundle_with_too_many_entries_is_413(one_client: httpx.Client) -> None:
    many = [entry("GET", "metadata") for _ in range(5001)]
    issue_of(send(one_client, "transaction", *many), 413)
    issue_of(send(one_client, "batch", *many), 413)


def _with(**members: Any) -> Body:
    return entry("GET", "Patient") | members


def _asked(**members: Any) -> Body:
    return {"request": {"method": "GET", "url": "Patient", **members}}


HOSTILE: dict[str, Any] = {
    "null": None,
    "text": "x",
    "number": 1,
    "list": [[]],
    "request is a list": {"request": []},
    "method is lower case": _asked(method="get"),
    "method is unknown": _asked(method="BREW"),
    "method is a number": _asked(method=1),
    "url is missing": {"request": {"method": "GET"}},
    "url is a list": _asked(url=["Patient"]),
    "url climbs": _asked(url="../../etc/passwd"),
    "url climbs in code": _asked(url="Patient/%2e%2e/%2e%2e"),
    "url has a host": _asked(url="//elsewhere.example/Patient/1"),
    "url is a file": _asked(url="file:///etc/passwd"),
    "url has NUL": _asked(url="Patient?name=%00"),
    "url has bad UTF-8": _asked(url="Patient?name=%ff"),
    "url has a fragment": _asked(url="Patient/1#x"),
    "url has many parameters": _asked(url="Patient?" + "name=x&" * 400),
    "url is long": _asked(url="Patient?name=" + "x" * 100_000),
    "full url is a number": _with(fullUrl=1),
    "full url is empty": _with(fullUrl=""),
    "full url names a version": {**post(patient()), "fullUrl": "https://ehr.example/Patient/1/_history/1"},
    "search": _with(search={"mode": "match"}),
    "response": _with(response={"status": "200"}),
    "an unknown element": _with(nonsense=1),
    "resource with a read": _with(resource=patient()),
    "resource is a list": {"request": {"method": "POST", "url": "Patient"}, "resource": [patient()]},
    "resource is text": {"request": {"method": "POST", "url": "Patient"}, "resource": "Patient"},
    "resource without a type": {"request": {"method": "POST", "url": "Patient"}, "resource": {}},
    "type is a list": {"request": {"method": "POST", "url": "Patient"}, "resource": {"resourceType": ["Patient"]}},
    "id is a list": {
        "request": {"method": "PUT", "url": "Patient/1"},
        "resource": {"resourceType": "Patient", "id": [1]},
    },
    "identifier is text": post({"resourceType": "Patient", "identifier": "x"}),
    "identifier holds numbers": post({"resourceType": "Patient", "identifier": [{"system": 1, "value": 2}]}),
    "reference is a list": post(
        {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": ["urn:uuid:1"]}}
    ),
    "reference to everything": post(about("Patient?")),
    "reference to nonsense": post(about("Patient?nonsense=1")),
    "if-none-exist of everything": post(patient(), ifNoneExist=""),
    "if-none-exist of nonsense": post(patient(), ifNoneExist="nonsense=1"),
    "if-none-exist is a number": post(patient(), ifNoneExist=1),
    "if-match is nonsense": put(patient(id="x"), ifMatch="nonsense"),
    "if-modified-since is nonsense": _asked(ifModifiedSince="yesterday"),
    "put of everything": entry("PUT", "Patient", patient()),
    "delete of everything": entry("DELETE", "Patient"),
    "delete by nonsense": entry("DELETE", "Patient?nonsense=1"),
    "binary is no patch": entry("PATCH", "Patient/1", {"resourceType": "Binary", "contentType": "text/plain"}),
    "binary is not base64": entry(
        "PATCH", "Patient/1", {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": "%"}
    ),
}


@pytest.mark.parametrize("type_", ["transaction", "batch"])
@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_entries_are_refused_by_their_place_and_store_nothing(
    one_client: httpx.Client, name: str, type_: str
) -> None:
    value = number()
    answer = send(one_client, type_, post(patient(value)), HOSTILE[name])
    kept = found(one_client, f"Patient?identifier={SYSTEM}|{value}")
    if type_ == "batch" and name.startswith("reference to"):
        return
    if type_ == "transaction":
        issue = issue_of(answer, answer.status_code)
        assert 400 <= answer.status_code < 500
        assert issue["expression"][0].startswith("Bundle.entry[1]")
        assert kept == []
    else:
        good, bad = done(answer, "batch-response")
        assert statuses([good]) == ["201"]
        assert bad["response"]["outcome"]["issue"][0]["expression"][0].startswith("Bundle.entry[1]")
        assert 400 <= int(statuses([bad])[0]) < 500
        assert len(kept) == 1
