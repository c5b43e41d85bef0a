"""A tracker that follows a vendor's server by the vendor's own mapping, and answers of a server that are odd on purpose."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from fhir_tracker.storage import absences, resources
from fhir_tracker.storage.database import Database
from subscriptions import SyncReport, TypeReport
from tests.subscriptions.fake_ehr import BASE, FakeEhr, Twist
from tests.subscriptions.tracker import VIEWER, Tracker

HOUR = timedelta(hours=1)


class Dialect:
    """`types` of a server that speaks the dialect `mapping`; its patients are known by a file."""

    def __init__(
        self, database: Database, ehr: FakeEhr, folder: Path, mapping: str, types: tuple[str, ...], **options: Any
    ) -> None:
        self.ehr = ehr
        self.tracker = Tracker(database, ehr)
        self.file = folder / "patients"
        self.file.write_text("", encoding="utf-8")
        self.tracker.connection = replace(
            self.tracker.connection, types=types, mapping=mapping, options={"roster_file": str(self.file), **options}
        )

    def patient(self, *ids: str) -> None:
        for id_ in ids:
            self.ehr.put("Patient", id_, active=True)
        self.file.write_text("\n".join([*self.file.read_text(encoding="utf-8").split(), *ids]), encoding="utf-8")

    def codes(self, file: Path) -> None:
        """Let the connection name a code table of the practice."""
        options = {**self.tracker.connection.options, "codes": str(file)}
        self.tracker.connection = replace(self.tracker.connection, options=options)

    def sync(self, later: timedelta = timedelta()) -> SyncReport:
        self.tracker.now += later
        self.ehr.now += later
        done = self.tracker.sync()
        assert done.complete, done.error
        return done

    def of(self, type_: str, later: timedelta = timedelta()) -> TypeReport:
        """One sync, and what it says of a type."""
        return next(one for one in self.sync(later).types if one.type == type_)

    def body(self, type_: str, id_: str) -> dict[str, Any]:
        found = self.tracker.find(id_, type_)
        assert found is not None
        told: dict[str, Any] = json.loads(found.body)
        return told

    def task(self, id_: str) -> dict[str, Any]:
        """A Task of the tracker's own; {} when there is none."""
        with self.tracker.database.read() as tx:
            found = resources.find(tx, VIEWER, "Task", id_)
        told: dict[str, Any] = json.loads(found.body) if found else {}
        return told

    def missed(self, type_: str) -> int:
        with self.tracker.database.read() as tx:
            return absences.count(tx, "clinic", type_)


def saying(ehr: FakeEhr, part: str, outcome: dict[str, Any]) -> Twist:
    """Every answer to an address that holds `part` has the server's word about it among its entries."""

    def twist(request: httpx.Request) -> httpx.Response | None:
        if part not in str(request.url):
            return None
        bundle = ehr.answer(request).json()
        entry = {"resource": outcome, "search": {"mode": "outcome"}}
        return ehr.json(bundle | {"entry": [*bundle["entry"], entry]})

    return twist


def once(when: Callable[[str], bool], answer: Callable[[], httpx.Response]) -> Twist:
    """The first request whose address fits is answered so."""
    left = [answer]

    def twist(request: httpx.Request) -> httpx.Response | None:
        return left.pop()() if left and when(str(request.url)) else None

    return twist


def moved(to: str) -> httpx.Response:
    return httpx.Response(301, headers={"location": f"{BASE}/{to}"})
