"""What is stored comes back as it was sent: digits, order, extensions, and letters of every script.

https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conformance.talk import JSON, Corner, created, issue_of

EXAMPLES = sorted((Path(__file__).parents[2] / "fixtures" / "r4-examples").glob("*.json"))
OWN = {"id", "meta"}
WRONG = {
    "ActivityDefinition-blood-tubes-supply": "ActivityDefinition.text.div",
    "EventDefinition-example": "EventDefinition.text.div",
    "QuestionnaireResponse-gcs": "QuestionnaireResponse.questionnaire",
}
"""Official examples that break FHIR's own rules (an empty narrative, a relative canonical), and where."""
TEXTS = {
    "decimals keep their digits": '"valueQuantity":{"value":1.00,"unit":"mg"}',
    "an exponent stays one": '"valueQuantity":{"value":1.50e3,"unit":"mg"}',
    "a capital exponent": '"valueQuantity":{"value":1E-7,"unit":"mg"}',
    "eighteen digits": '"valueQuantity":{"value":0.123456789012345678}',
    "a negative zero": '"valueQuantity":{"value":-0.0}',
    "a large decimal": '"valueQuantity":{"value":12345678901234567890.5}',
    "a time keeps its fraction": '"effectiveInstant":"2026-01-01T10:00:00.1200000+01:00"',
    "a time keeps its zone": '"effectiveDateTime":"2026-01-01T10:00:00-00:00"',
    "letters beyond ASCII": '"valueString":"Ünïcödé 山田 🩺 e\u0301"',
    "spaces inside": '"valueString":"two  spaces\\tand a tab"',
    "order of a list": '"performer":[{"display":"z"},{"display":"a"},{"display":"m"}]',
    "an extension of a value": '"effectiveDateTime":"2026","_effectiveDateTime":{"id":"e","extension":[{"url":"http://x/y","valueCode":"c"}]}',
    "an extension instead of a value": '"_effectiveDateTime":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}',
    "an unknown extension": '"extension":[{"url":"http://nobody.example/knows","extension":[{"url":"a","valueDecimal":1.10},{"url":"b","valueBoolean":false}]}]',
    "an unknown modifier extension": '"modifierExtension":[{"url":"http://nobody.example/knows","valueInteger":0}]',
    "a contained resource": '"contained":[{"resourceType":"Device","id":"d"}],"device":{"reference":"#d"}',
}


def members(text: str) -> list[tuple[str, Any]]:
    """The members in order with numbers as text, without those the server writes itself."""
    pairs: list[tuple[str, Any]] = json.loads(text, object_pairs_hook=list, parse_float=str, parse_int=str)
    return [(name, value) for name, value in pairs if name not in OWN]


@pytest.mark.requirement(3, 5)
@pytest.mark.parametrize("name", sorted(TEXTS))
def test_a_text_is_kept(client: httpx.Client, name: str) -> None:
    sent = f'{{"resourceType":"Observation","status":"final","code":{{"text":"x"}},{TEXTS[name]}}}'
    answer = client.post("/Observation", content=sent.encode(), headers=JSON)
    made = created(answer)
    for address in (f"/Observation/{made['id']}", f"/Observation/{made['id']}/_history/1"):
        text = client.get(address).text
        assert text == answer.text
        assert members(text) == members(sent)
        assert TEXTS[name] in text, "the very text"
    found = client.get(f"/Observation?_id={made['id']}").text
    assert answer.text in found


@pytest.mark.requirement(5)
@pytest.mark.parametrize("file", EXAMPLES, ids=[file.stem for file in EXAMPLES])
def test_an_official_example_is_kept(client: httpx.Client, file: Path) -> None:
    sent = file.read_text()
    type_ = json.loads(sent)["resourceType"]
    if type_ in ("AuditEvent", "Provenance"):
        assert client.post(f"/{type_}", content=sent.encode(), headers=JSON).status_code == 405
        return
    answer = client.post(f"/{type_}", content=sent.encode(), headers=JSON)
    if file.stem in WRONG:
        assert issue_of(answer, 400)["expression"] == [WRONG[file.stem]]
        return
    made = created(answer)
    assert sorted(members(client.get(f"/{type_}/{made['id']}").text), key=str) == sorted(members(sent), key=str)


@pytest.mark.requirement(5)
def test_an_update_that_changes_nothing_else_keeps_every_letter(corner: Corner) -> None:
    sent = '{"resourceType":"Patient","id":"%s","_birthDate":{"extension":[{"url":"http://x/y","valueDecimal":2.50}]},"birthDate":"1950"}'
    address = f"/Patient/{corner.id('p')}"
    texts = [corner.client.put(address, content=(sent % corner.id("p")).encode(), headers=JSON).text for _ in range(2)]
    plain = [re.sub(r'"meta":\{[^}]*\},?', "", text) for text in texts]
    assert plain[0] == plain[1]
    assert '"valueDecimal":2.50' in texts[1]


@pytest.mark.requirement(21)
def test_references_to_this_server_are_kept_as_short_ones_and_others_as_they_are(corner: Corner) -> None:
    base = str(corner.client.base_url).rstrip("/")
    stored = corner.put(
        "Task",
        "t",
        status="requested",
        intent="order",
        **{"for": {"reference": f"{base}/Patient/{corner.id('p')}"}},
        owner={"reference": "http://other.example/fhir/Practitioner/1"},
        focus={"reference": "urn:uuid:6f1a2a2e-2f0f-4c67-9d6e-0d0c52a6c1aa"},
        contained=[{"resourceType": "Basic", "id": "b", "code": {"text": base}}],
        reasonReference={"reference": "#b"},
    )
    assert stored["for"]["reference"] == f"Patient/{corner.id('p')}"
    assert stored["owner"]["reference"] == "http://other.example/fhir/Practitioner/1"
    assert stored["focus"]["reference"] == "urn:uuid:6f1a2a2e-2f0f-4c67-9d6e-0d0c52a6c1aa"
    assert stored["contained"][0]["code"]["text"] == base
    assert corner.found(f"Task?patient={corner.id('p')}") == ["t"]
