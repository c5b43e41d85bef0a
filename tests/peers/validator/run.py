"""HL7's Java validator in HAPI's packaging, with the official R4 definitions, over files of FHIR JSON."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import PeerFailed

HERE = Path(__file__).parent
VERSION = re.findall(r"<hapi>([^<]+)</hapi>", (HERE / "pom.xml").read_text())[0]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the validator: severity is INFORMATION, WARNING, ERROR or FATAL; location is a FHIRPath."""

    file: Path
    severity: str
    location: str
    message: str

    @property
    def wrong(self) -> bool:
        return self.severity in {"ERROR", "FATAL"}


def validate(paths: Iterable[Path], *, profiles: Path | None = None) -> list[Finding]:
    """Everything it has to say about the files (or folders of .json files); one run is about 8 s for any number."""
    given = ["-p", str(profiles)] if profiles else []
    command = [str(HERE / "validate"), *given, *map(str, paths)]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600)
    lines = run.stdout.splitlines()
    if not lines or not lines[-1].startswith("errors: "):
        raise PeerFailed(f"the validator ended with code {run.returncode}:\n{run.stderr[-3000:]}")
    return [_finding(line) for line in lines[:-1] if line.count("\t") >= 3]


def _finding(line: str) -> Finding:
    file, severity, location, message = line.split("\t", 3)
    return Finding(file=Path(file), severity=severity, location=location, message=message)
