"""The address in links and references: the one the caller came by.

https://hl7.org/fhir/R4/http.html#root
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.bundles import about, entry, patient, put, send
from tests.conformance.server import Tracker
from tests.conformance.talk import JSON, created, link_of


@pytest.fixture(params=["localhost", "127.0.0.1", "[::1]"])
def named(request: pytest.FixtureRequest, one_tracker: Tracker) -> Iterator[tuple[httpx.Client, str]]:
    """A client that calls the server by this name, and the base it then expects."""
    host = f"{request.param}:{one_tracker.port}"
    with httpx.Client(base_url=one_tracker.fhir, headers={"Host": host}, timeout=60, trust_env=False) as client:
        yield client, f"http://{host}/fhir"


@pytest.mark.requirement(3, 17)
def test_links_begin_with_the_name_the_caller_used(named: tuple[httpx.Client, str]) -> None:
    client, base = named
    answer = client.post("/Patient", content=json.dumps(patient()), headers=JSON)
    assert answer.headers["location"].startswith(f"{base}/Patient/")
    found = client.get("/Patient?_count=1").json()
    assert link_of(found, "self").startswith(f"{base}/Patient")
    assert found["entry"][0]["fullUrl"].startswith(f"{base}/Patient/")
    history = client.get(f"/Patient/{answer.json()['id']}/_history").json()
    assert history["entry"][0]["fullUrl"].startswith(base)
    assert client.get("/metadata").json()["implementation"]["url"] == base


@pytest.mark.requirement(33, 34)
def test_that_name_is_ours_in_references_and_bundles(named: tuple[httpx.Client, str]) -> None:
    client, base = named
    whom = created(client.post("/Patient", content=json.dumps(patient()), headers=JSON))["id"]
    who = created(client.post("/Basic", content=json.dumps(about(f"{base}/Patient/{whom}")), headers=JSON))
    assert who["subject"] == {"reference": f"Patient/{whom}"}
    changed = put(patient(id=whom), f"{base}/Patient/{whom}")
    changed["request"]["url"] = f"{base}/Patient/{whom}"
    answer = send(client, "transaction", changed, entry("GET", f"{base}/Basic?subject={base}/Patient/{whom}"))
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["entry"]
    assert first["response"]["location"].startswith(base)
    assert second["resource"]["entry"][0]["resource"]["id"] == who["id"]


@pytest.mark.requirement(1)
def test_the_statement_can_be_had_in_part(one_client: httpx.Client) -> None:
    whole = one_client.get("/metadata")
    part = one_client.get("/metadata?_elements=fhirVersion").json()
    assert part["fhirVersion"] == "4.0.1"
    assert "rest" not in part
    summary = one_client.get("/metadata?_summary=true")
    assert summary.json()["resourceType"] == "CapabilityStatement"
    assert len(summary.content) <= len(whole.content)
    assert one_client.get("/metadata?_summary=nonsense").status_code == 400
