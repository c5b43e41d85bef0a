"""Whole synthetic patients come in as transactions, and every reference of theirs leads to what came with it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import httpx
import pytest

from fhir_tracker.fhir.references import walk_references
from tests.conformance.bundles import done, refs, send, statuses
from tests.conformance.talk import JSON, Body
from tests.peers.synthea import bundles


@pytest.mark.requirement(33, 34)
@pytest.mark.parametrize("number", range(3))
def test_a_synthetic_patient_comes_in_whole(client: httpx.Client, number: int) -> None:
    bundle = bundles()[number]
    sent = [one["resource"] for one in bundle["entry"]]
    entries = done(client.post("", content=json.dumps(bundle), headers=JSON))
    assert statuses(entries) == ["201"] * len(sent)
    known = set(refs(entries))
    assert Counter(ref.partition("/")[0] for ref in known) == Counter(one["resourceType"] for one in sent)
    for before, entry in zip(sent, entries, strict=True):
        after = entry["resource"]
        links = [one["reference"] for _, one in walk_references(after)]
        assert len(links) == len(list(walk_references(before)))
        assert {text for text in links if not text.startswith("#")} <= known
        assert _without_links(after) == _without_links(before)


def _without_links(value: Any) -> Any:
    """The content without ids, meta and what references say."""
    if isinstance(value, dict):
        kept = {name: member for name, member in value.items() if name not in ("id", "meta", "reference")}
        return {name: _without_links(member) for name, member in kept.items()}
    return [_without_links(one) for one in value] if isinstance(value, list) else value


@pytest.mark.requirement(33, 36)
def test_a_chart_is_written_changed_and_taken_back(client: httpx.Client) -> None:
    """What the transaction tests of Crucible do: a patient with measurements, a correction with a new one, the end."""
    whom = "urn:uuid:3e1d9b0c-5b1e-4a53-8f0a-6f4b6a3f1c11"
    patient: Body = {"resourceType": "Patient", "name": [{"family": "Synthetic"}]}
    entries = done(
        send(
            client,
            "transaction",
            *[_create(_measured(whom, code, 70), "") for code in ("29463-7", "8302-2")],
            _create(patient, whom),
        )
    )
    weight, height, person = refs(entries)
    corrected = _measured(person, "8302-2", 71) | {"id": height.partition("/")[2]}
    changed = done(
        send(
            client,
            "transaction",
            {"request": {"method": "GET", "url": f"Observation?subject={person}&_total=accurate"}},
            {"request": {"method": "PUT", "url": height, "ifMatch": 'W/"1"'}, "resource": corrected},
            _create(_measured(person, "29463-7", 72), ""),
            {"request": {"method": "DELETE", "url": weight}},
        )
    )
    assert statuses(changed) == ["200", "200", "201", "204"]
    assert changed[0]["resource"]["total"] == 2
    values = sorted(one["resource"]["valueQuantity"]["value"] for one in changed[0]["resource"]["entry"])
    assert values == [71, 72]
    ends = [{"request": {"method": "DELETE", "url": ref}} for ref in (person, height, refs(changed)[2])]
    assert statuses(done(send(client, "transaction", *ends))) == ["204"] * 3
    assert [client.get(f"/{ref}").status_code for ref in (person, height, weight)] == [410] * 3


def _measured(subject: str, code: str, value: int) -> Body:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": subject},
        "valueQuantity": {"value": value, "unit": "kg", "system": "http://unitsofmeasure.org", "code": "kg"},
    }


def _create(resource: Body, full_url: str) -> Body:
    made: Body = {"request": {"method": "POST", "url": resource["resourceType"]}, "resource": resource}
    return made | ({"fullUrl": full_url} if full_url else {})


@pytest.mark.requirement(123, 141)
def test_a_transaction_brings_the_provenance_of_what_it_writes(client: httpx.Client) -> None:
    patient: Body = {"resourceType": "Patient", "name": [{"family": "Synthetic"}]}
    proof: Body = {
        "resourceType": "Provenance",
        "target": [{"reference": "urn:uuid:6e2c0d1a-0000-4000-8000-000000000001"}],
        "recorded": "2026-03-02T15:00:00Z",
        "agent": [{"who": {"display": "A generator of synthetic patients"}}],
    }
    entries = [
        _create(patient, "urn:uuid:6e2c0d1a-0000-4000-8000-000000000001"),
        _create(proof, "urn:uuid:6e2c0d1a-0000-4000-8000-000000000002"),
    ]
    answer = client.post("", json={"resourceType": "Bundle", "type": "transaction", "entry": entries}, headers=JSON)
    assert answer.status_code == 200, answer.text
    stored = [one["response"]["location"].partition("/_history")[0] for one in answer.json()["entry"]]
    kept = client.get(stored[1]).json()
    assert stored[0].endswith(kept["target"][0]["reference"])
    for method in ("PUT", "DELETE"):
        again = client.request(method, stored[1], json=kept, headers=JSON)
        assert again.status_code == 405
    assert client.post("Provenance", json=kept, headers=JSON).status_code == 405
