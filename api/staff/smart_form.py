"""How staff comes in from one EHR: the part of the connection's page that shows it and sets it up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.staff.endpoint import see_other
from api.staff.visit import Visit, note_access, require_admin
from fhir_tracker import clock, issuers
from fhir_tracker.issuers import CLIENT_TYPES, Terms
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import issuers as stored
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer

FOR_WHOM = "From where staff is let in is for the clinic admin."


@dataclass(frozen=True, kw_only=True)
class SmartView:
    """The terms there are, or empty ones; `addresses` are what the EHR has to be told."""

    is_set_up: bool
    issuer: str
    client_id: str
    types: tuple[tuple[str, bool], ...]
    has_secret: bool
    scopes: str
    frame_ancestors: str
    reads_as_user: bool
    action: str
    addresses: tuple[tuple[str, str], ...]


def smart_view(tx: Tx, visit: Visit, key: str, base_url: str) -> SmartView:
    """How the EHR of a connection lets staff in now; a proposal where it does not yet."""
    one, base = stored.find(tx, key), visit.context.public_url
    kind = one.client_type if one else CLIENT_TYPES[0]
    return SmartView(
        is_set_up=one is not None,
        issuer=issuers.audience(one) if one else base_url,
        client_id=one.client_id if one else "",
        types=tuple((name, name == kind) for name in CLIENT_TYPES),
        has_secret=bool(one and one.sealed_secret),
        scopes=one.scopes if one else "",
        frame_ancestors="\n".join(one.frame_ancestors) if one else "",
        reads_as_user=bool(one and one.options.get("reads_as_user")),
        action=f"/connections/{key}/smart",
        addresses=(
            ("Launch", f"{base}/launch"),
            ("Redirect", f"{base}/callback"),
            ("Our keys", f"{base}/.well-known/jwks.json"),
        ),
    )


def set_up(visit: Visit) -> Response:
    """POST `/connections/{key}/smart`: let staff in by the terms of the form; terms it does not show stay."""
    require_admin(visit, FOR_WHOM)
    key, secret_key = visit.args.get("key", ""), visit.context.secret_key
    with visit.context.database.begin() as tx:
        made = issuers.of_connection(tx, key, _terms(visit.form, stored.find(tx, key)), secret_key, visit.now)
        _note(tx, visit, key, {"issuer": made.url, "clientId": made.client_id, "clientType": made.client_type})
    if made.client_type == "confidential-asymmetric":
        Keyring(database=visit.context.database, secret_key=secret_key).ensure(clock.now())
    return see_other(f"/connections/{key}", "smart-kept")


def take_away(visit: Visit) -> Response:
    """POST `/connections/{key}/smart/remove`: let nobody in from there any more."""
    require_admin(visit, FOR_WHOM)
    key = visit.args.get("key", "")
    with visit.context.database.begin() as tx:
        issuers.get(tx, key)
        issuers.remove(tx, key, visit.now)
        _note(tx, visit, key, {"removed": True})
    return see_other(f"/connections/{key}", "smart-removed")


def _terms(form: Mapping[str, str], before: Issuer | None) -> Terms:
    options = before.options if before else {}
    return Terms(
        url=form.get("issuer", "").strip(),
        client_id=form.get("client_id", "").strip(),
        client_type=form.get("client_type", ""),
        secret=form.get("secret", "").strip(),
        scopes=" ".join(form.get("scopes", "").split()),
        label=before.label if before else "",
        frame_ancestors=form.get("frame_ancestors", "").split(),
        introspection_url=str(options.get("introspection_url", "")),
        checks_pkce=not options.get("pkce_unchecked"),
        posts=bool(options.get("posts")),
        reads_as_user="reads_as_user" in form,
        endpoint_origins=tuple(options.get("endpoint_origins", ())),
        intents=dict(options.get("intents", {})),
    )


def _note(tx: Tx, visit: Visit, key: str, changed: Mapping[str, object]) -> None:
    note_access(tx, visit, "configure", f"issuer/{key}", detail={"command": "connection smart", **changed})
