"""What the product depends on: known weaknesses of the pinned versions, and a list of all of them (SBOM, CycloneDX).

dependencies.py audit: ends with 1 when a pinned version has a known weakness, or was not looked at for another reason than that
    nobody could be reached who knows, which is said loudly.
dependencies.py sbom FILE: writes the list and ends with 1 when one that is installed by constraints.txt is not in it.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
PINNED = ROOT / "constraints.txt"
PATIENCE_SECONDS = 120
AUDIT = (
    *("--requirement", str(PINNED), "--no-deps", "--disable-pip", "--progress-spinner", "off"),
    *("--vulnerability-service", "osv", "--timeout", "10", "--format", "json"),
)
SBOM = ("requirements", str(PINNED), "--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible")
_UNREACHABLE = re.compile(
    r"requests\.exceptions\.(?:Connection|Proxy)Error|(?:Connect|Read)Timeout|Could not connect|HTTPError: (?:403|407|429|5[0-9]{2}) "
)
"""How pip-audit tells that the service did not answer, or somebody between would not let it."""
Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def pinned(text: str) -> dict[str, str]:
    """Name -> version of a file of pins; names as PEP 503 writes them."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", text, re.MULTILINE)
    return {plain(name): version for name, version in found}


def plain(name: str) -> str:
    """A name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def audited(out: str, errors: str, expected: int) -> tuple[int, list[str]]:
    """The exit code and the lines for what pip-audit wrote on standard output and error, of so many `expected` packages."""
    try:
        rows = cast("list[dict[str, Any]]", list(json.loads(out)["dependencies"]))
    except (ValueError, KeyError, TypeError):
        if _UNREACHABLE.search(errors):
            return 0, ["SKIPPED: dependencies are NOT audited: the service that knows of weaknesses cannot be reached."]
        return 1, [f"dependencies are NOT audited: {(errors.strip().splitlines() or ['pip-audit said nothing'])[-1]}"]
    weak = [(one, known) for one in rows for known in one.get("vulns", [])]
    asked = [one for one in rows if "skip_reason" not in one]
    lines = [f"{one['name']} {one['version']}: {known['id']}, mended in {_mended(known)}" for one, known in weak]
    if len(asked) < expected:
        lines.append(f"{expected - len(asked)} of {expected} dependencies are NOT audited.")
    elif not weak:
        lines.append(f"dependencies: {len(asked)} audited, no known weakness")
    return (1 if weak or len(asked) < expected else 0), lines


def missing(listed: str, pins: dict[str, str]) -> list[str]:
    """Which pins a CycloneDX list leaves out, or names in another version."""
    parts = cast("list[dict[str, Any]]", json.loads(listed).get("components", []))
    held = {(plain(str(one.get("name"))), str(one.get("version"))) for one in parts}
    return sorted(f"{name}=={version}" for name, version in pins.items() if (name, version) not in held)


def audit(run: Run) -> int:
    """Ask for weaknesses and print what was said."""
    code, lines = 0, ["SKIPPED: dependencies are NOT audited: no answer in time."]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = run(("pip-audit", *AUDIT))
        code, lines = audited(done.stdout, done.stderr, len(pinned(PINNED.read_text())))
    print("\n".join(lines))
    return code


def sbom(run: Run, file: Path) -> int:
    """Write the list to `file` and check it."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "sbom.json"
        done = run(("cyclonedx-py", *SBOM, "--output-file", str(made)))
        if done.returncode or not made.exists():
            print(f"The list cannot be made: {done.stderr[-500:]}")
            return 1
        text = made.read_text()
    pins = pinned(PINNED.read_text())
    gone = missing(text, pins)
    for one in gone:
        print(f"not in the list: {one}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    print(f"{file}: {len(pins) - len(gone)} of {len(pins)} dependencies")
    return 1 if gone else 0


def _mended(known: dict[str, Any]) -> str:
    return ", ".join(map(str, known.get("fix_versions", []))) or "no version yet"


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / command[0]
    return subprocess.run(
        [program, *command[1:]], capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS, cwd=ROOT
    )


def main(words: Sequence[str]) -> int:
    """Do what the command line says."""
    if list(words) == ["audit"]:
        return audit(_run)
    if len(words) == 2 and words[0] == "sbom":
        return sbom(_run, Path(words[1]))
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
