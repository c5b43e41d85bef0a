"""HAPI's generic client, a Java program that does a row of named scenarios with any FHIR server."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.peers.process import PeerFailed

HERE = Path(__file__).parent
VERSION = re.findall(r"<hapi>([^<]+)</hapi>", (HERE / "pom.xml").read_text())[0]


def run_scenarios(base_url: str) -> Mapping[str, str]:
    """Name -> what went wrong, "" for nothing, of each scenario; the first run on a machine builds the program."""
    command = [str(HERE / "run"), base_url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600)
    lines = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 2]
    if not lines or done.returncode not in (0, 1):
        raise PeerFailed(f"the Java client ended with code {done.returncode}:\n{done.stderr[-3000:]}")
    return {name: "" if verdict == "ok" else said for name, verdict, said in lines}
