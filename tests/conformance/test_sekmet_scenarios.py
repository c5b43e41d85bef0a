"""The scenarios of sekmet-fhir, a tester of FHIR servers, run against this one."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conformance.server import Tracker
from tests.conformance.talk import Corner
from tests.peers.process import free_port

pytestmark = pytest.mark.peer
SCENARIOS = (
    "conformance_smoke",
    "appointment_book_cancel",
    "adt_admit_transfer_discharge",
    "clinical_documentation",
    "lab_order_to_result",
)
NOT_CLAIMED = {"Answers FHIR XML when asked (Accept application/fhir+xml)"}
"""What may be skipped: the statement claims JSON alone."""


def run(tracker: Tracker, folder: Path, name: str) -> dict[str, Any]:
    """The report of one scenario."""
    settings = {
        "base_url": f"http://127.0.0.1:{free_port()}/fhir",
        "data_dir": str(folder),
        "db_path": str(folder / "sekmet.db"),
        "own_private_key_path": str(folder / "private.pem"),
        "simulator": {"enabled": False},
        "peers": {"tracker": {"base_url": tracker.fhir, "use_transactions": True}},
    }
    config = folder / "settings.yaml"
    config.write_text(yaml.safe_dump(settings))
    program = Path(sys.executable).parent / "sekmet"
    reports = folder / "reports"
    command = [program, "scenario", "run", name, "--peer", "tracker", "--report-dir", reports, "--config", config]
    done = subprocess.run(
        [*map(str, command), "--no-serve"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=folder,
        stdin=subprocess.DEVNULL,
    )
    files = sorted(reports.rglob("*.json"))
    assert files, done.stdout[-3000:] + done.stderr[-3000:]
    (report,) = json.loads(files[0].read_text())
    assert isinstance(report, dict)
    return report


@pytest.mark.requirement(1, 3, 5, 6, 7, 8, 17, 26, 27, 29, 33, 34, 40, 44)
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_scenario_passes(
    tracker: Tracker, corner: Corner, tmp_path: Path, peer_versions: dict[str, str], name: str
) -> None:
    for short in ("a", "b"):
        corner.put("Patient", short, name=[{"family": "Synthetic"}])
    peer_versions["sekmet-fhir scenarios"] = version("sekmet-fhir")
    report = run(tracker, tmp_path, name)
    steps = {f"{one['index']} {one['name']}": one for one in report["steps"]}
    wrong = [f"{step}: {one['message'][:300]}" for step, one in steps.items() if one["status"] in ("failed", "error")]
    assert wrong == []
    skipped = {one["name"] for one in steps.values() if one["status"] == "skipped"}
    assert skipped <= NOT_CLAIMED, "only what the statement does not claim may be skipped"
    assert report["status"] in ("passed", "warning")
