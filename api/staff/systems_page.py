"""Systems that may use the FHIR API, for those who look after them: let one in, give it new keys, shut it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.key_looks import look_at
from api.outcomes import status_of
from api.staff import words
from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.names import names_for, role_named
from api.staff.rendering import answer
from api.staff.setup_form import beside, chosen, filled, told
from api.staff.shapes import Choice, Field, Form
from api.staff.visit import Visit, note_access
from api.staff.words import When
from fhir_tracker import clients, roles
from fhir_tracker.client_keys import read_key_set
from fhir_tracker.clients import Keys, checked_scopes, reference_of
from fhir_tracker.errors import Conflict, Incorrect, UsageError
from fhir_tracker.model.program import Calendar
from fhir_tracker.storage import clients as stored
from fhir_tracker.storage.clients import Client

PATH = "/clients"
_ROTATE = f"{PATH}/rotate"
_FLAGS = {"--scopes": "scopes", "--name": "name", "--role": "role", "--jwks-file": "jwks", "--jwks-url": "jwks_url"}
_SCOPES = "Such as system/Task.rs system/Patient.rs, with a filter system/Task.rs?status=requested."
_KEY_SET = 'Its public keys: {"keys": [...]}. A private key is refused.'
_PLAYS = "As which it makes the moves that a program gives to roles. What it reaches is up to its scopes alone."


@dataclass(frozen=True, kw_only=True)
class SystemRow:
    """One system; `keys` are the ids of its keys or the address of them, `rotate` the form for others."""

    id: str
    name: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    keys: tuple[str, ...]
    added: When
    rotated: When | None
    revoked: When | None
    rotate: Form
    open: bool


def systems_page(visit: Visit, refused: Form | None = None, *, status: int = 200) -> Response:
    """GET `/clients`; `refused` is a form that could not be taken."""
    with visit.context.database.read() as tx:
        calendar = names_for(tx, visit.viewer, []).calendar
        rows = [_row(one, visit, calendar, refused) for one in stored.all(tx)]
        known = sorted(roles.defined(tx))
        frame = frame_of(tx, visit, "Systems", "/setup")
    new = refused if refused and refused.action == PATH else _form(known)
    discovery = f"{visit.context.public_url}/fhir/.well-known/smart-configuration"
    return answer("systems.html", frame, status=status, systems=rows, new=new, discovery=discovery)


def add(visit: Visit) -> Response:
    """POST `/clients`: let a system in, or one that was shut out."""
    form, now = visit.form, visit.now
    try:
        scopes = _scopes(form)
        keys, note = _keys(form)
        new = Client(
            id=form.get("id", "").strip(),
            name=form.get("name", "").strip(),
            scopes=scopes,
            roles=tuple(chosen(form, "role")),
            jwks=keys.key_set,
            jwks_url=keys.url,
            added_at=now,
        )
        with visit.context.database.begin() as tx, beside("id"):
            made = clients.add(tx, new)
            changed = {"scopes": list(made.scopes), "roles": list(made.roles)}
            note_access(tx, visit, "configure", reference_of(made.id), detail={"command": "client add", **changed})
    except (Incorrect, Conflict) as error:
        with visit.context.database.read() as tx:
            form_again = filled(_form(sorted(roles.defined(tx))), form)
        return systems_page(visit, told(form_again, error, _FLAGS), status=status_of(error))
    return see_other(PATH, "system-unread" if note else "system-in")


def rotate(visit: Visit) -> Response:
    """POST `/clients/rotate`: new keys in place of all that the system had."""
    id_ = visit.form.get("id", "")
    try:
        keys, note = _keys(visit.form)
        with visit.context.database.begin() as tx:
            clients.rotate(tx, id_, keys, visit.now)
            note_access(tx, visit, "configure", reference_of(id_), detail={"command": "client rotate"})
    except Incorrect as error:
        form = told(filled(_rotation(id_), visit.form), error, _FLAGS)
        return systems_page(visit, form, status=status_of(error))
    return see_other(PATH, "system-unread" if note else "system-keys")


def revoke(visit: Visit) -> Response:
    """POST `/clients/revoke`: shut a system out, and end its tokens."""
    id_ = visit.form.get("id", "")
    with visit.context.database.begin() as tx:
        ended = clients.revoke(tx, id_, visit.now)
        note_access(tx, visit, "configure", reference_of(id_), detail={"command": "client revoke", "tokens": ended})
    return see_other(PATH, "system-out")


def _scopes(form: Mapping[str, str]) -> tuple[str, ...]:
    with beside("scopes"):
        return checked_scopes(form.get("scopes", "").split())


def _keys(form: Mapping[str, str]) -> tuple[Keys, str]:
    """The keys as pasted or as an address, of which one has to be there; and what to tell of the address."""
    pasted, url = form.get("jwks", "").strip(), form.get("jwks_url", "").strip()
    with beside("jwks"):
        if bool(pasted) == bool(url):
            raise UsageError("Give either the key set itself or its address.")
        if pasted:
            return Keys(key_set=read_key_set(pasted.encode())).checked(), ""
    keys = Keys(url=url).checked()
    return keys, look_at(url)


def _form(known: list[str]) -> Form:
    return Form(
        action=PATH,
        submit="Let in",
        fields=(
            Field(name="id", label="Client id", required=True, autocomplete="off", hint="What it calls itself here."),
            Field(name="name", label="What people call it", autocomplete="off"),
            Field(name="scopes", label="Scopes", kind="textarea", required=True, hint=_SCOPES),
            *_KEY_FIELDS,
            Field(
                name="role",
                label="Plays the role of",
                kind="ticks",
                choices=tuple(Choice(value=one, label=role_named(one)) for one in known),
                hint=_PLAYS,
            ),
        ),
    )


_KEY_FIELDS = (
    Field(name="jwks", label="Key set (JWKS)", kind="textarea", hint=_KEY_SET),
    Field(name="jwks_url", label="or the address of its key set", hint="https; it is read when the system comes."),
)


def _rotation(id_: str) -> Form:
    return Form(action=_ROTATE, submit="Take these keys", fields=_KEY_FIELDS, hidden=(("id", id_),), primary=False)


def _row(one: Client, visit: Visit, calendar: Calendar, refused: Form | None) -> SystemRow:
    mine = refused if refused and refused.action == _ROTATE and ("id", one.id) in refused.hidden else None
    return SystemRow(
        id=one.id,
        name=one.name,
        scopes=one.scopes,
        roles=tuple(role_named(role) for role in one.roles),
        keys=(one.jwks_url,) if one.jwks_url else tuple(key["kid"] for key in one.jwks.get("keys", ())),
        added=words.ago(one.added_at, visit.now, calendar),
        rotated=words.ago(one.rotated_at, visit.now, calendar) if one.rotated_at else None,
        revoked=words.ago(one.revoked_at, visit.now, calendar) if one.revoked_at else None,
        rotate=mine or _rotation(one.id),
        open=mine is not None,
    )
