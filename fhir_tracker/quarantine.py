"""What waits in quarantine: listed, shown, taken in again when the reason is gone, or discarded with a reason."""

from __future__ import annotations

from dataclasses import replace

from fhir_tracker import intake, restrictions
from fhir_tracker.errors import Incorrect, NotFound, RuleBroken
from fhir_tracker.fhir.body import write_json
from fhir_tracker.intake import EntryRefused, Received, Translate, Unusable
from fhir_tracker.model.author import Author
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.reach import rules_of
from fhir_tracker.storage import quarantine
from fhir_tracker.storage.database import Database, Tx
from fhir_tracker.storage.quarantine import Quarantined

PAGE = 500
MOST_REASON = 500


def waiting(tx: Tx, viewer: Viewer, connection: str | None = None) -> list[Quarantined]:
    """Everything that waits, oldest first."""
    found: list[Quarantined] = []
    while page := quarantine.list(tx, viewer, connection=connection, after=found[-1].id if found else 0, limit=PAGE):
        found += page
    return found


def get(tx: Tx, viewer: Viewer, id_: int) -> Quarantined:
    """One entry, resolved or not; NotFound when there is none."""
    found = quarantine.find(tx, viewer, id_)
    if found is None:
        raise NotFound(f"There is no quarantined entry {id_}.")
    return found


def text_for(viewer: Viewer, waiting: Quarantined) -> str | None:
    """What was sent, as far as the viewer may see it; None where nobody can tell what of it that is."""
    if not viewer.sight.hidden(waiting.type):
        return waiting.body
    sent = restrictions.readable(waiting.body)
    return (
        None if sent is None or sent["resourceType"] != waiting.type else write_json(rules_of(viewer.sight).shown(sent))
    )


def retry(database: Database, waiting: Quarantined, translate: Translate, author: Author) -> str | None:
    """Take an entry in again from the text that was kept; None when it is applied, else why it still cannot be.

    A version older than what came since is not written over it; the entry is then resolved as overtaken.
    """
    if waiting.resolved_at is not None:
        return None
    entry = intake.read_entry(waiting.body.encode(), waiting.type, translate)
    if isinstance(entry, Unusable):
        return _still(database, waiting, entry.reason, author)
    try:
        with database.begin() as tx:
            _take(tx, waiting, entry, author)
    except EntryRefused as refusal:
        return _still(database, waiting, refusal.reason, author)
    return None


def discard(tx: Tx, waiting: Quarantined, reason: str, author: Author) -> None:
    """Let an entry wait no more, for a reason of one line; when the EHR sends another text for it, it waits again.

    Raises Incorrect without a reason, RuleBroken when the entry does not wait.
    """
    told = " ".join(reason.split())
    if not told:
        raise Incorrect("Say why it is not needed.")
    if len(told) > MOST_REASON:
        raise Incorrect(f"The reason may have {MOST_REASON} characters.")
    by = author.viewer.name or author.viewer.who
    if not quarantine.discard(tx, waiting.id, f"Discarded by {by}: {told}"):
        raise RuleBroken(f"Entry {waiting.id} does not wait any more.")


def _take(tx: Tx, waiting: Quarantined, entry: Received, author: Author) -> None:
    tally = intake.take_page(tx, [entry], waiting.connection, author)
    done = "Applied by retry." if tally.applied else "Overtaken by what came since."
    quarantine.resolve(tx, waiting.id, done, author.at)


def _still(database: Database, waiting: Quarantined, reason: str, author: Author) -> str:
    same = Unusable(type=waiting.type, remote_id=waiting.remote_id, reason=waiting.reason, body=waiting.body)
    with database.begin() as tx:
        if reason == waiting.reason:
            intake.put_aside(tx, same, waiting.connection, author.at)
        else:
            quarantine.resolve(tx, waiting.id, "Another reason was found.", author.at)
            intake.put_aside(tx, replace(same, reason=reason), waiting.connection, author.at)
    return reason
