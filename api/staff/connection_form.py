"""A new connection to an EHR by page: where the server is, how it is followed, and how we show who we are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from api.outcomes import status_of
from api.staff.endpoint import see_other
from api.staff.setup_form import beside, filled, told
from api.staff.shapes import Choice, Field, Form
from api.staff.sync_page import sync_page
from api.staff.visit import Visit, note_access
from fhir_tracker import connections
from fhir_tracker.connections import SUBSCRIBE
from fhir_tracker.errors import Conflict, Incorrect, UsageError
from fhir_tracker.signing_keys import Keyring
from mappings import mapping_named, mapping_names

PATH = "/connections"
_AUTH = {"none": "not at all", "private_key_jwt": "by our own keys (SMART Backend Services)"}
"""Ways without a secret: those are files on the server, which no page names."""
_FLAGS = {
    "--base-url": "base_url",
    "--poll": "poll",
    "--subscribe": "subscribe",
    "--auth": "auth",
    "--client-id": "client_id",
    "--token-url": "token_url",
    "--scopes": "scopes",
    "--moved": "moved",
}
_KEY = "1 to 20 of a-z, 0-9 and hyphen; it begins the id of all that comes from there, and stays."
_FOLLOWED = "“none” polls. The others ask the EHR to tell of changes, and poll besides."
_SHOWN = "Ways with a secret are set up on the server: fhir-tracker connection add --help."


def connections_page(visit: Visit) -> Response:
    """GET `/connections`: how each does, and the form for a new one."""
    return sync_page(visit, _form())


def add(visit: Visit) -> Response:
    """POST `/connections`: follow one more server from now on."""
    form = visit.form
    key = form.get("key", "").strip()
    try:
        with beside("auth"):
            if form.get("auth", "none") not in _AUTH:
                raise UsageError(_SHOWN)
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
                options=_options(form),
                moved="moved" in form,
            )
            detail = {"command": "connection add", "baseUrl": made.base_url, "mapping": made.mapping}
            note_access(tx, visit, "configure", f"connection/{made.key}", detail=detail)
    except (Incorrect, Conflict) as error:
        return sync_page(visit, told(filled(_form(), form), error, _FLAGS), status=status_of(error))
    if made.options.get("auth") == "private_key_jwt":
        Keyring(database=visit.context.database, secret_key=visit.context.secret_key).ensure(visit.now)
    return see_other(f"{PATH}/{made.key}", "followed")


def _options(form: Mapping[str, str]) -> dict[str, Any]:
    named = {name: form.get(name, "").strip() for name in ("client_id", "token_url", "scopes")}
    return {"auth": form.get("auth", "none")} | {name: text for name, text in named.items() if text}


def _form() -> Form:
    return Form(
        action=PATH,
        submit="Follow it",
        title="Follow an EHR",
        fields=(
            Field(name="key", label="Key", required=True, hint=_KEY),
            Field(name="base_url", label="FHIR base address", required=True, hint="https://ehr.example.org/fhir"),
            _select("mapping", "Vendor", {name: name for name in mapping_names()}, "generic"),
            Field(name="poll", label="Ask for changes every", value="30s", hint="Such as 30s or 5m."),
            _select("subscribe", "Be told of changes", {name: name for name in SUBSCRIBE}, "none", _FOLLOWED),
            _select("auth", "We show who we are", _AUTH, "none", _SHOWN),
            Field(name="client_id", label="As whom the EHR knows us", autocomplete="off"),
            Field(name="token_url", label="Where tokens are given out", hint="Empty: the server is asked."),
            Field(name="scopes", label="What we ask for", hint="Empty: system/*.read"),
            Field(name="moved", label="The key was used before, for this server at another address", kind="tick"),
        ),
    )


def _select(name: str, label: str, choices: Mapping[str, str], value: str, hint: str = "") -> Field:
    options = tuple(Choice(value=code, label=words) for code, words in choices.items())
    return Field(name=name, label=label, kind="select", value=value, choices=options, hint=hint)
