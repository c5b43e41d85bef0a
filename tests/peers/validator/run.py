"""HL7's Java validator in HAPI's packaging, with the official R4 definitions, over files of FHIR JSON."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import PeerFailed

HERE = Path(__file__).parent
VERSION = re.findall(r"<hapi>([^<]+)</hapi>", (HERE / "pom.xml").read_text())[0]


@dataclass(frozen=True, kw_only=True)
class Said:
    """One line of the validator: severity is INFORMATION, WARNING, ERROR or FATAL; location is a FHIRPath."""

    severity: str
    location: str
    message: str

    @property
    def wrong(self) -> bool:
        return self.severity in {"ERROR", "FATAL"}


@dataclass(frozen=True, kw_only=True)
class Finding(Said):
    """The same about one of many files."""

    file: Path


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


class Validator:
    """One started validator that judges any number of resources, a batch at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._judged = 0

    def judge(self, texts: Sequence[str]) -> list[list[Said]]:
        """What it says of each resource, in order; a text is JSON on one line, or "PROFILE-URL TAB JSON"."""
        first, found = self._judged, [list[Said]() for _ in texts]
        self._judged += len(texts)
        writer = threading.Thread(target=self._write, args=(texts,))
        writer.start()
        ended = 0
        while ended < len(texts):
            number, _, rest = self._line().partition("\t")
            if rest == "END":
                ended += 1
            elif rest.count("\t") >= 2:
                severity, location, message = rest.split("\t", 2)
                found[int(number) - first].append(Said(severity=severity, location=location, message=message))
        writer.join()
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise PeerFailed(f"the validator ended with code {self._process.wait()}")
        return line.rstrip("\n")

    def _write(self, texts: Sequence[str]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.writelines(f"{text}\n" for text in texts)
        self._process.stdin.flush()


@contextmanager
def running_validator(*, profiles: Path | None = None, threads: int = 1) -> Iterator[Validator]:
    """A validator for many batches; it takes about 8 s to start and some milliseconds a resource."""
    given = ["-p", str(profiles)] if profiles else []
    command = ["nice", str(HERE / "validate"), *given, "-lines", str(threads)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    ) as process:
        try:
            yield Validator(process)
        finally:
            process.kill()
