"""Bodies are read strictly and written as they were (https://hl7.org/fhir/R4/json.html)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect, TooLarge
from fhir_tracker.fhir.body import read_json, read_resource, with_meta, write_json
from fhir_tracker.fhir.json_types import Exact

REFUSED = {
    "nothing": b"",
    "not JSON": b"{'a': 1}",
    "text after the value": b'{"a":1}x',
    "NaN": b'{"a":NaN}',
    "Infinity": b"[Infinity]",
    "minus Infinity": b"[-Infinity]",
    "1e400": b"[1e400]",
    "an exponent of 5000 digits": b"[1e" + b"9" * 5000 + b"]",
    "an integer of 5000 digits": b"[" + b"9" * 5000 + b"]",
    "a fraction of 5000 digits": b"[0." + b"9" * 5000 + b"]",
    "a lone high surrogate": b'{"a":"\\ud800"}',
    "a lone low surrogate": b'{"a":"\\uDC00x"}',
    "a lone surrogate in a key": b'{"\\ud800":1}',
    "an encoded surrogate": b'"\xed\xa0\x80"',
    "U+0000 escaped": b'"a\\u0000b"',
    "U+0000 raw": b'"a\x00b"',
    "a raw control character": b'"a\nb"',
    "bad UTF-8": b'"\xff"',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a repeated key": b'{"a":1,"a":1}',
    "a repeated key deep inside": b'[{"b":{"a":1,"c":2,"a":3}}]',
    "a repeated key written with escapes": b'{"a":1,"\\u0061":2}',
    "65 arrays": b"[" * 65 + b"]" * 65,
    "65 objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "100,000 open arrays": b"[" * 100_000,
    "100,000 arrays": b"[" * 100_000 + b"]" * 100_000,
    "depth hidden behind closing brackets in strings": b'["]]]]]]",' * 70 + b"1" + b"]" * 70,
    "depth hidden behind escaped quotes": b'["\\"]]]]]",' * 70 + b"1" + b"]" * 70,
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED.keys())
def test_a_hostile_body_is_refused(raw: bytes) -> None:
    with pytest.raises(Incorrect) as caught:
        read_json(raw)
    assert caught.value.issues


def test_a_body_over_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        read_json(b'"' + b"x" * 100 + b'"', max_bytes=100)


def test_the_place_of_a_bad_character_is_named() -> None:
    with pytest.raises(Incorrect) as caught:
        read_json(b'{"name":[{"given":["x\\u0000"]}]}')
    assert caught.value.issues[0].expression == "name[0].given[0]"


def test_64_levels_are_read_and_brackets_in_strings_do_not_count() -> None:
    assert read_json(b"[" * 64 + b"]" * 64)
    assert read_json(b'{"a":"' + b"[{" * 500 + b'"}') == {"a": "[{" * 500}
    assert read_json(b'{"a":"\\"' + b"[{" * 500 + b'\\\\"}') == {"a": '"' + "[{" * 500 + "\\"}


def test_a_surrogate_pair_is_one_character() -> None:
    assert read_json(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    "text", ["1.00", "1.50e3", "-0", "-0.0", "1E5", "0.1e-7", "12345678901234567890", "3.141592653589793238462643"]
)
def test_numbers_are_written_with_the_digits_they_were_read_with(text: str) -> None:
    assert write_json(read_json(f'{{"value":{text}}}'.encode())) == f'{{"value":{text}}}'


def test_fractions_compare_as_decimals() -> None:
    assert read_json(b"[1.00]") == [Exact("1")]
    assert read_json(b"[3]") == [3]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
    | st.decimals(allow_nan=False, allow_infinity=False, places=4).map(lambda value: Exact(f"{value:f}")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('abc_"\\[]{}é\U0001f600'), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_reads_back_equal_and_writes_the_same(value: object) -> None:
    text = write_json(value)
    again = read_json(text.encode())
    assert again == value
    assert write_json(again) == text


@given(st.binary(max_size=200) | st.text('[]{}",:\\u0 1e-.').map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        value = read_json(raw)
    except Incorrect:
        return
    assert read_json(write_json(value).encode()) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'"Task"',
        b"null",
        b"{}",
        b'{"resourceType":5}',
        b'{"resourceType":"Nope"}',
        b'{"resourceType":"Resource"}',
    ],
)
def test_a_resource_is_an_object_of_a_known_type(raw: bytes) -> None:
    with pytest.raises(Incorrect):
        read_resource(raw)


def test_meta_is_set_right_after_the_type_and_the_rest_is_kept() -> None:
    raw = (
        b'{"status":"draft","meta":{"lastUpdated":"x","tag":[{"code":"t"}],"versionId":"9"},"id":"old",'
        b'"resourceType":"Task","v":1.00}'
    )
    moment = datetime(2024, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    resource = read_resource(raw)
    stamped = with_meta(resource, id="new", version="3", last_updated=moment, source="http://x")
    assert write_json(stamped) == (
        '{"resourceType":"Task","id":"new","meta":{"versionId":"3","lastUpdated":"2024-03-01T10:00:00.123Z",'
        '"tag":[{"code":"t"}],"source":"http://x"},"status":"draft","v":1.00}'
    )
    assert resource["id"] == "old"


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        with_meta({"resourceType": "Task"}, id="a", version="1", last_updated=datetime(2024, 1, 1))  # noqa: DTZ001
    assert with_meta({"resourceType": "Task"}, id="a", version="1", last_updated=datetime(2024, 1, 1, tzinfo=UTC))
