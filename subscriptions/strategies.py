"""Which way each type of one server is followed, and why: a pure choice from what is known of the server.

What the practice chose goes first, then what the mapping knows of the vendor, then what the server says and what a probe
of it showed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fhir_tracker.errors import UsageError
from mappings import Hint

LAST_UPDATED = "last_updated"
PER_PATIENT = "last_updated_patient"
ROSTER = "roster"
WINDOWED = "windowed"
BULK = "bulk"
LAUNCH = "launch"
NONE = "none"
STRATEGIES = (LAST_UPDATED, PER_PATIENT, ROSTER, WINDOWED, BULK, LAUNCH, NONE)
ONE_BY_ONE = frozenset({PER_PATIENT, ROSTER, WINDOWED})
"""Those that ask about one patient, or one practitioner or place, at a time."""
ACTORS = {"patient": "Patient", "practitioner": "Practitioner", "location": "Location"}
"""By which search parameter appointments are asked for, and the type it names; the first that a server has is taken."""
OF_PATIENTS = frozenset(
    "AllergyIntolerance Appointment CarePlan CareTeam ChargeItem ClaimResponse Communication Condition Consent Coverage "
    "DetectedIssue DiagnosticReport DocumentReference Encounter EpisodeOfCare Flag Goal Immunization MedicationRequest "
    "Observation Procedure QuestionnaireResponse ServiceRequest Task".split()
)


class Probe(StrEnum):
    """What a server did with a search by `_lastUpdated` that it does not list."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"
    NEEDS_MORE = "needs-more"
    """It refuses also a search without any parameter."""
    CLOSED = "closed"
    """It does not let us search the type, or does not have it: no other way of asking helps."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about one type at one server; `searchable` None when the server does not tell what it can do."""

    searchable: bool | None
    asked_for: bool = False
    parameters: frozenset[str] = frozenset()
    probe: Probe | None = None
    hint: Hint | None = None
    override: str = ""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How one type is followed. `query` goes into every search; `days`: `_lastUpdated` is asked to the day only."""

    strategy: str
    why: str
    query: str = ""
    days: bool = False
    actor: str = "patient"

    def as_detail(self) -> dict[str, Any]:
        """As JSON values, to be kept with the connection's state."""
        return dict(self.__dict__)


def choice_from(detail: Mapping[str, Any]) -> Choice:
    """What `as_detail` made."""
    return Choice(**{name: detail[name] for name in Choice.__dataclass_fields__ if name in detail})


def needs_probe(facts: Facts) -> bool:
    """Whether what is known does not settle it, and the server is to be asked."""
    if facts.override or facts.hint or not facts.searchable:
        return False
    return "_lastUpdated" not in facts.parameters and facts.probe is None


def choose(type_: str, facts: Facts) -> Choice:
    """How `type_` is followed. Raises UsageError for an override that is none."""
    actor = next((name for name in ACTORS if name in facts.parameters), "patient")
    if facts.override:
        return read_override(type_, facts.override, actor)
    if facts.hint and (facts.searchable is not False or facts.asked_for):
        hint = facts.hint
        return Choice(strategy=hint.strategy, why=hint.why, query=hint.query, days=hint.days, actor=actor)
    if facts.searchable is None:
        return Choice(
            strategy=LAST_UPDATED, why="its metadata were not read yet or cannot be read, so _lastUpdated is tried"
        )
    if not facts.searchable:
        return _unsearchable(facts)
    if "_lastUpdated" in facts.parameters and facts.probe != Probe.NEEDS_MORE:
        return Choice(strategy=LAST_UPDATED, why="the server lists _lastUpdated for it")
    return _probed(type_, facts, actor)


def read_override(type_: str, told: str, actor: str = "patient") -> Choice:
    """A choice of the practice's own: a name, with what every search must say after `?`; UsageError says what there is."""
    name, _, query = told.partition("?")
    if name not in STRATEGIES:
        raise UsageError(f"There is no strategy {name!r} for {type_}; there are {', '.join(STRATEGIES)}.")
    if name == WINDOWED and type_ != "Appointment":
        raise UsageError("Only Appointment is followed by windows of dates.")
    if query and not re.fullmatch(r"[^&=\s]+=[^&\s]*(&[^&=\s]+=[^&\s]*)*", query):
        raise UsageError(f"The search parameters of {type_} cannot be read: {query!r}.")
    return Choice(strategy=name, why="you chose it", query=query, actor=actor)


def _unsearchable(facts: Facts) -> Choice:
    if facts.asked_for:
        return Choice(
            strategy=LAST_UPDATED, why="you asked for it, though the server does not say that it can search it"
        )
    return Choice(strategy=NONE, why="the server does not search it")


def _probed(type_: str, facts: Facts, actor: str) -> Choice:
    if facts.probe == Probe.HONOURED:
        return Choice(
            strategy=LAST_UPDATED, why="the server does not list _lastUpdated, but a probe showed that it works"
        )
    if facts.probe is None:
        return Choice(strategy=LAST_UPDATED, why="the server could not be probed, so _lastUpdated is tried")
    if facts.probe == Probe.CLOSED:
        return Choice(strategy=LAST_UPDATED, why="the server lets us search none of it")
    if facts.probe != Probe.NEEDS_MORE:
        how = "ignores" if facts.probe == Probe.IGNORED else "refuses"
        return Choice(strategy=LAST_UPDATED, why=f"the server {how} _lastUpdated: everything is read each time")
    if type_ == "Patient":
        return Choice(
            strategy=ROSTER, why="patients cannot be searched as a whole: each on the roster is read by its id"
        )
    if type_ == "Appointment" and "date" in facts.parameters:
        why = f"a search must name a {actor} and dates, so a window of dates is read for each"
        return Choice(strategy=WINDOWED, why=why, actor=actor)
    if "_lastUpdated" in facts.parameters and "patient" in facts.parameters:
        return Choice(strategy=PER_PATIENT, why="a search must name a patient, and can say since when")
    if "patient" in facts.parameters or type_ in OF_PATIENTS:
        return Choice(strategy=ROSTER, why="a search must name a patient and cannot say since when: each is compared")
    return Choice(strategy=LAUNCH, why="it cannot be searched as a whole: it is read when a page needs it")
