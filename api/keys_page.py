"""`/.well-known/jwks.json`: the public halves of the keys that we sign with, for the EHRs that check us; no login, no data.

https://www.rfc-editor.org/rfc/rfc7517
"""

from __future__ import annotations

import json

from fastapi import APIRouter
from starlette.responses import Response

from api.context import AppContext
from api.outcomes import headers_of, status_of
from fhir_tracker.errors import TrackerError
from fhir_tracker.signing_keys import key_set

PATH = "/.well-known/jwks.json"
KEPT = "public, max-age=3600"
"""An hour: far less than a new key waits before it signs."""


def keys_routes(context: AppContext) -> APIRouter:
    """The page of keys of one server, the current key and the one before or after it."""
    router = APIRouter()

    def keys() -> Response:
        try:
            with context.database.read() as tx:
                found = key_set(tx)
        except TrackerError as error:
            return Response(status_code=status_of(error), headers=headers_of(error))
        return Response(json.dumps(found), headers={"Cache-Control": KEPT}, media_type="application/json")

    router.add_api_route(PATH, keys, methods=["GET", "HEAD"], response_model=None)
    return router
