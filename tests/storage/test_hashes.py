"""The keys of the search index: fixed for ever, apart for what must be told apart, within the column."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.fhir.definitions.registry import value_set
from fhir_tracker.fhir.search_rows import (
    CompositeRow,
    NumberRow,
    QuantityRow,
    ReferenceRow,
    SearchValues,
    StringRow,
    TokenRow,
    UriRow,
)
from fhir_tracker.fhir.search_shortcuts import mostly_there
from fhir_tracker.storage.hashes import (
    absence_key,
    digest,
    parameter_key,
    presence_key,
    reference_key,
    together,
    token_key,
    token_keys,
    uri_key,
)
from fhir_tracker.storage.indexing import LONGEST_TEXT, index_rows, part_keys

STATUS = "http://hl7.org/fhir/task-status"
CODES = sorted(value_set("task-status").get(STATUS, ()))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1f"), max_size=30)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (digest("a"), 2_340_832_890_917_691_671),
        (parameter_key("Task", "code"), 3_500_502_182_244_570_790),
        (token_key("Task", "code", None, "call"), 8_615_157_711_571_430_649),
        (token_key("Task", "code", "http://x", "call"), 42_701_977_781_917_054),
        (token_key("Task", "code", "http://x", None), 5_095_337_465_049_814_892),
        (reference_key("Task", "owner", "Patient/ann"), 8_192_329_760_222_209_891),
        (absence_key("Task", "code"), 3_511_728_283_240_093_619),
        (uri_key("Task", "u", "x"), 6_913_765_576_095_427_288),
        (presence_key("Task", "code"), 7_666_703_652_158_200_210),
        (together(1, 2), 2_177_342_782_468_422_679),
    ],
)
def test_keys_never_change_for_a_stored_index_holds_them(key: int, value: int) -> None:
    assert key == value


def test_what_must_be_told_apart_has_keys_of_its_own() -> None:
    keys = [
        token_key(type_, param, system, code)
        for type_ in ("Task", "Observation")
        for param in ("code", "status")
        for system in (None, "", "http://x", "http://y")
        for code in ("a", "b")
    ]
    keys += [token_key("Task", "code", system, None) for system in ("http://x", "http://y")]
    keys += [presence_key("Task", param) for param in ("code", "status")]
    keys += [uri_key("Task", "code", uri) for uri in ("a", "b", "http://x")]
    keys += [reference_key("Task", param, f"Patient/{id_}") for param in ("patient", "owner") for id_ in ("a", "b")]
    assert len(set(keys)) == len(keys)


@given(parts=st.lists(texts, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_key_fits_its_column_and_is_the_same_every_time(parts: list[str]) -> None:
    key = digest(*parts)
    assert 0 <= key < 2**63
    assert key == digest(*parts)
    assert digest(*parts, "") != key


@given(one=st.integers(0, 2**63 - 1), other=st.integers(0, 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_two_keys_together_fit_the_column_and_their_order_matters(one: int, other: int) -> None:
    assert 0 <= together(one, other) < 2**63
    assert (together(one, other) == together(other, one)) is (one == other)


@pytest.mark.parametrize(
    ("row", "keys"),
    [
        (TokenRow("code", "http://x", "a"), 3),
        (TokenRow("code", None, "a"), 2),
        (TokenRow("status", "http://hl7.org/fhir/task-status", "requested"), 1),
        (ReferenceRow("patient", "Patient", "ann", None), 1),
        (ReferenceRow("patient", None, None, "urn:uuid:1"), 1),
        (ReferenceRow("patient", "Patient", "ann", "http://e/Patient/ann"), 1),
        (ReferenceRow("patient", None, None, None), 0),
        (UriRow("url", "http://x"), 1),
        (QuantityRow("value", None, None, "kg", 1.0, 2.0), 0),
    ],
)
def test_a_value_is_found_by_so_many_keys(row: TokenRow | ReferenceRow | UriRow | QuantityRow, keys: int) -> None:
    found = part_keys("Task", row.param, row)
    assert len(set(found)) == len(found) == keys


def test_an_absolute_reference_is_not_found_as_a_local_one() -> None:
    local = part_keys("Task", "patient", ReferenceRow("patient", "Patient", "ann", None))
    absolute = part_keys("Task", "patient", ReferenceRow("patient", "Patient", "ann", "http://e/Patient/ann"))
    assert not set(local) & set(absolute)


def test_a_reference_to_a_patient_has_one_key_under_a_parameter_and_its_alias_and_no_other_reference_has() -> None:
    for target in ("Patient/ann", "http://e/Patient/ann"):
        assert reference_key("Task", "patient", target) == reference_key("Task", "subject", target)
    for target in ("Group/g", "urn:uuid:1", "OtherPatient/ann"):
        assert reference_key("Task", "patient", target) != reference_key("Task", "subject", target)


@pytest.mark.parametrize(
    ("param", "system", "code", "found"),
    [
        ("status", None, "requested", 1),
        ("status", STATUS, "requested", 1),
        ("status", STATUS, None, 12),
        ("status", "http://x", "requested", 0),
        ("status", "", "requested", 0),
        ("intent", "", "order", 1),
        ("code", "http://x", "a", 0),
    ],
)
def test_a_code_of_a_parameter_with_one_system_is_found_without_it_and_in_it(
    param: str, system: str | None, code: str | None, found: int
) -> None:
    kept = {token_key("Task", param, None, one) for one in (code, *CODES)}
    assert len(kept.intersection(token_keys("Task", param, system, code))) == found


def test_what_is_mostly_there_is_told_by_its_absence_and_the_rest_by_its_presence() -> None:
    code, owner = TokenRow("code", None, "a"), ReferenceRow("owner", "Practitioner", "nurse", None)
    bare = index_rows("Task", SearchValues()).keys
    full = index_rows("Task", SearchValues(tokens=(code,), references=(owner,))).keys
    assert bare == {absence_key("Task", param) for param in mostly_there("Task")}
    assert absence_key("Task", "code") not in full
    assert presence_key("Task", "owner") in full
    assert presence_key("Task", "code") not in full


def test_the_order_of_values_means_nothing_to_the_index() -> None:
    rows = [TokenRow("code", "http://x", "a"), TokenRow("code", None, "b"), TokenRow("status", None, "c")]
    answers = {index_rows("Task", SearchValues(tokens=tuple(order))) for order in permutations(rows)}
    assert len(answers) == 1


def test_strings_are_cut_and_infinite_numbers_kept_finite() -> None:
    long = "x" * (LONGEST_TEXT + 50)
    rows = index_rows(
        "Patient",
        SearchValues(
            strings=(StringRow("name", long, long.upper()),),
            numbers=(NumberRow("n", float("-inf"), float("inf")),),
        ),
    )
    ((_, folded, exact),) = rows.strings
    assert (len(folded), len(exact)) == (LONGEST_TEXT, LONGEST_TEXT)
    ((_, low, high),) = rows.numbers
    assert -1e308 < low < high < 1e308


def test_a_combination_is_found_only_as_a_whole() -> None:
    both = CompositeRow("code-value", (TokenRow("", "http://x", "a"), TokenRow("", None, "b")))
    apart = SearchValues(tokens=(TokenRow("code-value", "http://x", "a"), TokenRow("code-value", None, "b")))
    assert not index_rows("Task", SearchValues(composites=(both,))).keys <= index_rows("Task", apart).keys
