"""Making and reading Bundles in tests: entries, posts and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

from tests.conformance.talk import JSON, Body

SYSTEM = "https://example.org/test-numbers"


def number() -> str:
    """An identifier value that no other test uses."""
    return uuid4().hex


def urn() -> str:
    """A fresh `urn:uuid:`."""
    return uuid4().urn


def entry(method: str, url: str, resource: Body | None = None, full_url: str = "", **request: Any) -> Body:
    """One entry; further keywords are elements of its request."""
    made: Body = {"request": {"method": method, "url": url, **request}}
    if resource is not None:
        made["resource"] = resource
    if full_url:
        made["fullUrl"] = full_url
    return made


def post(resource: Body, full_url: str = "", **request: Any) -> Body:
    """An entry that creates."""
    return entry("POST", str(resource["resourceType"]), resource, full_url, **request)


def put(resource: Body, full_url: str = "", **request: Any) -> Body:
    """An entry that updates, or creates under the id that the resource has."""
    return entry("PUT", f"{resource['resourceType']}/{resource['id']}", resource, full_url, **request)


def patient(value: str = "", **members: Any) -> Body:
    """A Patient that nobody is, with an identifier where given."""
    named: Body = {"identifier": [{"system": SYSTEM, "value": value}]} if value else {}
    return {"resourceType": "Patient", "name": [{"family": "Synthetic"}], **named, **members}


def about(reference: str, **members: Any) -> Body:
    """A Basic whose subject is `reference`."""
    return {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": reference}, **members}


def send(client: httpx.Client, type_: str, *entries: Body, headers: Mapping[str, str] | None = None) -> httpx.Response:
    """Post a Bundle to the base."""
    bundle: Body = {"resourceType": "Bundle", "type": type_}
    if entries:
        bundle["entry"] = list(entries)
    return client.post("", content=json.dumps(bundle), headers={**JSON, **(headers or {})})


def done(answer: httpx.Response, type_: str = "transaction-response") -> list[Body]:
    """The entries of an answer, after checking its form."""
    assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:600]}"
    body: Body = answer.json()
    assert body["resourceType"] == "Bundle"
    assert body["type"] == type_
    assert body.get("entry") != []
    entries: list[Body] = body.get("entry", [])
    return entries


def statuses(entries: list[Body]) -> list[str]:
    """The status numbers, in order."""
    return [str(one["response"]["status"]).partition(" ")[0] for one in entries]


def refs(entries: list[Body]) -> list[str]:
    """`Type/id` of each entry, from its location."""
    return ["/".join(str(one["response"].get("location", "")).split("/")[-4:-2]) for one in entries]


def found(client: httpx.Client, query: str) -> list[Body]:
    """The resources that `Type?query` finds."""
    answer = client.get(f"/{query}")
    assert answer.status_code == 200, answer.text[:400]
    return [one["resource"] for one in answer.json().get("entry", []) if one["search"]["mode"] == "match"]


def stored(client: httpx.Client, ref: str) -> Body:
    """What is stored at `Type/id`."""
    answer = client.get(f"/{ref}")
    assert answer.status_code == 200, answer.text[:400]
    body: Body = answer.json()
    return body
