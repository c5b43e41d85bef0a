"""The authorization endpoint of a simulated EHR: checks what an app asks, asks the person what is left, sends a code back.

https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#obtain-authorization-code
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from api.demo.simulator.answers import NO_STORE, endpoint
from api.demo.simulator.faults import replaced
from api.demo.simulator.ledger import Context, Grant, Launch
from api.demo.simulator.pages import BROWSER, page
from api.demo.simulator.simulator import Simulator
from api.demo.simulator.world import Member, RegisteredApp

LEAST_STATE = 21
"""Characters of base64url that hold 122 bits."""
MOST_PENDING = 1000
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
CLINICAL = re.compile(r"(?:patient|user|system)/(?:\*|[A-Z][A-Za-z]+)\.(?:\*|read|write|c?r?u?d?s?)(?:\?.+)?")
WORDS = frozenset("openid fhirUser profile launch launch/patient launch/encounter offline_access online_access".split())


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request that may be granted, as far as the person at the browser has said what is left to say."""

    app: RegisteredApp
    redirect_uri: str
    scopes: tuple[str, ...]
    state: str
    challenge: str
    nonce: str
    launch: Launch | None
    member: Member | None = None
    patient: str | None = None
    is_allowed: bool = False

    @property
    def wants_patient(self) -> bool:
        """Whether a chart has to be picked."""
        is_bare = self.launch is None
        return is_bare and ("launch/patient" in self.scopes or any(one.startswith("patient/") for one in self.scopes))


class Refusal(Exception):
    """An answer for the app, by redirect: `error` as OAuth names it."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


class Authorize:
    """The endpoint and the pages behind it."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._lock = threading.Lock()
        self._pending: dict[str, Asked] = {}

    def routes(self) -> list[BaseRoute]:
        """`/oauth/authorize` and where its pages' forms go."""
        begin = endpoint(self._simulator, "authorize", self._begin)
        answer = endpoint(self._simulator, "authorize", self._answered)
        return [
            Route("/oauth/authorize", begin, methods=["GET", "POST"]),
            Route("/oauth/answer", answer, methods=["POST"]),
        ]

    def _begin(self, request: Request, given: Mapping[str, str]) -> Response:
        app = self._simulator.world.app(given.get("client_id", ""))
        redirect_uri = given.get("redirect_uri", "")
        if app is None or redirect_uri not in app.redirect_uris:
            what = "its redirect_uri is not registered" if app else "its client_id is unknown"
            self._simulator.ledger.blame(f"authorize: {what}")
            return page("problem.html", status=400, text=f"This app cannot be opened: {what}.")
        try:
            asked = self._checked(app, given)
        except Refusal as refusal:
            self._simulator.ledger.blame(f"authorize: {refusal}")
            told = {"error": refusal.error, "error_description": str(refusal)}
            return self._back(redirect_uri, given.get("state", ""), told)
        if self._simulator.faults.denied:
            return self._back(redirect_uri, asked.state, {"error": "access_denied"})
        if self._simulator.faults.refused_scopes:
            return self._back(redirect_uri, asked.state, {"error": "invalid_scope"})
        return self._next(request, self._known(request, asked))

    def _checked(self, app: RegisteredApp, given: Mapping[str, str]) -> Asked:
        if given.get("response_type") != "code":
            raise Refusal("unsupported_response_type", "response_type is not code")
        state, scopes = given.get("state", ""), tuple(given.get("scope", "").split())
        self._check_secrets(given, state)
        if given.get("aud") != self._simulator.fhir_base:
            raise Refusal("invalid_request", "aud is not the address of this FHIR server")
        self._check_scopes(app, scopes)
        launch = self._launch(given, scopes)
        return Asked(
            app=app,
            redirect_uri=given["redirect_uri"],
            scopes=scopes,
            state=state,
            challenge=given.get("code_challenge", ""),
            nonce=given.get("nonce", ""),
            launch=launch,
        )

    def _check_secrets(self, given: Mapping[str, str], state: str) -> None:
        ledger = self._simulator.ledger
        if not state:
            raise Refusal("invalid_request", "state is missing")
        if len(state) < LEAST_STATE:
            ledger.blame("authorize: state is too short to hold 122 bits")
        if not ledger.is_new("state", state):
            ledger.blame("authorize: a state is used a second time")
        if "openid" in given.get("scope", "").split():
            nonce = given.get("nonce", "")
            if not nonce or not ledger.is_new("nonce", nonce):
                ledger.blame("authorize: nonce is missing or used a second time")
        if self._simulator.faults.without_pkce:
            return
        challenge = given.get("code_challenge", "")
        if given.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
            raise Refusal("invalid_request", "code_challenge by S256 is missing or malformed")
        if not ledger.is_new("challenge", challenge):
            ledger.blame("authorize: a code_challenge is used a second time")

    def _check_scopes(self, app: RegisteredApp, scopes: tuple[str, ...]) -> None:
        unknown = [one for one in scopes if one not in WORDS and not CLINICAL.fullmatch(one)]
        if not scopes or unknown:
            raise Refusal("invalid_scope", f"scope is empty or unknown: {' '.join(unknown)}")
        beyond = set(scopes) - set(app.scopes.split())
        if app.scopes and beyond:
            raise Refusal("invalid_scope", f"the app is not registered for {' '.join(sorted(beyond))}")
        if "fhirUser" in scopes and "openid" not in scopes:
            self._simulator.ledger.blame("authorize: fhirUser is asked for without openid")

    def _launch(self, given: Mapping[str, str], scopes: tuple[str, ...]) -> Launch | None:
        if ("launch" in given) != ("launch" in scopes):
            raise Refusal("invalid_request", "the parameter launch and the scope launch go together")
        if "launch" not in given:
            return None
        launch = self._simulator.ledger.take_launch(given["launch"], self._simulator.now())
        if launch is None:
            raise Refusal("invalid_request", "launch is unknown, used or too old")
        return launch

    def _known(self, request: Request, asked: Asked) -> Asked:
        """What need not be asked: an app launched from here is trusted, and who sits at the browser is known."""
        auto, world = self._simulator.auto, self._simulator.world
        if asked.launch:
            return replace(asked, member=asked.launch.member, patient=asked.launch.context.patient, is_allowed=True)
        if auto:
            return replace(asked, member=world.member(auto.member), patient=auto.patient or None, is_allowed=True)
        sitting = self._simulator.ledger.sitting(request.cookies.get(BROWSER, ""))
        return replace(asked, member=world.member(sitting or ""))

    def _next(self, request: Request, asked: Asked) -> Response:
        """The next question, or the way back when there is none left."""
        world = self._simulator.world
        if asked.member and asked.is_allowed:
            return self._grant(asked, asked.member)
        key = secrets.token_urlsafe(18)
        with self._lock:
            self._pending[key] = asked
            while len(self._pending) > MOST_PENDING:
                del self._pending[next(iter(self._pending))]
        if asked.member is None:
            return page("who.html", key=key, action="/oauth/answer", members=world.members, app=asked.app.name)
        if asked.wants_patient and asked.patient is None:
            return page("which.html", key=key, charts=world.charts, app=asked.app.name)
        return page(
            "allow.html", key=key, app=asked.app.name, scopes=asked.scopes, member=asked.member, patient=asked.patient
        )

    def _answered(self, request: Request, given: Mapping[str, str]) -> Response:
        with self._lock:
            asked = self._pending.pop(given.get("key", ""), None)
        if asked is None:
            return page("problem.html", status=400, text="This page is too old: open the app again.")
        if given.get("allow") == "no":
            return self._back(asked.redirect_uri, asked.state, {"error": "access_denied"})
        world = self._simulator.world
        if asked.member is None:
            asked = replace(asked, member=world.member(given.get("member", "")))
        elif asked.wants_patient and asked.patient is None:
            chart = world.chart(given.get("patient", ""))
            asked = replace(asked, patient=chart.id if chart else None)
        else:
            asked = replace(asked, is_allowed=given.get("allow") == "yes")
        return self._next(request, asked)

    def _grant(self, asked: Asked, member: Member) -> Response:
        context = asked.launch.context if asked.launch else Context(patient=asked.patient)
        grant = Grant(
            client_id=asked.app.client_id,
            redirect_uri=asked.redirect_uri,
            scopes=tuple(one for one in asked.scopes if one not in self._simulator.faults.withheld),
            challenge=asked.challenge,
            nonce=asked.nonce,
            member=member,
            context=context,
            family=secrets.token_hex(8),
            at=self._simulator.now(),
        )
        return self._back(asked.redirect_uri, asked.state, {"code": self._simulator.ledger.code_for(grant)})

    def _back(self, redirect_uri: str, state: str, told: Mapping[str, str]) -> Response:
        values = {**told, "state": state, "iss": self._simulator.issuer}
        query = urlencode(
            {name: str(value) for name, value in replaced(values, self._simulator.faults.callback).items()}
        )
        mark = "&" if "?" in redirect_uri else "?"
        return RedirectResponse(f"{redirect_uri}{mark}{query}", status_code=302, headers=NO_STORE)
