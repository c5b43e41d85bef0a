"""A new connection to an EHR by page: where the server is, how it is followed, and how we show who we are."""

from __future__ import annotations

from starlette.responses import Response

from api.outcomes import status_of
from api.staff.endpoint import see_other
from api.staff.follow_form import FLAGS, follow_fields, options_of, select, show_fields
from api.staff.setup_form import beside, filled, told
from api.staff.shapes import Field, Form
from api.staff.sync_page import sync_page
from api.staff.visit import Visit, note_access
from fhir_tracker import connections
from fhir_tracker.errors import Conflict, Incorrect
from fhir_tracker.signing_keys import Keyring
from mappings import mapping_named, mapping_names

PATH = "/connections"
_FLAGS = {**FLAGS, "--base-url": "base_url", "--moved": "moved"}
_KEY = "1 to 20 of a-z, 0-9 and hyphen; it begins the id of all that comes from there, and stays."


def connections_page(visit: Visit) -> Response:
    """GET `/connections`: how each does, and the form for a new one."""
    return sync_page(visit, _form())


def add(visit: Visit) -> Response:
    """POST `/connections`: follow one more server from now on."""
    form = visit.form
    key = form.get("key", "").strip()
    try:
        options = options_of(form)
        with beside("poll"):
            seconds = connections.seconds(form.get("poll", "").strip())
        mapping = form.get("mapping", "generic")
        with beside("mapping"):
            mapping_named(mapping)
        with visit.context.database.begin() as tx, beside("key"):
            made = connections.add(
                tx,
                key,
                form.get("base_url", "").strip(),
                now=visit.now,
                mapping=mapping,
                poll_seconds=seconds,
                subscribe=form.get("subscribe", "none"),
                options=options,
                moved="moved" in form,
            )
            detail = {"command": "connection add", "baseUrl": made.base_url, "mapping": made.mapping}
            note_access(tx, visit, "configure", f"connection/{made.key}", detail=detail)
    except (Incorrect, Conflict) as error:
        return sync_page(visit, told(filled(_form(), form), error, _FLAGS), status=status_of(error))
    if made.options.get("auth") == "private_key_jwt":
        Keyring(database=visit.context.database, secret_key=visit.context.secret_key).ensure(visit.now)
    return see_other(f"{PATH}/{made.key}", "followed")


def _form() -> Form:
    return Form(
        action=PATH,
        submit="Follow it",
        title="Follow an EHR",
        fields=(
            Field(name="key", label="Key", required=True, hint=_KEY),
            Field(name="base_url", label="FHIR base address", required=True, hint="https://ehr.example.org/fhir"),
            select("mapping", "Vendor", {name: name for name in mapping_names()}, "generic"),
            *follow_fields(),
            *show_fields(),
            Field(name="moved", label="The key was used before, for this server at another address", kind="tick"),
        ),
    )
