"""When a patient has been reached before, on the clock where they live."""

from __future__ import annotations

from datetime import timedelta

from fhir_tracker.rules.best_time import best_time
from tests.rules.samples import attempt, ny

ZONE = "America/New_York"


def test_the_part_of_the_day_with_most_contacts_and_its_weekday() -> None:
    tries = [
        attempt("a", ny("2026-03-10 09:00"), "reached"),
        attempt("b", ny("2026-03-17 10:00"), "reached"),
        attempt("c", ny("2026-03-18 11:00"), "no-answer"),
        attempt("d", ny("2026-03-19 18:00"), "reached"),
        attempt("e", ny("2026-03-19 13:00"), "reached", channel="email"),
    ]
    assert str(best_time(tries, ZONE)) == "Tue mornings (reached 2 of 3 times then)"
    assert str(best_time(tries, "America/Los_Angeles")) == "Tue mornings (reached 2 of 3 times then)"
    assert str(best_time(reversed(tries), "Europe/London")) == "Tue afternoons (reached 2 of 3 times then)"


def test_one_contact_names_no_weekday_and_none_names_nothing() -> None:
    one = attempt("a", ny("2026-03-10 14:00"), "reached")
    assert str(best_time([one], ZONE)) == "afternoons (reached 1 of 1 times then)"
    assert best_time([attempt("a", ny("2026-03-10 14:00"))], ZONE) is None
    assert best_time([], ZONE) is None


def test_at_a_tie_the_part_where_fewer_tries_failed_wins() -> None:
    tries = [
        attempt("a", ny("2026-03-10 09:00"), "reached"),
        attempt("b", ny("2026-03-10 09:30") + timedelta(days=1)),
        attempt("c", ny("2026-03-10 18:00"), "reached"),
    ]
    assert str(best_time(tries, ZONE)) == "evenings (reached 1 of 1 times then)"
