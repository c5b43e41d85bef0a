"""The one table from our errors to HTTP status numbers, and the OperationOutcome that says what went wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fhir_tracker import errors
from fhir_tracker.errors import Category, Issue, TrackerError
from fhir_tracker.fhir.body import write_json
from fhir_tracker.fhir.outcome import operation_outcome

FHIR_JSON = "application/fhir+json; charset=utf-8"
ACCEPT_PATCH = "application/json-patch+json, application/fhir+json"
RETRY_AFTER_SECONDS = 2

STATUS_OF_CATEGORY: Mapping[Category, int] = {
    Category.INCORRECT: 400,
    Category.NOT_FOUND: 404,
    Category.CONFLICT: 409,
    Category.FORBIDDEN: 403,
    Category.UNSUPPORTED: 501,
    Category.BUSY: 503,
    Category.UNAVAILABLE: 503,
    Category.FAULT: 500,
}
STATUS_OF_CLASS: Mapping[type[TrackerError], int] = {
    errors.RuleBroken: 422,
    errors.TooLarge: 413,
    errors.Gone: 410,
    errors.VersionConflict: 412,
    errors.PreconditionFailed: 412,
    errors.Unauthenticated: 401,
    errors.TooMany: 429,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.UnsupportedMediaType: 415,
    errors.RemoteFailure: 502,
}
_ISSUE_OF_STATUS: Mapping[int, str] = {
    400: "invalid",
    401: "login",
    403: "forbidden",
    404: "not-found",
    405: "not-supported",
    406: "not-supported",
    408: "timeout",
    413: "too-long",
    415: "not-supported",
    421: "forbidden",
    429: "throttled",
    500: "exception",
    503: "transient",
}


def status_of(error: TrackerError) -> int:
    """The HTTP status of an error: its own class first, else its category."""
    for cls in type(error).__mro__:
        if cls in STATUS_OF_CLASS:
            return STATUS_OF_CLASS[cls]
    return STATUS_OF_CATEGORY[error.category]


def headers_of(error: TrackerError) -> dict[str, str]:
    """What an answer to `error` says besides its body: how to log in, what a patch may be, when to come back."""
    if isinstance(error, errors.BadToken):
        return {"WWW-Authenticate": challenge("invalid_token")}
    if isinstance(error, errors.Unauthenticated):
        return {"WWW-Authenticate": challenge()}
    if isinstance(error, errors.TooMany):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, errors.UnsupportedMediaType):
        return {"Accept-Patch": ACCEPT_PATCH}
    if status_of(error) == 503:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}


def challenge(code: str = "") -> str:
    """How to log in, as WWW-Authenticate says it, with the error code of RFC 6750 where there is one."""
    return f'Bearer realm="fhir-tracker", error="{code}"' if code else 'Bearer realm="fhir-tracker"'


def outcome_of(error: TrackerError) -> bytes:
    """The OperationOutcome of an error, as JSON."""
    return outcome(error.issues)


def outcome(issues: Sequence[Issue]) -> bytes:
    """An OperationOutcome, as JSON."""
    return write_json(operation_outcome(issues)).encode()


def outcome_of_status(status: int, message: str) -> bytes:
    """The OperationOutcome of an answer that no TrackerError stands for, as JSON."""
    return outcome([Issue(message=message, code=_ISSUE_OF_STATUS.get(status, "processing"))])
