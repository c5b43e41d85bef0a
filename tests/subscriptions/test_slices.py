from __future__ import annotations

import pytest

from subscriptions.slices import items, members


@pytest.mark.parametrize("inside", ["1.00", '"\\ud800"', "NaN", '{"b": [1, {"c": "}"}]}', "null", '"\\u00e9é"'])
def test_values_are_cut_out_to_the_letter_whatever_is_inside(inside: str) -> None:
    assert members(f' {{ "a" : {inside} , "b":2}} '.encode()) == {"a": inside.encode(), "b": b"2"}
    assert items(f" [ {inside} ,2] ".encode()) == [inside.encode(), b"2"]


def test_broken_utf8_stays_inside_its_value() -> None:
    assert items(b'["\xff", NaN]') == [b'"\xff"', b"NaN"]


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,}', b"{1:2}", b"[]", b"{} x", b"7"])
def test_what_is_no_complete_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        members(raw)


@pytest.mark.parametrize("raw", [b"", b"[", b"[1", b"[1,", b"[1 2]", b"{}", b"[] []", b"[" * 100_000])
def test_what_is_no_complete_array_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        items(raw)


def test_an_empty_one_is_empty() -> None:
    assert members(b" {} ") == {}
    assert items(b"[ ]") == []
