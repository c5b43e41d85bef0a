"""A walk over the pages of a search forward and back again, over both databases: the same pages, whatever they are ordered by.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import random

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.fhir.query import Query, parse_query, parse_system_query
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import search, search_plan, search_walks
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.glance import Glance, NeedsTransaction
from fhir_tracker.storage.page_cursor import PageCursor
from fhir_tracker.storage.search import SearchPage
from tests.storage.samples import KEY, VIEWER, locked, pairs, put, put_all, task
from tests.storage.shelf import Shelf, filters

HERE = "http://here/fhir"
SORTS = (
    "", "_sort=authored-on", "_sort=-authored-on", "_sort=status", "_sort=-status,_id", "_sort=code",
    "_sort=-owner,authored-on", "_sort=-_lastUpdated", "_sort=_id", "_sort=-identifier",
)  # fmt: skip


def asked(database: Database, query: Query, page: PageCursor | None, viewer: Viewer, *, quick: bool) -> SearchPage:
    """The answer, without a transaction where that does; page links go through their text."""
    given = PageCursor.decode(page.encode(KEY), KEY) if page else None
    if quick:
        try:
            with database.drivers.take() as driver:
                return search.search(Glance(driver, database.dialect), viewer, query, page=given)
        except NeedsTransaction:
            pass
    with database.read() as tx:
        return search.search(tx, viewer, query, page=given)


def there_and_back(database: Database, query: Query, viewer: Viewer = VIEWER, *, quick: bool) -> list[SearchPage]:
    """The pages from the first to the last, after a walk back over them gave the same."""
    forward = [asked(database, query, None, viewer, quick=quick)]
    assert forward[0].previous is None
    while forward[-1].next is not None:
        forward.append(asked(database, query, forward[-1].next, viewer, quick=quick))
    here = forward[-1]
    for expected in reversed(forward[:-1]):
        assert here.previous is not None
        here = asked(database, query, here.previous, viewer, quick=quick)
        assert [one.ref for one in here.shown] == [one.ref for one in expected.shown]
        assert here.next == expected.next
    assert here.previous is None
    return forward


@pytest.mark.requirement(29, 30)
@pytest.mark.parametrize("walks", [None, (2000, 2000, (1000,)), (-1, 2000, (1000,)), (-1, 3, (2, 5)), (-1, 3, ())])
@pytest.mark.parametrize("quick", [True, False])
def test_a_walk_back_gives_the_pages_of_the_walk_there_whatever_the_plan(
    database: Database, monkeypatch: pytest.MonkeyPatch, walks: tuple[int, int, tuple[int, ...]] | None, quick: bool
) -> None:
    if walks is not None:
        monkeypatch.setattr(search_plan, "FEW", walks[0])
        monkeypatch.setattr(search_walks, "MET_IN", walks[1])
        monkeypatch.setattr(search_walks, "SORTED_IN", walks[2])
    chance = random.Random(f"{walks}{quick}")
    shelf = Shelf(chance)
    shelf.write(database, 160)
    pages = 0
    for number in range(30):
        some = [filters(chance, "Task") for _ in range(chance.randint(0, 3))]
        sort = SORTS[number % len(SORTS)]
        patient = chance.choice((None, None, "ann"))
        text = "&".join([*(one.text for one in some), *([sort] if sort else []), f"_count={chance.choice((1, 3, 7))}"])
        viewer = locked(patient) if patient else VIEWER
        walked = there_and_back(
            database, parse_query("Task", pairs(text), strict=True, own_base=HERE), viewer, quick=quick
        )
        ids = sorted(one.ref.removeprefix("Task/") for page in walked for one in page.shown)
        assert ids == shelf.fitting("Task", some, patient), text
        pages += len(walked)
    assert pages > 60
    several = parse_system_query(pairs("_type=Task,Patient&_count=4"), strict=True)
    assert len(there_and_back(database, several, quick=quick)) > 3


@pytest.mark.requirement(29, 30)
@pytest.mark.parametrize("sort", ["", "authored-on", "-code", "_id"])
def test_a_walk_back_gives_each_once_while_others_write(database: Database, sort: str) -> None:
    def sample(name: str, number: int) -> dict[str, object]:
        code = {"coding": [{"code": f"c{number % 3}"}]}
        return task(f"{name}{number:02}", code=code, authoredOn=f"2026-03-{1 + number % 9:02}")

    put_all(database, [sample("t", number) for number in range(30)])
    query = parse_query("Task", pairs(f"_sort={sort}&_count=4"), strict=True)
    here = asked(database, query, None, VIEWER, quick=False)
    while here.next is not None:
        here = asked(database, query, here.next, VIEWER, quick=False)
    seen = [one.id for one in here.matches]
    number = 0
    while here.previous is not None:
        with database.begin() as tx:
            put(tx, sample("new", number))
            put(tx, sample("t", number) | {"note": [{"text": "x"}]}, 2)
            if number:
                put(tx, sample("new", number - 1), 2, op="delete")
        here = asked(database, query, here.previous, VIEWER, quick=False)
        seen += [one.id for one in here.matches]
        number += 1
    assert len(seen) == len(set(seen))
    assert sorted(one for one in seen if one.startswith("t")) == [f"t{number:02}" for number in range(30)]


def test_a_page_whose_neighbours_are_gone_is_the_only_one(database: Database) -> None:
    put_all(database, [task(one) for one in "abcdef"])
    query = parse_query("Task", pairs("_count=2"), strict=True)
    first = asked(database, query, None, VIEWER, quick=True)
    middle = asked(database, query, first.next, VIEWER, quick=True)
    with database.begin() as tx:
        for one in "abef":
            put(tx, task(one), 2, op="delete")
    for page, place in ((first, first.next), (middle, middle.next), (middle, middle.previous)):
        assert page is not None
        answer = asked(database, query, place, VIEWER, quick=True)
        assert [one.id for one in answer.shown] == (["d", "c"] if page is first else [])
        assert (answer.next, answer.total) == (None, None)


def test_a_link_back_of_another_search_or_of_other_values_is_refused(database: Database) -> None:
    query = parse_query("Task", pairs("_sort=authored-on"), strict=True)
    for page in (
        PageCursor(query="another", values=(1,), k=1, back=True),
        PageCursor(query=query.fingerprint, values=("x",), k=1, back=True),
        PageCursor(query=query.fingerprint, values=(), k=1, back=True),
    ):
        with pytest.raises(Incorrect):
            asked(database, query, page, VIEWER, quick=False)
