"""References that are searches, in resources that are written by themselves.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import json
from uuid import uuid4

import httpx
import pytest

from tests.conformance.bundles import SYSTEM, about, entry, number, patient, post, send
from tests.conformance.talk import JSON, Body, created, issue_of

PATCH = {"Content-Type": "application/json-patch+json"}


def search(value: str) -> str:
    return f"Patient?identifier={SYSTEM}|{value}"


def sent(client: httpx.Client, body: Body, headers: dict[str, str] | None = None) -> httpx.Response:
    return client.post(f"/{body['resourceType']}", content=json.dumps(body), headers=JSON | (headers or {}))


@pytest.fixture
def known(client: httpx.Client) -> tuple[str, str]:
    """An identifier value that one Patient has, and its `Patient/id`."""
    value = number()
    return value, f"Patient/{created(sent(client, patient(value)))['id']}"


@pytest.mark.requirement(3, 7, 35)
def test_a_conditional_reference_is_stored_as_what_it_finds(client: httpx.Client, known: tuple[str, str]) -> None:
    value, ref = known
    made = created(sent(client, about(search(value), author={"reference": search(value)})))
    assert made["subject"] == made["author"] == {"reference": ref}
    assert client.get(f"/Basic?subject={ref}&_summary=count").json()["total"] == 1
    own = f"{str(client.base_url).rstrip('/')}/{search(value)}"
    body = about(own, id=made["id"])
    assert created(client.put(f"/Basic/{made['id']}", content=json.dumps(body), headers=JSON))["subject"] == {
        "reference": ref
    }


@pytest.mark.requirement(35)
def test_an_escaped_question_mark_hides_no_condition(client: httpx.Client, known: tuple[str, str]) -> None:
    value, ref = known
    text = json.dumps(about(search(value))).replace("?", "\\u003f")
    assert created(client.post("/Basic", content=text, headers=JSON))["subject"]["reference"] == ref


@pytest.mark.requirement(35)
def test_in_contained_resources_and_extensions_too(client: httpx.Client, known: tuple[str, str]) -> None:
    value, ref = known
    inner = about(search(value), id="in")
    texts = [search(value), "#in"]
    extensions = [{"url": "https://example.org/x", "valueReference": {"reference": text}} for text in texts]
    body = {"resourceType": "Basic", "code": {"text": "x"}, "contained": [inner], "extension": extensions}
    made = created(sent(client, body))
    assert made["contained"][0]["subject"]["reference"] == made["extension"][0]["valueReference"]["reference"] == ref


@pytest.mark.requirement(35)
@pytest.mark.parametrize("count", [0, 2])
def test_none_and_several_are_412_and_nothing_is_stored(client: httpx.Client, count: int) -> None:
    value, mark = number(), number()
    for _ in range(count):
        created(sent(client, patient(value)))
    marked = about(search(value), identifier=[{"system": SYSTEM, "value": mark}])
    for answer in (
        sent(client, marked),
        client.put(f"/Basic/{mark}", content=json.dumps({**marked, "id": mark}), headers=JSON),
        client.put(f"/Basic?identifier={SYSTEM}|{mark}", content=json.dumps(marked), headers=JSON),
    ):
        issue = issue_of(answer, 412)
        assert issue["expression"] == ["Basic.subject.reference"]
        assert issue["code"] == ("multiple-matches" if count else "not-found")
        assert value not in answer.text
    assert client.get(f"/Basic?identifier={SYSTEM}|{mark}&_summary=count").json()["total"] == 0


@pytest.mark.requirement(35)
@pytest.mark.parametrize(
    "text",
    [
        "Patient?",
        "Patient?nonsense=1",
        "Patient?identifier=",
        "Patient?_count=1",
        "Patient?identifier:nonsense=1",
        "Patient?birthdate=yesterday",
        "Nonsense?identifier=1",
        "patient?identifier=1",
        "/Patient?identifier=1",
        "?identifier=1",
        "Patient/1?identifier=1",
        "Patient?name=a b",
        "Patient?name=%ff",
    ],
)
def test_nonsense_is_400_alone_and_in_bundles(client: httpx.Client, text: str) -> None:
    issue_of(sent(client, about(text)), 400)
    answer = send(client, "transaction", post(about(text)))
    assert "Bundle.entry[0]" in issue_of(answer, 400)["expression"][0]
    (only,) = send(client, "batch", post(about(text))).json()["entry"]
    assert only["response"]["status"].startswith("400")


@pytest.mark.requirement(35)
def test_a_storm_of_searches_is_refused_and_one_of_identifiers_is_not(client: httpx.Client) -> None:
    body: Body = {"resourceType": "List", "status": "current", "mode": "working"}
    many = [f"Patient?family=x{index}" for index in range(101)]
    refused = issue_of(sent(client, body | {"entry": [{"item": {"reference": text}} for text in many]}), 400)
    assert refused["code"] == "too-costly"
    people = [number() for _ in range(120)]
    made = send(client, "transaction", *(post(patient(one)) for one in people)).json()["entry"]
    entries = [{"item": {"reference": search(one)}} for one in people]
    found = created(sent(client, body | {"entry": entries}))["entry"]
    wanted = [{"reference": f"Patient/{one['resource']['id']}"} for one in made]
    assert [one["item"] for one in found] == wanted


@pytest.mark.requirement(35)
@pytest.mark.parametrize("text", ["https://ehr.example.org/fhir/Patient?identifier=1", "urn:x:y?z"])
def test_what_only_looks_like_a_condition_is_left_alone(client: httpx.Client, text: str) -> None:
    """A colon before the first slash makes it an address of something else."""
    body = about(text, language="en", code={"text": '"reference": "Patient?x'})
    assert created(sent(client, body))["subject"] == {"reference": text}


@pytest.mark.requirement(35, 37)
def test_in_a_batch_and_in_a_bundle_that_is_only_stored(client: httpx.Client, known: tuple[str, str]) -> None:
    value, ref = known
    batch = send(client, "batch", post(about(search(value))), post(about(search(number()))))
    first, second = batch.json()["entry"]
    assert first["resource"]["subject"]["reference"] == ref
    assert second["response"]["status"].startswith("412")
    within = [{"fullUrl": f"urn:uuid:{uuid4()}", "resource": about(search(value))}]
    stored = {"resourceType": "Bundle", "type": "collection", "entry": within}
    kept = created(sent(client, stored))["entry"][0]["resource"]
    assert kept["subject"]["reference"] == search(value)


@pytest.mark.requirement(9, 35)
def test_a_patch_may_bring_one(client: httpx.Client, known: tuple[str, str]) -> None:
    value, ref = known
    made = created(sent(client, about(ref)))

    def patched(text: str) -> httpx.Response:
        steps = [{"op": "replace", "path": "/subject/reference", "value": text}]
        return client.patch(f"/Basic/{made['id']}", content=json.dumps(steps), headers=PATCH)

    issue_of(patched(search(number())), 412)
    assert created(patched(search(value)))["subject"]["reference"] == ref
    steps = json.dumps([{"op": "add", "path": "/author", "value": {"reference": search(value)}}])
    assert created(client.patch(f"/Basic/{made['id']}", content=steps, headers=PATCH))["author"]["reference"] == ref


@pytest.mark.requirement(35, 43)
def test_a_create_whose_resource_is_there_already_needs_none(client: httpx.Client) -> None:
    value = number()
    body = about(search(number()), identifier=[{"system": SYSTEM, "value": value}])
    there = {key: member for key, member in body.items() if key != "subject"}
    made = created(sent(client, there))
    answer = sent(client, body, {"If-None-Exist": f"identifier={SYSTEM}|{value}"})
    assert answer.status_code == 200
    assert answer.json()["id"] == made["id"]


@pytest.mark.requirement(35, 33)
def test_in_a_transaction_they_still_mean_what_it_makes(client: httpx.Client) -> None:
    value = number()
    answer = send(client, "transaction", post(about(search(value))), post(patient(value)))
    first, second = (one["resource"] for one in answer.json()["entry"])
    assert first["subject"]["reference"] == f"Patient/{second['id']}"
    assert send(client, "transaction", entry("DELETE", f"Basic/{first['id']}")).status_code == 200


@pytest.mark.requirement(33, 35)
def test_a_transaction_takes_many_conditions_with_long_identifiers(client: httpx.Client) -> None:
    """Together they are longer than a search parameter may be."""
    people = [number() + "x" * 60 for _ in range(60)]
    for one in people:
        created(sent(client, patient(one)))
    answer = send(client, "transaction", *(post(about(search(one))) for one in people))
    assert answer.status_code == 200, answer.text[:300]
    twice = send(client, "transaction", *(post(patient(one), ifNoneExist=search(one)) for one in people))
    assert {one["response"]["status"] for one in twice.json()["entry"]} == {"200 OK"}
