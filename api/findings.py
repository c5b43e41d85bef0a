"""One finding of `fhir-tracker doctor`: how something stands, why, and the command that mends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line: `fix` is a command or a sentence, empty when nothing is wrong."""

    status: Literal["OK", "WARN", "FAIL"]
    what: str
    detail: str
    fix: str = ""

    def as_json(self) -> Mapping[str, str]:
        """The finding as plain values."""
        return asdict(self)

    def as_line(self) -> str:
        """The finding as one line."""
        return f"{self.status:<5} {self.what:<22} {self.detail}{f'; to mend it: {self.fix}' if self.fix else ''}"


def ok(what: str, detail: str) -> Finding:
    """Nothing to mend."""
    return Finding(status="OK", what=what, detail=detail)


def warn(what: str, detail: str, fix: str) -> Finding:
    """Something to look at; what is there works."""
    return Finding(status="WARN", what=what, detail=detail, fix=fix)


def fail(what: str, detail: str, fix: str) -> Finding:
    """Something that does not work until it is mended."""
    return Finding(status="FAIL", what=what, detail=detail, fix=fix)
