"""The roles there are, in words, and the practice's own file of roles: looked at first, then loaded."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from api.outcomes import status_of
from api.role_words import in_words
from api.staff import words
from api.staff.endpoint import see_other
from api.staff.frames import frame_of
from api.staff.names import names_for
from api.staff.rendering import answer
from api.staff.setup_form import filled
from api.staff.shapes import Field, Form
from api.staff.visit import Visit, note_access
from api.staff.words import When
from fhir_tracker import roles
from fhir_tracker.errors import Incorrect
from fhir_tracker.model.policy import Policy
from fhir_tracker.rules.role_file import read_roles
from fhir_tracker.storage import accounts, role_files
from fhir_tracker.storage.database import Tx

PATH = "/roles"
_NAME = "This file"
_MOST_REASON = 500


@dataclass(frozen=True, kw_only=True)
class RoleCard:
    """One role: what it means, what it may in `lines`, and how many people have it."""

    code: str
    title: str
    means: str
    lines: tuple[str, ...]
    people: int


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One file of the practice, and by whom it was loaded."""

    number: int
    by: str
    at: When
    reason: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a file: its `problems`, or what it `would` change."""

    problems: tuple[str, ...] = ()
    would: str = ""


def roles_page(visit: Visit, outcome: Outcome | None = None, *, status: int = 200) -> Response:
    """GET `/roles`; `outcome` is that of a file which was looked at, and which stays in the form."""
    with visit.context.database.read() as tx:
        files = role_files.all(tx)
        names = names_for(tx, visit.viewer, [], [one.loaded_by for one in files])
        loaded = [
            Loaded(
                number=one.number,
                by=names.who(one.loaded_by) if "/" in one.loaded_by else one.loaded_by,
                at=words.ago(one.loaded_at, visit.now, names.calendar),
                reason=one.reason or "",
            )
            for one in files
        ]
        cards = _cards(tx)
        frame = frame_of(tx, visit, "Roles", "/setup")
    form = filled(_form(), visit.form)
    return answer("roles.html", frame, status=status, roles=cards, files=loaded, form=form, outcome=outcome)


def load(visit: Visit) -> Response:
    """POST `/roles`: let the roles of a file count, or only say what it would change (`do=check`)."""
    source, reason = visit.form.get("source", ""), visit.form.get("reason", "").strip()
    database = visit.context.database
    try:
        if not reason.isprintable() or len(reason) > _MOST_REASON:
            raise Incorrect(f"The reason is one line of at most {_MOST_REASON} characters.")
        if visit.form.get("do") != "load":
            found = read_roles(source, name=_NAME)
            with database.read() as tx:
                would = ", ".join(_changed(roles.defined(tx), found)) or "nothing"
            return roles_page(visit, Outcome(would=would))
        with database.begin() as tx:
            before = roles.defined(tx)
            kept, found = roles.load(tx, source, name=_NAME, at=visit.now, by=visit.viewer.who, reason=reason or None)
            detail = {"digest": kept.digest, "roles": _changed(before, found), "reason": reason}
            note_access(tx, visit, "configure", f"roles/{kept.number}", detail={"command": "roles load", **detail})
    except Incorrect as error:
        problems = tuple(one.message for one in error.issues)
        return roles_page(visit, Outcome(problems=problems), status=status_of(error))
    return see_other(PATH, "roles-loaded")


def _changed(before: roles.Roles, found: roles.Roles) -> list[str]:
    return sorted(name for name, policy in found.items() if before.get(name) != policy)


def _cards(tx: Tx) -> list[RoleCard]:
    held = [role for one in accounts.all(tx) if one.active for role in one.roles]
    return [_card(code, policy, held.count(code)) for code, policy in roles.defined(tx).items()]


def _card(code: str, policy: Policy, people: int) -> RoleCard:
    lines = tuple(line for line in list(in_words(code, policy))[1:] if line and line != policy.means)
    return RoleCard(code=code, title=policy.title or code, means=policy.means, lines=lines, people=people)


def _form() -> Form:
    hint = "YAML; it replaces the roles that it names and leaves the others. Up to about 60,000 characters."
    return Form(
        action=PATH,
        submit="Load",
        fields=(
            Field(name="source", label="File of roles", kind="textarea", required=True, hint=hint),
            Field(name="reason", label="Why", hint="For the audit trail."),
        ),
    )
