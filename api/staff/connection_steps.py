"""The steps that change how an EHR is followed, and that end it: as the commands of the same names, in the trail with who took them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from api.former_client import former_client
from api.outcomes import status_of
from api.staff.connection_page import connection_page
from api.staff.endpoint import see_other
from api.staff.follow_form import FLAGS, differences, follow_form, followed_by, leave_form
from api.staff.setup_form import filled, told
from api.staff.shapes import Form
from api.staff.visit import Visit, note_access
from fhir_tracker import clock, connections
from fhir_tracker.errors import Incorrect, UsageError
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.connections import Connection
from fhir_tracker.storage.database import Tx
from subscriptions import endpoint_of, follow_otherwise, leave

PATH = "/connections"
_NOT_TYPED = "What was typed is not its key: nothing was changed."


def change(visit: Visit) -> Response:
    """POST `/connections/{key}/terms`: follow it by the terms of the form from now on; what was read, and how far, stays."""
    before = _asked_for(visit)
    here = f"{PATH}/{before.key}"
    try:
        changed = followed_by(before, visit.form)
    except UsageError as error:
        return _refused(visit, follow_form(before), error)
    if changed == before:
        return see_other(here, "followed-so")
    keys = Keyring(database=visit.context.database, secret_key=visit.context.secret_key)
    if changed.options.get("auth") == "private_key_jwt":
        keys.ensure(visit.now)
    note = _Note(visit=visit, command="connection change", key=before.key, told=differences(before, changed))
    with former_client(before, keys, visit.context.settings.remote_timeout) as client:
        left = follow_otherwise(
            visit.context.database, before, changed, client, now=clock.now, hook=_hook(visit, before), note=note
        )
    return see_other(here, "followed-left" if left else "followed-otherwise")


def remove(visit: Visit) -> Response:
    """POST `/connections/{key}/remove`: follow it no more, once its key was typed; what came from there stays."""
    one = _asked_for(visit)
    if visit.form.get("confirm", "").strip() != one.key:
        return _refused(visit, leave_form(one), Incorrect(_NOT_TYPED, expression="confirm"))
    keys = Keyring(database=visit.context.database, secret_key=visit.context.secret_key)
    note = _Note(visit=visit, command="connection remove", key=one.key, told={"removed": True})
    with former_client(one, keys, visit.context.settings.remote_timeout) as client:
        left = leave(visit.context.database, one, client, now=clock.now, hook=_hook(visit, one), note=note)
    return see_other(PATH, "left-there" if left else "left")


@dataclass(frozen=True, kw_only=True)
class _Note:
    """The trail's row of a step, written in its transaction."""

    visit: Visit
    command: str
    key: str
    told: dict[str, object]

    def __call__(self, tx: Tx, left: Sequence[str]) -> None:
        detail = {"command": self.command, **self.told, **({"subscriptionsLeft": list(left)} if left else {})}
        note_access(tx, self.visit, "configure", f"connection/{self.key}", detail=detail)


def _asked_for(visit: Visit) -> Connection:
    with visit.context.database.read() as tx:
        return connections.get(tx, visit.args.get("key", ""))


def _refused(visit: Visit, form: Form, error: UsageError | Incorrect) -> Response:
    return connection_page(visit, told(filled(form, visit.form), error, FLAGS), status=status_of(error))


def _hook(visit: Visit, one: Connection) -> str:
    return endpoint_of(visit.context.settings.public_url, one.key)
