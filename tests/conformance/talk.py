"""Small sentences of a conversation with the server over HTTP, and a corner of its data that belongs to one test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

JSON = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
TAGS = "https://example.org/test-corner"

Body = dict[str, Any]


def issue_of(answer: httpx.Response, status: int) -> Body:
    """The first issue of an OperationOutcome that came with this status, after checking its form."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:400]}"
    assert answer.headers["content-type"].startswith("application/fhir+json"), answer.headers
    body: Body = answer.json()
    assert str(body.get("resourceType")) == "OperationOutcome", answer.text[:300]
    issue: Body = body["issue"][0]
    assert issue["severity"] in {"fatal", "error", "warning", "information"}
    assert issue["code"]
    assert "Traceback" not in answer.text
    return issue


def created(answer: httpx.Response) -> Body:
    """The resource of a 201 or 200."""
    assert answer.status_code in (200, 201), f"{answer.status_code}: {answer.text[:400]}"
    body: Body = answer.json()
    return body


def matches_of(bundle: Body) -> list[Body]:
    """The resources that matched, in order."""
    return [one["resource"] for one in bundle.get("entry", []) if one["search"]["mode"] == "match"]


def link_of(bundle: Body, relation: str) -> str:
    """The address of a link, or ""."""
    return next((str(one["url"]) for one in bundle.get("link", []) if one["relation"] == relation), "")


class Corner:
    """Resources that only one test sees: each carries its tag, and every search asks for that tag."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.name = uuid4().hex[:10]

    def id(self, short: str) -> str:
        """The id that stands for a short name here."""
        return f"{self.name}-{short}"

    def put(self, type_: str, short: str, **members: Any) -> Body:
        """Store a resource under a short name; returns it as stored."""
        tagged = {"tag": [{"system": TAGS, "code": self.name}]}
        meta = {**members.pop("meta", {}), **tagged}
        body = {"resourceType": type_, "id": self.id(short), "meta": meta, **members}
        answer = self.client.put(f"/{type_}/{self.id(short)}", content=json.dumps(body), headers=JSON)
        return created(answer)

    def bundle(self, query: str, headers: Mapping[str, str] | None = None) -> Body:
        """A searchset of `Type?query` within this corner."""
        type_, _, parameters = query.partition("?")
        pairs = f"_tag={TAGS}|{self.name}" + (f"&{parameters}" if parameters else "")
        answer = self.client.get(f"/{type_}?{pairs}", headers=headers)
        assert answer.status_code == 200, f"{query}: {answer.text[:400]}"
        body: Body = answer.json()
        assert not [one for one in body.get("entry", []) if one["search"]["mode"] == "outcome"], answer.text[:600]
        return body

    def listed(self, query: str) -> list[str]:
        """The short names of what `Type?query` finds here, in the order given."""
        return [str(one["id"]).removeprefix(f"{self.name}-") for one in matches_of(self.bundle(query))]

    def found(self, query: str) -> list[str]:
        """The same, sorted."""
        return sorted(self.listed(query))

    def names(self, query: str) -> str:
        """The same as one text, for tables: `a b c`."""
        return " ".join(self.found(query))
