"""What a server's own database says of patients, looked for in what that server logged: canaries that nobody has to plant."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg

MOST = 400
"""Resources that are looked at, the newest first."""
PEOPLE = ("Patient", "RelatedPerson", "Person")
WRITTEN = ("Task", "Communication", "CarePlan", "Flag", "QuestionnaireResponse")
_SHORTEST = 6
_ORDINARY = re.compile(r"[0-9.]{1,8}|[0-9]{4}-[0-9]{2}|[a-z-]{1,12}")
"""Texts that may stand in any log by chance: short numbers, months, plain words such as codes."""
_QUERY = "SELECT body FROM resource WHERE type IN ({}) ORDER BY type LIMIT {}"


def leaks(log: str, database: str) -> list[str]:
    """What is told of people and in notes in the store, and stands in the log as well, each with the line."""
    found: list[str] = []
    lines = log.splitlines()
    for text in sorted(told(database)):
        if text in log:
            line = next((one for one in lines if text in one), "")
            found.append(f"{text!r} in {line[:200]!r}")
    return found


def told(database: str) -> set[str]:
    """Names, dates of birth, identifiers, telephone numbers, addresses and notes of a database, those long enough to tell."""
    found: set[str] = set()
    for body in _bodies(database):
        if body.get("resourceType") in PEOPLE:
            found |= set(_of_person(body))
        else:
            found |= {str(one.get("text", "")) for one in _objects(body.get("note"))}
            found |= {str(one.get("contentString", "")) for one in _objects(body.get("payload"))}
    return {one for one in found if len(one) >= _SHORTEST and not _ORDINARY.fullmatch(one)}


def _of_person(body: dict[str, Any]) -> Iterator[str]:
    for name in _objects(body.get("name")):
        yield from (str(one) for one in (name.get("family"), name.get("text"), *(name.get("given") or [])) if one)
    for kind in ("identifier", "telecom"):
        yield from (str(one.get("value", "")) for one in _objects(body.get(kind)))
    for address in _objects(body.get("address")):
        yield from (str(one) for one in (address.get("line") or []))
    yield str(body.get("birthDate", ""))


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _bodies(database: str) -> Iterator[dict[str, Any]]:
    query = _QUERY.format(", ".join(f"'{one}'" for one in (*PEOPLE, *WRITTEN)), MOST)
    for (body,) in _rows(database, query):
        with suppress(ValueError):
            value = json.loads(body)
            if isinstance(value, dict):
                yield value


def _rows(database: str, query: str) -> list[tuple[Any, ...]]:
    """The rows, none where the database is not there (any more), or not set up, or not to be read."""
    try:
        if database.startswith("sqlite:///"):
            path = Path(database.removeprefix("sqlite:///"))
            if not path.exists():
                return []
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)) as file:
                return file.execute(query).fetchall()
        with psycopg.connect(database, connect_timeout=5) as server:
            return server.execute(query.encode()).fetchall()
    except (sqlite3.Error, psycopg.Error):
        return []
