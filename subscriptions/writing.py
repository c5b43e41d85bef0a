"""One resource written to an EHR: created under our identifier, or read there, merged and written upon what was read.

Whatever was interrupted can be done again: a create whose outcome is not known is looked for by our identifier first, and an
update begins with a reading.
"""

from __future__ import annotations

from fhir_tracker.errors import RemoteFailure
from fhir_tracker.storage.outbox import Outgoing
from subscriptions.creating import create, tell_again, withdraw
from subscriptions.rounds import Round, view_of
from subscriptions.updating import update


def write(round_: Round, row: Outgoing) -> None:
    """Bring one row to its end, or raise: RemoteFailure (permanent: never again), Unsupported, VersionConflict."""
    view = view_of(round_, row)
    if view is None and not row.made_here:
        raise RemoteFailure("It was deleted there before our change was written.", permanent=True)
    if view is None and row.sent_at is not None:
        withdraw(round_, row)
    elif view is None:
        round_.done(row, "It was deleted here before it was written.")
    elif row.remote_id is None:
        create(round_, view)
    elif row.remote_type != row.type:
        tell_again(round_, view)
    else:
        update(round_, view)
