"""The codes of the code systems that R4 itself lists completely, read on first use.

https://hl7.org/fhir/R4/terminologies-systems.html
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files


def is_unknown_code(system: str, code: str) -> bool:
    """Whether R4 lists all codes of `system`, and this is none of them; False for every other system."""
    if system not in _table():
        return False
    codes, any_case = _codes(system)
    return (code.lower() if any_case else code) not in codes


@cache
def _codes(system: str) -> tuple[frozenset[str], bool]:
    kind, text = _table()[system]
    any_case = kind == "~"
    return frozenset((text.lower() if any_case else text).split("\t")), any_case


@cache
def _table() -> dict[str, tuple[str, str]]:
    table: dict[str, tuple[str, str]] = json.loads(files(__package__).joinpath("code_systems.json").read_bytes())
    return table
