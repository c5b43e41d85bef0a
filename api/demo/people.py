"""The staff of the demo: practitioners of the simulated EHR in every role."""

from __future__ import annotations

from dataclasses import dataclass

from api.demo.records import source
from fhir_tracker.fhir.identity import local_id
from fhir_tracker.model.sight import EVERYTHING
from fhir_tracker.model.viewer import Viewer

CONNECTION = "demo-ehr"


@dataclass(frozen=True, kw_only=True)
class Person:
    """One member of staff: `ref` is the tracker's `Practitioner/<id>`, `remote_id` the EHR's, `role` one that comes with the product."""

    ref: str
    remote_id: str
    name: str
    role: str

    def viewer(self) -> Viewer:
        """This person as a viewer with the one role."""
        return Viewer(
            who=self.ref,
            name=self.name,
            roles=frozenset({self.role}),
            scopes=frozenset({"user/*.cruds"}),
            sight=EVERYTHING,
        )


def people() -> tuple[Person, ...]:
    """Everybody, role by role."""
    return tuple(
        Person(
            ref=f"Practitioner/{local_id(CONNECTION, one['id'], 'Practitioner')}",
            remote_id=one["id"],
            name=one["name"],
            role=one["role"],
        )
        for one in source()["people"]
    )
