"""How staff comes in from one EHR: the part of the connection's page that shows it and sets it up."""

from __future__ import annotations

from dataclasses import dataclass

from api.staff.shapes import Form
from api.staff.terms_form import terms_form
from api.staff.visit import Visit
from fhir_tracker.storage import issuers as stored
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx


@dataclass(frozen=True, kw_only=True)
class SmartView:
    """Whether staff is let in, by which terms, and the `addresses` that the EHR has to be told."""

    is_set_up: bool
    form: Form
    action: str
    addresses: tuple[tuple[str, str], ...]


def smart_view(tx: Tx, visit: Visit, connection: Connection, form: Form | None) -> SmartView:
    """How the EHR of a connection lets staff in now; a proposal where it does not yet. `form` is one of its page that was refused."""
    one, action = stored.find(tx, connection.key), f"/connections/{connection.key}/smart"
    return SmartView(
        is_set_up=one is not None,
        form=form if form and form.action == action else terms_form(one, action, url=connection.base_url),
        action=action,
        addresses=addresses_of(visit),
    )


def addresses_of(visit: Visit) -> tuple[tuple[str, str], ...]:
    """Our addresses that are registered wherever staff comes from."""
    base = visit.context.public_url
    return (
        ("Launch", f"{base}/launch"),
        ("Redirect", f"{base}/callback"),
        ("Our keys", f"{base}/.well-known/jwks.json"),
    )
