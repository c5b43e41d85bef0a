"""What is valid JSON reads as Python's own reader reads it; what is spoiled by a byte is read the same or refused.

https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect, TooLarge
from fhir_tracker.fhir.body import MAX_DEPTH, MAX_DIGITS, read_json, read_resource, with_meta, write_json
from fhir_tracker.fhir.dates import from_milliseconds
from fhir_tracker.fhir.identity import content_hash
from fhir_tracker.fhir.json_types import Json, kind
from tests.fhir.examples import FOLDER, example_names, examples

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(-1e300, 1e300).filter(lambda number: number == 0 or abs(number) > 1e-290)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=25,
)
FORMS: list[Callable[[Any], str]] = [
    lambda value: json.dumps(value),
    lambda value: json.dumps(value, ensure_ascii=False),
    lambda value: json.dumps(value, indent="\t"),
    lambda value: " \r\n" + json.dumps(value, separators=(" , ", " : ")) + "\n ",
]
TREES = [
    *('{"a":[1,2.50,{"b":"\\u00e9\\n"}],"c":null}', '["\\ud83d\\ude00",true,false,-0.0,1E5]'),
    *('{"resourceType":"Task","status":"draft","x":{"y":[[],{}]}}', '"plain"', "12.300", "[1,[2,[3,[4]]]]"),
]


def theirs(raw: bytes) -> Json:
    return json.loads(raw.decode(), parse_float=Decimal)


@given(PLAIN, st.sampled_from(FORMS))
def test_valid_json_reads_as_others_read_it(value: Json, form: Callable[[Any], str]) -> None:
    raw = form(value).encode()
    assert read_json(raw) == theirs(raw)


@given(PLAIN)
def test_what_is_written_others_read_equal(value: Json) -> None:
    read = read_json(json.dumps(value).encode())
    assert theirs(write_json(read).encode()) == theirs(json.dumps(value).encode())


@given(
    st.sampled_from(TREES),
    st.integers(0, 70),
    st.sampled_from([b"", b'"', b"{", b"]", b",", b"0", b"\\", b"e", b"\xff"]),
)
@example('{"a":1}', 1, b'"')
def test_a_byte_put_in_is_read_as_others_read_it_or_refused(text: str, at: int, put: bytes) -> None:
    whole = text.encode()
    for raw in (whole[:at] + put + whole[at:], whole[:at] + put + whole[at + 1 :], whole[:at]):
        assert_read_or_refused(raw)


@given(st.binary(max_size=60) | st.text('[]{}",:\\u0d8 1e-.truefalsn', max_size=60).map(str.encode))
def test_any_bytes_are_read_as_others_read_them_or_refused(raw: bytes) -> None:
    assert_read_or_refused(raw)


def assert_read_or_refused(raw: bytes) -> None:
    try:
        value = read_json(raw)
    except Incorrect:
        return
    assert value == theirs(raw)


@pytest.mark.parametrize("name", example_names())
def test_an_official_example_reads_as_others_read_it_and_is_written_with_its_digits(name: str) -> None:
    raw = (FOLDER / f"{name}.json").read_bytes()
    value = read_resource(raw)
    assert value == theirs(raw)
    written = write_json(value)
    assert theirs(written.encode()) == value
    assert list(json.loads(written)) == list(json.loads(raw))
    assert digits(written) == digits(raw.decode())


def digits(text: str) -> list[str]:
    """Every number of a JSON text as it is written there."""
    found: list[str] = []

    def note(number: str) -> str:
        found.append(number)
        return number

    json.loads(text, parse_float=note, parse_int=note)
    return found


@pytest.mark.parametrize(
    "number", ["0", "-0", "1", "1.0", "1.00", "1e2", "1E+2", "1.5e-3", "100", "0.000", "1234567890.123"]
)
def test_a_number_keeps_its_digits_and_counts_in_the_hash(number: str) -> None:
    text = f'{{"resourceType":"Basic","x":{number}}}'
    value = read_json(text.encode())
    assert write_json(value) == text
    assert content_hash(value) == content_hash(read_json(text.encode()))
    assert (content_hash(value) == content_hash(read_json(b'{"resourceType":"Basic","x":1}'))) == (number == "1")


@pytest.mark.parametrize("depth", [1, 2, MAX_DEPTH - 1, MAX_DEPTH])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_depth_is_counted_from_the_outside(depth: int, pair: str) -> None:
    opening = "[" if pair == "[]" else '{"a":'
    nested = opening * (depth - 1) + pair + pair[1] * (depth - 1)
    assert read_json(nested.encode()) is not None
    with pytest.raises(Incorrect, match="nested"):
        read_json(nested.encode(), max_depth=depth - 1)


@pytest.mark.parametrize("length", [MAX_DIGITS - 1, MAX_DIGITS, MAX_DIGITS + 1])
@pytest.mark.parametrize("form", ["{}", "-{}", "0.{}", "{}.5", "{}e1"])
def test_a_number_has_so_many_characters_and_no_more(length: int, form: str) -> None:
    number = form.format("1" * (length - len(form.format(""))))
    assert len(number) == length
    if length <= MAX_DIGITS:
        assert write_json(read_json(f"[{number}]".encode())) == f"[{number}]"
    else:
        with pytest.raises(Incorrect, match="digits"):
            read_json(f"[{number}]".encode())


@pytest.mark.parametrize("size", [0, 1, 10, 100])
def test_the_limit_is_of_bytes_not_of_characters(size: int) -> None:
    raw = ('"' + "é" * size + '"').encode()
    assert read_json(raw, max_bytes=len(raw)) == "é" * size
    with pytest.raises(TooLarge):
        read_json(raw, max_bytes=len(raw) - 1)


@given(st.dictionaries(TEXTS.filter(lambda name: name not in {"resourceType", "id", "meta"}), PLAIN, max_size=5))
def test_stamping_moves_id_and_meta_to_the_front_and_touches_nothing_else(members: dict[str, Json]) -> None:
    resource = {"resourceType": "Basic"} | {
        name: read_json(json.dumps(value).encode()) for name, value in members.items()
    }
    stamped = with_meta(resource, id="x", version="2", last_updated=from_milliseconds(0))
    assert list(stamped)[:3] == ["resourceType", "id", "meta"]
    assert {name: stamped[name] for name in members} == {name: resource[name] for name in members}
    assert stamped["meta"] == {"versionId": "2", "lastUpdated": "1970-01-01T00:00:00.000Z"}
    assert content_hash(stamped) == content_hash(resource | {"id": "x"})


def test_stamping_twice_is_stamping_once() -> None:
    for resource in examples():
        once = with_meta(resource, id="x", version="2", last_updated=from_milliseconds(0), source="urn:s")
        assert with_meta(once, id="x", version="2", last_updated=from_milliseconds(0)) == once


@pytest.mark.parametrize(
    ("value", "named"),
    [({}, "an object"), ([], "an array"), ("", "a string"), (True, "a boolean"), (1, "a number"), (None, "null")],
)
def test_a_message_names_the_kind_of_a_value(value: Json, named: str) -> None:
    assert kind(value) == named
    assert kind(Decimal("1.5")) == kind(1.5) == "a number"
