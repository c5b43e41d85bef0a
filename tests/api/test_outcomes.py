"""One table turns each of our errors into a status and an issue code."""

from __future__ import annotations

import inspect
import json

import pytest

from api.outcomes import headers_of, outcome_of, outcome_of_status, status_of
from fhir_tracker import errors
from fhir_tracker.errors import Issue, TrackerError
from fhir_tracker.fhir.body import read_resource
from fhir_tracker.fhir.checks import check

STATUS = {
    "Incorrect": 400,
    "RuleBroken": 422,
    "TooLarge": 413,
    "UsageError": 400,
    "NotFound": 404,
    "Gone": 410,
    "UnknownType": 404,
    "Conflict": 409,
    "VersionConflict": 412,
    "PreconditionFailed": 412,
    "Forbidden": 403,
    "Unauthenticated": 401,
    "BadToken": 401,
    "Unsupported": 501,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "UnsupportedMediaType": 415,
    "Busy": 503,
    "TooMany": 429,
    "Unavailable": 503,
    "RemoteFailure": 502,
    "Fault": 500,
    "TrackerError": 500,
}
ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, TrackerError)]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_each_error_has_its_status_and_a_valid_outcome(cls: type[TrackerError]) -> None:
    error = cls("That did not work.")
    assert status_of(error) == STATUS[cls.__name__]
    outcome = read_resource(outcome_of(error))
    assert check(outcome) == ()
    assert outcome["issue"][0]["code"] == cls.issue_code
    assert outcome["issue"][0]["details"]["text"] == "That did not work."


def test_each_issue_is_told_with_its_place() -> None:
    issues = (Issue(message="a", expression="Task.status"), Issue(message="b", code="required"))
    told = json.loads(outcome_of(errors.Incorrect("two things", issues=issues)))["issue"]
    assert [(one["diagnostics"], one.get("expression")) for one in told] == [("a", ["Task.status"]), ("b", None)]


def test_a_busy_server_says_when_to_come_back_and_a_locked_one_how_to_come_in() -> None:
    assert headers_of(errors.Busy("x")) == {"Retry-After": "2"}
    assert headers_of(errors.Unavailable("x")) == {"Retry-After": "2"}
    assert headers_of(errors.TooMany("x", retry_after=7)) == {"Retry-After": "7"}
    assert headers_of(errors.Unauthenticated("x")) == {"WWW-Authenticate": 'Bearer realm="fhir-tracker"'}
    told = 'Bearer realm="fhir-tracker", error="invalid_token"'
    assert headers_of(errors.BadToken("x")) == {"WWW-Authenticate": told}
    assert "json-patch" in headers_of(errors.UnsupportedMediaType("x"))["Accept-Patch"]
    assert headers_of(errors.NotFound("x")) == {}


@pytest.mark.parametrize("status", [400, 401, 404, 405, 408, 413, 418, 421, 429, 500, 503])
def test_a_bare_status_has_a_valid_outcome_too(status: int) -> None:
    assert check(read_resource(outcome_of_status(status, "x"))) == ()
