"""Files of roles: what they say, and what is told of wrong ones."""

from __future__ import annotations

import pytest

from fhir_tracker.errors import Incorrect
from fhir_tracker.roles import built_in, shipped
from fhir_tracker.rules.role_file import LISTED, MOST_ROLES, OF_WORK, path_problem, read_roles

_CLINICAL = (
    "Observation",
    "Condition",
    "DocumentReference",
    "QuestionnaireResponse",
    "CarePlan",
    "Encounter",
    "Binary",
)


def _file(row: str) -> str:
    return f"roles:\n  - {row}\n"


def test_a_file_says_rights_fields_acts_and_limits() -> None:
    text = """
roles:
  - role: night-nurse
    title: Night nurse
    means: Answers what comes in at night
    may: [[Task.cruds, Patient.rs], "Task.rs?status=requested"]
    hide: {Task: [note, "input.value[x]"]}
    fix: {Task: [owner]}
    acts: [queue, [task]]
    programs: [tcm]
    locations: [Location/north]
"""
    found = read_roles(text)["night-nurse"]
    assert [grant.text for grant in found.grants] == [
        "user/Task.cruds",
        "user/Patient.rs",
        "user/Task.rs?status=requested",
    ]
    assert found.hidden == {"Task": {"note", "input.value[x]"}}
    assert found.fixed == {"Task": {"owner"}}
    assert found.acts == {"queue", "task"}
    assert found.programs == frozenset({"tcm"})
    assert found.locations == frozenset({"Location/north"})
    assert (found.title, found.means) == ("Night nurse", "Answers what comes in at night")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{role: a, may: [Tasks.rs]}", 'line 2, column 21: "Tasks.rs" names no resource type (did you mean "Task"?)'),
        ("{role: a, may: [Task.sr]}", '"Task.sr" is no right: write a type and letters of cruds in this order'),
        ("{role: a, may: [Task]}", '"Task" is no right'),
        ("{role: a, may: [Task.]}", '"Task." is no right'),
        ("{role: a, may: [user/Task.rs]}", "names no resource type"),
        ("{role: a, may: ['Task.rs?stats=x']}", 'Task has no search parameter "stats" (did you mean "status"?)'),
        ("{role: a, may: ['*.rs?status=x']}", 'has no search parameter "status"'),
        ("{role: a, may: [Task.rs], acts: [shred]}", 'unknown act "shred"'),
        ("{role: a, may: [Task.rs], hide: {Tsk: [note]}}", '"Tsk" is no resource type (did you mean "Task"?)'),
        ("{role: a, may: [Task.rs], hide: {Task: [nte]}}", 'Task has no element "nte": there is no "nte"'),
        ("{role: a, may: [Task.rs], hide: {Task: [note.txt]}}", 'there is no "txt"'),
        ("{role: a, may: [Task.rs], hide: {Task: [input.valueString]}}", 'there is no "valueString"'),
        ("{role: a, may: [Task.rs], hide: {Task: [id]}}", '"id" is shown of every resource'),
        ("{role: a, may: [Task.rs], hide: {Task: [meta.tag]}}", '"meta.tag" is shown of every resource'),
        ("{role: a, may: [Task.rs], hide: [note]}", "must be a mapping"),
        ("{role: a, may: [Task.rs], locations: [north]}", '"north" is no place: write Location/id'),
        ("{role: a}", '"may" is missing'),
        ("{role: A b, may: [Task.rs]}", "is not a code"),
        ("{role: system, may: ['*.cruds']}", "stands for the tracker itself"),
        ("{role: a, may: [Task.rs], grants: [x]}", 'unknown key "grants"'),
    ],
)
def test_a_wrong_file_is_told_with_its_place(row: str, told: str) -> None:
    with pytest.raises(Incorrect) as caught:
        read_roles(_file(row))
    messages = [issue.message for issue in caught.value.issues]
    assert any(told in one for one in messages), messages
    assert all(one.startswith("line ") for one in messages)


@pytest.mark.parametrize("text", ["", "roles: []", "[]", "roles: {a: b}", "roles: &x [*x]", "x: 1", "roles:\n\t- a"])
def test_a_text_that_is_no_file_of_roles_is_refused(text: str) -> None:
    with pytest.raises(Incorrect):
        read_roles(text)


def test_a_role_given_twice_and_too_many_roles_are_refused() -> None:
    with pytest.raises(Incorrect, match="1 problem"):
        read_roles("roles:\n  - {role: a, may: [Task.rs]}\n  - {role: a, may: [Flag.rs]}\n")
    rows = "".join(f"  - {{role: r{at}, may: [Task.rs]}}\n" for at in range(MOST_ROLES + 1))
    with pytest.raises(Incorrect):
        read_roles(f"roles:\n{rows}")


@pytest.mark.parametrize(
    "path", ["note", "note.text", "input", "input.value[x]", "restriction.period.end", "code.coding.display"]
)
def test_an_element_may_lie_deep(path: str) -> None:
    assert path_problem("Task", path) == ""


def test_six_roles_come_with_the_product() -> None:
    assert list(built_in()) == ["rn", "care-coordinator", "provider", "front-desk", "clinic-admin", "auditor"]
    assert read_roles(shipped()) == built_in()
    assert all(policy.title and policy.means for policy in built_in().values())


@pytest.mark.security("A3", "S40")
def test_the_front_desk_reads_no_chart_and_only_its_own_tasks() -> None:
    desk = built_in()["front-desk"]
    assert not [type_ for type_ in _CLINICAL if desk.granting(type_, frozenset("cruds"))]
    assert all(grant.filters for grant in desk.granting("Task", frozenset("cruds")))
    assert {"note", "reasonCode", "input", "output"} <= desk.hidden["Task"]
    assert desk.acts == {"queue", "patient", "task"}


@pytest.mark.security("B3")
def test_only_the_auditor_reads_the_audit_trail_and_nobody_writes_it() -> None:
    reading = [role for role, policy in built_in().items() if policy.granting("AuditEvent", frozenset("rs"))]
    assert reading == ["auditor"]
    assert [role for role, policy in built_in().items() if "audit" in policy.acts] == ["auditor"]
    assert not [role for role, policy in built_in().items() if policy.granting("AuditEvent", frozenset("cud"))]


def test_auditors_change_nothing_and_see_no_clinical_content() -> None:
    auditor = built_in()["auditor"]
    assert not [grant for grant in auditor.grants if grant.rights & frozenset("cud")]
    assert not [type_ for type_ in (*_CLINICAL, "Task", "Communication") if auditor.granting(type_, frozenset("rs"))]


def test_no_built_in_role_deletes_clinical_work_or_has_every_type() -> None:
    for role, policy in built_in().items():
        deleting = {grant.type for grant in policy.grants if "d" in grant.rights}
        assert deleting <= {"Subscription"}, role
        assert "*" not in {grant.type for grant in policy.grants}


@pytest.mark.security("A3")
@pytest.mark.parametrize("act", sorted(OF_WORK))
def test_what_lists_of_work_are_made_of_is_hidden_from_nobody_who_opens_them(act: str) -> None:
    """A rule that the pages would not keep is refused, rather than half kept."""
    for path in [*sorted(LISTED), "code.text", "restriction.period"]:
        text = f"roles: [{{role: a, may: [Task.rs], hide: {{Task: [note, {path}]}}, acts: [{act}]}}]"
        with pytest.raises(Incorrect) as caught:
            read_roles(text)
        (told,) = [one.message for one in caught.value.issues]
        assert f'"{path}" is what lists of work are made of' in told
        assert path in read_roles(text, is_kept=True)["a"].hidden["Task"], "a file that counts already goes on to count"
        assert read_roles(text.replace(f"[{act}]", "[export]"))["a"].hidden == {"Task": {"note", path}}
    assert read_roles(
        f"roles: [{{role: a, may: [Task.rs], hide: {{Task: [note]}}, fix: {{Task: [owner]}}, acts: [{act}]}}]"
    )
