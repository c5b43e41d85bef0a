"""metadata: open to all, of the right version, with a tag that stands for its content; everything it claims is called.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.minimal import minimal
from tests.conformance.server import Tracker, running_tracker
from tests.conformance.talk import FORM, JSON, Body, Corner, issue_of

STRICT = {"Prefer": "handling=strict"}
AT_ONCE = 40
OFFICIAL = "http://hl7.org/fhir/"
OWN = "https://fhir-tracker.example/"


@pytest.fixture(scope="session")
def statement(client: httpx.Client) -> Body:
    """What the server says of itself."""
    body: Body = client.get("/metadata").json()
    return body


@pytest.fixture(scope="session")
def rest(one_client: httpx.Client) -> Body:
    """The same part that clients look at, of the server on SQLite."""
    body: Body = one_client.get("/metadata").json()["rest"][0]
    return body


def codes(row: Body) -> set[str]:
    return {one["code"] for one in row.get("interaction", [])}


@pytest.mark.requirement(1)
def test_the_statement_says_r4_and_json(client: httpx.Client, statement: Body) -> None:
    answer = client.get("/metadata")
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert (statement["resourceType"], statement["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
    assert {"json", "application/fhir+json"} <= set(statement["format"])
    assert statement["implementation"]["url"] == str(client.base_url).rstrip("/")
    for format_ in statement["format"]:
        assert client.get("/metadata", params={"_format": format_}).status_code == 200
        assert client.get("/Patient", params={"_format": format_, "_count": "1"}).status_code == 200


@pytest.mark.requirement(1, 12)
def test_its_tag_stays_while_it_does_not_change(client: httpx.Client) -> None:
    first = client.get("/metadata")
    assert client.get("/metadata").headers["etag"] == first.headers["etag"]
    again = client.get("/metadata", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.requirement(1)
def test_its_tag_differs_where_the_server_does_something_else(one_tracker: Tracker, tmp_path: Path) -> None:
    opened = httpx.get(f"{one_tracker.fhir}/metadata", timeout=60, trust_env=False)
    address = one_tracker.fhir.removesuffix("/fhir")
    with running_tracker(f"sqlite:///{tmp_path / 'a.db'}", tmp_path, "--public-url", address, "--no-worker") as locked:
        answer = httpx.get(f"{locked.fhir}/metadata", timeout=60, trust_env=False)
    assert answer.status_code == 200
    assert answer.headers["etag"] != opened.headers["etag"]
    rows = {row["type"]: row for row in answer.json()["rest"][0]["resource"]}
    assert {"create", "update", "delete"} <= codes(rows["Task"])
    assert not {"create", "update", "patch", "delete"} & codes(rows["Patient"])
    assert (rows["Patient"]["conditionalUpdate"], rows["Patient"]["conditionalDelete"]) == (False, "not-supported")


@pytest.mark.requirement(1, 33, 37, 44)
def test_each_interaction_claimed_for_the_system_works(client: httpx.Client, statement: Body) -> None:
    calls = {
        "history-system": lambda: client.get("/_history?_count=1"),
        "search-system": lambda: client.get("/?_type=Patient&_count=1"),
        "transaction": lambda: client.post("/", content=bundle("transaction"), headers=JSON),
        "batch": lambda: client.post("/", content=bundle("batch"), headers=JSON),
    }
    claimed = codes(statement["rest"][0])
    assert {"history-system", "search-system"} <= claimed <= set(calls)
    for code in sorted(claimed):
        answer = calls[code]()
        assert answer.status_code == 200, (code, answer.text[:300])
        assert answer.json()["resourceType"] == "Bundle"


def bundle(type_: str) -> str:
    entry = {"request": {"method": "GET", "url": "Patient?_count=1"}}
    return json.dumps({"resourceType": "Bundle", "type": type_, "entry": [entry]})


@pytest.mark.requirement(1, 9, 43, 44)
@pytest.mark.parametrize("type_", ["Task", "Patient", "Basic", "AuditEvent", "Provenance"])
def test_patches_conditions_and_type_histories_are_there_exactly_where_claimed(
    one_client: httpx.Client, rest: Body, type_: str
) -> None:
    row = next(one for one in rest["resource"] if one["type"] == type_)
    none = "_id=none-such-id"
    offered = codes(row)
    body = json.dumps(minimal(type_))
    patch = one_client.patch(f"/{type_}/none", content="[]", headers={"Content-Type": "application/json-patch+json"})
    assert (patch.status_code != 405) == ("patch" in offered)
    put = one_client.put(f"/{type_}?{none}", content=body, headers=JSON)
    assert (put.status_code in (200, 201)) == row["conditionalUpdate"], put.text[:300]
    deleted = one_client.delete(f"/{type_}?{none}")
    assert (deleted.status_code == 405) == (row["conditionalDelete"] == "not-supported"), deleted.text[:300]
    created = one_client.post(f"/{type_}", content=body, headers=JSON | {"If-None-Exist": none})
    assert (created.status_code == 201) == row["conditionalCreate"], created.text[:300]
    assert (one_client.get(f"/{type_}/_history?_count=1").status_code == 200) == ("history-type" in offered)


@pytest.mark.requirement(9)
def test_each_patch_format_claimed_is_taken_and_others_are_not(corner: Corner, statement: Body) -> None:
    corner.put("Patient", "p", gender="male")
    address = f"/Patient/{corner.id('p')}"
    sent = {
        "application/json-patch+json": [{"op": "replace", "path": "/gender", "value": "female"}],
        "application/fhir+json": {"resourceType": "Parameters", "parameter": [FHIRPATH_PATCH]},
    }
    assert set(statement["patchFormat"]) == set(sent)
    for format_ in statement["patchFormat"]:
        answer = corner.client.patch(address, content=json.dumps(sent[format_]), headers={"Content-Type": format_})
        assert answer.status_code == 200, answer.text[:300]
    for format_ in ("application/xml-patch+xml", "application/merge-patch+json", "text/plain"):
        issue_of(corner.client.patch(address, content=b"{}", headers={"Content-Type": format_}), 415)


FHIRPATH_PATCH = {
    "name": "operation",
    "part": [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.gender"},
        {"name": "value", "valueCode": "other"},
    ],
}


@pytest.mark.requirement(27)
def test_everything_said_to_be_included_can_be_asked_for(one_client: httpx.Client, rest: Body) -> None:
    for row in rest["resource"]:
        ask(one_client, row["type"], "_include", row.get("searchInclude", []))
        ask(one_client, row["type"], "_revinclude", row.get("searchRevInclude", []))


@pytest.mark.requirement(19, 27)
def test_what_is_not_said_to_be_included_is_refused(one_client: httpx.Client, rest: Body) -> None:
    for row in rest["resource"]:
        if row["type"] in ("Task", "CarePlan", "Patient"):
            assert f"{row['type']}:status" not in row["searchInclude"]
            issue_of(one_client.get(f"/{row['type']}?_include={row['type']}:status"), 400)
            issue_of(one_client.get(f"/{row['type']}?_revinclude=Task:colour"), 400)
    patient = next(one for one in rest["resource"] if one["type"] == "Patient")
    assert {"Task:patient", "Task:subject", "Provenance:target"} <= set(patient["searchRevInclude"])


def ask(client: httpx.Client, type_: str, name: str, values: Sequence[str]) -> None:
    for start in range(0, len(values), AT_ONCE):
        pairs: list[tuple[str, str | int | float | bool | None]] = [("_count", 1)]
        pairs += [(name, one) for one in values[start : start + AT_ONCE]]
        answer = client.get(f"/{type_}", params=pairs, headers=STRICT)
        assert answer.status_code == 200, (type_, name, answer.text[:300])


@pytest.mark.requirement(23)
def test_each_parameter_claimed_for_every_type_selects_in_a_search_of_everything(
    client: httpx.Client, statement: Body
) -> None:
    values = {"date": "1901", "token": "http://example.org/none|none", "uri": "http://example.org/none"}
    claimed = {one["name"]: one for one in statement["rest"][0]["searchParam"]}
    assert {"_id", "_lastUpdated", "_tag", "_profile", "_security", "_source"} <= set(claimed)
    for name, one in claimed.items():
        answer = client.get("/", params={name: values.get(one["type"], "none-such")}, headers=STRICT)
        assert answer.status_code == 200, answer.text[:300]
        assert "entry" not in answer.json(), name


@pytest.mark.requirement(23)
def test_every_type_has_id_and_last_updated_and_what_the_latter_means_is_told(statement: Body) -> None:
    for row in statement["rest"][0]["resource"]:
        parameters = {one["name"]: one for one in row["searchParam"]}
        assert {"_id", "_lastUpdated"} <= set(parameters)
        assert "stored" in parameters["_lastUpdated"]["documentation"]


@pytest.mark.requirement(32)
def test_each_compartment_claimed_is_there_and_no_other(client: httpx.Client, statement: Body) -> None:
    claimed = {str(one).rpartition("/")[2] for one in statement["rest"][0]["compartment"]}
    types = {str(row["type"]) for row in statement["rest"][0]["resource"]}
    for type_ in sorted(types):
        status = client.get(f"/{type_}/none/*?_count=1").status_code
        assert status == (200 if type_.lower() in claimed else 404), type_


@pytest.mark.requirement(1, 31)
def test_each_definition_named_is_official_or_resolves_here(one_client: httpx.Client, rest: Body) -> None:
    own = 0
    for url in sorted(definitions(rest)):
        assert url.startswith((OFFICIAL, OWN))
        if url.startswith(OWN):
            type_, _, id_ = url.removeprefix(OWN).partition("/")
            assert one_client.get(f"/{type_}/{id_}").json()["url"] == url
            found = one_client.get(f"/{type_}", params={"url": url}).json()
            assert [one["resource"]["id"] for one in found["entry"]] == [id_]
            own += 1
    assert own >= 2


def definitions(rest: Body) -> set[str]:
    rows = [rest, *rest["resource"]]
    return {one["definition"] for row in rows for name in ("searchParam", "operation") for one in row.get(name, [])}


def operations(rest: Body) -> Iterator[tuple[str, str]]:
    """Type (or "") and name of each operation claimed, on one type where it is claimed for all."""
    yield from (("", one["name"]) for one in rest.get("operation", []))
    seen: set[str] = set()
    for row in rest["resource"]:
        for one in row.get("operation", []):
            if one["name"] not in seen or row["type"] in ("PlanDefinition", "ActivityDefinition"):
                seen.add(one["name"])
                yield row["type"], one["name"]


@pytest.mark.requirement(1)
def test_each_operation_claimed_is_at_an_address_and_others_are_not(one_client: httpx.Client, rest: Body) -> None:
    claimed = list(operations(rest))
    for type_, name in claimed:
        places = [f"/${name}"] if not type_ else [f"/{type_}/${name}", f"/{type_}/none/${name}"]
        answers = [one_client.post(place, content=b"{}", headers=JSON) for place in places]
        told = [answer.json()["issue"][0]["details"]["text"] for answer in answers if answer.status_code == 404]
        assert len([text for text in told if "no such operation" in text]) < len(places), (type_, name)
    for place in ("/$nonsense", "/Patient/$nonsense", "/Patient/none/$nonsense", "/Patient/$everything"):
        issue_of(one_client.get(place), 404)


@pytest.mark.requirement(1, 122)
def test_each_profile_claimed_can_be_validated_against(one_client: httpx.Client, rest: Body) -> None:
    claimed = {(row["type"], url) for row in rest["resource"] for url in row.get("supportedProfile", [])}
    assert {type_ for type_, _ in claimed} == {"CarePlan", "CareTeam", "Goal", "Patient"}
    for type_, url in claimed:
        told = {}
        for profile in (url, "http://example.org/StructureDefinition/none"):
            parameters = [{"name": "resource", "resource": minimal(type_)}, {"name": "profile", "valueUri": profile}]
            body = json.dumps({"resourceType": "Parameters", "parameter": parameters})
            answer = one_client.post(f"/{type_}/$validate", content=body, headers=JSON)
            assert answer.json()["resourceType"] == "OperationOutcome"
            told[profile] = [one["code"] for one in answer.json()["issue"]]
        assert "not-found" not in told[url], (url, told)
        assert told[url] != told[profile]


@pytest.mark.requirement(122)
def test_patients_are_found_as_us_core_asks(corner: Corner) -> None:
    corner.put("Patient", "p", name=[{"family": "Example", "given": ["Ann"]}], birthDate="1950-02-03", gender="female",
               identifier=[{"system": "http://example.org/mrn", "value": corner.name}])  # fmt: skip
    for query in (
        f"_id={corner.id('p')}",
        f"identifier=http://example.org/mrn|{corner.name}",
        "name=example",
        "birthdate=1950-02-03&name=ann",
        "gender=female&name=Example",
        "birthdate=ge1950-01-01&birthdate=lt1951&family=example",
        "gender=female&birthdate=1950-02-03",
    ):
        assert corner.found(f"Patient?{query}") == ["p"], query


@pytest.mark.requirement(2)
@pytest.mark.parametrize(
    "path", ["/Nope", "/Nope/1", "/patient/1", "/Patient/1/2", "/Patient/1/_history/1/2", "/$export", "/Patient/1/Nope"]
)
def test_what_is_nowhere_is_404(client: httpx.Client, path: str) -> None:
    issue_of(client.get(path), 404)


@pytest.mark.requirement(2)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/Patient/x"),
        ("PUT", "/Patient/_search"),
        ("GET", "/Patient/_search"),
        ("DELETE", "/Patient/x/_history"),
        ("PATCH", "/Patient/x/_history/1"),
        ("POST", "/Patient/_history"),
        ("PUT", "/_history"),
        ("POST", "/Patient/x/Task"),
        ("POST", "/metadata"),
        ("PUT", ""),
        ("DELETE", ""),
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


@pytest.mark.requirement(13)
def test_head_is_served_wherever_get_is(client: httpx.Client, corner: Corner) -> None:
    corner.put("Patient", "p")
    address = f"/Patient/{corner.id('p')}"
    paths = ["/metadata", "/?_count=1", "/_history?_count=1", "/Patient?_count=1", "/Patient/_history?_count=1"]
    paths += [address, f"{address}/_history", f"{address}/_history/1", f"{address}/Task", f"{address}/*"]
    for path in paths:
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
        assert (head.headers.get("etag"), head.headers.get("last-modified")) == (
            got.headers.get("etag"),
            got.headers.get("last-modified"),
        )


@pytest.mark.requirement(16)
def test_each_search_can_be_posted(client: httpx.Client) -> None:
    for path in ("", "/Patient", "/Patient/none/Task"):
        got: Any = client.get(f"{path or '/'}?_count=1&_lastUpdated=lt1901").json()
        posted: Any = client.post(f"{path}/_search", content="_count=1&_lastUpdated=lt1901", headers=FORM).json()
        assert [one["url"] for one in posted["link"]] == [one["url"] for one in got["link"]]
        assert ("entry" in posted, posted["total"]) == ("entry" in got, got["total"]) == (False, 0)
