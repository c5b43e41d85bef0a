"""Scopes: which are understood, what they let do, and what two of them have in common."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.model.grants import RIGHTS, Grant, grants_of, narrowed, parse_scope
from fhir_tracker.model.policy import Policy
from fhir_tracker.model.sight import EVERYTHING, FREE, NOTHING, Way, sight_of


@pytest.mark.requirement(83, 85)
@pytest.mark.parametrize(
    ("text", "rights"),
    [
        ("system/Task.read", "rs"),
        ("user/Task.write", "cud"),
        ("patient/Task.*", "cruds"),
        ("system/*.cruds", "cruds"),
        ("system/*.rs", "rs"),
        ("user/Patient.s", "s"),
        ("user/Patient.cd", "cd"),
    ],
)
def test_scopes_of_both_versions_are_understood(text: str, rights: str) -> None:
    grant = parse_scope(text)
    assert grant is not None
    assert grant.rights == frozenset(rights)
    assert grant.filters == ()


@pytest.mark.requirement(84)
def test_a_query_becomes_filters() -> None:
    grant = parse_scope("patient/Observation.rs?category=http://example.org/c|laboratory&status=final,amended")
    assert grant is not None
    assert grant.filters == (("category", "http://example.org/c|laboratory"), ("status", "final,amended"))
    assert parse_scope("system/Task.r?code=a%20b") == Grant("system", "Task", frozenset("r"), (("code", "a b"),))


@pytest.mark.security("S9", "S48")
@pytest.mark.requirement(83)
@pytest.mark.parametrize(
    "text",
    [
        "", "system", "system/", "system/Task", "system/Task.", "system/Task.sr", "system/Task.rr", "system/Task.x",
        "system/Task.READ", "System/Task.r", "system/task.r", "system/Nothing.r", "system/Resource.rs", "admin/Task.r",
        "system/Task.rs?", "system/Task.rs?status", "system/Task.rs?status=", "system/Task.rs?=x", "system/Task.rs?a=b&",
        "system/Task.read?status=x", "system/Task.*?status=x", "system/**.rs", "system/Ta*.rs", "system/Task.rs\n",
        " system/Task.rs", "system/Task.rs system/*.rs", "system/Task.rs#x", "system/Task.rs?a=b?c=d", "system/../Task.rs",
        "system/Task.rs%3Fstatus=x", "ſystem/Task.rs", "system/Task.ｒｓ", "system/Task.rs?" + "a=b&" * 999 + "a=b",
    ],
)  # fmt: skip
def test_what_is_malformed_or_unknown_gives_nothing(text: str) -> None:
    assert parse_scope(text) is None
    assert grants_of([text, "openid", "launch/patient"]) == ()


@pytest.mark.requirement(105)
@pytest.mark.parametrize(
    ("asked", "held", "given"),
    [
        ("system/Task.rs", "system/*.cruds", "system/Task.rs"),
        ("system/*.rs", "system/Task.rs system/Patient.r", "system/Task.rs system/Patient.r"),
        ("system/Task.cruds", "system/Task.rs", "system/Task.rs"),
        ("system/Task.read", "system/Task.cruds", "system/Task.read"),
        ("system/Task.write", "system/Task.u", "system/Task.u"),
        ("system/*.*", "system/*.read", "system/*.read"),
        ("system/*.read", "system/Task.cruds system/Patient.rs", "system/Task.read system/Patient.read"),
        ("system/*.*", "system/Task.* system/Patient.rs", "system/Task.* system/Patient.read"),
        ("system/*.write", "system/Task.cud system/Patient.c", "system/Task.write system/Patient.c"),
        ("system/*.read", "system/Task.r", "system/Task.r"),
        ("system/*.read", "system/Task.rs?status=a", "system/Task.rs?status=a"),
        ("system/*.rs", "system/Task.read", "system/Task.rs"),
        ("system/Task.rs", "system/Task.rs?status=requested", "system/Task.rs?status=requested"),
        ("system/Task.rs?code=x", "system/Task.rs?status=a", "system/Task.rs?code=x&status=a"),
        ("system/Task.rs?code=x", "system/Task.rs", "system/Task.rs?code=x"),
        ("user/Task.rs", "system/Task.rs", ""),
        ("system/Task.rs", "", ""),
        ("system/Task.c", "system/Task.rs", ""),
        ("openid fhirUser launch", "openid system/*.rs", "openid"),
        ("system/Task.sr", "system/Task.sr", ""),
        ("system/Task.rs system/Task.rs", "system/*.rs", "system/Task.rs"),
    ],
)
def test_what_is_asked_is_reduced_to_what_is_held(asked: str, held: str, given: str) -> None:
    assert " ".join(narrowed(asked, held.split())) == given


TYPES = ("Task", "Patient", "Observation")
FILTERS = (("status", "a"), ("code", "x"), ("status", "b"))
GRANTS = st.builds(
    Grant,
    st.sampled_from(("patient", "user", "system")),
    st.sampled_from((*TYPES, "*")),
    st.frozensets(st.sampled_from(RIGHTS), min_size=1),
    st.lists(st.sampled_from(FILTERS), max_size=2, unique=True).map(tuple),
)
SOME = st.lists(GRANTS, max_size=5)


@given(GRANTS)
def test_the_text_of_a_grant_is_read_back_as_the_same(grant: Grant) -> None:
    assert parse_scope(grant.text) == grant


Row = tuple[str, bool, frozenset[tuple[str, str]]]
ROWS = st.tuples(st.sampled_from(TYPES), st.booleans(), st.frozensets(st.sampled_from(FILTERS)))


def reaches(grants: list[Grant], right: str, row: Row, *, levels: bool = False, patient: str | None = "p") -> bool:
    """The same from the words of the specification: one grant that names the type, the right and what the row has."""
    type_, is_own, has = row
    return any(
        right in one.rights
        and one.type in {"*", type_}
        and set(one.filters) <= has
        and (levels or one.level != "patient" or (is_own and patient is not None))
        for one in grants
    )


def sees(ways: tuple[Way, ...], row: Row) -> bool:
    return any((way.patient is None or row[1]) and set(way.filters) <= row[2] for way in ways)


@given(SOME, SOME, st.sampled_from(RIGHTS), ROWS)
def test_nothing_is_reached_by_a_narrowed_scope_that_both_do_not_reach(
    asked: list[Grant], held: list[Grant], right: str, row: Row
) -> None:
    for level in ("patient", "user", "system"):
        ones, others = ([one for one in some if one.level == level] for some in (asked, held))
        given = grants_of(narrowed(" ".join(one.text for one in ones), [one.text for one in others]))
        expected = reaches(ones, right, row, levels=True) and reaches(others, right, row, levels=True)
        assert reaches(list(given), right, row, levels=True) == expected
        assert all(one.level == level for one in given)


def allowing(grants: list[Grant]) -> Policy:
    """A policy of grants and a few other things."""
    hidden = {"Task": frozenset({"note"}), "*": frozenset({"text"})}
    return Policy(grants=tuple(grants), hidden=hidden, acts=frozenset({"queue"}))


@given(SOME, SOME, st.sampled_from(RIGHTS), ROWS, st.sampled_from([None, "p"]))
def test_a_sight_reaches_what_scopes_and_policy_both_reach(
    scopes: list[Grant], policy: list[Grant], right: str, row: Row, patient: str | None
) -> None:
    alone = sight_of(tuple(scopes), None, patient)
    assert sees(alone.ways(right, row[0]), row) == reaches(scopes, right, row, patient=patient)
    both = sight_of(tuple(scopes), allowing(policy), patient)
    expected = reaches(scopes, right, row, patient=patient) and reaches(policy, right, row, patient=patient)
    assert sees(both.ways(right, row[0]), row) == expected
    assert both.may(right, row[0]) or not expected
    role = sight_of(None, allowing(policy), patient)
    assert sees(role.ways(right, row[0]), row) == reaches(policy, right, row, patient=patient)


def test_a_sight_is_the_same_for_the_same_scopes() -> None:
    grants = grants_of(["system/Task.rs", "patient/*.rs"])
    assert sight_of(grants, None, "p") is sight_of(grants, None, "p")
    assert sight_of(grants, None, "p") is not sight_of(grants, None, "q")
    assert sight_of(None, None, None) is EVERYTHING


@pytest.mark.security("S48", "S9")
def test_no_grants_are_nothing_and_not_everything() -> None:
    empty = sight_of((), None, None)
    assert not any(empty.may(right, type_) for right in RIGHTS for type_ in TYPES)
    assert not any(NOTHING.may(right, type_) for right in RIGHTS for type_ in TYPES)
    assert all(EVERYTHING.ways(right, type_) == FREE for right in RIGHTS for type_ in TYPES)
    assert not EVERYTHING.may("r", "NoSuchType")
    assert not EVERYTHING.may("x", "Task")
    assert not empty.acts


def test_fields_and_acts_come_from_the_policy() -> None:
    sight = sight_of(None, allowing([]), None)
    assert sight.hidden("Task") == {"note", "text"}
    assert sight.hidden("Patient") == {"text"}
    assert sight.acts == {"queue"}
    assert not sight.is_bounded


def test_whole_is_what_leads_to_everything() -> None:
    assert EVERYTHING.is_whole("r")
    assert not NOTHING.is_whole("r")
    readers = sight_of(grants_of(["system/*.rs"]), None, None)
    assert [right for right in RIGHTS if readers.is_whole(right)] == ["r", "s"]
    named = sight_of(grants_of(["system/*.rs", "system/Task.rs?status=x"]), None, None)
    assert named.is_whole("s")
    assert not sight_of(grants_of(["patient/*.rs"]), None, "p").is_whole("r")
    assert not sight_of(grants_of(["system/*.rs?status=x"]), None, None).is_whole("r")
    bounded = Policy(grants=grants_of(["user/*.cruds"]), programs=frozenset({"tcm"}))
    assert not sight_of(None, bounded, None).is_whole("r")
    assert not sight_of(grants_of(["system/*.rs"]), Policy(grants=grants_of(["user/Task.rs"])), None).is_whole("r")
