"""Which act each page needs: one table, and the one place that asks it. A page that is not in it is shown to nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from starlette.responses import Response

from api.staff.visit import Visit
from fhir_tracker.errors import Forbidden
from fhir_tracker.model.policy import ACTS

OWN: Final = "own"
"""What concerns nobody but the one who asks: their session, their keys, what the script asks for."""
LAUNCH: Final = "/l/{launch}"
NEEDS: Final[Mapping[str, frozenset[str]]] = {
    path: frozenset(acts.split())
    for path, acts in {
        "/": "queue patient operations programs connections people roles clients audit quarantine outbox",
        "/pulse": "queue",
        "/find": "queue",
        "/bulk": "bulk",
        "/tasks/{id}": "task",
        "/tasks/{id}/claim": "task",
        "/tasks/{id}/release": "task",
        "/tasks/{id}/assign": "task",
        "/tasks/{id}/move": "task",
        "/tasks/{id}/attempt": "task",
        "/tasks/{id}/note": "task",
        "/tasks/{id}/acknowledge": "task",
        "/tasks/{id}/take-over": "task",
        "/tasks/{id}/send-back": "task",
        "/tasks/{id}/resolve": "task",
        "/tasks/{id}/undo": "task",
        "/plans/{id}/move": "task",
        "/plans/{id}/undo": "task",
        "/patients/{id}": "patient",
        "/patients/{id}/exceptions": "patient",
        "/patients/{id}/exceptions/{code}/end": "patient",
        "/patients/{id}/break-glass": "break-glass",
        "/patients/{id}/access": "audit",
        "/audit": "audit",
        "/break-glass": "audit people",
        "/operations": "operations",
        "/programs": "programs",
        "/sync": "operations connections",
        "/connections": "connections",
        "/connections/{key}": "connections",
        "/connections/{key}/terms": "connections",
        "/connections/{key}/remove": "connections",
        "/connections/{key}/smart": "connections",
        "/connections/{key}/smart/remove": "connections",
        "/login-providers": "people",
        "/login-providers/{key}/remove": "people",
        "/clients": "clients",
        "/clients/rotate": "clients",
        "/clients/revoke": "clients",
        "/roles": "roles",
        "/setup": "connections people roles clients",
        "/staff": "people",
        "/staff/{id}/roles": "people",
        "/staff/{id}/disable": "people",
        "/outbox": "outbox",
        "/outbox/{id}": "outbox",
        "/outbox/{id}/retry": "outbox",
        "/quarantine": "quarantine",
        "/quarantine/{id}": "quarantine",
        "/quarantine/{id}/retry": "quarantine",
        "/quarantine/{id}/discard": "quarantine",
        "/preferences": OWN,
        "/help/keys": OWN,
        "/open": OWN,
        "/session": OWN,
        "/style.css": OWN,
        "/stay": OWN,
        "/tickets": OWN,
        "/logout": OWN,
        "/{path:path}": OWN,
        "other": OWN,
    }.items()
}
"""The address without the launch -> the acts of which any one will do."""
_NOTHING: Final[frozenset[str]] = frozenset()


def needs_of(route: str) -> frozenset[str]:
    """The acts of which a page needs one; none where nobody said."""
    return NEEDS.get(route.removeprefix(LAUNCH) or "/", _NOTHING)


def may_open(visit: Visit, path: str) -> bool:
    """Whether the viewer may open a page, by its address in the table."""
    needs = needs_of(path)
    return OWN in needs or bool(needs & visit.viewer.sight.acts)


def guarded(handler: Callable[[Visit], Response], route: str) -> Callable[[Visit], Response]:
    """The handler, for those only who may do one of the acts that the page needs."""
    needs = needs_of(route)

    def handle(visit: Visit) -> Response:
        if OWN not in needs and not needs & visit.viewer.sight.acts:
            raise Forbidden(_refusal(needs))
        return handler(visit)

    return handle


def _refusal(needs: frozenset[str]) -> str:
    words = " or ".join(ACTS[act] for act in ACTS if act in needs)
    return f"Your role may not {words}." if words else "Nobody may open this page: it has no policy."
