"""By which references work can be somebody's: their own, those of their PractitionerRoles, and the care teams they are in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select

from fhir_tracker.fhir.body import read_stored
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.fhir.reading import end_at, moment_at, objects_at, text_at
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.storage import resources, staff
from fhir_tracker.storage.arrays import among
from fhir_tracker.storage.database import Tx
from fhir_tracker.storage.hashes import reference_key
from fhir_tracker.storage.tables import ix, resource

_MOST_TEAMS = 1000
_GOING_ON = (None, "active", "proposed")


def owners_of(tx: Tx, viewer: Viewer, owner: str, now: datetime, *, teams: bool) -> tuple[str, ...]:
    """`owner` itself, for a `Practitioner/<id>` also their PractitionerRoles, with `teams` the care teams at `now`."""
    if not owner.startswith("Practitioner/"):
        return (owner,)
    names = staff.names_of(tx, owner)
    return (*names, *(_teams(tx, viewer, names, now) if teams else ()))


def _teams(tx: Tx, viewer: Viewer, names: Sequence[str], now: datetime) -> list[str]:
    keys = [reference_key("CareTeam", "participant", name) for name in names]
    chosen = select(resource.c.id).select_from(ix.join(resource, resource.c.k == ix.c.k))
    chosen = chosen.where(among(tx.dialect, ix.c.h, keys), resource.c.type == "CareTeam", ~resource.c.deleted)
    refs = sorted({f"CareTeam/{row['id']}" for row in tx.rows(chosen.limit(_MOST_TEAMS))})
    found = resources.find_many(tx, viewer, refs) if refs else {}
    bodies = {ref: read_stored(one.body) for ref, one in found.items()}
    return [ref for ref in refs if ref in bodies and _is_in(bodies[ref], names, now)]


def _is_in(team: Resource, names: Sequence[str], now: datetime) -> bool:
    if text_at(team, "status") not in _GOING_ON:
        return False
    for one in objects_at(team, "participant"):
        start, end = moment_at(one.get("period"), "start"), end_at(one, "period", "end")
        if (
            text_at(one, "member", "reference") in names
            and (start is None or start <= now)
            and (end is None or now < end)
        ):
            return True
    return False
