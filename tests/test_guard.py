"""What rules may raise becomes a reason; what a person reads of it is safe, and the log has the rest."""

from __future__ import annotations

import logging

import pytest

from fhir_tracker.errors import Fault, Incorrect, NotFound, RuleBroken, TrackerError
from fhir_tracker.guard import Failure, guarded


def test_an_answer_is_given_as_it_is_also_none() -> None:
    assert guarded(lambda: 7, "asking") == 7
    assert guarded(lambda: None, "asking") is None


@pytest.mark.parametrize("kind", [Incorrect, NotFound, RuleBroken, Fault])
def test_an_error_of_the_product_is_told_in_its_own_words(
    kind: type[TrackerError], caplog: pytest.LogCaptureFixture
) -> None:
    def ask() -> int:
        raise kind("The calendar is never open.")

    assert guarded(ask, "asking", item="Task/a") == Failure(reason="The calendar is never open.")
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "asking failed: The calendar is never open.")
    assert record.__dict__["fields"] == {"item": "Task/a"}


@pytest.mark.parametrize(
    "error", [ValueError("Ann Smith"), ZeroDivisionError(), RecursionError(), KeyError("Ann Smith")]
)
def test_any_other_error_is_named_by_its_kind_alone(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def ask() -> int:
        raise error

    found = guarded(ask, "asking")
    assert found == Failure(reason=f"a fault of this release ({type(error).__name__})")
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "asking failed")
    assert record.exc_info is not None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_a_person_who_stops_the_process_is_not_kept_from_it(error: BaseException) -> None:
    def ask() -> int:
        raise error

    with pytest.raises(type(error)):
        guarded(ask, "asking")
