"""What a page brings gets its form here only where that is needed, and what has none is put aside."""

from __future__ import annotations

import json

from fhir_tracker import intake
from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.intake import Received, Tally, Unusable
from fhir_tracker.storage.database import Database
from tests.test_intake import GENERIC, Desk, patient


def test_only_what_is_not_stored_exactly_so_gets_its_form_here(database: Database) -> None:
    desk = Desk(database=database)
    made: list[str] = []

    def translate(resource: Resource) -> Resource:
        made.append(str(resource["id"]))
        if resource["gender"] == "odd":
            raise Incorrect("There is no such gender.")
        return GENERIC.to_tracker(resource, desk.source)

    def translated(*sent: object) -> list[Received | Unusable]:
        made.clear()
        entries = [intake.read_later(json.dumps(one).encode(), "Patient", translate) for one in sent]
        with desk.database.read() as tx:
            return intake.translate_news(tx, entries, desk.key)

    desk.take(patient("a", version="1"), patient("b", version="1"), patient("gone", version="1"))
    assert desk.delete("gone")
    same = [patient("a", version="1"), patient("b", version="2", gender="male"), patient("gone", version="1")]
    page = translated(*same, patient("odd", gender="odd"), patient("c"))
    assert made == ["b", "gone", "odd", "c"]
    assert [one.reason for one in page if isinstance(one, Unusable)] == ["There is no such gender."]
    with desk.database.begin() as tx:
        tally = intake.take_page(tx, page, desk.key, desk.author())
    assert tally == Tally(fetched=5, applied=2, unchanged=1, stale=1, quarantined=1)
    assert made == ["b", "gone", "odd", "c"]
    translated(*same[:1])
    assert made == []
