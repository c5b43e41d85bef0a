"""A query that we write is the one that the standard library writes, and is read back as what it was."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fhir.query_text import query_text

SAFES = ("", ":/,$")
TEXTS = (
    "", "status", "_count", "-authored-on", "~.", "Patient/ann", "urn:x|1", "a b", "a+b", "100%", "a&b=c", "é", "日本", "\n", "a,b$c",
    "$", "^", "]", "[", "\\", "date:missing", "%20", "code-value-quantity", "_has:Task:patient:code", "😀", "\x7f",
    "Ä" * 50, "a" * 9000,
)  # fmt: skip


@pytest.mark.parametrize("safe", SAFES)
def test_each_text_is_written_as_the_standard_library_does(safe: str) -> None:
    for name in TEXTS:
        for value in TEXTS:
            assert query_text([(name, value)], safe) == urlencode([(name, value)], safe=safe)
    assert query_text((), safe) == ""


@given(pairs=st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))))
@pytest.mark.parametrize("safe", SAFES)
def test_any_pairs_are_written_so_and_read_back(safe: str, pairs: list[tuple[str, str]]) -> None:
    written = query_text(pairs, safe)
    assert written == urlencode(pairs, safe=safe)
    assert parse_qsl(written, keep_blank_values=True, max_num_fields=1000) == pairs
    assert written.isascii()


def test_what_no_address_can_hold_is_refused_as_there() -> None:
    for safe in SAFES:
        with pytest.raises(UnicodeEncodeError):
            query_text([("a", "\ud800")], safe)
