"""The systems that may come in: added with scopes and public keys, given new keys, and shut out at once."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from fhir_tracker import roles
from fhir_tracker.accounts import checked_roles
from fhir_tracker.authentication import is_safe
from fhir_tracker.client_keys import checked_keys
from fhir_tracker.errors import Conflict, NotFound, UsageError
from fhir_tracker.fhir.identity import is_legal_id
from fhir_tracker.loopback import leads_here
from fhir_tracker.model.grants import parse_scope
from fhir_tracker.model.held_filters import CANNOT, is_understood
from fhir_tracker.storage import clients, epochs, tokens
from fhir_tracker.storage.clients import Client
from fhir_tracker.storage.database import Tx

MOST_NAME = 200
MOST_SCOPES = 200
_ID = re.compile(r"[\x21-\x7e]{1,200}")
OUR_OWN = frozenset(
    (
        "audit batching break-glass change-control codes command-line deliver demo dry-run enrolment escalation "
        "filed-plans foresight gathering intake integrity measures merging metrics misfiled open-mode outreach "
        "plans projection reach rebuild restrictions rule-worker set-up sites staffing suspension sync undo "
        "worker write-back writes"
    ).split()
)
"""What the tracker calls parts of itself; no system is taken for one of them."""


@dataclass(frozen=True, kw_only=True)
class Keys:
    """How a system shows who it is: by a set of public keys, or by the address of one."""

    key_set: Mapping[str, Any] = field(default_factory=dict)
    url: str | None = None

    def checked(self) -> Keys:
        """The same; UsageError when they cannot be taken."""
        if self.url is None:
            return Keys(key_set=checked_keys(self.key_set))
        if not is_safe_address(self.url):
            raise UsageError(
                "--jwks-url has to be an https address (http on loopback only), without user, password or fragment."
            )
        return self


def is_safe_address(url: str) -> bool:
    """Whether keys and answers about tokens may be fetched there: https, or http on this machine."""
    return len(url) <= 2000 and is_safe(url, "http://localhost" if leads_here(url) else "https://")


def reference_of(client_id: str) -> str:
    """Who a system is in histories and the audit trail: `Device/` and its id, or a digest where that is no FHIR id."""
    if is_legal_id(client_id):
        return f"Device/{client_id}"
    digest = base64.b32encode(hashlib.sha256(client_id.encode()).digest()).decode().rstrip("=").lower()
    return f"Device/client-{digest}"


def add(tx: Tx, new: Client) -> Client:
    """Let a new system in, or one that was shut out; what is kept. Raises UsageError for what cannot be taken, Conflict."""
    if not _ID.fullmatch(new.id) or new.id in OUR_OWN:
        raise UsageError(
            "The id of a client is 1 to 200 characters of ASCII without spaces, and none of our own names."
        )
    if len(new.name) > MOST_NAME or not new.name.isprintable():
        raise UsageError(f"--name is one line of at most {MOST_NAME} characters.")
    keys = Keys(key_set=new.jwks, url=new.jwks_url).checked()
    held = checked_roles(new.roles, roles.defined(tx)) if new.roles else ()
    made = replace(new, scopes=checked_scopes(new.scopes), roles=held, jwks=keys.key_set)
    before = clients.find(tx, new.id)
    if before is not None and before.revoked_at is None:
        raise Conflict(f"There is a client {new.id} already; to change its keys: fhir-tracker client rotate {new.id}")
    if before is None and not clients.add(tx, made):
        raise Conflict(f"There is a client {new.id} already.")
    if before is not None:
        told = {name: getattr(made, name) for name in ("name", "scopes", "roles", "jwks_url", "jwks", "added_at")}
        clients.change(tx, new.id, **told, rotated_at=None, revoked_at=None)
    epochs.bump(tx)
    return made


def rotate(tx: Tx, client_id: str, keys: Keys, now: datetime) -> Client:
    """Give a system new keys in place of all it had. Raises NotFound, and UsageError for what cannot be taken."""
    good, client = keys.checked(), known(tx, client_id)
    clients.change(tx, client_id, jwks=good.key_set, jwks_url=good.url, rotated_at=now)
    epochs.bump(tx)
    return replace(client, jwks=good.key_set, jwks_url=good.url, rotated_at=now)


def revoke(tx: Tx, client_id: str, now: datetime) -> int:
    """Shut a system out: its tokens end with this, how many they were. Raises NotFound."""
    known(tx, client_id)
    clients.change(tx, client_id, revoked_at=now)
    epochs.bump(tx)
    return tokens.end_of(tx, client_id)


def known(tx: Tx, client_id: str) -> Client:
    """A client that may come in; NotFound for any other id."""
    found = clients.find(tx, client_id)
    if found is None or found.revoked_at is not None:
        raise NotFound("There is no client with that id, or it was revoked; see: fhir-tracker client list")
    return found


def checked_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes, once each; UsageError for one that a system cannot have."""
    found = tuple(dict.fromkeys(scopes))
    if not found or len(found) > MOST_SCOPES:
        raise UsageError(
            '--scopes names at least one scope and not hundreds, such as "system/Task.rs system/Patient.r".'
        )
    for one in found:
        grant = parse_scope(one)
        if grant is None:
            raise UsageError(f"{one[:100]!r} is no scope: use system/TYPE.RIGHTS with rights of cruds in that order.")
        if grant.level != "system":
            raise UsageError(f"{one[:100]!r} is for people; a system has scopes that begin with system/.")
        if not is_understood(grant):
            raise UsageError(f"{one[:100]!r} has {CANNOT}.")
    return found
