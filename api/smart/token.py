"""The token endpoint: an access token for a system that shows who it is, for the scopes that it may have.

https://hl7.org/fhir/smart-app-launch/STU2.2/backend-services.html#obtain-access-token
"""

from __future__ import annotations

from starlette.responses import Response

from api.context import AppContext
from api.smart.forms import Form, OAuthError, answer
from api.smart.places import TOKEN
from api.smart.systems import KIND, Systems
from fhir_tracker import access_tokens, clock
from fhir_tracker.access_tokens import NewToken
from fhir_tracker.storage import audit
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Tx

GRANT = "client_credentials"
_LONGEST_SCOPE = 8000


class TokenEndpoint:
    """Gives out tokens to the systems of one server."""

    def __init__(self, context: AppContext, systems: Systems) -> None:
        self._context = context
        self._systems = systems

    def __call__(self, form: Form) -> Response:
        """The answer to one request. Raises OAuthError."""
        given = form.fields.get("grant_type")
        if given is None:
            raise OAuthError("invalid_request", "The field grant_type is missing.")
        if given != GRANT:
            raise OAuthError("unsupported_grant_type", f"The only grant_type here is {GRANT}.")
        now, scope = clock.now(), form.fields.get("scope", "")

        def issued(tx: Tx, client: Client) -> NewToken | None:
            lifetime = self._context.settings.token_lifetime
            made = access_tokens.issue(tx, client, scope, lifetime, now) if len(scope) <= _LONGEST_SCOPE else None
            told = {"scopes": list(made.issued.scopes)} if made else {"reason": "scope"}
            audit.add(
                tx,
                at=now,
                viewer=self._systems.viewer(client, form),
                action="token" if made else "token-refused",
                outcome="success" if made else "denied",
                request_id=form.request_id,
                detail=told,
                kind=KIND,
            )
            return made

        made = self._systems.serve(form, now, (TOKEN,), issued)
        if made is None:
            raise OAuthError(
                "invalid_scope", "None of the scopes asked for is one that this client may have, or they are too many."
            )
        return answer(
            {
                "access_token": made.value,
                "token_type": "bearer",
                "expires_in": int((made.issued.expires_at - made.issued.issued_at).total_seconds()),
                "scope": " ".join(made.issued.scopes),
            }
        )
