"""The staff: read from mirrored Practitioners and PractitionerRoles, and who is away until when and who stands in.

https://hl7.org/fhir/R4/practitionerrole.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from fhir_tracker.errors import NotFound, RuleBroken
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import at, end_at, moment_at, objects_at, text_at
from fhir_tracker.guard import Failure, guarded
from fhir_tracker.model.author import Author
from fhir_tracker.model.role_codes import roles_of
from fhir_tracker.model.staff import Person
from fhir_tracker.model.work import cut
from fhir_tracker.storage import staff, work_items
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.staff import RoleRow

TYPES = ("Practitioner", "PractitionerRole")
"""The resources that tell of the staff."""


def learn(tx: Tx, resource: Resource, codes: Mapping[str, str] | None = None) -> str | None:
    """Take in what a Practitioner or PractitionerRole says now; whom it is about. `codes` are further role codes.

    One that cannot be read changes nothing.
    """
    type_, id_ = str(resource["resourceType"]), str(resource["id"])
    told = guarded(lambda: _told(resource, codes), "reading of the staff", item=f"{type_}/{id_}")
    if isinstance(told, Failure):
        return None
    if told is None:
        return forget(tx, type_, id_)
    if isinstance(told, Person):
        staff.save_person(tx, told)
        return told.ref
    staff.save_role(tx, told)
    return told.person


def _told(resource: Resource, codes: Mapping[str, str] | None) -> Person | RoleRow | None:
    ref, is_active = f"{resource['resourceType']}/{resource['id']}", resource.get("active") is not False
    if resource["resourceType"] == "Practitioner":
        return Person(ref=ref, name=_name(resource), active=is_active, mail=_mail(resource))
    person = text_at(resource, "practitioner", "reference") or ""
    if not person.startswith("Practitioner/"):
        return None
    return RoleRow(
        source=ref,
        person=cut(person),
        roles=roles_of(resource, codes),
        active=is_active,
        start=moment_at(at(resource, "period"), "start"),
        end=end_at(resource, "period", "end"),
    )


def forget(tx: Tx, type_: str, id_: str) -> str | None:
    """A Practitioner or PractitionerRole was deleted; whom it was about."""
    ref = f"{type_}/{id_}"
    if type_ == "PractitionerRole":
        before = staff.role_row(tx, ref)
        if before is not None:
            staff.save_role(tx, replace(before, active=False))
        return before.person if before else None
    staff.save_person(tx, Person(ref=ref, active=False))
    return ref


def go_away(
    tx: Tx,
    person: str,
    *,
    start: datetime,
    end: datetime | None,
    substitute: str | None,
    author: Author,
    keeps_work: bool = False,
) -> int:
    """Write down that a person is away; the absence's id. Raises RuleBroken for what cannot be, NotFound for nobody."""
    for ref in filter(None, (person, substitute)):
        if not ref.startswith("Practitioner/") or not ref.removeprefix("Practitioner/"):
            raise RuleBroken(f"{ref} is nobody of the staff: write Practitioner/ID.")
    if end is not None and end <= start:
        raise RuleBroken("An absence must end after it begins.")
    if end is not None and end <= author.at:
        raise RuleBroken("This absence is over already.")
    if substitute == person:
        raise RuleBroken("Nobody can stand in for themselves.")
    known = staff.people(tx, [substitute], author.at) if substitute else {}
    if substitute in known and not known[substitute].active:
        raise RuleBroken(f"{substitute} is not active: name another substitute.")
    work_items.wake_owned(tx, staff.names_of(tx, person), author.at)
    return staff.add_absence(
        tx,
        person,
        start=start,
        end=end,
        substitute=substitute,
        keeps_work=keeps_work,
        said_by=author.viewer.who,
        said_at=author.at,
    )


def come_back(tx: Tx, id_: int, author: Author) -> None:
    """End an absence now, or take it back before it began; raises NotFound."""
    person = staff.end_absence(tx, id_, author.at)
    if person is None:
        raise NotFound(f"There is no absence {id_} that is not over.")
    work_items.wake_owned(tx, staff.names_of(tx, person), author.at)


def _name(resource: Resource) -> str:
    name = next(iter(objects_at(resource, "name")), {})
    if text := text_at(name, "text"):
        return text
    names = at(name, "given")
    given = [one for one in names if isinstance(one, str)] if isinstance(names, list) else []
    return " ".join([*given, text_at(name, "family") or ""]).strip()


def _mail(resource: Resource) -> str:
    """The address for work: of the telecoms that are not old and not at home, the one of the best rank."""
    mails = [
        one
        for one in objects_at(resource, "telecom")
        if one.get("system") == "email" and one.get("use") not in ("old", "home") and isinstance(one.get("value"), str)
    ]
    mails.sort(key=lambda one: (one.get("use") != "work", _rank(one)))
    return str(mails[0]["value"]).strip() if mails else ""


def _rank(telecom: Resource) -> int:
    rank = telecom.get("rank")
    return rank if isinstance(rank, int) else 1000
