"""Every error the product raises on purpose; `api/outcomes.py` is the one table to HTTP and OperationOutcome.

TrackerError
├── Incorrect              what was sent cannot be understood
│   ├── RuleBroken         it was understood, and a business rule forbids it
│   ├── TooLarge           a body, page or batch over its limit
│   └── UsageError         a command line or setting that makes no sense
├── NotFound               no such thing, or not for this viewer
│   ├── Gone               it was there and was deleted
│   └── UnknownType        not a FHIR R4 resource type
├── Conflict               it clashes with what is stored
│   ├── VersionConflict    If-Match named another version, or another writer was faster
│   └── PreconditionFailed a condition of the request does not hold, and would not if it were repeated
├── Forbidden              known caller, not allowed
│   └── Unauthenticated    unknown caller
│       └── BadToken       a bearer token that nobody was given, or that counts no more
├── Unsupported            a right question that this server does not answer
│   ├── MethodNotAllowed
│   ├── NotAcceptable
│   └── UnsupportedMediaType
├── Busy                   too many requests, or a lock not had in time
│   └── TooMany            one caller asks too often
├── Unavailable            the database or a remote server cannot be reached now
│   └── RemoteFailure      an EHR answered wrongly; `permanent` says whether a retry can help
└── Fault                  our own mistake
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """The eight kinds of error; nothing outside `api` knows a status number for them."""

    INCORRECT = "incorrect"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    FORBIDDEN = "forbidden"
    UNSUPPORTED = "unsupported"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    FAULT = "fault"


@dataclass(frozen=True, kw_only=True)
class Issue:
    """One OperationOutcome issue: `code` from issue-type, `expression` a FHIRPath location such as `Task.status`."""

    message: str
    code: str = "invalid"
    expression: str | None = None
    severity: str = "error"


class TrackerError(Exception):
    """Base of all; `message` is safe to show to a caller and never holds patient data or a stack trace."""

    category = Category.FAULT
    issue_code = "exception"

    def __init__(self, message: str, *, issues: tuple[Issue, ...] = (), expression: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.issues = issues or (Issue(message=message, code=self.issue_code, expression=expression),)


class Incorrect(TrackerError):
    category = Category.INCORRECT
    issue_code = "invalid"


class RuleBroken(Incorrect):
    issue_code = "business-rule"


class TooLarge(Incorrect):
    issue_code = "too-long"


class UsageError(Incorrect):
    issue_code = "invalid"


class NotFound(TrackerError):
    category = Category.NOT_FOUND
    issue_code = "not-found"


class Gone(NotFound):
    issue_code = "deleted"


class UnknownType(NotFound):
    issue_code = "not-supported"


class Conflict(TrackerError):
    category = Category.CONFLICT
    issue_code = "conflict"


class VersionConflict(Conflict):
    issue_code = "conflict"


class PreconditionFailed(Conflict):
    issue_code = "conflict"


class Forbidden(TrackerError):
    category = Category.FORBIDDEN
    issue_code = "forbidden"


class Unauthenticated(Forbidden):
    issue_code = "login"


class BadToken(Unauthenticated):
    pass


class Unsupported(TrackerError):
    category = Category.UNSUPPORTED
    issue_code = "not-supported"


class MethodNotAllowed(Unsupported):
    pass


class NotAcceptable(Unsupported):
    pass


class UnsupportedMediaType(Unsupported):
    pass


class Busy(TrackerError):
    category = Category.BUSY
    issue_code = "throttled"


class TooMany(Busy):
    """`retry_after` is in whole seconds."""

    def __init__(self, message: str, *, retry_after: int = 60) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(TrackerError):
    category = Category.UNAVAILABLE
    issue_code = "transient"


class RemoteFailure(Unavailable):
    """An EHR could not be followed; `permanent` when repeating the same request cannot help.

    `unknown` says that something was to be written there and may have been; `retry_after` is in seconds. `auth` says that
    the EHR, or who gives out its tokens, does not take our credentials: never `permanent`, since a person can mend it, and
    the message says how. `said` is what the EHR itself gave as the reason: it may name a patient, and is in no log.
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        unknown: bool = False,
        auth: bool = False,
        said: str = "",
    ) -> None:
        super().__init__(message)
        self.said = said
        self.permanent = permanent
        self.retry_after = retry_after
        self.unknown = unknown
        self.auth = auth


class Fault(TrackerError):
    pass
