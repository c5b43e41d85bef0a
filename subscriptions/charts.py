"""The patient whose chart a person opens: read at the EHR in that person's name, or in ours where theirs is not needed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from fhir_tracker import intake
from fhir_tracker.config import Settings
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.intake import Received
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Database
from fhir_tracker.storage.issuers import Issuer
from mappings import mapping_named
from subscriptions.abilities import address_of
from subscriptions.bundles import read_object
from subscriptions.client import Authorizer, EhrClient, Limits
from subscriptions.code_files import tables_of
from subscriptions.following import Follow, nothing_else
from subscriptions.issuer_metadata import reach
from subscriptions.sync import OVERLAP, client_of, keys_of

LIMITS = Limits(total_seconds=10.0, max_bytes=5_000_000, tries=1)


def person_client(issuer: Issuer, authorizer: Authorizer) -> EhrClient:
    """A client of the EHR that asks in the name of a person."""
    return EhrClient(issuer.url, authorizer=authorizer, limits=LIMITS, reach=reach(issuer))


def read_as_person(
    database: Database,
    connection: Connection,
    issuer: Issuer,
    person: Authorizer,
    patient: str,
    now: Callable[[], datetime],
) -> bool:
    """Read a patient (an id at the EHR) as a person, and keep them; False when the EHR shows no such one.

    Raises RemoteFailure, `permanent` or `auth` when that person may not read them.
    """
    with person_client(issuer, person) as client:
        return _take(database, connection, client, patient, now)


def read_as_ourselves(
    database: Database, connection: Connection, settings: Settings, patient: str, now: Callable[[], datetime]
) -> bool:
    """The same in the name of the connection, by whose rights its data is followed."""
    keys = keys_of(database, settings)
    with client_of(connection, LIMITS, database=database, keys=keys, now=now) as client:
        return _take(database, connection, client, patient, now)


def _take(
    database: Database, connection: Connection, client: EhrClient, patient: str, now: Callable[[], datetime]
) -> bool:
    answer = client.get(f"Patient/{quote(patient, safe='')}")
    if answer.status in (404, 410):
        return False
    if read_object(answer).get("resourceType") != b'"Patient"':
        raise RemoteFailure("The EHR answered with something else than the patient that was asked for.", permanent=True)
    follow = Follow(
        database=database,
        connection=connection,
        client=client,
        mapping=mapping_named(connection.mapping),
        now=now,
        hold=nothing_else,
        overlap=OVERLAP,
        tables=tables_of(connection),
        address=address_of(database, connection),
    )
    found = intake.read_entry(answer.body, "Patient", follow.translate)
    if not isinstance(found, Received) or found.remote_id != patient:
        return False
    return follow.write([found], nothing_else, returned=False).quarantined == 0
