from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.peers.validator.run import VERSION, validate

pytestmark = pytest.mark.peer


def test_the_validator_passes_a_good_task_and_names_what_is_wrong_with_a_bad_one(
    tmp_path: Path, peer_versions: dict[str, str]
) -> None:
    task = {
        "resourceType": "Task",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Call the patient</div>'},
        "status": "requested",
        "intent": "order",
        "description": "Call the patient",
    }
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(task))
    bad.write_text(json.dumps({**task, "status": "nonsense"}))
    findings = validate([good, bad])
    peer_versions["HL7 validator (HAPI)"] = VERSION
    assert [f for f in findings if f.file == good and f.wrong] == []
    assert any(f.file == bad and f.wrong and "Task.status" in f.location for f in findings)
