"""Synthetic resources and work items for the storage tests, and short ways to write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fhir_tracker.fhir.body import read_json
from fhir_tracker.fhir.query import parse_query
from fhir_tracker.fhir.search_values import extract
from fhir_tracker.model.author import Author
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.model.work import WorkItem
from fhir_tracker.storage import resources, search
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.resources import NewVersion, Stored

NOW = datetime(2026, 3, 9, 15, 30, tzinfo=UTC)
VIEWER = open_viewer()
KEY = b"made-up-key"
AUTHOR = Author(viewer=VIEWER, origin="api", at=NOW)


def locked(patient: str) -> Viewer:
    """A viewer who may see one patient only."""
    return Viewer(who=f"Patient/{patient}", patient=patient, sight=EVERYTHING)


def task(id_: str, patient: str = "ann", **members: object) -> dict[str, Any]:
    """A Task of a synthetic patient."""
    base: dict[str, Any] = {"resourceType": "Task", "id": id_, "status": "requested", "intent": "order"}
    return base | {"for": {"reference": f"Patient/{patient}"}} | members


def patient_of(body: Mapping[str, Any]) -> str | None:
    """The local Patient id that a sample is about."""
    if body["resourceType"] == "Patient":
        return str(body["id"])
    subject = body.get("for") or body.get("subject") or {}
    reference = str(subject.get("reference", ""))
    return reference.removeprefix("Patient/") if reference.startswith("Patient/") else None


def new_version(sample: Mapping[str, Any], version: int = 1, **fields: Any) -> NewVersion:
    """What is written for a sample; `fields` replaces any of NewVersion's."""
    made = NewVersion(
        type=sample["resourceType"],
        id=sample["id"],
        version=version,
        updated_at=NOW,
        body=json.dumps(sample, separators=(",", ":")),
        patient=patient_of(sample),
        op="create" if version == 1 else "update",
    )
    return replace(made, **fields)


def put(tx: Tx, sample: Mapping[str, Any], version: int = 1, **fields: Any) -> Stored:
    """Write a sample as the API would."""
    written = new_version(sample, version, **fields)
    values = None if written.op == "delete" else extract(read_json(written.body.encode()))
    return resources.save(tx, written, values, AUTHOR)


def put_all(database: Database, bodies: Sequence[Mapping[str, Any]]) -> None:
    """Write samples in one transaction."""
    with database.begin() as tx:
        for body in bodies:
            put(tx, body)


def found(database: Database, type_: str, text: str, viewer: Viewer = VIEWER) -> list[str]:
    """The ids that a search finds, all pages, sorted."""
    return sorted(one.id for one in walk(database, type_, text, viewer))


def walk(database: Database, type_: str, text: str, viewer: Viewer = VIEWER) -> list[Stored]:
    """The matches of a search in their order, over all pages; `text` is a query string without escapes."""
    query = parse_query(type_, pairs(text), strict=True, own_base="http://here/fhir")
    matches: list[Stored] = []
    page: PageCursor | None = None
    while True:
        with database.read() as tx:
            answer = search.search(tx, viewer, query, page=page)
        matches.extend(answer.matches)
        if answer.next is None:
            return matches
        page = PageCursor.decode(answer.next.encode(KEY), KEY)


def pairs(text: str) -> list[tuple[str, str]]:
    """Names and values of a query string without escapes."""
    return [(one.partition("=")[0], one.partition("=")[2]) for one in text.split("&") if one]


def item(ref: str, **fields: Any) -> WorkItem:
    """An open work item of a synthetic patient."""
    base: dict[str, Any] = {"kind": "task", "title": f"Call about {ref}", "patient": "ann", "status": "to-call"}
    return WorkItem(ref=ref, **(base | {"created_at": NOW, "status_since": NOW} | fields))
