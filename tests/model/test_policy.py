"""What a person with several roles may see and do, worked out from the roles."""

from __future__ import annotations

import pytest

from fhir_tracker.model.grants import parse_scope
from fhir_tracker.model.policy import ACTS, Policy, covers, policy_of
from fhir_tracker.model.sight import EVERYTHING


def _policy(*rights: str, hide: dict[str, set[str]] | None = None, **more: object) -> Policy:
    grants = tuple(grant for one in rights if (grant := parse_scope(f"user/{one}")))
    assert len(grants) == len(rights)
    hidden = {type_: frozenset(paths) for type_, paths in (hide or {}).items()}
    return Policy(grants=grants, hidden=hidden, **more)  # type: ignore[arg-type]


def test_the_acts_are_those_that_a_viewer_without_limits_has() -> None:
    assert frozenset(ACTS) == EVERYTHING.acts


@pytest.mark.security("S48")
@pytest.mark.parametrize("roles", [(), ("stranger",), ("",)])
def test_no_role_and_an_unknown_role_give_nothing(roles: tuple[str, ...]) -> None:
    found = policy_of(roles, {"rn": _policy("Task.cruds", acts=frozenset({"task"}))})
    assert (found.grants, found.acts, found.hidden) == ((), frozenset(), {})


def test_rights_and_acts_of_roles_add_up() -> None:
    defined = {
        "a": _policy("Task.rs", acts=frozenset({"task"})),
        "b": _policy("Flag.rs", "Task.u", acts=frozenset({"queue"})),
    }
    found = policy_of(("b", "a"), defined)
    assert {grant.text for grant in found.grants} == {"user/Task.rs", "user/Flag.rs", "user/Task.u"}
    assert found.acts == {"task", "queue"}


@pytest.mark.security("A3")
@pytest.mark.parametrize(
    ("one", "other", "hidden"),
    [
        # Both hide it.
        (_policy("Task.rs", hide={"Task": {"note", "input"}}), _policy("Task.rs", hide={"Task": {"note"}}), {"note"}),
        # The other shows it.
        (_policy("Task.rs", hide={"Task": {"note"}}), _policy("Task.rs"), set()),
        # The other may not read the type at all, so it shows nothing of it.
        (_policy("Task.rs", hide={"Task": {"note"}}), _policy("Flag.rs"), {"note"}),
        # The other may write it and not read it.
        (_policy("Task.rs", hide={"Task": {"note"}}), _policy("Task.cu"), {"note"}),
        # The other shows it of some resources only.
        (_policy("Task.rs", hide={"Task": {"note"}}), _policy("Task.rs?status=ready"), {"note"}),
        # One hides the whole, the other a part: the part is hidden by both.
        (
            _policy("Task.rs", hide={"Task": {"input"}}),
            _policy("Task.rs", hide={"Task": {"input.value[x]"}}),
            {"input.value[x]"},
        ),
        # A right on every type is one on this.
        (_policy("Task.rs", hide={"Task": {"note"}}), _policy("*.rs"), set()),
    ],
)
def test_a_field_is_hidden_when_every_role_that_reads_its_type_hides_it(
    one: Policy, other: Policy, hidden: set[str]
) -> None:
    for roles in ({"a": one, "b": other}, {"a": other, "b": one}):
        assert policy_of(("a", "b"), roles).hidden.get("Task", frozenset()) == hidden


def test_a_field_is_fixed_when_every_role_that_writes_its_type_fixes_it() -> None:
    fixing = Policy(grants=_policy("Task.cu").grants, fixed={"Task": frozenset({"owner"})})
    reading, writing = _policy("Task.rs"), _policy("Task.u")
    assert policy_of(("a", "b"), {"a": fixing, "b": reading}).fixed == {"Task": frozenset({"owner"})}
    assert policy_of(("a", "b"), {"a": fixing, "b": writing}).fixed == {}


def test_a_limit_of_one_role_is_not_lifted_by_another_without_one() -> None:
    limited, free = _policy("Task.rs", programs=frozenset({"tcm"})), _policy("Flag.rs")
    also = _policy("Task.rs", programs=frozenset({"ccm"}), locations=frozenset({"Location/north"}))
    assert policy_of(("a", "b"), {"a": limited, "b": free}).programs == frozenset({"tcm"})
    both = policy_of(("a", "b"), {"a": limited, "b": also})
    assert both.programs == frozenset({"tcm", "ccm"})
    assert both.locations == frozenset({"Location/north"})
    assert policy_of(("b",), {"b": free}).programs is None


def test_policies_of_the_same_words_are_equal_and_hash_alike() -> None:
    one, same = _policy("Task.rs", hide={"Task": {"note"}}), _policy("Task.rs", hide={"Task": {"note"}})
    assert one == same
    assert hash(one) == hash(same)
    assert one != _policy("Task.rs")


@pytest.mark.parametrize(
    ("path", "inner", "holds"),
    [("note", "note", True), ("note", "note.text", True), ("note", "notes", False), ("note.text", "note", False)],
)
def test_an_element_covers_itself_and_what_is_in_it(path: str, inner: str, holds: bool) -> None:
    assert covers(path, inner) is holds
