"""One request of a page: who asks, with which session, for what; and the one place that lets them in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from starlette.responses import Response

from api.context import AppContext
from api.staff import session as sessions
from api.staff.places import HERE, Place
from api.staff.session import Session
from fhir_tracker.errors import Forbidden, Incorrect, NotFound
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit, preferences
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.launches import LaunchSession
from fhir_tracker.storage.preferences import Preference

KIND = "page"
SANDBOXED = " Where an EHR shows this page in a sandbox, tell your administrator that it needs allow-same-origin."
"""A frame of no origin cannot be told from another site."""
_VERSION = re.compile("[0-9]{1,9}")


@dataclass(frozen=True, kw_only=True)
class Visit:
    """`query` and `form` hold the last value of each name; `back` is where a POST returns to.

    `path` and `address` are those within `place`; `launch` is the session, where this is a page of one.
    """

    context: AppContext
    viewer: Viewer
    session: Session
    now: datetime
    request_id: str
    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    args: Mapping[str, str]
    headers: Mapping[str, str]
    address: str
    place: Place = HERE
    launch: LaunchSession | None = None
    noted: list[str] = field(default_factory=list, compare=False, repr=False)
    """The actions that the trail has of this request."""

    @property
    def back(self) -> str:
        """The page to return to, always one of ours."""
        return sessions.local_path(self.form.get("back") or self.query.get("back") or "/")

    @property
    def author(self) -> Author:
        """The viewer as writer of this request."""
        return Author.for_viewer(self.viewer, "staff", self.now, self.request_id)

    @property
    def version(self) -> int | None:
        """The version that the form was made from; Incorrect when it is not a number."""
        text = self.form.get("version", "")
        if text and not _VERSION.fullmatch(text):
            raise Incorrect("The form's version is not a number.")
        return int(text) if text else None

    @property
    def csrf(self) -> str:
        """The token for this session's forms."""
        return sessions.token(self.session, self.context.secret_key)


def check_form(visit: Visit) -> None:
    """Raise Forbidden unless the form was sent by a page of ours, in this very browser."""
    check_origin(visit.context, visit.headers)
    if not sessions.is_token(visit.form.get("csrf", ""), visit.session, visit.context.secret_key):
        raise Forbidden("This form is from an older visit: open the page again and repeat the step.")


def check_origin(context: AppContext, headers: Mapping[str, str]) -> None:
    """Raise Forbidden unless the browser says that a page of this server asks, or says nothing."""
    origin, site = headers.get("origin", ""), headers.get("sec-fetch-site", "")
    hosts = (headers.get("host", ""), urlsplit(context.public_url).netloc)
    if not any(sessions.is_same_origin(host, origin, site) for host in hosts):
        sandboxed = SANDBOXED if (origin, site) == ("null", "cross-site") else ""
        raise Forbidden(f"This form was sent from another site.{sandboxed}")


def numbered(visit: Visit, otherwise: str) -> int:
    """The number in the address; NotFound, which says `otherwise`, when it is none."""
    text = visit.args.get("id", "")
    if not text.isdecimal() or len(text) > 18:
        raise NotFound(otherwise)
    return int(text)


def keep_session(visit: Visit, response: Response, session: Session) -> None:
    """Put the session into the browser's cookie, which lives until the browser closes; in a launch, keep it for the person."""
    if visit.launch:
        liked = Preference(account=visit.launch.account, density=session.density, keys=session.keys)
        with visit.context.database.begin() as tx:
            preferences.save(tx, liked)
        return
    secure = visit.context.public_url.startswith("https://")
    text = sessions.write(session, visit.context.secret_key)
    response.set_cookie(sessions.COOKIE, text, path="/", httponly=True, samesite="lax", secure=secure)


def note_access(
    tx: Tx,
    visit: Visit,
    action: str,
    ref: str,
    patient: str | None = None,
    *,
    patients: Sequence[str] = (),
    outcome: str = "success",
    detail: Mapping[str, object] | None = None,
) -> None:
    """The audit row of one page or step; `patients` are those it listed, never what it said of them."""
    visit.noted.append(action)
    audit.add(
        tx,
        at=visit.now,
        viewer=visit.viewer,
        action=action,
        ref=ref,
        patient=patient,
        outcome=outcome,
        request_id=visit.request_id,
        detail=detail,
        patients=tuple(dict.fromkeys(patients)),
        kind=KIND,
        query=visit.address.partition("?")[2] or None,
    )


def note_reading(
    visit: Visit, action: str, ref: str, patient: str | None = None, *, patients: Sequence[str] = ()
) -> None:
    """As `note_access`, in a small transaction of its own, for pages that only read."""
    with visit.context.database.begin() as tx:
        note_access(tx, visit, action, ref, patient, patients=patients)
