"""Every search parameter the statement lists for the types of daily work finds what it should and nothing else.

https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml

from tests.conformance.talk import TAGS, Corner

FILES = sorted((Path(__file__).parent / "parameters").glob("*.yaml"))
TABLES: dict[str, Any] = {file.stem: yaml.safe_load(file.read_text()) for file in FILES}
META = {
    "profile": ["http://example.org/profile"],
    "security": [{"system": "http://example.org/labels", "code": "R"}],
    "source": "http://example.org/source",
}
OF_EVERY_TYPE: dict[str, list[str]] = {
    "_id": ["{a}", "none"],
    "_lastUpdated": ["gt2020", "lt2020"],
    "_profile": ["http://example.org/profile", "http://example.org/profil"],
    "_security": ["http://example.org/labels|R", "http://example.org/labels|N"],
    "_source": ["http://example.org/source", "http://example.org/sources"],
    "_tag": [TAGS + "|{corner}", TAGS + "|none"],
}
ROWS = [
    (type_, name, *(list(row) if len(row) == 3 else [*row, "a"]))
    for type_, table in TABLES.items()
    for name, row in (OF_EVERY_TYPE | table["finds"]).items()
]


@pytest.fixture(scope="session")
def stocked(client: httpx.Client) -> Corner:
    """Every resource of the tables."""
    corner = Corner(client)
    for type_, table in TABLES.items():
        for short, members in table["resources"].items():
            corner.put(type_, short, **members, meta=META if short == "a" else {})
    return corner


@pytest.mark.requirement(1, 24, 26, 31)
@pytest.mark.parametrize("type_", sorted(TABLES))
def test_the_table_has_every_parameter_that_the_statement_lists(client: httpx.Client, type_: str) -> None:
    rows = client.get("/metadata").json()["rest"][0]["resource"]
    listed = next({one["name"] for one in row["searchParam"]} for row in rows if row["type"] == type_)
    assert listed == OF_EVERY_TYPE.keys() | TABLES[type_]["finds"].keys()


@pytest.mark.requirement(20, 21, 22, 23, 24, 26, 31)
@pytest.mark.parametrize(("type_", "name", "value", "other", "names"), ROWS, ids=[f"{row[0]}-{row[1]}" for row in ROWS])
def test_the_parameter_finds_what_has_the_value_and_nothing_else(
    stocked: Corner, type_: str, name: str, value: str, other: str, names: str
) -> None:
    value = value.replace("{a}", stocked.id("a")).replace("{corner}", stocked.name)
    asked = f"{type_}?{name}={quote(value, safe='')}"
    every = name in ("_lastUpdated", "_tag")
    assert stocked.names(asked) == (" ".join(TABLES[type_]["resources"]) if every else names), asked
    assert stocked.names(f"{type_}?{name}={quote(other, safe='')}") == ""
