"""Whether a simulated EHR lets a bearer token at a type of its records."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from api.demo.simulator.simulator import Simulator

_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
_OPEN = ("metadata", ".well-known")


def refusal(simulator: Simulator, authorization: str, type_: str, right: str) -> int:
    """0, or the status to refuse with; without a token everything is let through unless the server is secured."""
    if not authorization:
        return 401 if simulator.is_secured else 0
    scheme, _, token = authorization.partition(" ")
    issued = simulator.ledger.access(token, simulator.now())
    if scheme != "Bearer" or issued is None:
        return 401
    return 0 if _allows(issued.scopes, type_, right) else 403


class BearerGuard:
    """Stands before a FHIR server that has no login of its own; what is not below `path` passes."""

    def __init__(self, app: ASGIApp, simulator: Simulator, path: str) -> None:
        self._app = app
        self._simulator = simulator
        self._path = f"{path}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        status = self._status(scope) if scope["type"] == "http" else 0
        if status:
            issue = {"severity": "error", "code": "login" if status == 401 else "forbidden"}
            outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
            await JSONResponse(outcome, status_code=status, media_type="application/fhir+json")(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _status(self, scope: Scope) -> int:
        if not scope["path"].startswith(self._path):
            return 0
        type_ = scope["path"].removeprefix(self._path).partition("/")[0]
        if type_ in _OPEN:
            return 0
        is_read = scope["method"] in ("GET", "HEAD") or scope["path"].endswith("/_search")
        authorization = Headers(scope=scope).get("authorization", "")
        return refusal(self._simulator, authorization, type_, "r" if is_read else "u")


def _allows(scopes: Iterable[str], type_: str, right: str) -> bool:
    for scope in scopes:
        level, _, rest = scope.partition("/")
        named, _, rights = rest.partition("?")[0].partition(".")
        if level in ("patient", "user", "system") and named in ("*", type_) and right in _V1.get(rights, rights):
            return True
    return False
