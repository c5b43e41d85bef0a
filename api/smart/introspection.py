"""What a token lets do, and its end: for who may ask, which is its own client, or somebody who looks after clients.

https://www.rfc-editor.org/rfc/rfc7662 and https://www.rfc-editor.org/rfc/rfc7009
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from starlette.responses import Response

from api.context import AppContext
from api.fhir.entrance import token_in
from api.outcomes import challenge
from api.smart.forms import Form, OAuthError, answer
from api.smart.places import INTROSPECT, REVOKE, TOKEN
from api.smart.systems import KIND, Systems
from fhir_tracker import access_tokens, clock
from fhir_tracker.digests import digest_of
from fhir_tracker.errors import BadToken
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit
from fhir_tracker.storage.database import Tx

Result = TypeVar("Result")
ACT = "clients"
"""Who may do this may ask about any token, and end any."""
_INACTIVE = {"active": False}


class TokenQuestions:
    """The endpoints of introspection and revocation of one server."""

    def __init__(self, context: AppContext, systems: Systems) -> None:
        self._context = context
        self._systems = systems

    def introspect(self, form: Form) -> Response:
        """What is known of `token`: that it counts and for what, or only that it does not. Raises OAuthError."""
        token, now = _asked(form), clock.now()
        try:
            return answer(self._as_who(form, now, INTROSPECT, lambda tx, who: self._told(tx, token, who, now)))
        except OAuthError as error:
            if error.code != "invalid_client" or error.status == 401:
                raise
            raise OAuthError(error.code, error.description, 401, {"WWW-Authenticate": challenge()}) from None

    def revoke(self, form: Form) -> Response:
        """Ends `token`; the answer is the same when there is none. Raises OAuthError."""
        token, now = _asked(form), clock.now()

        def ended(tx: Tx, who: Viewer) -> None:
            found = access_tokens.find(tx, digest_of(token), now)
            if found is not None and self._may_ask(who, found[1].id):
                access_tokens.end(tx, token, found[1])
                audit.add(tx, at=now, viewer=who, action="logout", request_id=form.request_id, kind=KIND)

        self._as_who(form, now, REVOKE, ended)
        return answer({})

    def _told(self, tx: Tx, token: str, who: Viewer, now: datetime) -> dict[str, object]:
        found = access_tokens.find(tx, digest_of(token), now)
        if found is None or not self._may_ask(who, found[1].id):
            return dict(_INACTIVE)
        issued, client = found
        base = self._context.fhir_base
        return {
            "active": True,
            "scope": " ".join(issued.scopes),
            "client_id": client.id,
            "sub": client.id,
            "iss": base,
            "aud": base,
            "token_type": "bearer",
            "iat": int(issued.issued_at.timestamp()),
            "exp": int(issued.expires_at.timestamp()),
            **({"patient": issued.patient} if issued.patient else {}),
        }

    def _as_who(self, form: Form, now: datetime, place: str, work: Callable[[Tx, Viewer], Result]) -> Result:
        """What `work` gives for whoever shows an assertion or a token."""
        if form.authorization:
            who = self._bearer(form, now)
            with self._context.database.begin() as tx:
                return work(tx, who)
        return self._systems.serve(
            form, now, (TOKEN, place), lambda tx, client: work(tx, self._systems.viewer(client, form))
        )

    def _may_ask(self, who: Viewer, client_id: str) -> bool:
        is_its_own = who.issuer == self._context.fhir_base and who.client == client_id
        return is_its_own or ACT in who.sight.acts

    def _bearer(self, form: Form, now: datetime) -> Viewer:
        try:
            return self._context.admission.admit(token_in(form.authorization) or "-", form.address, now).viewer
        except BadToken:
            self._context.limits.failure(form.address)
            headers = {"WWW-Authenticate": challenge("invalid_token")}
            raise OAuthError(
                "invalid_token", "The token in the Authorization header does not count.", 401, headers
            ) from None


def _asked(form: Form) -> str:
    token = form.fields.get("token")
    if token is None:
        raise OAuthError("invalid_request", "The field token is missing.")
    return token
