"""What a system sends is passed on untouched where no rule concerns it, and never where one does: both ways say the same."""

from __future__ import annotations

import pytest

from fhir_tracker import clock, reach
from fhir_tracker.errors import Forbidden
from fhir_tracker.fhir.json_types import Resource
from fhir_tracker.model.author import Author
from fhir_tracker.model.grants import grants_of
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import sight_of
from fhir_tracker.model.viewer import Viewer, open_viewer
from fhir_tracker.storage.database import Database
from tests.support.asking import holder, member

RULED = Policy(
    grants=grants_of(["user/*.cruds"]),
    hidden={"Task": frozenset({"note"})},
    fixed={"Task": frozenset({"priority"}), "Goal": frozenset({"priority"})},
)
VIEWERS = {
    "a system": holder("system/*.cruds"),
    "a system of one type": holder("system/Task.cruds"),
    "a system with a filter": holder("system/Task.cruds?status=requested"),
    "a system with a role that has rules": holder("system/*.cruds").having(sight=sight_of(None, RULED, None)),
    "a system that is let see one patient": holder("system/*.cruds").having(patient="ann"),
    "a system for one patient": holder("patient/*.cruds", patient="ann"),
    "a patient": holder("patient/*.cruds", patient="ann", who="Patient/ann"),
    "a nurse": member("rn", who="Practitioner/nurse"),
    "a nurse with rules": member("rn", who="Practitioner/nurse", policy=RULED),
}
_TASK: Resource = {"resourceType": "Task", "status": "requested", "intent": "order"}
SENT: dict[str, Resource] = {
    "a Task": _TASK,
    "a Task of a patient": {**_TASK, "for": {"reference": "Patient/ann"}},
    "a Task of another": {**_TASK, "for": {"reference": "Patient/bob"}},
    "with what is hidden": {**_TASK, "note": [{"text": "x"}]},
    "with what is fixed": {**_TASK, "priority": "stat"},
    "signed by somebody": {**_TASK, "requester": {"reference": "Practitioner/other"}},
    "a note by somebody": {**_TASK, "note": [{"text": "x", "authorReference": {"reference": "Practitioner/other"}}]},
    "a Goal": {"resourceType": "Goal", "lifecycleStatus": "active", "priority": {"text": "high"}},
}


def told(database: Database, viewer: Viewer, sent: Resource) -> Resource | str:
    """What is stored of it but for its meta, or why it is refused."""
    author = Author.for_viewer(viewer, "api", clock.now(), "")
    try:
        with database.begin() as tx:
            taken = reach.accepted(tx, author, None, sent)
    except Forbidden as error:
        return str([(one.expression, one.message) for one in error.issues] or error.message)
    return {name: value for name, value in taken.items() if name != "meta"}


@pytest.mark.security("S45", "M3")
@pytest.mark.parametrize("who", VIEWERS)
def test_a_body_without_meta_is_taken_or_refused_as_one_with_an_empty_one(database: Database, who: str) -> None:
    for what, sent in SENT.items():
        assert told(database, VIEWERS[who], sent) == told(database, VIEWERS[who], {**sent, "meta": {}}), what


@pytest.mark.security("S45")
@pytest.mark.parametrize(("who", "what", "is_taken"), [
    ("a system", "a note by somebody", True), ("a system", "with what is fixed", True), ("a system", "a Task of another", True),
    ("a system with a role that has rules", "with what is fixed", False),
    ("a system with a role that has rules", "with what is hidden", False),
    ("a system with a role that has rules", "a Goal", False), ("a system with a role that has rules", "a Task", True),
    ("a system for one patient", "a Task of another", False), ("a system for one patient", "a Task of a patient", True),
    ("a system that is let see one patient", "a Task of another", False),
    ("a nurse", "signed by somebody", False), ("a nurse", "a note by somebody", False), ("a nurse", "a Task", True),
    ("a nurse with rules", "with what is hidden", False), ("a patient", "a Task of another", False),
])  # fmt: skip
def test_who_is_held_to_rules_is(database: Database, who: str, what: str, is_taken: bool) -> None:
    assert isinstance(told(database, VIEWERS[who], SENT[what]), dict) is is_taken


@pytest.mark.security("S45")
def test_nobody_sets_the_source_and_labels_stay_whoever_writes(database: Database) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}
    author = Author.for_viewer(VIEWERS["a system"], "api", clock.now(), "")
    with database.begin() as tx:
        made = reach.accepted(tx, author, None, {**_TASK, "meta": {"source": "urn:forged", "security": [label]}})
        assert made["meta"] == {"security": [label]}
        kept = reach.accepted(tx, author, made, dict(_TASK))
        assert kept["meta"] == {"security": [label]}


@pytest.mark.parametrize("right", "cruds")
def test_what_is_free_is_told_of_each_sight_for_itself(right: str) -> None:
    free, filtered = VIEWERS["a system"], VIEWERS["a system with a filter"]
    assert reach.is_free(open_viewer(), right, "Task")
    assert reach.is_free(free, right, "Task")
    assert not reach.is_free(filtered, right, "Task")
    assert not reach.is_free(VIEWERS["a system of one type"], right, "Goal")
    assert not reach.is_free(free.having(patient="ann"), right, "Task")
    assert not reach.is_free(VIEWERS["a system for one patient"], right, "Task")
