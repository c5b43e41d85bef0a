"""Who asks in the matrix of rights, what there is to see, and plain rules of who reaches what; nothing of it is the product's code.

What a caller reaches is worked out by hand from tables: a role's rights and a token's scopes are both asked, then the patient,
then the query of a grant.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import policy_of
from fhir_tracker.model.sight import lock_of, sight_of
from fhir_tracker.model.viewer import Viewer
from fhir_tracker.roles import built_in
from fhir_tracker.rules.role_file import read_roles

Body = dict[str, Any]
ROLE_SYSTEM = "https://fhir-tracker.example/CodeSystem/role"
CONFIDENTIAL = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
VITAL = {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
SHARED = ("Practitioner", "Questionnaire")
WORK_TYPES = ("Task", "CarePlan")
PATIENTS = ("ann", "bob", "vip")
"""`ann` is whom a confined caller is confined to, `bob` somebody else, `vip` is restricted."""
TYPES = ("Patient", "Task", "Observation", "CarePlan", "Communication", "Flag", "Practitioner", "Questionnaire")

# The roles of docs/roles.md, by hand, for the types of this world.
CHART = {
    "Patient": "rs", "Task": "crus", "Observation": "rs", "CarePlan": "crus", "Communication": "crus", "Flag": "crus",
    "Practitioner": "rs", "Questionnaire": "rs", "PlanDefinition": "rs", "ActivityDefinition": "rs", "ChargeItem": "crs",
    "Provenance": "rs",
}  # fmt: skip
RIGHTS: Mapping[str, Mapping[str, str]] = {
    "rn": CHART,
    "care-coordinator": CHART,
    "provider": CHART | {"Measure": "rs", "MeasureReport": "rs"},
    "front-desk": {"Patient": "rs", "Task": "rus", "Communication": "crs", "Practitioner": "rs"},
    "clinic-admin": {
        "Patient": "rs", "Task": "crus", "CarePlan": "rs", "Communication": "rs", "Flag": "rs", "Practitioner": "rs",
        "Questionnaire": "rs", "PlanDefinition": "rs", "ActivityDefinition": "rs", "ChargeItem": "crs", "Measure": "rs",
        "MeasureReport": "rs",
    },
    "auditor": {
        "Patient": "rs", "Practitioner": "rs", "PlanDefinition": "rs", "Measure": "rs", "MeasureReport": "rs",
        "Provenance": "rs",
    },
    "nobody": {},
    "clerk": {"Patient": "rs", "Task": "crus", "Observation": "rs", "Practitioner": "rs"},
    "tcm-nurse": {"Patient": "rs", "Task": "rus", "CarePlan": "rs", "Observation": "rs", "Practitioner": "rs"},
    "north-nurse": {"Patient": "rs", "Task": "rus", "CarePlan": "rs", "Observation": "rs", "Practitioner": "rs"},
    "trusted": {"Patient": "rs", "Task": "crus", "Observation": "rs"},
}  # fmt: skip
OWN_ROLES = """
roles:
  - role: clerk
    may: [Patient.rs, Task.crus, Observation.rs, Practitioner.rs]
    hide: {Patient: [name], Observation: [code]}
    fix: {Task: [language]}
    acts: [queue, patient, task]
  - role: tcm-nurse
    may: [Patient.rs, Task.rus, CarePlan.rs, Observation.rs, Practitioner.rs]
    acts: [queue, patient, task, break-glass]
    programs: [near]
  - role: north-nurse
    may: [Patient.rs, Task.rus, CarePlan.rs, Observation.rs, Practitioner.rs]
    locations: [Location/north]
    acts: [queue, patient, task]
  - role: trusted
    may: [Patient.rs, Task.crus, Observation.rs]
    restricted: yes
    acts: [queue, patient, task, quarantine]
  - {role: nobody, may: []}
"""
"""A practice's own: one that hides and fixes, one bound to a program, one to a place, and one that sees restricted patients."""
DEFINED = {**built_in(), **read_roles(OWN_ROLES)}
PROGRAMS = {"tcm-nurse": {"near"}}
PLACES = {"north-nurse": {"Location/north"}}
CANONICAL = "https://fhir-tracker.example/PlanDefinition/"
WORK = {
    "ann-desk": ("near", "Location/north"), "ann-nurse": ("far", "Location/south"), "bob-desk": ("far", "Location/north"),
    "vip-desk": ("near", "Location/north"), "vip-nurse": ("near", None), "ann-careplan": ("near", None),
}  # fmt: skip
"""Program and place of work, by its id; what is not here has neither."""
BREAKERS = frozenset({"rn", "care-coordinator", "provider", "tcm-nurse"})
SCOPES = (
    "patient/*.read", "patient/*.*", "patient/*.cruds", "patient/Task.rs", "patient/Task.cruds", "patient/Observation.r",
    "patient/Task.cruds?status=requested", "user/*.cruds", "user/*.read", "user/Task.write", "system/*.rs",
    "system/*.cruds", "system/*.write", "system/Task.r", "system/Task.s", "system/Task.cruds", "system/Task.rs?status=ready",
    "system/Task.cruds?status=requested", "system/Observation.rs?category=vital-signs", "system/Patient.rs", "openid", "",
    "patient/Observation.rs?category=vital-signs", "patient/Patient.r", "patient/Task.rs?status=ready", "system/*.rs?status=requested",
    "system/Task.u", "system/Task.d", "system/Task.c", "system/*.*", "system/CarePlan.read", "system/Observation.cud",
)  # fmt: skip
PROGRAM = """
program: {}
title: Of the matrix
statuses:
  - {{code: asked, is: requested, means: "Nobody has begun"}}
  - {{code: prepared, is: ready, means: "Can be begun"}}
  - {{code: done, is: completed, means: "Done"}}
transitions:
  - {{from: [asked], to: prepared}}
  - {{from: [asked, prepared], to: done}}
tasks:
  - {{code: step, role: rn, on: rule}}
"""
"""The programs `near` and `far`, which make no work by themselves."""
FIRST = {"read": "rs", "write": "cud", "*": "cruds"}


def patient(id_: str) -> Body:
    made: Body = {"resourceType": "Patient", "id": id_, "name": [{"family": f"Synthetic-{id_}"}]}
    return made | ({"meta": {"security": [CONFIDENTIAL]}} if id_ == "vip" else {})


def task(id_: str, whose: str, role: str, status: str) -> Body:
    return {
        "resourceType": "Task",
        "id": id_,
        "identifier": [{"system": "http://example.org/t", "value": id_}],
        "status": status,
        "intent": "order",
        "for": {"reference": f"Patient/{whose}"},
        "performerType": [{"coding": [{"system": ROLE_SYSTEM, "code": role}]}],
        **placed(id_),
    }


def placed(id_: str) -> Body:
    """What of a Task or CarePlan says its program and its place."""
    program, place = WORK.get(id_, (None, None))
    named = [f"{CANONICAL}{program}"] if program else []
    return ({"instantiatesCanonical": named[0] if "careplan" not in id_ else named} if named else {}) | (
        {"location": {"reference": place}} if place else {}
    )


def work_of(resource: Body) -> tuple[str | None, str | None]:
    """The program and the place that a Task or CarePlan says, by hand."""
    named = resource.get("instantiatesCanonical") or ""
    program = (named if isinstance(named, str) else named[0]).removeprefix(CANONICAL).partition("|")[0]
    return program or None, resource.get("location", {}).get("reference")


def of_patient(type_: str, whose: str, **members: Any) -> Body:
    return {
        "resourceType": type_,
        "id": f"{whose}-{type_.lower()}",
        "subject": {"reference": f"Patient/{whose}"},
        **members,
    }


def world() -> list[Body]:
    """Everything there is, whose it is told by its id."""
    made: list[Body] = [
        {"resourceType": "Practitioner", "id": "doc", "name": [{"family": "Synthetic"}]},
        {"resourceType": "Questionnaire", "id": "form", "status": "active"},
    ]
    for one in PATIENTS:
        made += [
            patient(one),
            task(f"{one}-desk", one, "front-desk", "requested"),
            task(f"{one}-nurse", one, "rn", "ready"),
            of_patient("Observation", one, status="final", category=[{"coding": [VITAL]}], code={"text": "x"}),
            of_patient("CarePlan", one, status="active", intent="plan", **placed(f"{one}-careplan")),
            of_patient("Communication", one, status="completed"),
            of_patient("Flag", one, status="active", code={"text": "x"}),
        ]
    return made


WORLD = {f"{one['resourceType']}/{one['id']}": one for one in world()}


def whose(resource: Body) -> str | None:
    """The patient of a resource, None for what is nobody's."""
    if resource["resourceType"] == "Patient":
        return str(resource["id"])
    told = resource.get("for") or resource.get("subject")
    return str(told["reference"]).removeprefix("Patient/") if told else None


def moved(one: Body) -> Iterator[Body]:
    """The same resource as it would be at another patient, and work at another place."""
    link = next((name for name in ("for", "subject") if name in one), None)
    if link is not None:
        yield one | {link: {"reference": "Patient/bob" if whose(one) == "ann" else "Patient/ann"}}
    if one["resourceType"] == "Task":
        other = "Location/south" if work_of(one)[1] == "Location/north" else "Location/north"
        yield one | {"location": {"reference": other}}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """`roles` None: no person; `scopes` None: no token; `chart`: launched in the chart of this patient.

    `opened`: for whom the glass is broken.
    """

    roles: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    chart: str | None = None
    opened: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        told = ("+".join(self.roles or ()), " ".join(self.scopes or ()), self.chart, "+".join(sorted(self.opened)))
        return "/".join(one or "-" for one in told)

    @property
    def is_bounded(self) -> bool:
        """Whether a role is bound to programs or places, which no other role lifts."""
        return bool({*PROGRAMS, *PLACES} & set(self.roles or ()))

    @property
    def hides(self) -> bool:
        """Whether names of patients are hidden: by every role that reads them."""
        able = [role for role in self.roles or () if "r" in RIGHTS[role].get("Patient", "")]
        return bool(able) and all(role == "clerk" for role in able)

    @property
    def fixes(self) -> bool:
        """Whether no role changes the language of a Task; one that may change some only lifts nothing."""
        able = [
            role for role in self.roles or () if set("cud") & set(RIGHTS[role].get("Task", "")) and role != "front-desk"
        ]
        return bool(able) and all(role == "clerk" for role in able)

    def viewer(self) -> Viewer:
        policy = policy_of(self.roles, DEFINED) if self.roles is not None else None
        grants = grants_of(self.scopes) if self.scopes is not None else None
        in_chart = self.chart if grants is None else lock_of(grants, self.chart) if self.chart else None
        return Viewer(
            who="Practitioner/doc" if self.roles is not None else "Device/client",
            roles=frozenset(self.roles or ()),
            scopes=frozenset(self.scopes or ()),
            patient=in_chart,
            sight=sight_of(grants, policy, self.chart),
            opened=self.opened,
        )

    def _scopes(self, letter: str, type_: str) -> Iterator[tuple[str, str]]:
        """Level and query of each scope that gives a right on a type."""
        for scope in self.scopes or ():
            found = re.fullmatch(r"(patient|user|system)/([A-Za-z*]+)\.([a-z*]+)(?:\?(.*))?", scope)
            if found is None or found[2] not in ("*", type_) or (found[1] == "patient" and not self.chart):
                continue
            if letter in FIRST.get(found[3], found[3]):
                yield found[1], found[4] or ""

    def may(self, letter: str, type_: str) -> bool:
        """Whether there is a right on anything of a type."""
        by_role = self.roles is None or any(letter in RIGHTS[role].get(type_, "") for role in self.roles)
        return by_role and (self.scopes is None or any(True for _ in self._scopes(letter, type_)))

    def reaches(self, letter: str, resource: Body) -> bool:
        """Whether this very resource is reached by a right."""
        type_, of = resource["resourceType"], whose(resource)
        if self.roles is not None:
            if not any(self._role_reaches(role, letter, resource) for role in self.roles):
                return False
            if of not in self.opened and (self._is_restricted(of) or not self._is_inside(resource)):
                return False
            if self.scopes is None and self.chart and of != self.chart and not (of is None and type_ in SHARED):
                return False
        if self.scopes is None:
            return True
        for level, query in self._scopes(letter, type_):
            near = level != "patient" or of == self.chart or (of is None and type_ in SHARED)
            if near and _fits(query, resource):
                return True
        return False

    def _role_reaches(self, role: str, letter: str, resource: Body) -> bool:
        if letter not in RIGHTS[role].get(resource["resourceType"], ""):
            return False
        if role == "front-desk" and resource["resourceType"] == "Task":
            return "front-desk" in json.dumps(resource.get("performerType", []))
        return True

    def _is_restricted(self, of: str | None) -> bool:
        return of == "vip" and "trusted" not in (self.roles or ())

    def _is_inside(self, resource: Body) -> bool:
        """Work of the programs and places of the roles, and other records of patients who have such work."""
        of = whose(resource)
        if not self.is_bounded or of is None:
            return True
        if resource["resourceType"] in WORK_TYPES:
            return self._is_own(resource)
        return any(
            self._is_own(one) for one in WORLD.values() if one["resourceType"] in WORK_TYPES and whose(one) == of
        )

    def _is_own(self, resource: Body) -> bool:
        program, place = work_of(resource)
        for limits, value in ((PROGRAMS, program), (PLACES, place)):
            held = [limits[role] for role in self.roles or () if role in limits]
            if held and not any(value in one for one in held):
                return False
        return True

    @property
    def breaks_glass(self) -> bool:
        return bool(BREAKERS & set(self.roles or ()))


def _fits(query: str, resource: Body) -> bool:
    if not query:
        return True
    name, _, value = query.partition("=")
    if name == "status":
        return bool(resource.get("status") == value)
    return name == "category" and value in json.dumps(resource.get("category", []))


TOKENS = (
    "user/*.cruds", "user/*.read", "user/Task.cruds", "patient/*.cruds", "user/Task.rs?status=requested",
    "patient/Task.write user/Patient.rs", "user/*.r launch openid fhirUser", "patient/*.read patient/Observation.rs?category=vital-signs",
)  # fmt: skip
"""What an EHR grants to an app whose person has roles here."""


def callers(seed: int = 1) -> list[Caller]:
    """Those that matter, and some of several scopes and roles by chance."""
    alone = [Caller(roles=(role,)) for role in RIGHTS]
    in_chart = [Caller(roles=(role,), chart="ann") for role in RIGHTS]
    pairs = ("front-desk auditor", "front-desk rn", "clerk rn", "clerk front-desk", "tcm-nurse rn", "tcm-nurse north-nurse",
             "north-nurse auditor", "trusted front-desk", "clinic-admin auditor nobody")  # fmt: skip
    several = [Caller(roles=tuple(one.split())) for one in pairs] + [Caller(roles=())]
    opened = [
        Caller(roles=tuple(one.split()), opened=frozenset(of.split()), chart=chart)
        for one, of, chart in (("rn", "vip", None), ("provider auditor", "vip ann", None), ("tcm-nurse", "bob", None),
                               ("rn", "vip", "vip"), ("rn", "vip", "ann"))
    ]  # fmt: skip
    systems = [Caller(scopes=tuple(one.split()), chart="ann" if "patient/" in one else None) for one in SCOPES]
    systems.append(Caller(scopes=("patient/*.cruds",)))
    systems.append(Caller(scopes=("patient/Task.rs", "system/Patient.rs"), chart="ann"))
    both = [
        Caller(roles=(role,), scopes=tuple(scope.split()), chart="ann" if "patient/" in scope else None)
        for role in ("rn", "front-desk", "clinic-admin", "auditor", "clerk", "tcm-nurse", "north-nurse")
        for scope in TOKENS
    ]
    return [*alone, *in_chart, *several, *opened, *systems, *both, *_by_chance(random.Random(seed))]


def _by_chance(chance: random.Random) -> Iterator[Caller]:
    for _ in range(12):
        roles = tuple(chance.sample(sorted(RIGHTS), chance.randint(1, 3)))
        scopes = tuple(chance.sample([one for one in (*SCOPES, *TOKENS) if one and " " not in one], 3))
        chart = chance.choice((None, "ann"))
        yield chance.choice((Caller(roles=roles, scopes=scopes, chart=chart), Caller(scopes=scopes, chart=chart)))
