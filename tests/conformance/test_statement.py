"""metadata: open to all, of the right version, with a tag that stands for its content.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.conformance.server import Tracker, running_tracker
from tests.conformance.talk import JSON, issue_of


@pytest.mark.requirement(1)
def test_the_statement_says_r4_and_json(client: httpx.Client) -> None:
    answer = client.get("/metadata")
    statement = answer.json()
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    assert {"json", "application/fhir+json"} <= set(statement["format"])
    assert statement["implementation"]["url"] == str(client.base_url).rstrip("/")
    assert "interaction" not in statement["rest"][0]


@pytest.mark.requirement(1, 12)
def test_its_tag_stays_while_it_does_not_change(client: httpx.Client) -> None:
    first = client.get("/metadata")
    assert client.get("/metadata").headers["etag"] == first.headers["etag"]
    again = client.get("/metadata", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.requirement(1)
def test_its_tag_differs_where_the_server_does_something_else(one_tracker: Tracker, tmp_path: Path) -> None:
    opened = httpx.get(f"{one_tracker.fhir}/metadata", trust_env=False)
    address = one_tracker.fhir.removesuffix("/fhir")
    with running_tracker(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, "--public-url", address, "--no-worker") as locked:
        answer = httpx.get(f"{locked.fhir}/metadata", trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["etag"] != opened.headers["etag"]
    rows = {row["type"]: row for row in answer.json()["rest"][0]["resource"]}
    assert {"create", "update", "delete"} <= {one["code"] for one in rows["Task"]["interaction"]}
    assert not {"create", "update", "delete"} & {one["code"] for one in rows["Patient"]["interaction"]}


@pytest.mark.requirement(2)
@pytest.mark.parametrize(
    "path", ["/Nope", "/Nope/1", "/patient/1", "/Patient/1/2", "/Patient/1/_history/1/2", "/$export"]
)
def test_what_is_nowhere_is_404(client: httpx.Client, path: str) -> None:
    issue_of(client.get(path), 404)


@pytest.mark.requirement(2, 9, 33)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/Patient/x"),
        ("POST", "/Patient/x"),
        ("PUT", "/Patient"),
        ("DELETE", "/Patient"),
        ("PUT", "/Patient/_search"),
        ("DELETE", "/Patient/x/_history"),
        ("POST", "/metadata"),
        ("POST", ""),
        ("TRACE", "/Patient/x"),
    ],
)
def test_a_method_that_is_not_served_is_405_and_the_answer_says_which_are(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, path, content=b"{}", headers=JSON)
    issue_of(answer, 405)
    assert "allow" in answer.headers
    assert method not in answer.headers["allow"].split(", ")


@pytest.mark.requirement(33, 43)
def test_what_is_not_offered_is_not_claimed(client: httpx.Client) -> None:
    for row in client.get("/metadata").json()["rest"][0]["resource"]:
        assert row["conditionalUpdate"] is False
        assert row["conditionalDelete"] == "not-supported"
    issue_of(client.put("/Patient?identifier=x", content=b"{}", headers=JSON), 405)
    issue_of(client.delete("/Patient?identifier=x"), 405)
