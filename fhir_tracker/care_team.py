"""Who is on the care team of a plan: its CareTeam, and the owner that it gives to work.

https://hl7.org/fhir/R4/careteam.html
"""

from __future__ import annotations

from datetime import datetime

from fhir_tracker.fhir.codeable import codings, concept
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import end_at, objects_at, references_at, text_at
from fhir_tracker.model.program import CANONICAL, Program
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.model.vocabulary import ROLE_SYSTEM, TEAM_PRIMARY
from fhir_tracker.records import resource_of
from fhir_tracker.storage import resources
from fhir_tracker.storage.database import Tx

OWNERS = ("Practitioner/", "PractitionerRole/", "CareTeam/", "Organization/")
"""The members that can own a Task."""


def new_team(program: Program, id_: str, patient: str) -> Resource:
    """The CareTeam of a new plan: a place for each role, which people then fill."""
    return {
        "resourceType": "CareTeam",
        "id": id_,
        "meta": {"source": CANONICAL},
        "status": "active",
        "name": f"Care team of {program.title}",
        "subject": {"reference": f"Patient/{patient}"},
        "participant": [
            {
                "role": [
                    concept(ROLE_SYSTEM, one.role, text=one.title),
                    *([concept(TEAM_PRIMARY, "primary", text="Primary")] if one.primary else []),
                ],
            }
            for one in program.team
        ],
    }


def owner_in(team: Resource, kind: str, role: str, now: datetime | None) -> str | None:
    """The member of one team who has the `primary` place, or (`team`) that of a role; None while the place is empty.

    Without `now` whoever's time has an end does not count.
    """
    wanted = (TEAM_PRIMARY, "primary") if kind == "primary" else (ROLE_SYSTEM, role)
    for one in objects_at(team, "participant"):
        member, until = text_at(one, "member", "reference"), end_at(one, "period", "end")
        is_wanted = any(wanted in codings(place) for place in objects_at(one, "role"))
        if is_wanted and member and member.startswith(OWNERS) and (until is None or (now is not None and now < until)):
            return member
    return None


def owner_of(
    tx: Tx, viewer: Viewer, plan: Resource, kind: str, role: str = "", now: datetime | None = None
) -> str | None:
    """Whose a plan's work is: the CarePlan's author before the team's primary, or the team's member for a role."""
    author = text_at(plan, "author", "reference")
    if kind == "primary" and author and author.startswith(OWNERS):
        return author
    for ref in references_at(plan, "careTeam"):
        stored = resources.find(tx, viewer, *ref.split("/")) if ref.startswith("CareTeam/") else None
        if stored is None or stored.deleted:
            continue
        team = resource_of(stored)
        if team.get("status", "active") in ("active", "proposed") and (found := owner_in(team, kind, role, now)):
            return found
    return None
