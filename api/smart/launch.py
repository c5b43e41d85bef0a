"""`/launch`, from an EHR's chart or menu, and `/launch/standalone`: sends people to log in where we know the issuer, nowhere else.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api.context import AppContext
from api.edge import REQUEST_ID
from api.fhir.entrance import address_of
from api.smart import browsers
from api.smart.login_pages import Problem, going_page, problem_of, sending_form
from api.smart.wording import said_of
from api.staff.rendering import HEADERS, policy
from fhir_tracker import attempts, clock, issuers
from fhir_tracker.attempts import Attempt, Kind
from fhir_tracker.errors import RemoteFailure, TooMany
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.issuers import CONNECTION, PROVIDER, Issuer
from subscriptions.issuer_metadata import KNOWN, Known, Metadata

CALLBACK = "/callback"
KIND = "security"
_MOST_LAUNCH = 4000
_NOBODY = "nobody"
_PLAIN = re.compile(r"https?://[A-Za-z0-9.:-]{1,200}(/[A-Za-z0-9._~/-]{0,200})?")
_FRAMES = frozenset({"iframe", "frame", "embed", "object"})


class Launching:
    """The beginnings of logins of one server."""

    def __init__(self, context: AppContext, known: Known = KNOWN) -> None:
        self._context = context
        self._known = known

    def launch(self, request: Request, given: Mapping[str, str]) -> Response:
        """GET `/launch?iss&launch`: from within an EHR."""
        issuer = self._issuer(request, given, CONNECTION)
        launch = given.get("launch", "")
        if not 0 < len(launch) <= _MOST_LAUNCH:
            raise _no_launch(issuer, launch)
        return self._send(request, issuer, Attempt(kind="ehr", launch=launch))

    def standalone(self, request: Request, given: Mapping[str, str]) -> Response:
        """GET `/launch/standalone?iss`: from outside, at an EHR or a login provider; `patient=choose` asks for a chart."""
        issuer = self._issuer(request, given, CONNECTION, PROVIDER)
        kind: Kind = "standalone" if issuer.connection else "login"
        return self._send(request, issuer, Attempt(kind=kind, wants_patient=given.get("patient") == "choose"))

    def _send(self, request: Request, issuer: Issuer, wanted: Attempt) -> Response:
        """On to the issuer, by a redirect; in a frame whose browser has no cookie of ours by a page that knows two ways."""
        try:
            self._context.limits.launch(address_of(request.scope))
        except TooMany as error:
            raise problem_of(error, issuer.frame_ancestors) from None
        secret, framed_by = attempts.fresh_secret(), issuer.frame_ancestors
        is_windowed = request.headers.get("sec-fetch-dest", "") in _FRAMES and not browsers.brings_cookies(request)
        wanted = replace(wanted, windowed=is_windowed)
        try:
            metadata = self._known.metadata(issuer, clock.now())
        except RemoteFailure as failure:
            raise said_of(issuer, _away(issuer, failure)) from None
        address, state = self._address(issuer, metadata, wanted, secret)
        if issuer.options.get("posts") and "authorize-post" in metadata.capabilities:
            response: Response = sending_form(self._context, address, framed_by, secret if is_windowed else "")
        elif is_windowed:
            response = going_page(self._context, address, framed_by, secret)
        else:
            response = RedirectResponse(address, status_code=302, headers=HEADERS)
            response.headers["content-security-policy"] = policy(*framed_by)
        browsers.give(request, response, state, secret)
        return response

    def _address(self, issuer: Issuer, metadata: Metadata, wanted: Attempt, secret: str) -> tuple[str, str]:
        """Where the browser is to go, with an attempt that waits for it to come back, and the state of that."""
        with self._context.database.begin() as tx:
            made, state = attempts.begin(
                tx,
                issuer,
                kind=wanted.kind,
                browser=secret,
                secret_key=self._context.secret_key,
                now=clock.now(),
                launch=wanted.launch,
                wants_patient=wanted.wants_patient,
                windowed=wanted.windowed,
                redirect_uri=f"{self._context.public_url}{CALLBACK}",
                scopes=scopes_for(issuer, metadata, wanted),
            )
        return authorize_address(issuer, metadata, made, state), state

    def _issuer(self, request: Request, given: Mapping[str, str], *kinds: str) -> Issuer:
        """The issuer that is named, if it is one we know: nothing is ever asked of another."""
        iss = given.get("iss", "")
        with self._context.database.read() as tx:
            found = next((one for kind in kinds if (one := issuers.named(tx, iss, kind))), None)
        if found is not None:
            return found
        named = iss if _PLAIN.fullmatch(iss) else ""
        note_refused(self._context, request, "unknown-issuer", None, **({"named": named} if named else {}))
        raise _not_known(named) if iss else _nobody_named()


def scopes_for(issuer: Issuer, metadata: Metadata, attempt: Attempt) -> tuple[str, ...]:
    """What is asked for: as it was set up, else who the person is, a way to stay, and to read the patient who is opened."""
    words = issuer.scopes.split()
    if not words:
        words = list(issuers.IDENTITY if issuer.connection else issuers.IDENTITY[:1])
        if "permission-online" in metadata.capabilities or "online_access" in metadata.scopes:
            words.append("online_access")
        if attempt.kind == "ehr":
            words.append(f"patient/Patient.{'rs' if 'permission-v2' in metadata.capabilities else 'read'}")
        if issuer.options.get("subject_claim") == "email":
            words.append("email")
    if attempt.kind == "ehr" and "launch" not in words:
        words.insert(0, "launch")
    if attempt.kind != "ehr":
        words = [one for one in words if one != "launch"]
    if attempt.wants_patient and "launch/patient" not in words:
        words.append("launch/patient")
    return tuple(dict.fromkeys(words))


def authorize_address(issuer: Issuer, metadata: Metadata, attempt: Attempt, state: str) -> str:
    """The address of the authorization request."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).decode().rstrip("=")
    asked = {
        "response_type": "code",
        "client_id": issuer.client_id,
        "redirect_uri": attempt.redirect_uri,
        **({"launch": attempt.launch} if attempt.kind == "ehr" else {}),
        "scope": " ".join(attempt.scopes),
        "state": state,
        "nonce": attempt.nonce,
        **({"aud": issuers.audience(issuer)} if issuer.connection else {}),
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{metadata.authorization}{'&' if '?' in metadata.authorization else '?'}{urlencode(asked)}"


def note_refused(context: AppContext, request: Request, why: str, viewer: Viewer | None = None, **detail: str) -> None:
    """The audit row of a login that was refused; TooMany when too many come from one address."""
    address = address_of(request.scope)
    context.limits.failure(address)
    who = replace(viewer, address=address) if viewer else Viewer(who=_NOBODY, address=address)
    with context.database.begin() as tx:
        audit.add(
            tx,
            at=clock.now(),
            viewer=who,
            action="login-refused",
            outcome="denied",
            request_id=str(request.scope.get(REQUEST_ID, "")),
            detail={"why": why, **detail},
            kind=KIND,
        )


def _not_known(named: str) -> Problem:
    called = f" It calls itself {named}." if named else ""
    return Problem(
        heading="This EHR is not known here",
        text=f"The tracker is opened only from EHRs that its administrator has set up, and this one is not among them.{called}",
        steps=(
            "Ask your administrator to set it up if it is your practice's own: its address has to be given exactly.",
        ),
        told=("fhir-tracker connection smart KEY --issuer URL --client-id ID",),
    )


def _nobody_named() -> Problem:
    return Problem(
        heading="No EHR is named",
        text="This address is for EHRs, which add their own to it: the parameter iss is missing.",
        steps=(
            "Open the tracker from your EHR. If you did, tell your administrator that it does not say which EHR it is.",
        ),
    )


def _no_launch(issuer: Issuer, launch: str) -> Problem:
    why = "is longer than any launch" if launch else "is missing"
    return Problem(
        heading="Nothing is named to open",
        text=f"{issuer.label or issuer.key} did not say what is to be opened: the parameter launch {why}.",
        steps=(
            "Open the tracker again from a chart or the menu of your EHR. If you did, tell your administrator what is written here.",
        ),
        framed_by=issuer.frame_ancestors,
    )


def _away(issuer: Issuer, failure: RemoteFailure) -> Problem:
    return Problem(
        heading="The EHR cannot let you in now",
        text=f"{issuer.label or issuer.key} does not answer as it should. Try again in a moment.",
        status=502,
        steps=("If that does not help, tell your administrator this:",),
        told=(failure.message,),
        framed_by=issuer.frame_ancestors,
    )
