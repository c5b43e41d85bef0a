"""Who and what the codes and references on a page are called: staff, roles, programs, statuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from api.staff import words
from api.staff.shapes import Chip, Choice, Staff
from api.staff.words import Tone
from fhir_tracker import programs, records
from fhir_tracker.model.patient import name_of
from fhir_tracker.model.program import Calendar, Program
from fhir_tracker.model.viewer import ROLES, Viewer
from fhir_tracker.model.work import ItemKind, WorkItem
from fhir_tracker.storage import accounts, resources
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Tx

_ROLE_NAMES = {"rn": "RN", "clinic-admin": "Clinic admin"}
_ICONS: Mapping[str, tuple[str, Tone]] = {
    "in-progress": ("progress", ""),
    "accepted": ("progress", ""),
    "on-hold": ("hold", "hold"),
    "completed": ("done", "done"),
    "failed": ("closed", ""),
    "cancelled": ("closed", ""),
    "rejected": ("closed", ""),
    "entered-in-error": ("closed", ""),
}
_ANSWERS: Mapping[str, tuple[str, str]] = {
    "requested": ("New", "Nobody has answered this escalation"),
    "received": ("New", "Nobody has answered this escalation"),
    "accepted": ("Acknowledged", "Somebody has seen it; the ladder stops climbing"),
    "in-progress": ("Taken over", "Somebody made it their own work"),
    "rejected": ("Sent back", "It was refused with a reason"),
    "completed": ("Resolved", "What it was about has been dealt with"),
}
_MOST_PRACTITIONERS = 200


@dataclass(frozen=True, kw_only=True)
class Names:
    """Everything one page needs to speak: programs by code and version, staff by reference, the site's calendar."""

    programs: Mapping[tuple[str, int], Program]
    active: tuple[Program, ...]
    staff: Mapping[str, Staff]
    calendar: Calendar

    def program(self, item: WorkItem) -> Program | None:
        """The program version an item is under."""
        return self.programs.get((item.program or "", item.program_version or 0))

    def calendar_of(self, item: WorkItem) -> Calendar:
        """The calendar an item's due time counts in."""
        program = self.program(item)
        return program.calendar if program else self.calendar

    def who(self, reference: str) -> str:
        """A person or worker by name."""
        known = self.staff.get(reference)
        return known.name if known else worker_named(reference)

    def person(self, reference: str) -> Staff:
        """A person for a row: initials, name, role."""
        name = self.who(reference)
        return self.staff.get(reference) or Staff(initials=words.initials(name), name=name)

    def program_title(self, code: str) -> str:
        """A program by its title."""
        found = [one for (known, _), one in self.programs.items() if known == code] + list(self.active)
        return next((one.title for one in found if one.code == code), code)


def names_for(tx: Tx, viewer: Viewer, items: Sequence[WorkItem], others: Iterable[str] = ()) -> Names:
    """The names that `items` and the references `others` need, in a fixed number of queries."""
    active = tuple(programs.active_programs(tx))
    found = {(one.code, one.version): one for one in active}
    for code, version in {(item.program, item.program_version) for item in items}:
        if code and version and (code, version) not in found and (program := programs.load(tx, code, version)):
            found[code, version] = program
    wanted = {item.owner for item in items if item.owner} | set(others)
    return Names(
        programs=found,
        active=active,
        staff=_staff(tx, viewer, wanted),
        calendar=active[0].calendar if active else Calendar(),
    )


def _staff(tx: Tx, viewer: Viewer, wanted: set[str]) -> dict[str, Staff]:
    known = {one.ref: _colleague(one) for one in accounts.of_refs(tx, wanted)}
    missing = [ref for ref in wanted if ref.startswith("Practitioner/") and ref not in known]
    for ref, stored in resources.find_many(tx, viewer, missing).items():
        name = "" if stored.deleted else name_of(records.resource_of(stored))
        if name:
            known[ref] = Staff(initials=words.initials(name), name=name)
    if viewer.name and viewer.who not in known:
        known[viewer.who] = Staff(initials=words.initials(viewer.name), name=viewer.name)
    if viewer.who in known:
        known[viewer.who] = replace(known[viewer.who], me=True)
    return known


def _colleague(one: Account) -> Staff:
    return Staff(initials=words.initials(one.name), name=one.name, role=_roles_of(one))


def _roles_of(one: Account) -> str:
    return ", ".join(role_named(role) for role in one.roles)


def practitioners(tx: Tx, viewer: Viewer) -> tuple[Choice, ...]:
    """Whom work can be given to: those who may come in, with their roles, then the others on record; each by name."""
    mine = [one for one in accounts.all(tx) if one.active and one.ref.startswith("Practitioner/")]
    staff = [Choice(value=one.ref, label=f"{one.name}, {_roles_of(one)}") for one in mine]
    stored = resources.scan(tx, viewer, ["Practitioner"], limit=_MOST_PRACTITIONERS)
    known = {one.ref for one in mine}
    named = [(one.ref, name_of(records.resource_of(one)) or one.ref) for one in stored if one.ref not in known]
    others = [Choice(value=ref, label=name) for ref, name in named]
    return tuple(one for group in (staff, others) for one in sorted(group, key=lambda one: one.label))


def role_named(role: str) -> str:
    """A role as people read it: `RN`, `Front desk`."""
    return _ROLE_NAMES.get(role) or role.replace("-", " ").capitalize()


def role_choices() -> tuple[Choice, ...]:
    """Every role, as options."""
    return tuple(Choice(value=role, label=role_named(role)) for role in ROLES)


def worker_named(reference: str) -> str:
    """A reference without a name: `Device/rule-worker` is `Rule worker`, an unknown Practitioner its id."""
    type_, _, id_ = reference.rpartition("/")
    return id_.replace("-", " ").capitalize() if type_ == "Device" else id_ or "unknown"


def status_chip(item: WorkItem, program: Program | None) -> Chip:
    """The chip of an item's status: the program's own name and definition."""
    icon, tone = _ICONS.get(item.fhir_status, ("open", ""))
    if item.kind == "escalation":
        label = state_title(item.kind, None, item.fhir_status)
        means = _ANSWERS.get(item.fhir_status, ("", ""))[1]
        return Chip(label=label, means=means, icon=icon, tone=tone or ("escalated" if item.open else ""))
    own = program.status(item.status) if program else None
    stage = next((one for one in program.stages if one.code == item.status), None) if program else None
    named = own or (stage if item.kind == "plan" else None)
    label = named.title if named else item.status.replace("-", " ").capitalize()
    return Chip(label=label, means=named.means if named else "", icon=icon, tone=tone)


def state_title(kind: ItemKind, program: Program | None, code: str | None) -> str:
    """As `status_title`; the states of an escalation have names of their own."""
    if kind == "escalation" and code is not None and code in _ANSWERS:
        return _ANSWERS[code][0]
    return status_title(program, code)


def status_title(program: Program | None, code: str | None) -> str:
    """A status or stage code by its title."""
    if not code:
        return "nothing"
    own = program.status(code) if program else None
    stage = next((one for one in program.stages if one.code == code), None) if program else None
    named = own or stage
    return named.title if named else code.replace("-", " ").capitalize()
