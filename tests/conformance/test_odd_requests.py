"""Requests that are odd and legal, as integration teams send them: each is understood as it was meant."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.conformance.talk import FORM, JSON, TAGS, Corner, created, issue_of, link_of, matches_of

URI = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


@pytest.mark.requirement(17, 29)
def test_links_of_bundles_are_legal_uris_whatever_was_searched(corner: Corner) -> None:
    for short in "abc":
        corner.put("Patient", short, name=[{"family": 'Ä "|\\^`{} <b>'}])
    for family in ('Ä "|', "a b", "Ä%7C", "\\|"):
        pairs = {"_tag": f"{TAGS}|{corner.name}", "family:contains": family, "_count": "1"}
        bundle = corner.client.get("/Patient", params=pairs).json()
        for link in bundle["link"]:
            assert URI.fullmatch(link["url"]), link
        assert link_of(corner.client.get(link_of(bundle, "self")).json(), "self") == link_of(bundle, "self")
    bundle = corner.client.get("/Patient", params={"_tag": f"{TAGS}|{corner.name}", "_count": "2"}).json()
    following = corner.client.get(link_of(bundle, "next")).json()
    assert len(matches_of(bundle)) + len(matches_of(following)) == 3


@pytest.mark.requirement(10, 18, 40)
def test_a_header_given_in_parts_is_one_list(corner: Corner) -> None:
    corner.put("Patient", "p")
    address = f"/Patient/{corner.id('p')}"
    body = json.dumps({"resourceType": "Patient", "id": corner.id("p")})
    client = corner.client
    tags = [*JSON.items(), ("If-Match", 'W/"7"'), ("If-Match", '"1"')]
    assert client.put(address, content=body, headers=tags).status_code == 200
    issue_of(client.put(address, content=body, headers=[*JSON.items(), ("If-Match", '"7"'), ("If-Match", '"1"')]), 412)
    two = [*JSON.items(), ("Prefer", "handling=strict"), ("Prefer", "return=minimal")]
    assert client.post("/Patient", content='{"resourceType":"Patient"}', headers=two).content == b""
    issue_of(
        client.get("/Patient?colour=red", headers=[("Prefer", "return=minimal"), ("Prefer", "handling=strict")]), 400
    )
    accepts = [("Accept", "application/fhir+xml"), ("Accept", "application/fhir+json")]
    bare = httpx.Client(base_url=client.base_url, timeout=60, trust_env=False, headers={"Accept": ""})
    with bare:
        assert bare.get(address, headers=accepts).status_code == 200


@pytest.mark.requirement(22, 44)
def test_a_plus_that_nobody_escaped_is_one(corner: Corner) -> None:
    stored = corner.put("Patient", "p", birthDate="1950-03-04")
    moment = str(stored["meta"]["lastUpdated"]).replace("Z", "+00:00")
    assert corner.found(f"Patient?_lastUpdated={moment}") == ["p"]
    assert corner.found(f"Patient?_lastUpdated=ge{moment.replace('+', '%2B')}") == ["p"]
    history = corner.client.get(f"/Patient/{corner.id('p')}/_history?_since={moment}")
    assert len(history.json()["entry"]) == 1
    issue_of(corner.client.get("/Patient?birthdate=1950-03-04 00:00"), 400)


@pytest.mark.requirement(5, 7, 16, 33, 37)
def test_addresses_may_end_in_a_slash_and_entries_may_name_them_whole(corner: Corner) -> None:
    corner.put("Patient", "p")
    base, ref = str(corner.client.base_url).rstrip("/"), f"Patient/{corner.id('p')}"
    assert corner.client.get(f"/{ref}/").status_code == 200
    assert corner.client.post("/Patient/_search/", content=f"_id={corner.id('p')}", headers=FORM).json()["total"] == 1
    asked = [f"/{ref}", f"{base}/{ref}", ref, f"{base}/Patient?_id={corner.id('p')}", f"{ref}/_history/1"]
    entries = [{"request": {"method": "GET", "url": url}} for url in asked]
    for type_ in ("batch", "transaction"):
        sent = json.dumps({"resourceType": "Bundle", "type": type_, "entry": entries})
        for place in ("", "/"):
            answer = created(corner.client.post(f"{base}{place}", content=sent, headers=JSON))
            assert [one["response"]["status"] for one in answer["entry"]] == ["200 OK"] * len(asked), answer


@pytest.mark.requirement(11)
@pytest.mark.parametrize(
    "accept",
    [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/fhir+json;q=1.0, application/json+fhir;q=0.9",
        "application/fhir+xml;q=1.0, application/fhir+json;q=1.0, application/xml+fhir;q=0.9, application/json+fhir;q=0.9",
        "application/json, text/plain, */*",
        "application/fhir+json; fhirVersion=4.0",
    ],
)
def test_what_browsers_and_the_clients_of_others_accept_is_served(client: httpx.Client, accept: str) -> None:
    assert client.get("/Patient?_count=1", headers={"Accept": accept}).status_code == 200


@pytest.mark.requirement(19)
@pytest.mark.parametrize("query", ["", "?", "?&&", "?name=", "?name", "?_id=&_sort=", "?_count="])
def test_parameters_that_say_nothing_are_nothing(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/Patient{query}", headers={"Prefer": "handling=strict"})
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json()["type"] == "searchset"
