"""Deletes of what other resources refer to.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.conformance.bundles import SYSTEM, about, entry, number, patient, post, put, send
from tests.conformance.server import own_client
from tests.conformance.talk import JSON, Body, Corner, issue_of


def make(client: httpx.Client, resource: Body) -> str:
    """`Type/id` of a new resource."""
    answer = client.post(f"/{resource['resourceType']}", content=json.dumps(resource), headers=JSON)
    assert answer.status_code == 201, answer.text
    return f"{resource['resourceType']}/{answer.json()['id']}"


def refused(answer: httpx.Response) -> str:
    """What a 409 says."""
    issue = issue_of(answer, 409)
    assert issue["code"] == "conflict"
    return str(issue["diagnostics"])


@pytest.mark.requirement(8)
def test_what_others_refer_to_is_not_deleted_until_they_do_no_more(client: httpx.Client) -> None:
    whom = make(client, patient())
    first, second = make(client, about(whom)), make(client, about(whom))
    told = refused(client.delete(f"/{whom}"))
    assert "2 resources refer to it" in told
    assert first in told
    assert second in told
    assert client.get(f"/{whom}").json()["meta"]["versionId"] == "1"
    body = {"resourceType": "Basic", "id": first.partition("/")[2], "code": {"text": "of nobody"}}
    assert client.put(f"/{first}", content=json.dumps(body), headers=JSON).status_code == 200
    assert "1 resource refers to it" in refused(client.delete(f"/{whom}"))
    assert client.delete(f"/{second}").status_code == 204
    assert client.delete(f"/{whom}").status_code == 204
    assert client.get(f"/{whom}").status_code == 410


@pytest.mark.requirement(8)
@pytest.mark.parametrize("form", ["{ref}", "{ref}/_history/1", "{base}/{ref}"])
def test_every_way_to_write_a_local_reference_counts(client: httpx.Client, form: str) -> None:
    whom = make(client, patient())
    who = make(client, about(form.format(ref=whom, base=str(client.base_url).rstrip("/"))))
    assert who in refused(client.delete(f"/{whom}"))


@pytest.mark.requirement(8)
def test_references_to_elsewhere_and_to_oneself_and_by_identifier_do_not_count(client: httpx.Client) -> None:
    whom = make(client, patient(number()))
    id_ = whom.partition("/")[2]
    make(client, about(f"https://ehr.example.org/fhir/{whom}"))
    make(client, {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"identifier": {"value": id_}}})
    itself = patient(id=id_, link=[{"other": {"reference": whom}, "type": "seealso"}])
    assert client.put(f"/{whom}", content=json.dumps(itself), headers=JSON).status_code == 200
    assert client.delete(f"/{whom}").status_code == 204


@pytest.mark.requirement(8)
def test_the_trail_of_a_resource_never_stands_in_its_way(client: httpx.Client) -> None:
    """Each write of a Task has its Provenance, which refers to it."""
    task = make(client, {"resourceType": "Task", "status": "requested", "intent": "order"})
    assert client.get(f"/Provenance?target={task}").json()["entry"]
    assert client.delete(f"/{task}").status_code == 204


@pytest.mark.requirement(8)
def test_a_storm_of_referrers_is_counted_up_to_a_limit_and_a_few_are_named(client: httpx.Client) -> None:
    whom = make(client, patient())
    assert send(client, "transaction", *(post(about(whom)) for _ in range(40))).status_code == 200
    told = refused(client.delete(f"/{whom}"))
    assert "40 resources refer to it" in told
    assert told.count("Basic/") == 5
    assert "and others" in told


@pytest.mark.requirement(8, 40)
def test_a_version_that_is_not_present_is_told_before_the_referrers(client: httpx.Client) -> None:
    whom = make(client, patient())
    make(client, about(whom))
    issue_of(client.delete(f"/{whom}", headers={"If-Match": 'W/"7"'}), 412)
    refused(client.delete(f"/{whom}", headers={"If-Match": 'W/"1"'}))


@pytest.mark.requirement(8, 43)
def test_a_delete_by_a_condition_is_refused_the_same(client: httpx.Client) -> None:
    value = number()
    whom = make(client, patient(value))
    who = make(client, about(whom))
    assert who in refused(client.delete(f"/Patient?identifier={SYSTEM}|{value}"))
    assert client.delete(f"/{who}").status_code == 204
    assert client.delete(f"/Patient?identifier={SYSTEM}|{value}").status_code == 204


@pytest.mark.requirement(8, 33)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_transaction_may_delete_a_resource_with_its_referrer(client: httpx.Client, is_first: bool) -> None:
    whom = make(client, patient())
    both = [entry("DELETE", whom), entry("DELETE", make(client, about(whom)))]
    assert send(client, "transaction", *(both if is_first else reversed(both))).status_code == 200
    assert client.get(f"/{whom}").status_code == 410


@pytest.mark.requirement(8, 33)
def test_a_transaction_may_delete_what_it_takes_the_references_from(client: httpx.Client) -> None:
    whom, other = make(client, patient()), make(client, patient())
    who = make(client, about(whom))
    moved = put(about(other, id=who.partition("/")[2]))
    assert send(client, "transaction", entry("DELETE", whom), moved).status_code == 200
    refused(client.delete(f"/{other}"))


@pytest.mark.requirement(8, 33)
def test_a_transaction_that_would_leave_a_reference_dangling_does_nothing(client: httpx.Client) -> None:
    whom, free, value = make(client, patient()), make(client, patient()), number()
    who = make(client, about(whom))
    answer = send(client, "transaction", entry("DELETE", free), entry("DELETE", whom), post(patient(value)))
    assert who in refused(answer)
    assert "Bundle.entry[1]" in answer.json()["issue"][0]["expression"][0]
    assert client.get(f"/{free}").status_code == 200
    assert client.get(f"/Patient?identifier={SYSTEM}|{value}&_summary=count").json()["total"] == 0


@pytest.mark.requirement(8, 33)
def test_a_transaction_that_adds_a_reference_to_what_it_deletes_does_nothing(client: httpx.Client) -> None:
    whom = make(client, patient())
    refused(send(client, "transaction", post(about(whom)), entry("DELETE", whom)))
    assert client.delete(f"/{whom}").status_code == 204


@pytest.mark.requirement(8, 37)
def test_in_a_batch_each_delete_stands_for_itself(client: httpx.Client) -> None:
    whom = make(client, patient())
    who = make(client, about(whom))
    answer = send(client, "batch", entry("DELETE", whom), entry("DELETE", who), entry("DELETE", whom))
    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["409", "204", "204"]


@pytest.mark.requirement(8)
def test_what_is_gone_or_never_was_can_be_deleted_whoever_refers_to_it(corner: Corner) -> None:
    """A reference to what is not there is no reason to refuse what changes nothing."""
    make(corner.client, about(f"Patient/{corner.id('never')}"))
    assert corner.client.delete(f"/Patient/{corner.id('never')}").status_code == 204


@pytest.mark.requirement(8)
def test_validation_of_a_delete_tells_of_the_referrers(client: httpx.Client) -> None:
    whom = make(client, patient())
    who = make(client, about(whom))
    answer = client.get(f"/{whom}/$validate?mode=delete")
    assert who in answer.text
    assert client.get(f"/{whom}").status_code == 200


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of a server whose operator lets references dangle."""
    folder = tmp_path_factory.mktemp("careless")
    with own_client(folder, env={"FHIR_TRACKER_REFERENTIAL_INTEGRITY": "off"}) as client:
        yield client


@pytest.mark.requirement(8)
def test_an_operator_can_let_references_dangle(careless: httpx.Client) -> None:
    whom, other = make(careless, patient()), make(careless, patient())
    who = make(careless, about(whom))
    make(careless, about(other))
    assert careless.delete(f"/{whom}").status_code == 204
    assert send(careless, "transaction", entry("DELETE", other)).status_code == 200
    assert careless.get(f"/{who}").json()["subject"] == {"reference": whom}
