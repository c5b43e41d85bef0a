"""schemathesis, a tester of APIs, makes what it can of the OpenAPI description: legal, hostile and in sequence."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.conformance.server import Tracker

pytestmark = pytest.mark.peer
SECONDS = 15
SEEDS = {"sqlite": "20261122", "postgresql": "20261123"}
"""Each kind of database gets cases of its own."""
NOT_ASKED = "positive_data_acceptance,negative_data_rejection"
"""What R4 itself says of a body is more than a schema can, and what it lets a server ignore is no error."""


@pytest.mark.requirement(1, 2, 4, 11, 14)
def test_schemathesis_finds_no_fault_and_no_lie(
    tracker: Tracker, tmp_path: Path, peer_versions: dict[str, str]
) -> None:
    peer_versions["schemathesis"] = version("schemathesis")
    program = Path(sys.executable).parent / "schemathesis"
    seed = SEEDS[tracker.database.partition(":")[0]]
    command = [
        *(str(program), "run", f"{tracker.url}/openapi.json", "--max-time", str(SECONDS), "--seed", seed),
        *("--exclude-checks", NOT_ASKED, "--continue-on-failure", "--no-shrink", "--suppress-health-check", "all"),
        *("--warnings", "off", "--request-timeout", "60"),
    ]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert re.search(r"Tested: \d\d", done.stdout), done.stdout[-2000:]
    log = tracker.log.read_text(errors="replace")
    assert "Traceback" not in log
    assert not re.search(r"status=500", log)
