"""Who may come in: the accounts of the staff, for those who look after people - add somebody, give other roles, switch off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from api.outcomes import status_of
from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.names import role_named
from api.staff.rendering import answer
from api.staff.setup_form import beside, chosen, filled, told
from api.staff.shapes import Choice, Field, Form
from api.staff.visit import Visit, note_access, note_reading
from fhir_tracker import accounts, local_accounts, roles
from fhir_tracker.errors import Conflict, Incorrect, UsageError
from fhir_tracker.storage import accounts as stored
from fhir_tracker.storage import issuers
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.issuers import CONNECTION

PATH = "/staff"
LOCAL = ":local"
"""The way of those whom nobody but this server knows; no key of a connection or provider is written so."""
_FLAGS = {"--name": "name", "--role": "role", "--fhir-user": "who", "--subject": "who", "--local": "who"}
_NO_WAY = "Choose from where the person comes; connections and login providers that are set up are listed."
_WHO = "At an EHR Practitioner/ID, at a login provider its subject or mail address; on this server the name to log in with."


@dataclass(frozen=True, kw_only=True)
class AccountRow:
    """One account, with the form for its roles. `is_mine` is that of the viewer."""

    id: str
    name: str
    way: str
    known_as: str
    active: bool
    roles: tuple[str, ...]
    is_mine: bool
    form: Form


@dataclass(frozen=True, kw_only=True)
class Invited:
    """Somebody who has to enrol, with the `code` that is shown this once, and where they go with it."""

    name: str
    code: str
    address: str
    days: int


def accounts_page(
    visit: Visit, refused: Form | None = None, *, status: int = 200, invited: Invited | None = None
) -> Response:
    """GET `/staff`; `refused` is a form that could not be taken."""
    with visit.context.database.read() as tx:
        known = roles.defined(tx)
        rows = [_row(one, known, visit, refused) for one in stored.all(tx)]
        new = refused if refused and refused.action == PATH else _form(tx, visit)
        frame = frame_of(tx, visit, "Staff", "/setup")
    note_reading(visit, "search", "account")
    return answer("accounts.html", frame, status=status, accounts=rows, new=new, invited=invited)


def add(visit: Visit) -> Response:
    """POST `/staff`: let somebody in, by the issuer that the form names and as whom it knows them."""
    try:
        if visit.form.get("way") == LOCAL:
            return accounts_page(visit, invited=_invited(visit))
        had = _added(visit)
    except Incorrect as error:
        with visit.context.database.read() as tx:
            form = filled(_form(tx, visit), visit.form)
        return accounts_page(visit, told(form, error, _FLAGS), status=status_of(error))
    return see_other(PATH, "let-in" if not had else "roles-given")


def give_roles(visit: Visit) -> Response:
    """POST `/staff/{id}/roles`: these roles and no others, and in again who was switched off."""
    id_, given = visit.args.get("id", ""), chosen(visit.form, "role")
    try:
        with visit.context.database.begin() as tx, beside("role"):
            one = accounts.get(tx, id_)
            _refuse_own(one, visit)
            made = accounts.change_roles(tx, one.id, given, known=roles.defined(tx), now=visit.now)
            _note(tx, visit, made, "staff roles")
    except Incorrect as error:
        with visit.context.database.read() as tx:
            form = filled(_roles_form(accounts.get(tx, id_), roles.defined(tx)), visit.form)
        return accounts_page(visit, told(form, error, _FLAGS), status=status_of(error))
    return see_other(PATH, "roles-given")


def disable(visit: Visit) -> Response:
    """POST `/staff/{id}/disable`: let somebody in no more, from now on."""
    with visit.context.database.begin() as tx:
        one = accounts.get(tx, visit.args.get("id", ""))
        _refuse_own(one, visit)
        _note(tx, visit, accounts.disable(tx, one.id, visit.now), "staff disable")
    return see_other(PATH, "switched-off")


def _added(visit: Visit) -> bool:
    """Let in somebody for whom an issuer vouches; whether they had an account."""
    form = visit.form
    with visit.context.database.begin() as tx:
        issuer = issuers.find(tx, form.get("way", ""))
        if issuer is None:
            raise UsageError(_NO_WAY, expression="way")
        made, had = accounts.add(
            tx,
            form.get("name", ""),
            chosen(form, "role"),
            known=roles.defined(tx),
            now=visit.now,
            connection=issuer.connection,
            fhir_user=_typed(form) if issuer.connection else "",
            provider=None if issuer.connection else issuer.key,
            subject="" if issuer.connection else _typed(form),
        )
        _refuse_own(made, visit)
        _note(tx, visit, made, "staff add")
    return had


def _invited(visit: Visit) -> Invited:
    """Let in somebody by an account of this server: a fresh start also for who had one."""
    if not visit.context.settings.local_login:
        raise UsageError(_NO_WAY, expression="way")
    form = visit.form
    with visit.context.database.begin() as tx:
        known = roles.defined(tx)
        login, name = _typed(form), form.get("name", "")
        made, code, _ = local_accounts.invite(tx, login, name, chosen(form, "role"), known=known, now=visit.now)
        _refuse_own(made, visit)
        _note(tx, visit, made, "staff add --local")
    days, address = local_accounts.ENROLMENT_LASTS.days, f"{visit.context.public_url}/login/enrol"
    return Invited(name=made.name, code=code, address=address, days=days)


def _refuse_own(one: Account, visit: Visit) -> None:
    """Nobody gives rights to themselves, or locks themselves out."""
    if one.ref == visit.viewer.who:
        raise Conflict("This is your own account: another administrator changes it.")


def _note(tx: Tx, visit: Visit, made: Account, command: str) -> None:
    detail = {"command": command, "account": made.ref, "roles": list(made.roles), "active": made.active}
    note_access(tx, visit, "configure", f"account/{made.id}", detail=detail)


def _typed(form: Mapping[str, str]) -> str:
    """Who somebody is there."""
    return form.get("who", "").strip()


def _form(tx: Tx, visit: Visit) -> Form:
    ways = [
        Choice(value=one.key, label=f"{one.label or one.key} ({'EHR' if one.kind == CONNECTION else 'login provider'})")
        for one in issuers.all(tx)
        if one.active
    ]
    if visit.context.settings.local_login:
        ways.append(Choice(value=LOCAL, label="this server (local account)"))
    return Form(
        action=PATH,
        submit="Let in",
        fields=(
            Field(name="way", label="From", kind="select", value=ways[0].value if ways else "", choices=tuple(ways)),
            Field(name="who", label="Known there as", required=True, autocomplete="off", hint=_WHO),
            Field(name="name", label="Name", required=True, autocomplete="off"),
            _boxes(roles.defined(tx), ()),
        ),
    )


def _roles_form(one: Account, known: Collection[str]) -> Form:
    submit = "Keep these roles" if one.active else "Let in again with these roles"
    boxes = _boxes({*known, *one.roles}, one.roles)
    return Form(action=f"{PATH}/{one.id}/roles", submit=submit, fields=(boxes,), primary=False)


def _boxes(known: Collection[str], held: Collection[str]) -> Field:
    choices = tuple(Choice(value=code, label=role_named(code)) for code in sorted(known))
    return Field(name="role", label="Roles", kind="ticks", value=" ".join(held), choices=choices)


def _row(one: Account, known: Collection[str], visit: Visit, refused: Form | None) -> AccountRow:
    form = _roles_form(one, known)
    again = refused if refused is not None and refused.action == form.action else None
    return AccountRow(
        id=one.id,
        name=one.name,
        way=one.connection or one.provider or "this server",
        known_as=one.fhir_user or one.subject or one.ref,
        active=one.active,
        roles=tuple(role_named(code) for code in one.roles),
        is_mine=one.ref == visit.viewer.who,
        form=again or form,
    )
