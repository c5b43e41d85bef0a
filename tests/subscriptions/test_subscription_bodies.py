"""The Subscriptions that we ask for, by the judgement of HL7's validator and of the backport's own rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from subscriptions.subscription_bodies import Wanted
from tests.peers.validator.run import validate

HOOK = "https://tracker.example/hooks/clinic"
TOPIC = "http://example.org/SubscriptionTopic/patient-change"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
KINDS = {
    f"{BACKPORT}/backport-heartbeat-period": "valueUnsignedInt",
    f"{BACKPORT}/backport-timeout": "valueUnsignedInt",
    f"{BACKPORT}/backport-payload-content": "valueCode",
}


def definitions() -> list[dict[str, Any]]:
    """The profile and its extensions, as far as the pages of STU 1.1 name them; the package of the guide is not at hand."""
    sliced = "Subscription.channel.payload.extension"
    content = {"code": "Extension", "profile": [f"{BACKPORT}/backport-payload-content"]}
    by_url = {"discriminator": [{"type": "value", "path": "url"}], "ordered": False, "rules": "open"}
    profile = defined("backport-subscription", "resource", "Subscription") | {
        "differential": {
            "element": [
                {"id": "Subscription", "path": "Subscription"},
                {"id": "Subscription.channel.payload", "path": "Subscription.channel.payload", "min": 1},
                {"id": sliced, "path": sliced, "slicing": by_url, "min": 1},
                {
                    "id": f"{sliced}:content",
                    "path": sliced,
                    "sliceName": "content",
                    "min": 1,
                    "max": "1",
                    "type": [content],
                },
            ]
        }
    }
    return [profile, *(extension(url, member) for url, member in KINDS.items())]


def extension(url: str, member: str) -> dict[str, Any]:
    code = member.removeprefix("value")
    elements = [
        {"id": "Extension", "path": "Extension"},
        {"id": "Extension.extension", "path": "Extension.extension", "max": "0"},
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": url},
        {
            "id": "Extension.value[x]",
            "path": "Extension.value[x]",
            "min": 1,
            "type": [{"code": code[0].lower() + code[1:]}],
        },
    ]
    place = "Subscription.channel.payload" if url.endswith("content") else "Subscription.channel"
    made = defined(url.rpartition("/")[2], "complex-type", "Extension")
    return made | {"context": [{"type": "element", "expression": place}], "differential": {"element": elements}}


def defined(name: str, kind: str, type_: str) -> dict[str, Any]:
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": f"{BACKPORT}/{name}",
        "name": name.title().replace("-", ""),
        "status": "active",
        "fhirVersion": "4.0.1",
        "kind": kind,
        "abstract": False,
        "type": type_,
        "baseDefinition": f"http://hl7.org/fhir/StructureDefinition/{type_}",
        "derivation": "constraint",
    }


@pytest.mark.peer
@pytest.mark.requirement(77)
def test_what_we_ask_for_is_valid_by_the_judgement_of_hl7(tmp_path: Path) -> None:
    profiles, files = tmp_path / "profiles", tmp_path / "bodies"
    plain = Wanted(type="Task", kind="rest-hook", criteria="Task?").body(HOOK, "s" * 43)
    backport = Wanted(type="Patient", kind="backport", criteria=TOPIC).body(HOOK, "s" * 43, "s-1")
    unsaid = {**backport, "channel": {name: one for name, one in backport["channel"].items() if name != "_payload"}}
    told = {"plain": plain, "backport": backport, "bogus": plain | {"status": "bogus"}, "unsaid": unsaid}
    for folder, contents in ((profiles, {one["id"]: one for one in definitions()}), (files, told)):
        folder.mkdir()
        for name, body in contents.items():
            (folder / f"{name}.json").write_text(json.dumps(body))
    wrong = [one for one in validate([files], profiles=profiles) if one.wrong]
    assert {one.file.stem for one in wrong} == {"bogus", "unsaid"}, wrong


@pytest.mark.requirement(77)
def test_a_backport_subscription_keeps_the_rules_of_its_profile() -> None:
    body = Wanted(type="Patient", kind="backport", criteria=TOPIC).body(HOOK, "s" * 43)
    channel = body["channel"]
    assert body["meta"]["profile"] == [f"{BACKPORT}/backport-subscription"]
    assert body["criteria"].startswith("http")
    assert (channel["type"], channel["payload"]) == ("rest-hook", "application/fhir+json")
    extensions = [*channel["extension"], *channel["_payload"]["extension"]]
    assert [one["url"] for one in extensions].count(f"{BACKPORT}/backport-payload-content") == 1
    for one in extensions:
        assert set(one) == {"url", KINDS[one["url"]]}
    assert channel["_payload"]["extension"][0]["valueCode"] in ("empty", "id-only", "full-resource")
