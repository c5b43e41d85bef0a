"""Patches on every type, in Bundles, and from clients that mean harm.

https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import pytest

from fhir_tracker.fhir.body import write_json
from tests.conformance.talk import JSON, Corner, created, issue_of
from tests.fhir.examples import example, example_names

PATCH = {"Content-Type": "application/json-patch+json"}
EXAMPLES = {name.partition("-")[0]: name for name in example_names()}
TYPES = sorted(EXAMPLES.keys() - {"Provenance", "AuditEvent"})
NOT_STRICT = ("text", "transform", "questionnaire", "dosage")
"""Members that in some examples are not what R4 itself asks for."""
OURS = ("meta", "language", "lastModified", "text")


def parameters(*steps: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A FHIRPath Patch of replacements and deletions: a path, and the value part or nothing."""
    given = []
    for path, value in steps:
        kind = "replace" if value else "delete"
        part = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
        given.append({"name": "operation", "part": part + ([{"name": "value", **value}] if value else [])})
    return {"resourceType": "Parameters", "parameter": given}


@pytest.mark.requirement(9)
@pytest.mark.parametrize("type_", TYPES)
def test_each_type_with_an_official_example_is_patched_in_both_ways(one_client: httpx.Client, type_: str) -> None:
    body = {name: value for name, value in example(EXAMPLES[type_]).items() if name not in NOT_STRICT}
    made = created(one_client.post(f"/{type_}", content=write_json(body), headers=JSON))
    address = f"/{type_}/{made['id']}"
    first = one_client.patch(address, content='[{"op":"add","path":"/language","value":"en"}]', headers=PATCH)
    assert (first.status_code, first.json()["language"]) == (200, "en"), first.text
    steps = parameters((f"{type_}.language", {"valueCode": "de"}))
    second = one_client.patch(address, content=json.dumps(steps), headers=JSON)
    assert (second.status_code, second.json()["language"], second.headers["etag"]) == (200, "de", 'W/"3"'), second.text
    found = second.json()
    assert {name: one for name, one in found.items() if name not in OURS} == {
        name: one for name, one in made.items() if name not in OURS
    }


@pytest.mark.requirement(9, 35)
def test_patches_are_entries_of_a_transaction(corner: Corner) -> None:
    for short in ("a", "b", "c"):
        corner.put("Patient", short, identifier=[{"value": f"{corner.name}-{short}"}], gender="male")
    operations = b'[{"op":"replace","path":"/gender","value":"female"}]'
    binary = {"resourceType": "Binary", "contentType": PATCH["Content-Type"]}
    entry = [
        {
            "resource": binary | {"data": base64.b64encode(operations).decode()},
            "request": {"method": "PATCH", "url": f"Patient/{corner.id('a')}", "ifMatch": 'W/"1"'},
        },
        {
            "resource": parameters(("Patient.gender", {"valueCode": "other"})),
            "request": {"method": "PATCH", "url": f"Patient/{corner.id('b')}"},
        },
        {
            "resource": parameters(("Patient.gender", {})),
            "request": {"method": "PATCH", "url": f"Patient?identifier={corner.name}-c"},
        },
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
    answer = corner.client.post("/", content=json.dumps(bundle), headers=JSON)
    assert answer.status_code == 200, answer.text
    assert [one["response"]["etag"] for one in answer.json()["entry"]] == ['W/"2"'] * 3
    found = [corner.client.get(f"/Patient/{corner.id(short)}").json().get("gender") for short in "abc"]
    assert found == ["female", "other", None]
    issue_of(corner.client.post("/", content=json.dumps(bundle), headers=JSON), 412)
    assert corner.client.get(f"/Patient/{corner.id('b')}").headers["etag"] == 'W/"2"'


EVIL_PATHS = [
    "Patient.name.where(family.matches('(a+)+$'))",
    "Patient.name.where(" + "(" * 200 + "true" + ")" * 200 + ")",
    "Patient.name.where(" + "family.replace('a','aaaaaaaaaa')" + ".replace('a','aaaaaaaaaa')" * 12 + " = 'x')",
    "Patient.name.where(%resource.descendants().select(%resource.descendants()).count() > 1)",
    "Patient.name.where(1.repeat($this + 1).exists())",
    "Patient.name.where(trace('x').exists())",
    "Patient.name.where(resolve().exists())",
    "Patient.name.where(%vs.exists())",
    "Patient.name[99999999999999999999]",
    "Patient.name[-1]",
    "Patient." + "contact." * 900,
    "Patient.name.where('" + "x" * 1000,
    "Patient.name\x01",
    "Patient.__class__",
    "Patient._name",
    "Patient.resourceType",
    "resourceType",
    "Patient.name; DROP TABLE resource",
    "(((((Patient.name as HumanName) as HumanName",
]


@pytest.mark.requirement(4, 9)
@pytest.mark.parametrize("path", EVIL_PATHS, ids=range(len(EVIL_PATHS)))
def test_no_path_does_harm(corner: Corner, path: str) -> None:
    made = corner.put("Patient", "p", name=[{"family": "a" * 40}] * 20)
    begun = time.monotonic()
    body = json.dumps(parameters((path, {"valueHumanName": {"text": "x"}})))
    answer = corner.client.patch(f"/Patient/{made['id']}", content=body, headers=JSON)
    assert time.monotonic() - begun < 40
    told = issue_of(answer, answer.status_code)
    assert answer.status_code in (400, 413, 422)
    assert "aaaa" not in json.dumps(told)
    assert corner.client.get(f"/Patient/{made['id']}").headers["etag"] == 'W/"1"'


@pytest.mark.requirement(4, 9)
@pytest.mark.parametrize(
    "content",
    [
        '[{"op":"add","path":"/a","path":"/b","value":1}]',
        '[{"op":"add","path":"/active","value":NaN}]',
        '[{"op":"add","path":"/active","value":1e9999}]',
        '[{"op":"add","path":"/name/0/text","value":"\\u0000"}]',
        '[{"op":"add","path":"/name/0/text","value":"\\ud800"}]',
        '[{"op":"add","path":"/name/0/text","value":"x\u0001"}]',
        '[{"op":"add","path":"/active","value":' + "[" * 100 + "]" * 100 + "}]",
        '[{"op":"add","path":"' + "/a" * 30_000 + '","value":1}]',
        '[{"op":"add","path":"/name/99999999999999999999","value":{}}]',
        '[{"op":"add","path":"/__proto__","value":{"x":1}}]',
        '[{"op":"copy","from":"","path":"/contained"}]',
        '[{"op":"move","from":"","path":"/contained/0"}]',
        '[{"op":"replace","path":"","value":null}]',
        '[{"op":"remove","path":""}]',
        "[" * 1000,
        "[null]",
        "\ufeff[]",
    ],
    ids=range(17),
)
def test_no_json_patch_does_harm(corner: Corner, content: str) -> None:
    made = corner.put("Patient", "p", name=[{"family": "a"}])
    answer = corner.client.patch(f"/Patient/{made['id']}", content=content.encode(), headers=PATCH)
    issue_of(answer, answer.status_code)
    assert answer.status_code in (400, 413, 422)
    assert corner.client.get(f"/Patient/{made['id']}").headers["etag"] == 'W/"1"'
