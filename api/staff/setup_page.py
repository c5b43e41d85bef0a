"""Where an administrator begins: what can be set up here, what there is of each, and what is the next step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.staff import words
from api.staff.acts import may_open
from api.staff.frames import frame_of
from api.staff.rendering import answer
from api.staff.visit import Visit
from fhir_tracker import roles
from fhir_tracker.storage import accounts, clients, connections, issuers
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import PROVIDER


@dataclass(frozen=True, kw_only=True)
class SetUp:
    """One thing to set up: its page, what it is for, and what there is."""

    title: str
    href: str
    about: str
    there: str


_PLACES: Mapping[str, tuple[str, str, Callable[[Tx], str] | None]] = {
    "/connections": (
        "EHR connections",
        "Which EHRs are followed, and how their staff comes in by a SMART launch.",
        lambda tx: words.counted(len(connections.all(tx)), "connection"),
    ),
    "/staff": (
        "Staff",
        "Who may come in, and with which roles.",
        lambda tx: words.counted(sum(one.active for one in accounts.all(tx)), "account"),
    ),
    "/login-providers": (
        "Login providers",
        "OpenID providers for staff outside an EHR.",
        lambda tx: words.counted(sum(one.kind == PROVIDER for one in issuers.all(tx)), "provider"),
    ),
    "/roles": (
        "Roles",
        "What each role sees and does; the practice's own file of roles.",
        lambda tx: words.counted(len(roles.defined(tx)), "role"),
    ),
    "/clients": (
        "Systems",
        "Which systems may use the FHIR API, and for what.",
        lambda tx: words.counted(sum(one.revoked_at is None for one in clients.all(tx)), "system"),
    ),
    "/quarantine": ("Quarantine", "What an EHR sent that could not be applied.", None),
    "/outbox": ("Outbox", "What is to be written to EHRs, and what waits for a decision.", None),
    "/break-glass": ("Restricted records", "Who opened which restricted record, and why.", None),
}


def setup_page(visit: Visit) -> Response:
    """GET `/setup`: the places that the viewer may open."""
    with visit.context.database.read() as tx:
        found = [
            SetUp(title=title, href=href, about=about, there=count(tx) if count else "")
            for href, (title, about, count) in _PLACES.items()
            if may_open(visit, href)
        ]
        frame = frame_of(tx, visit, "Setup", "/setup")
    return answer("setup.html", frame, places=found)
