"""Batches over HTTP: each entry for itself, with its own status, its own audit row and no links to the others."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.bundles import (
    SYSTEM,
    about,
    done,
    entry,
    found,
    number,
    patient,
    post,
    put,
    refs,
    send,
    statuses,
    stored,
    urn,
)
from tests.conformance.talk import Body


def batch(client: httpx.Client, *entries: Body) -> list[Body]:
    """The entries of the answer to a batch."""
    return done(send(client, "batch", *entries), "batch-response")


@pytest.mark.requirement(37)
def test_entries_stand_for_themselves_in_the_order_of_the_request(client: httpx.Client) -> None:
    value = number()
    id_ = f"b{value[:8]}"
    basic: Body = {"resourceType": "Basic", "id": id_, "code": {"text": "x"}}
    entries = batch(
        client,
        put(basic),
        post(patient(value)),
        entry("GET", "Patient/nobody-at-all"),
        post({"resourceType": "Patient", "gender": "x"}),
        entry("GET", f"Basic/{id_}"),
        put(basic, ifMatch='W/"7"'),
        entry("GET", f"Patient?identifier={SYSTEM}|{value}"),
        entry("DELETE", f"Basic/{id_}"),
        entry("GET", f"Basic/{id_}"),
        entry("GET", f"Basic/{id_}/_history"),
        entry("GET", "metadata"),
        post({"resourceType": "AuditEvent"}),
        entry("GET", "Nonsense"),
        entry("POST", "", {"resourceType": "Bundle", "type": "batch"}),
    )
    expected = ["201", "201", "404", "400", "200", "412", "200", "204", "410", "200", "200", "405", "404", "400"]
    assert statuses(entries) == expected
    assert entries[0]["response"]["location"].endswith(f"/fhir/Basic/{id_}/_history/1")
    assert entries[0]["response"]["etag"] == 'W/"1"'
    assert entries[4]["resource"]["id"] == id_
    assert entries[4]["fullUrl"].endswith(f"/fhir/Basic/{id_}")
    assert len(entries[6]["resource"]["entry"]) == 1
    assert entries[9]["resource"]["type"] == "history"
    assert entries[10]["resource"]["resourceType"] == "CapabilityStatement"
    for one in entries:
        failed = int(statuses([one])[0]) >= 400
        assert ("outcome" in one["response"]) == failed
        assert ("resource" in one) == (not failed and "204" not in one["response"]["status"])
    assert entries[3]["response"]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[3].resource.gender"]


@pytest.mark.requirement(37)
def test_an_entry_cannot_refer_to_another_entry_of_a_batch(client: httpx.Client) -> None:
    whom = urn()
    entries = batch(client, post(patient(), whom), post(about(whom)), post(about("Patient/somebody-else")))
    assert statuses(entries) == ["201", "400", "201"]
    where = entries[1]["response"]["outcome"]["issue"][0]["expression"]
    assert where == ["Bundle.entry[1].resource.subject.reference"]


@pytest.mark.requirement(35, 37)
def test_conditions_of_entries_are_honoured(client: httpx.Client) -> None:
    value = number()
    once = f"identifier={SYSTEM}|{value}"
    entries = batch(
        client,
        post(patient(value), ifNoneExist=once),
        post(patient(value), ifNoneExist=once),
        entry("PUT", f"Patient?{once}", patient(value, gender="other")),
        entry("DELETE", f"Patient?{once}", ifMatch='W/"1"'),
        entry("GET", f"Patient?{once}", ifNoneMatch='W/"1"'),
        entry("DELETE", f"Patient?{once}"),
        entry("DELETE", f"Patient?{once}"),
    )
    assert statuses(entries)[:4] == ["201", "200", "200", "412"]
    assert statuses(entries)[5:] == ["204", "204"]
    assert found(client, f"Patient?{once}") == []


@pytest.mark.requirement(37)
def test_references_to_our_own_address_are_stored_without_it(client: httpx.Client) -> None:
    person = refs(batch(client, post(patient())))[0]
    full = str(client.base_url).rstrip("/")
    made = refs(batch(client, post(about(f"{full}/{person}"))))[0]
    assert stored(client, made)["subject"]["reference"] == person


@pytest.mark.requirement(10, 37)
@pytest.mark.parametrize("wanted", ["minimal", "representation", "OperationOutcome"])
def test_what_writes_return_is_as_preferred(client: httpx.Client, wanted: str) -> None:
    answer = send(client, "batch", post(patient()), headers={"Prefer": f"return={wanted}"})
    only = done(answer, "batch-response")[0]
    assert ("resource" in only) == (wanted == "representation")
    assert ("outcome" in only["response"]) == (wanted == "OperationOutcome")


@pytest.mark.requirement(18, 37)
def test_strict_handling_holds_for_searches_in_entries(one_client: httpx.Client) -> None:
    search = entry("GET", "Patient?nonsense=1")
    assert statuses(batch(one_client, search)) == ["200"]
    strict = send(one_client, "batch", search, headers={"Prefer": "handling=strict"})
    assert statuses(done(strict, "batch-response")) == ["400"]
