"""Figures of those who may not see everything say so: as resources and as JSON."""

from __future__ import annotations

import json

import pytest

from fhir_tracker.fhir.checks import check
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.measures import formats, measure_reports
from fhir_tracker.measures.measure_reports import LIMITED
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import EVERYTHING, NOTHING, sight_of
from fhir_tracker.model.viewer import Viewer, open_viewer, worker_viewer
from tests.measures.test_formats import report

ALL = grants_of(["user/*.rs"])


def bound(policy: Policy) -> Viewer:
    """One with this role."""
    return Viewer(who="Practitioner/ann", sight=sight_of(None, policy, None))


def scoped(*scopes: str) -> Viewer:
    return Viewer(who="Device/x", sight=sight_of(grants_of(scopes), None, None))


UNLIMITED = {
    "the tracker itself": worker_viewer("measures"),
    "open mode": open_viewer(),
    "a role that sees all": bound(Policy(grants=ALL, restricted=True)),
    "a scope for all": scoped("system/*.rs"),
    "scopes for the work": scoped("system/Task.rs", "system/CarePlan.cruds"),
}
LIMITS = {
    "a patient": Viewer(who="Patient/ann", patient="ann", sight=EVERYTHING),
    "restricted patients": bound(Policy(grants=ALL)),
    "some programs": bound(Policy(grants=ALL, restricted=True, programs=frozenset({"tcm"}))),
    "some places": bound(Policy(grants=ALL, restricted=True, locations=frozenset({"Location/1"}))),
    "tasks only": scoped("system/Task.rs"),
    "some tasks": scoped("system/Task.rs?status=requested", "system/CarePlan.rs"),
    "no search": scoped("system/*.r"),
    "no reading": scoped("system/*.s"),
    "a patient's compartment": Viewer(who="x", sight=sight_of(grants_of(["patient/*.rs"]), None, "ann")),
    "nothing": Viewer(who="x", sight=NOTHING),
}  # fmt: skip


def marks(body: Resource) -> list[object]:
    return [one["valueBoolean"] for one in body["extension"] if one["url"] == LIMITED]


@pytest.mark.security("S42")
@pytest.mark.parametrize("name", [*UNLIMITED, *LIMITS])
def test_a_report_says_whether_it_counts_all(name: str) -> None:
    is_limited = name in LIMITS
    made = report("on-time", viewer={**UNLIMITED, **LIMITS}[name])
    body = measure_reports.measure_report(made)
    assert marks(body) == ([True] if is_limited else [])
    assert ("may see is counted" in body["text"]["div"]) == is_limited
    assert json.loads(formats.json_text(made)).get("limited", False) is is_limited
    assert [one.message for one in check(body) if one.severity in ("error", "fatal")] == []
