"""Who may come in: the accounts of the staff, for those who look after people - add somebody, give other roles, switch off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.names import role_named
from api.staff.rendering import answer
from api.staff.visit import Visit, note_access, note_reading
from fhir_tracker import accounts, roles
from fhir_tracker.errors import Conflict, Incorrect
from fhir_tracker.storage import accounts as stored
from fhir_tracker.storage import issuers
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import CONNECTION

PATH = "/staff"
_ROLE = "role."


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    """One account; `roles` holds every role there is, with whether this person has it. `is_mine` is that of the viewer."""

    id: str
    name: str
    way: str
    known_as: str
    active: bool
    roles: tuple[tuple[str, str, bool], ...]
    is_mine: bool


def accounts_page(visit: Visit) -> Response:
    """GET `/staff`."""
    with visit.context.database.read() as tx:
        known = roles.defined(tx)
        view = {
            "accounts": [_row(one, known, visit) for one in stored.all(tx)],
            "roles": [(code, role_named(code), False) for code in sorted(known)],
            "ways": [(one.key, one.label or one.key, one.kind == CONNECTION) for one in issuers.all(tx) if one.active],
        }
        frame = frame_of(tx, visit, "Staff", PATH)
    note_reading(visit, "search", "account")
    return answer("accounts.html", frame, view=view)


def add(visit: Visit) -> Response:
    """POST `/staff`: let somebody in, by the issuer that the form names and as whom it knows them."""
    form = visit.form
    with visit.context.database.begin() as tx:
        issuer = issuers.find(tx, form.get("way", ""))
        if issuer is None:
            raise Incorrect(
                "Choose from where the person comes; connections and login providers that are set up are listed."
            )
        made, had = accounts.add(
            tx,
            form.get("name", ""),
            _chosen(form),
            known=roles.defined(tx),
            now=visit.now,
            connection=issuer.connection,
            fhir_user=_typed(form) if issuer.connection else "",
            provider=None if issuer.connection else issuer.key,
            subject="" if issuer.connection else _typed(form),
        )
        _refuse_own(made, visit)
        _note(tx, visit, made, "staff add")
    return see_other(PATH, "let-in" if not had else "roles-given")


def give_roles(visit: Visit) -> Response:
    """POST `/staff/{id}/roles`: these roles and no others, and in again who was switched off."""
    with visit.context.database.begin() as tx:
        one = accounts.get(tx, visit.args.get("id", ""))
        _refuse_own(one, visit)
        made = accounts.change_roles(tx, one.id, _chosen(visit.form), known=roles.defined(tx), now=visit.now)
        _note(tx, visit, made, "staff roles")
    return see_other(PATH, "roles-given")


def disable(visit: Visit) -> Response:
    """POST `/staff/{id}/disable`: let somebody in no more, from now on."""
    with visit.context.database.begin() as tx:
        one = accounts.get(tx, visit.args.get("id", ""))
        _refuse_own(one, visit)
        _note(tx, visit, accounts.disable(tx, one.id, visit.now), "staff disable")
    return see_other(PATH, "switched-off")


def _refuse_own(one: Account, visit: Visit) -> None:
    """Nobody gives rights to themselves, or locks themselves out."""
    if one.ref == visit.viewer.who:
        raise Conflict("This is your own account: another administrator changes it.")


def _note(tx: Tx, visit: Visit, made: Account, command: str) -> None:
    detail = {"command": command, "account": made.ref, "roles": list(made.roles), "active": made.active}
    note_access(tx, visit, "configure", f"account/{made.id}", detail=detail)


def _chosen(form: Mapping[str, str]) -> list[str]:
    return [name.removeprefix(_ROLE) for name in form if name.startswith(_ROLE)]


def _typed(form: Mapping[str, str]) -> str:
    """Who somebody is there; an id alone is that of a Practitioner."""
    return form.get("who", "").strip()


def _row(one: Account, known: Collection[str], visit: Visit) -> AccountRow:
    named = sorted({*known, *one.roles})
    return AccountRow(
        id=one.id,
        name=one.name,
        way=one.connection or one.provider or "this server",
        known_as=one.fhir_user or one.subject or one.ref,
        active=one.active,
        roles=tuple((code, role_named(code), code in one.roles) for code in named),
        is_mine=one.ref == visit.viewer.who,
    )
