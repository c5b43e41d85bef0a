"""What a glance finds is exactly what the general way finds, for whoever asks; what it cannot find it passes on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import Query, parse_query
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import key_walk, search
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.glance import Glance, NeedsTransaction
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.search import SearchPage
from tests.storage.samples import VIEWER, locked, pairs, put, put_all, task
from tests.storage.shelf import MAKERS, PEOPLE, Shelf, filters

Seen = list[tuple[int, str, str, str]]


def query_of(type_: str, text: str) -> Query:
    return parse_query(type_, pairs(text), strict=True, own_base="http://here/fhir")


def glanced(database: Database, viewer: Viewer, query: Query, page: PageCursor | None = None) -> SearchPage:
    with database.drivers.take() as driver:
        return search.search(Glance(driver, database.dialect), viewer, query, page=page)


def generally(database: Database, viewer: Viewer, query: Query, page: PageCursor | None = None) -> SearchPage:
    with database.read() as tx:
        return search.search(tx, viewer, query, page=page)


def seen(page: SearchPage) -> Seen:
    return [(one.k, one.type, one.id, one.body) for one in page.shown]


def both_ways(database: Database, viewer: Viewer, query: Query) -> int:
    """Walk all pages both ways, and compare; how many pages a glance gave."""
    page: PageCursor | None = None
    pages = 0
    while True:
        expected = generally(database, viewer, query, page)
        try:
            answer = glanced(database, viewer, query, page)
        except NeedsTransaction:
            return pages
        pages += 1
        assert (seen(answer), answer.total) == (seen(expected), expected.total)
        assert (answer.next, answer.previous) == (expected.next, expected.previous)
        if answer.next is None:
            return pages
        page = answer.next


KEYED = {
    "Task": ["status=requested", "status=completed,requested", "patient=ann", "patient=bob,ann", "code=call", "owner=x",
             "_id=t1,t2,none", "patient=Patient/ann", "priority=urgent", "status:not=completed", "owner:missing=true",
             "authored-on=ge2020", "_sort=_id", "identifier=urn:x|1", "_tag=urn:x|a", "_total=accurate", "_id=t3",
             "patient:identifier=x", "patient:Patient=ann"],
}  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_random_searches_find_the_same_both_ways(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    shelf = Shelf(chance)
    glances = 0
    for _ in range(2):
        shelf.write(database, 80)
        for _ in range(60):
            type_ = chance.choice(list(MAKERS))
            asked = [filters(chance, type_).text for _ in range(chance.randint(0, 3))]
            if type_ == "Task" and chance.random() < 0.7:
                asked = chance.sample(KEYED["Task"], chance.randint(1, 3))
            query = query_of(type_, "&".join([*asked, f"_count={chance.choice((2, 7, 50))}"]))
            viewer = chance.choice([VIEWER, VIEWER, *map(locked, PEOPLE)])
            glances += both_ways(database, viewer, query)
    assert glances > 50


def test_what_was_deleted_or_changed_is_found_no_more(database: Database) -> None:
    put_all(database, [task(f"t{number}") for number in range(6)])
    with database.begin() as tx:
        put(tx, task("t1"), 2, op="delete", body="")
        put(tx, task("t2", status="completed"), 2)
    for text in ("status=requested&patient=ann", "_id=t1,t2,t3", "", "status=requested,completed", "patient=ann"):
        assert both_ways(database, VIEWER, query_of("Task", f"{text}&_count=2")) > 0
    assert [one.id for one in glanced(database, VIEWER, query_of("Task", "_id=t1,t2")).shown] == ["t2"]


@pytest.mark.parametrize(
    "text",
    ["_sort=_id", "_count=201", "_include=Task:patient", "status:not=completed", "owner:missing=true", "_total=accurate",
     "patient.name=x", "_has:Task:focus:status=x", "authored-on=2020", "_lastUpdated=gt2020"],
)  # fmt: skip
def test_what_is_not_plain_takes_a_transaction(database: Database, text: str) -> None:
    query = query_of("Task", text)
    with pytest.raises(NeedsTransaction):
        glanced(database, VIEWER, query)


def test_long_lists_that_must_all_hold_take_a_transaction(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_walk, "SHORT", 3)
    put_all(database, [task(f"t{number}", priority="urgent") for number in range(6)])
    with pytest.raises(NeedsTransaction):
        glanced(database, VIEWER, query_of("Task", "priority=urgent&intent=order"))
    assert both_ways(database, VIEWER, query_of("Task", "priority=urgent&_count=2")) == 3
    assert both_ways(database, VIEWER, query_of("Task", "priority=urgent&intent=plan")) == 1


def test_a_page_link_of_another_search_is_refused(database: Database) -> None:
    query = query_of("Task", "patient=ann&_count=1")
    put_all(database, [task(f"t{number}") for number in range(3)])
    following = glanced(database, VIEWER, query).next
    assert following is not None
    other = query_of("Task", "patient=bob")
    for page in (following, replace(following, query=other.fingerprint, values=("x",))):
        with pytest.raises(Incorrect):
            generally(database, VIEWER, other if page is not following else query_of("Task", "owner=x"), page)
        with pytest.raises((Incorrect, NeedsTransaction)):
            glanced(database, VIEWER, other if page is not following else query_of("Task", "owner=x"), page)


@pytest.mark.parametrize("value", ["%s", "%", "?", "a'b", '"', "x\\", "é\U0001f600", "{1,2}", "%(a)s", "a;--"])
def test_no_value_means_anything_to_the_statements(database: Database, value: str) -> None:
    put_all(database, [task("t1", code={"text": "x", "coding": [{"system": "urn:x", "code": value}]})])
    for text in (f"code=urn:x|{value}".replace("\\", "\\\\"), f"_id=t1,{value}".replace("\\", "\\\\")):
        assert both_ways(database, VIEWER, query_of("Task", text)) == 1
        assert both_ways(database, locked(value), query_of("Task", text)) == 1
