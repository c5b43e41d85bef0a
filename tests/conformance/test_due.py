"""What is overdue is found by `Task.restriction.period.end`, an instant whatever time zone it is written in, the same each time.

https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import pytest

from tests.conformance.talk import Corner

DUE = {
    "new-york": "2026-03-11T17:00:00-04:00",
    "zulu": "2026-03-11T21:00:00Z",
    "tokyo": "2026-03-12T06:00:00.000+09:00",
    "sooner": "2026-03-11T20:59:59Z",
    "later": "2026-03-11T21:00:01Z",
    "day": "2026-03-10",
}


@pytest.fixture
def rows(corner: Corner) -> Corner:
    for short, due in DUE.items():
        corner.put("Task", short, status="requested", intent="order", restriction={"period": {"end": due}})
    corner.put("Task", "closed", status="completed", intent="order", restriction={"period": {"end": DUE["sooner"]}})
    corner.put("Task", "never", status="requested", intent="order")
    return corner


def overdue(rows: Corner, query: str) -> list[str]:
    """The short names of the open work that is found, in order."""
    return rows.listed(f"Task?status=requested&{query}")


@pytest.mark.requirement(133)
@pytest.mark.parametrize("now", ["2026-03-11T21:00:00Z", "2026-03-11T17:00:00-04:00", "2026-03-12T02:30:00%2B05:30"])
def test_what_is_overdue_does_not_hang_on_how_the_moment_is_written(rows: Corner, now: str) -> None:
    assert sorted(overdue(rows, f"due=lt{now}")) == ["day", "sooner"]
    assert sorted(overdue(rows, f"due=le{now}")) == ["day", "new-york", "sooner", "tokyo", "zulu"]
    assert sorted(overdue(rows, f"due=gt{now}")) == ["later"]


@pytest.mark.requirement(133)
def test_the_list_of_what_is_overdue_is_the_same_each_time_and_in_order(rows: Corner) -> None:
    query = "due=le2026-03-11T21:00:00Z&_sort=due"
    first = overdue(rows, query)
    assert first[:2] == ["day", "sooner"]
    assert sorted(first[2:]) == ["new-york", "tokyo", "zulu"]
    for _ in range(3):
        assert overdue(rows, query) == first
