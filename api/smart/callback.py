"""`/callback`: where people come back from logging in. Only who began here, in this browser, at this issuer, comes in.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
https://www.rfc-editor.org/rfc/rfc9207
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.context import AppContext
from api.edge import REQUEST_ID
from api.fhir.entrance import address_of
from api.smart import browsers
from api.smart.launch import KIND, note_refused
from api.smart.login_pages import Problem, window_page
from api.smart.wording import said_of
from api.staff.entry import arrive
from api.staff.visit import check_origin
from fhir_tracker import accounts, attempts, clock, launches
from fhir_tracker.attempts import Attempt
from fhir_tracker.authentication import is_safe
from fhir_tracker.errors import Forbidden, Incorrect, RemoteFailure, TrackerError, UsageError
from fhir_tracker.launch_context import (
    LaunchContext,
    local_encounter,
    local_items,
    local_patient,
    read_context,
)
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import accounts as stored_accounts
from fhir_tracker.storage import audit, connections
from fhir_tracker.storage import issuers as stored_issuers
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer
from fhir_tracker.storage.launches import LaunchSession, Pending
from subscriptions import charts, id_tokens, user_tokens
from subscriptions.client import Fixed
from subscriptions.issuer_keys import KEY_PAGES, KeyPages
from subscriptions.issuer_metadata import KNOWN, Known, Metadata
from subscriptions.outbound import origin
from subscriptions.token_endpoint import Token

AGAIN = "Open the tracker again from your EHR."
NO_COOKIE = (
    "Your browser brought no cookie along, so nobody can tell that it was you who began to log in. Allow cookies of this "
    f"site. {AGAIN}"
)
_MOST_CODE = 8000
_PLAIN = re.compile(r"[A-Za-z0-9.:/_-]{1,300}")
_ERRORS = {
    "access_denied": "You, or the EHR on your behalf, said no.",
    "invalid_scope": "The EHR gives nothing of what the tracker asks for. An administrator can change what that is: the scopes.",
    "invalid_request": "The EHR does not understand the request. The launch may be too old; or is this tracker not registered "
    "there with its address?",
    "unauthorized_client": "The EHR does not know this tracker as one that may ask; is it registered there?",
    "unsupported_response_type": "The EHR does not offer this way to log in.",
    "server_error": "The EHR had a fault.",
    "temporarily_unavailable": "The EHR is busy; try again in a moment.",
    "login_required": "The EHR wants you to log in there first.",
    "interaction_required": "The EHR wants to ask you something first.",
    "consent_required": "The EHR wants to ask you something first.",
}
OAUTH_ERROR = "The EHR did not let you in, and gave no reason that is known."
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Coming:
    """Somebody who comes back: the issuer they were sent to, what was asked there, and from where they come."""

    request: Request
    issuer: Issuer
    attempt: Attempt
    metadata: Metadata
    now: datetime


class Callback:
    """The ends of logins of one server."""

    def __init__(self, context: AppContext, known: Known = KNOWN, pages: KeyPages = KEY_PAGES) -> None:
        self._context = context
        self._known = known
        self._pages = pages
        self._keys = Keyring(database=context.database, secret_key=context.secret_key)

    def back(self, request: Request, given: Mapping[str, str]) -> Response:
        """GET, or POST from a window that holds its secret itself. HEAD, which looks ahead, uses nothing up."""
        if request.method == "HEAD":
            raise Problem(
                heading="Nobody is let in by HEAD", text="Use GET.", status=405, headers={"Allow": "GET, POST"}
            )
        now, state = clock.now(), given.get("state", "")
        if request.method == "GET" and not browsers.held(request, state) and (found := self._windowed(state, now)):
            return window_page(self._context, found.frame_ancestors)
        pending, attempt, issuer = self._taken(request, state, now)
        try:
            self._check_browser(request, given, pending, attempt)
            metadata = self._known.metadata(issuer, now)
            _check_answer(given, issuer, metadata)
            coming = Coming(request=request, issuer=issuer, attempt=attempt, metadata=metadata, now=now)
            return self._enter(coming, given["code"], state)
        except (Forbidden, Incorrect) as refusal:
            note_refused(
                self._context, request, type(refusal).__name__.lower(), _somebody(issuer), said=refusal.message
            )
            raise said_of(issuer, _refusal(issuer, refusal)) from None
        except RemoteFailure as failure:
            note_refused(self._context, request, "issuer-failed", _somebody(issuer), said=failure.message)
            raise said_of(issuer, _failed(issuer, failure)) from None

    def _windowed(self, state: str, now: datetime) -> Issuer | None:
        """The issuer of a login whose secret is in its browser's window, too."""
        with self._context.database.read() as tx:
            return attempts.windowed(tx, state, self._context.secret_key, now)

    def _taken(self, request: Request, state: str, now: datetime) -> tuple[Pending, Attempt, Issuer]:
        """The attempt that is meant, used up, and its issuer."""
        try:
            with self._context.database.begin() as tx:
                pending, attempt = attempts.take(tx, state, self._context.secret_key, now)
                issuer = stored_issuers.find(tx, pending.issuer)
        except Incorrect as refusal:
            note_refused(self._context, request, "state")
            framed_by = self._framed_by(state)
            raise Problem(heading="This login is over", text=refusal.message, framed_by=framed_by) from None
        if issuer is None or not issuer.active:
            note_refused(self._context, request, "issuer-removed")
            raise Problem(heading="This login is over", text="Nobody is let in from there any more.")
        return pending, attempt, issuer

    def _framed_by(self, state: str) -> Sequence[str]:
        """Who may show that a login is over: as while it was not, for a frame that is reloaded says it, too."""
        with self._context.database.read() as tx:
            issuer = attempts.issuer_of(tx, state)
        return issuer.frame_ancestors if issuer and issuer.active else ()

    def _check_browser(self, request: Request, given: Mapping[str, str], pending: Pending, attempt: Attempt) -> None:
        """Forbidden unless the one who comes back is the one who was sent."""
        if request.method == "GET":
            held = browsers.held(request, given.get("state", ""))
            if not held and not browsers.brings_cookies(request):
                raise Forbidden(NO_COOKIE)
            attempts.check_browser(pending, held)
            return
        check_origin(self._context, request.headers)
        if not attempt.windowed:
            raise Forbidden(NO_COOKIE)
        attempts.check_browser(pending, given.get("window", ""))

    def _enter(self, coming: Coming, code: str, state: str) -> Response:
        """In; by a page more where the window holds a secret, which that takes away."""
        issuer, attempt, now = coming.issuer, coming.attempt, coming.now
        token = user_tokens.exchange(
            issuer, coming.metadata, self._keys, code, attempt.verifier, attempt.redirect_uri, now
        )
        claims = id_tokens.check(token.told.get("id_token"), issuer, coming.metadata, attempt.nonce, now, self._pages)
        account = self._account(coming, claims)
        context = read_context(token.told) if issuer.connection else LaunchContext()
        self._fetch_patient(coming, token, context)
        with self._context.database.begin() as tx:
            session, secret, handle = self._begin(tx, coming, account, token, context)
        came, request = bool(browsers.held(coming.request, state)), coming.request
        response = arrive(
            self._context, session, secret, handle, request.cookies, now, has_cookies=came and not attempt.windowed
        )
        browsers.take(request, response, state)
        return response

    def _begin(
        self, tx: Tx, coming: Coming, account: Account, token: Token, context: LaunchContext
    ) -> tuple[LaunchSession, str, str]:
        issuer, own_base = coming.issuer, self._context.fhir_base
        patient = local_patient(tx, issuer, context.patient)[0] if context.patient else None
        session, secret, handle = launches.begin(
            tx,
            account,
            now=coming.now,
            lifetime=self._context.settings.session_lifetime,
            issuer=issuer,
            patient=patient,
            encounter=local_encounter(tx, issuer, context.encounter),
            intent=context.intent,
            fhir_context=local_items(tx, issuer, context.items, own_base),
            needs_banner=context.needs_banner,
            style_url=context.style_url,
            tenant=context.tenant,
            scopes=tuple(token.scope.split()) if "scope" in token.told else coming.attempt.scopes,
            sealed_tokens=user_tokens.of_answer(token).sealed(self._context.secret_key),
            tokens_end=token.ends_at,
        )
        viewer = _viewer(account, issuer, address_of(coming.request.scope))
        audit.add(
            tx,
            at=coming.now,
            viewer=replace(viewer, session=session.id, patient=patient),
            action="launch" if coming.attempt.kind == "ehr" else "login",
            ref=f"Patient/{patient}" if patient else "",
            patient=patient,
            request_id=str(coming.request.scope.get(REQUEST_ID, "")),
            detail={"account": account.id, "way": coming.attempt.kind, "from": issuer.key},
            kind=KIND,
        )
        return session, secret, handle

    def _account(self, coming: Coming, claims: Mapping[str, Any]) -> Account:
        """The account of whom the issuer names; a page that says what to tell the administrator when there is none."""
        issuer = coming.issuer
        flag, named = (
            ("--fhir-user", _fhir_user(claims, issuer))
            if issuer.connection
            else ("--subject", _subject(claims, issuer))
        )
        with self._context.database.read() as tx:
            found = _find(tx, issuer, named)
        if found is not None and found.active:
            return found
        ref = accounts.ref_of(issuer.connection, named) if issuer.connection else ""
        viewer = (
            _viewer(found, issuer, "")
            if found
            else Viewer(who=ref or "nobody", issuer=issuer.url, client=issuer.client_id)
        )
        note_refused(self._context, coming.request, "disabled" if found else "unmapped", viewer, named=named)
        way = f"--connection {issuer.key}" if issuer.connection else f"--provider {issuer.key}"
        raise Problem(
            heading="Your account is switched off" if found else "You have no account here yet",
            text=f"{issuer.label or issuer.key} says that you are {named}, and "
            + ("an administrator has switched that account off." if found else "nobody of that name is let in here."),
            status=403,
            steps=(
                "Tell your administrator this, who decides whether you get in and with which roles, on the page of the staff or by:",
            ),
            told=(f'fhir-tracker staff add {way} {flag} {shlex.quote(named)} --name "YOUR NAME" --role ROLE',),
            framed_by=issuer.frame_ancestors,
        )

    def _fetch_patient(self, coming: Coming, token: Token, context: LaunchContext) -> None:
        """Have the patient in the store whose chart is open, who comes with the next sync where that does not work now.

        Where people read in their own name, that decides: Forbidden when the EHR does not let this person.
        """
        issuer, patient = coming.issuer, context.patient
        if not patient:
            return
        as_person = bool(issuer.options.get("reads_as_user"))
        with self._context.database.read() as tx:
            is_here = local_patient(tx, issuer, patient)[1]
            connection = connections.find(tx, issuer.key)
        if connection is None or (is_here and not as_person):
            return
        database, settings = self._context.database, self._context.settings
        person = Fixed(value=f"Bearer {token.value}")
        try:
            if charts.read_as_person(database, connection, issuer, person, patient, clock.now):
                return
            if as_person:
                raise Forbidden("Your EHR shows you no such patient.")
        except RemoteFailure as error:
            if as_person:
                raise Forbidden(f"Your EHR does not let you read this patient. {error.message}") from None
        try:
            settings = replace(settings, secret_key=self._context.secret_key)
            charts.read_as_ourselves(database, connection, settings, patient, clock.now)
        except TrackerError as error:
            log.info("a launch opens a patient who is not here", extra={"fields": {"reason": type(error).__name__}})


def _check_answer(given: Mapping[str, str], issuer: Issuer, metadata: Metadata) -> None:
    """Who answers is who was asked, and it brings a code; raises Incorrect, before anything is sent to anybody."""
    named = given.get("iss")
    if named is None and metadata.names_itself:
        raise Incorrect(f"The answer does not say who gives it, as this EHR always does. {AGAIN}")
    if named is not None and not _is_asked(named, issuer, metadata):
        raise Incorrect(f"The answer comes from somebody else than the EHR that was asked. {AGAIN}")
    if "error" in given:
        raise Incorrect(_ERRORS.get(given["error"], OAUTH_ERROR))
    if not 0 < len(given.get("code", "")) <= _MOST_CODE:
        raise Incorrect(f"The answer brings no code. {AGAIN}")


def _is_asked(named: str, issuer: Issuer, metadata: Metadata) -> bool:
    """Whether `named` is who was asked; where discovery tells no issuer, a server at the origin that the code goes to."""
    if metadata.issuer or named == issuer.url:
        return named == (metadata.issuer or issuer.url)
    return is_safe(named, issuer.url) and origin(named) == origin(metadata.token)


def _fhir_user(claims: Mapping[str, Any], issuer: Issuer) -> str:
    told = claims.get("fhirUser") or claims.get("profile")
    if not isinstance(told, str):
        raise Forbidden("The EHR does not say which member of its staff you are (scope fhirUser).")
    found = accounts.user_of(told, issuer.url)
    if found is None:
        named = f"calls you {told}, which" if _PLAIN.fullmatch(told) else "says who you are, but that"
        raise Forbidden(
            f"The EHR {named} is no member of its staff: {', '.join(accounts.USER_TYPES)} count, with an id at {issuer.url}."
        )
    return found


def _subject(claims: Mapping[str, Any], issuer: Issuer) -> str:
    is_email = issuer.options.get("subject_claim") == "email"
    found = claims.get("email" if is_email else "sub")
    if is_email and (not isinstance(found, str) or claims.get("email_verified") is not True):
        raise Forbidden("The provider does not vouch for your mail address (email_verified).")
    try:
        return accounts.checked_subject(str(found))
    except UsageError:
        raise Forbidden("What the provider calls you cannot be read.") from None


def _find(tx: Tx, issuer: Issuer, named: str) -> Account | None:
    if issuer.connection is not None:
        return stored_accounts.of_user(tx, issuer.connection, named)
    found = stored_accounts.of_subject(tx, issuer.key, named)
    is_email = issuer.options.get("subject_claim") == "email"
    return found or (stored_accounts.of_subject(tx, issuer.key, named.lower()) if is_email else None)


def _viewer(account: Account, issuer: Issuer, address: str) -> Viewer:
    """Who came in, for the audit trail."""
    return Viewer(
        who=account.ref,
        name=account.name,
        roles=frozenset(account.roles),
        client=issuer.client_id,
        issuer=issuer.url,
        address=address,
    )


def _somebody(issuer: Issuer) -> Viewer:
    """Somebody who was sent to an issuer, and of whom no more is known."""
    return Viewer(who="nobody", issuer=issuer.url, client=issuer.client_id)


def _refusal(issuer: Issuer, refusal: TrackerError) -> Problem:
    return Problem(
        heading="You were not let in",
        text=refusal.message,
        status=403 if isinstance(refusal, Forbidden) else 400,
        steps=(
            *(() if "pen the tracker again" in refusal.message else (AGAIN,)),
            "If that does not help, tell your administrator what is written here.",
        ),
        framed_by=issuer.frame_ancestors,
    )


def _failed(issuer: Issuer, failure: RemoteFailure) -> Problem:
    return Problem(
        heading="The EHR did not let you in" if failure.auth else "The EHR did not answer as it should",
        text=f"{issuer.label or issuer.key} was asked who you are, and gave no answer that can be used. {AGAIN}",
        status=403 if failure.auth else 502,
        steps=("If that does not help, tell your administrator this:",),
        told=(failure.message,),
        framed_by=issuer.frame_ancestors,
    )
