"""Who comes with a token of an EHR: what the EHR says of it, and what the roles of that person here allow, both at once.

https://hl7.org/fhir/smart-app-launch/STU2.2/token-introspection.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fhir_tracker import glass, issuers
from fhir_tracker.accounts import user_of
from fhir_tracker.admission import Admitted
from fhir_tracker.fhir.identity import is_legal_id, local_id
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.sight import NOTHING, sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.roles import policy_for
from fhir_tracker.storage import accounts, epochs
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import Issuer

KEPT = timedelta(seconds=60)
MOST_SCOPES = 200
_LATEST = 253_402_300_000


def admitted(
    tx: Tx, issuer: Issuer, told: Mapping[str, Any], own_base: str, address: str, now: datetime
) -> Admitted | None:
    """Who an EHR says comes; None when the token does not count, or is for somebody else's server.

    Somebody who has no account here is let in with nothing that they may see or do.
    """
    present, ends_at = epochs.epoch(tx), _end(told, now)
    if told.get("active") is not True or ends_at is None or not _is_for_us(told, issuer, own_base):
        return None
    viewer = glass.with_openings(tx, _viewer(tx, issuer, told, address), now)
    until = glass.first_end(tx, viewer, now, min(ends_at, now + KEPT))
    return Admitted(viewer=viewer, epoch=present, ends_at=until)


def _viewer(tx: Tx, issuer: Issuer, told: Mapping[str, Any], address: str) -> Viewer:
    account = _account(tx, issuer, told)
    client, patient = _text(told, "client_id"), _patient(issuer, told)
    scopes = _text(told, "scope").split()[:MOST_SCOPES]
    if account is None:
        return Viewer(who="nobody", client=client, issuer=issuer.url, address=address, sight=NOTHING)
    grants = grants_of(scopes)
    is_of_one = patient is not None and all(one.level == "patient" for one in grants)
    return Viewer(
        who=account.ref,
        name=account.name,
        roles=frozenset(account.roles),
        scopes=frozenset(scopes),
        patient=patient if is_of_one else None,
        sight=sight_of(grants, policy_for(tx, account.roles), patient),
        client=client,
        issuer=issuer.url,
        address=address,
    )


def _account(tx: Tx, issuer: Issuer, told: Mapping[str, Any]) -> Account | None:
    user = user_of(_text(told, "fhirUser"), issuers.audience(issuer))
    found = accounts.of_user(tx, issuer.key, user) if user else None
    return found if found is not None and found.active else None


def _patient(issuer: Issuer, told: Mapping[str, Any]) -> str | None:
    remote = _text(told, "patient").removeprefix("Patient/")
    return local_id(issuer.key, remote, "Patient") if is_legal_id(remote) else None


def _is_for_us(told: Mapping[str, Any], issuer: Issuer, own_base: str) -> bool:
    """Whether it may be shown to us: for our API or for that of the EHR, where it says for whose it is."""
    given = told.get("aud")
    named = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    wanted = {own_base, issuer.url, issuers.audience(issuer)}
    return given is None or any(isinstance(one, str) and {one, one.rstrip("/")} & wanted for one in named)


def _end(told: Mapping[str, Any], now: datetime) -> datetime | None:
    """When it ends; a while from now where that is not told, None when it has or cannot be read."""
    if "exp" not in told:
        return now + KEPT
    value = told["exp"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LATEST:
        return None
    found = datetime.fromtimestamp(value, UTC)
    return found if found > now else None


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) and len(value) <= 10_000 else ""
