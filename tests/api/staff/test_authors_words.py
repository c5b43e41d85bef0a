"""What the authors of programs write is text on every page, whatever it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import cycle

import pytest

from fhir_tracker.storage.database import Database
from tests.api.staff.conftest import Reader
from tests.api.staff.markup import problems, tree
from tests.support.clinic import RING, Clinic
from tests.support.hostile_narratives import STORED

WORDS = [
    *("Ring after discharge", "First call", "Book the missed visit again"),
    *(
        "Nobody has tried the patient yet",
        "At least one attempt, not reached",
        "Waiting for records",
        "Attempts exhausted",
    ),
]
"""Titles and meanings of the program that are put into others' mouths."""
PORTION = len(WORDS)


def portions() -> Iterator[list[str]]:
    """All that is hostile and may stand in a line, so many at a time as there are places."""
    usable = [one for one in STORED if one.isprintable() and len(one) <= 120]
    for start in range(0, len(usable), PORTION):
        yield [*usable[start : start + PORTION]]


def program(hostile: list[str]) -> str:
    text = RING
    for word, attack in zip(WORDS, cycle(hostile), strict=False):
        text = text.replace(f'"{word}"', json.dumps(attack)).replace(
            f"title: {word}\n", f"title: {json.dumps(attack)}\n"
        )
    return text


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page, not the database."""
    return one_file


@pytest.fixture
def clinic(database: Database, now: datetime, hostile: list[str]) -> Clinic:
    """A clinic whose only program is written so."""
    return Clinic(database, program(hostile), at=now - timedelta(days=30))


@pytest.mark.security("S24", "S25")
@pytest.mark.parametrize("hostile", list(portions()), ids=lambda one: str(len(one[0])))
def test_titles_and_meanings_that_are_markup_are_read_as_they_were_written(
    reader: Reader, clinic: Clinic, now: datetime, hostile: list[str]
) -> None:
    clinic.patient("rosa", now - timedelta(days=6))
    clinic.discharge("rosa", now - timedelta(days=5))
    clinic.sweep(now)
    task = clinic.task("rosa", "first-call").ref.partition("/")[2]
    title = hostile[1 % len(hostile)]
    for path in (
        "/programs",
        "/?tab=all",
        f"/tasks/{task}",
        f"/tasks/{task}?do=attempt",
        "/patients/rosa",
        "/operations",
    ):
        page = reader.get(path)
        assert page.status == 200
        assert problems(page.text) == [], path
        assert title not in page.text, path
        if path in ("/programs", "/?tab=all", "/patients/rosa"):
            assert " ".join(title.split()) in tree(page.text).text, path
