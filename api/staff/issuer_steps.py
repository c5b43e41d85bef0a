"""The steps that let staff in by an issuer, or by it no more: of an EHR's connection, and of a login provider."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.responses import Response

from api.outcomes import status_of
from api.staff.connection_page import connection_page
from api.staff.endpoint import see_other
from api.staff.providers_page import PATH, provider_form, providers_page
from api.staff.setup_form import filled, told
from api.staff.terms_form import FLAGS, said_of, terms_form, terms_of
from api.staff.visit import Visit, note_access
from fhir_tracker import connections, issuers
from fhir_tracker.errors import Conflict, Incorrect
from fhir_tracker.issuers import Terms
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage import issuers as stored
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import CONNECTION, PROVIDER, Issuer

Keep = Callable[[Tx, str, Terms, str, datetime], Issuer]


def set_up(visit: Visit) -> Response:
    """POST `/connections/{key}/smart`: let staff in by the terms of the form; terms it does not show stay."""
    key = visit.args.get("key", "")
    with visit.context.database.read() as tx:
        before, base_url = stored.find(tx, key), connections.get(tx, key).base_url
    try:
        _keep(visit, key, issuers.of_connection, "connection smart")
    except (Incorrect, Conflict) as error:
        form = terms_form(before, f"/connections/{key}/smart", url=base_url)
        return connection_page(visit, told(filled(form, visit.form), error, FLAGS), status=status_of(error))
    return see_other(f"/connections/{key}", "smart-kept")


def take_away(visit: Visit) -> Response:
    """POST `/connections/{key}/smart/remove`: let nobody in from there any more."""
    key = visit.args.get("key", "")
    _remove(visit, key, CONNECTION, "connection smart --remove")
    return see_other(f"/connections/{key}", "smart-removed")


def add_provider(visit: Visit) -> Response:
    """POST `/login-providers`: let staff in by a provider, or by other terms of one there is."""
    key = visit.form.get("key", "").strip()
    try:
        _keep(visit, key, issuers.of_provider, "login-provider add")
    except (Incorrect, Conflict) as error:
        with visit.context.database.read() as tx:
            before = stored.find(tx, key)
        before = before if before is not None and before.kind == PROVIDER else None
        form = told(filled(provider_form(before), visit.form), error, FLAGS)
        return providers_page(visit, form, status=status_of(error))
    return see_other(PATH, "provider-kept")


def remove_provider(visit: Visit) -> Response:
    """POST `/login-providers/{key}/remove`: let nobody in by it any more."""
    _remove(visit, visit.args.get("key", ""), PROVIDER, "login-provider remove")
    return see_other(PATH, "provider-removed")


def _keep(visit: Visit, key: str, keep: Keep, command: str) -> None:
    secret_key = visit.context.secret_key
    with visit.context.database.begin() as tx:
        made = keep(tx, key, terms_of(visit.form, stored.find(tx, key)), secret_key, visit.now)
        _note(tx, visit, command, key, said_of(made))
    if made.client_type == "confidential-asymmetric":
        Keyring(database=visit.context.database, secret_key=secret_key).ensure(visit.now)


def _remove(visit: Visit, key: str, kind: str, command: str) -> None:
    with visit.context.database.begin() as tx:
        issuers.get(tx, key, kind)
        issuers.remove(tx, key, visit.now)
        _note(tx, visit, command, key, {"removed": True})


def _note(tx: Tx, visit: Visit, command: str, key: str, changed: dict[str, object]) -> None:
    note_access(tx, visit, "configure", f"issuer/{key}", detail={"command": command, **changed})
