"""Asking for one resource by its id: what is there now, that it is gone, or that the server says neither."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from fhir_tracker import intake, merged_patients
from fhir_tracker.errors import RemoteFailure
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.intake import Received, Unusable
from fhir_tracker.storage.database import Tx
from subscriptions.bundles import read_object
from subscriptions.following import Follow

MOST = 50
"""How many of one answer's missing ones are asked for; the others are asked for when they are missed again."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What a full answer left out: remote id -> whether the server says that it is gone; `there` is what a read still gave."""

    gone: dict[str, bool] = field(default_factory=dict)
    there: list[Received | Unusable] = field(default_factory=list)


def ask(follow: Follow, type_: str, remote_id: str) -> Received | Unusable | None:
    """What the server holds under that id; None when it says 404 or 410, RemoteFailure when it says anything else.

    A patient who was merged comes under another id: that one is taken at once, and the merge is told.
    """
    answer = follow.client.get(f"{type_}/{quote(remote_id, safe='')}")
    if answer.status in (404, 410):
        return None
    if read_object(answer).get("resourceType") != f'"{type_}"'.encode():
        raise RemoteFailure(f"The server answered with something else than the {type_} that was asked for.")
    found = intake.read_entry(answer.body, type_, follow.translate)
    if type_ == "Patient" and isinstance(found, Received) and found.remote_id != remote_id:
        _tell_merged(follow, remote_id, found)
    return found


def _tell_merged(follow: Follow, old: str, found: Received) -> None:
    key = follow.connection.key

    def also(tx: Tx) -> None:
        before, now = (local_id(key, one, "Patient") for one in (old, found.remote_id))
        merged_patients.tell(tx, before, now, follow.author())

    follow.write([found], also)


def ask_for_missing(follow: Follow, type_: str, remote_ids: Iterable[str]) -> Missing:
    """Each missing one asked for by its id. What may not be read counts as missing and not as gone.

    Raises RemoteFailure when the server fails, as nothing can be said then.
    """
    missing = Missing()
    for count, remote_id in enumerate(sorted(remote_ids)):
        found: Sequence[Received | Unusable | None] = ()
        if count < MOST:
            try:
                found = [ask(follow, type_, remote_id)]
            except RemoteFailure as failure:
                if not failure.permanent:
                    raise
        missing.gone[remote_id] = list(found) == [None]
        missing.there.extend(one for one in found if isinstance(one, Received) and one.remote_id == remote_id)
    return missing
