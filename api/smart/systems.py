"""Systems that show who they are at our endpoints for tokens: by a signed assertion, whose refusals all look the same.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import NoReturn, TypeVar

from api.context import AppContext
from api.smart.forms import Form, OAuthError
from fhir_tracker import access_tokens
from fhir_tracker.assertions import Assertion, read_assertion
from fhir_tracker.client_keys import PublicKey, usable_keys
from fhir_tracker.clients import reference_of
from fhir_tracker.errors import RemoteFailure, Unauthenticated
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import audit, clients
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Tx
from subscriptions import KeySets

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KIND = "security"
_NOT_ACCEPTED = "The client is not known, or its assertion is not accepted."
_BASIC = {"WWW-Authenticate": 'Basic realm="fhir-tracker"'}
Result = TypeVar("Result")


class Systems:
    """Finds out which system sends a form to one server."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._key_sets = KeySets()

    def serve(self, form: Form, now: datetime, places: Collection[str], work: Callable[[Tx, Client], Result]) -> Result:
        """What `work` gives for the client that made the assertion in `form`, in the transaction that uses it up.

        The assertion has to be made for one of `places`, paths of ours. Raises OAuthError when it is not accepted.
        """
        try:
            given = read_assertion(_assertion_in(form))
            keys = self._keys(given, now)
            with self._context.database.begin() as tx:
                client = access_tokens.recognised(tx, given, keys, self._addresses(places), now)
                return work(tx, client)
        except Unauthenticated as error:
            self._refuse(form, now, error.message)

    def viewer(self, client: Client, form: Form) -> Viewer:
        """Who acts, for the trail: a client that has no token yet, and no sight."""
        return Viewer(
            who=reference_of(client.id),
            name=client.name or client.id,
            client=client.id,
            issuer=self._context.fhir_base,
            address=form.address,
        )

    def _addresses(self, places: Collection[str]) -> frozenset[str]:
        roots = [base.removesuffix("/fhir") for base in self._context.bases]
        return frozenset(f"{root}{place}" for root in roots for place in places)

    def _keys(self, given: Assertion, now: datetime) -> tuple[PublicKey, ...]:
        """The keys of whom an assertion says it is from; none for who is not known."""
        with self._context.database.read() as tx:
            client = clients.find(tx, given.client)
        if client is None or client.revoked_at is not None:
            return ()
        if client.jwks_url is None:
            return usable_keys(client.jwks)
        try:
            return self._key_sets.keys(client.jwks_url, given.kid, now)
        except RemoteFailure:
            raise Unauthenticated("keys-unavailable") from None

    def _refuse(self, form: Form, now: datetime, reason: str) -> NoReturn:
        """Raises TooMany when too many came from there, and then tells the trail nothing of it."""
        self._context.limits.failure(form.address)
        with self._context.database.begin() as tx:
            audit.add(
                tx,
                at=now,
                viewer=Viewer(who="nobody", address=form.address),
                action="token-refused",
                outcome="denied",
                request_id=form.request_id,
                detail={"reason": reason},
                kind=KIND,
            )
        if form.authorization:
            raise OAuthError("invalid_client", _NOT_ACCEPTED, 401, _BASIC)
        raise OAuthError("invalid_client", _NOT_ACCEPTED)


def _assertion_in(form: Form) -> str:
    """The assertion; raises Unauthenticated when there is none, or another way was tried as well."""
    if form.authorization or "client_secret" in form.fields:
        raise Unauthenticated("method")
    if form.fields.get("client_assertion_type") != ASSERTION_TYPE or "client_assertion" not in form.fields:
        raise Unauthenticated("method")
    compact = form.fields["client_assertion"]
    named = form.fields.get("client_id")
    if named is not None and read_assertion(compact).client != named:
        raise Unauthenticated("client")
    return compact
