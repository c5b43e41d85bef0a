"""What a server's own database says of patients, looked for in what that server logged: canaries that nobody has to plant."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg

MOST = 400
"""Resources that are looked at, the newest first."""
PEOPLE = ("Patient", "RelatedPerson", "Person")
STAFF = "Practitioner"
WRITTEN = ("Task", "Communication", "CarePlan", "Flag", "QuestionnaireResponse")
_SHORTEST = 6
_ORDINARY = re.compile(r"[0-9.]{1,8}|[0-9]{4}-[0-9]{2}|[a-z-]{1,12}|[0-9a-f]{32}")
"""Texts that may stand in any log by chance: short numbers, months, plain words such as codes, ids made at random."""
_TIME = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z ")
_REQUEST = re.compile(
    r"INFO api\.edge request method=[A-Z]+ route=[a-z{}/_$.:-]+ status=[0-9]+ ms=[0-9.]+ request=[0-9a-f]{16}", re.ASCII
)
_QUERY = "SELECT body FROM resource WHERE type IN ({}) ORDER BY type LIMIT {}"
Found = tuple[tuple[str, ...], list[tuple[Any, ...]]]
Ask = Callable[[str], Found]
_TABLES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "postgresql": "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'",
}
BOOKS_MOST = 300
"""Rows that are looked at of each table of the books."""
STORE = {
    "resource": "the store",
    "resource_version": "the store",
    "remote_body": "the store: what an EHR holds of it",
    "ix": "the search index",
    "ixd": "the search index",
    "ixn": "the search index",
    "ixs": "the search index",
    "patient_summary": "the summary that pages show",
    "event": "what rules know of a patient",
    "work_item": "what queues show",
    "transition": "the history that pages show, notes too",
    "attempt_log": "the history that pages show",
    "spell": "the history that figures are made of",
    "notification": "what pages show to its addressee",
    "outbox": "what is to be written to the EHR",
    "program": "what authors write for everybody, long texts in which any name may be a plain word",
    "role_file": "the same",
}
"""Tables that hold data of patients because that is what they are for, or words of no patient, and why."""
OF_PEOPLE = {
    ("quarantine", "body"): "the EHR's own words, shown to the clinic admin",
    ("audit", "query"): "what somebody asked for, as IHE's BALP wants it; shown to auditors alone",
    ("audit", "ref"): "the same: what somebody asked for, also in vain",
    ("audit", "patient"): "the same",
    ("audit_patient", "patient"): "the same",
}
"""Columns of the books that may name what somebody sent or asked for, and why."""


def leaks(log: str, database: str) -> list[str]:
    """What is told of people and in notes in the store, and stands in the log as well, each with the line."""
    lines = _told_lines(log)
    return found_in(lines, told(database)) if lines else []


def found_in(lines: Iterable[str], secrets: Iterable[str]) -> list[str]:
    """Which of these texts stand in the lines in one of their spellings, each with the line."""
    kept = list(lines)
    whole = "\n".join(kept)
    found: list[str] = []
    for text in sorted(secrets):
        spelled = next(
            (one for one in map(_alone, (s for s in spellings(text) if s in whole)) if one.search(whole)), None
        )
        if spelled is not None:
            line = next((one for one in kept if spelled.search(one)), "")
            found.append(f"{text!r} in {line[:200]!r}")
    return found


def _alone(text: str) -> re.Pattern[str]:
    """A text that is not part of a longer word."""
    return re.compile(rf"(?<![A-Za-z]){re.escape(text)}(?![A-Za-z])" if text.isalpha() else re.escape(text))


def spellings(text: str) -> set[str]:
    """A text as it is, as JSON and Python write it, and as addresses and forms do."""
    return {text, json.dumps(text)[1:-1], repr(text)[1:-1], quote(text), quote(text, safe=""), quote_plus(text)}


def _told_lines(log: str) -> list[str]:
    """The lines without their times, each once, and without those of which no part is a caller's."""
    lines = {_TIME.sub("", line) for line in log.splitlines()}
    return sorted(line for line in lines if not _REQUEST.fullmatch(line))


def told(database: str) -> set[str]:
    """Names, dates of birth, identifiers, telephone numbers, addresses and notes of a database, those long enough to tell.

    What is part of an id, or of the name of somebody who works here, cannot tell them from it, and those are not hidden.
    """
    found: set[str] = set()
    ids: set[str] = set()
    for body in _bodies(database):
        ids.add(str(body.get("id", "")))
        if body.get("resourceType") in PEOPLE:
            found |= set(_of_person(body))
        elif body.get("resourceType") == STAFF:
            ids |= set(_names(body))
        else:
            found |= {str(one.get("text", "")) for one in _objects(body.get("note"))}
            found |= {str(one.get("contentString", "")) for one in _objects(body.get("payload"))}
    named = "\n".join(ids)
    return {one for one in found if len(one) >= _SHORTEST and not _ORDINARY.fullmatch(one) and one not in named}


def books(database: str) -> Iterator[str]:
    """Rows of every table that is not the store, as text that says its table: jobs, trail, settings, cursors, sessions."""
    with _reading(database) as ask:
        tables = sorted({name for (name,) in ask(_TABLES[database.partition(":")[0]])[1]} - STORE.keys())
        for table in tables:
            names, rows = ask(f'SELECT * FROM "{table}" LIMIT {BOOKS_MOST}')
            kept = [place for place, name in enumerate(names) if (table, name) not in OF_PEOPLE]
            yield from (f"{table}: {[row[place] for place in kept]!r}" for row in rows)


def _names(body: dict[str, Any]) -> Iterator[str]:
    for name in _objects(body.get("name")):
        yield from (str(one) for one in (name.get("family"), name.get("text"), *(name.get("given") or [])) if one)


def _of_person(body: dict[str, Any]) -> Iterator[str]:
    yield from _names(body)
    for kind in ("identifier", "telecom"):
        yield from (str(one.get("value", "")) for one in _objects(body.get(kind)))
    for address in _objects(body.get("address")):
        yield from (str(one) for one in (address.get("line") or []))
    yield str(body.get("birthDate", ""))


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _bodies(database: str) -> Iterator[dict[str, Any]]:
    query = _QUERY.format(", ".join(f"'{one}'" for one in (*PEOPLE, STAFF, *WRITTEN)), MOST)
    with _reading(database) as ask:
        for (body,) in ask(query)[1]:
            with suppress(ValueError):
                value = json.loads(body)
                if isinstance(value, dict):
                    yield value


@contextmanager
def _reading(database: str) -> Iterator[Ask]:
    """What answers queries with the names of columns and the rows; with none where it cannot be read (any more)."""
    with ExitStack() as opened:
        try:
            execute = _opened(database, opened)
        except (sqlite3.Error, psycopg.Error):
            yield lambda query: ((), [])
            return

        def ask(query: str) -> Found:
            try:
                found = execute(query)
                return tuple(column[0] for column in found.description or ()), found.fetchall()
            except (sqlite3.Error, psycopg.Error):
                return (), []

        yield ask


def _opened(database: str, opened: ExitStack) -> Callable[[str], Any]:
    if database.startswith("sqlite:///"):
        path = Path(database.removeprefix("sqlite:///"))
        file = opened.enter_context(closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)))
        return file.execute
    server = opened.enter_context(psycopg.connect(database, connect_timeout=5, autocommit=True))
    return lambda query: server.execute(query.encode())
