"""Page links: given back as made, and refused when one character is not."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_tracker.errors import Incorrect
from fhir_tracker.storage.page_cursor import PageCursor, SortValue

KEY = b"made-up-key"
values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
)
cursors = st.builds(
    PageCursor,
    query=st.text("0123456789abcdef", min_size=18, max_size=18),
    values=st.lists(values, max_size=4).map(tuple),
    k=st.integers(0, 2**63 - 1),
    back=st.booleans(),
    at=st.integers(0, 2**50),
)


@given(cursor=cursors)
@settings(max_examples=100, deadline=None)
def test_a_link_is_url_safe_and_read_as_it_was_made(cursor: PageCursor) -> None:
    text = cursor.encode(KEY)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", text)
    assert PageCursor.decode(text, KEY) == cursor


@given(cursor=cursors, place=st.integers(0), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_no_bit_of_a_link_can_be_changed(cursor: PageCursor, place: int, bit: int) -> None:
    text = cursor.encode(KEY)
    raw = bytearray(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(Incorrect, match="changed or is not one of this server"):
        PageCursor.decode(urlsafe_b64encode(bytes(raw)).decode().rstrip("="), KEY)


@given(text=st.text(max_size=80) | st.binary(max_size=60).map(lambda raw: urlsafe_b64encode(raw).decode()))
@settings(max_examples=150, deadline=None)
def test_no_other_text_is_a_link(text: str) -> None:
    with pytest.raises(Incorrect):
        PageCursor.decode(text, KEY)


@pytest.mark.parametrize("kept", [0, 1, 8, 9, 20, -1])
def test_a_link_cut_short_is_refused(kept: int) -> None:
    some: tuple[SortValue, ...] = (1, "x", 2.5)
    text = PageCursor(query="ab", values=some, k=7).encode(KEY)
    with pytest.raises(Incorrect):
        PageCursor.decode(text[:kept], KEY)


def test_links_of_two_places_differ() -> None:
    made = {PageCursor(query="q", values=(), k=k).encode(KEY) for k in range(50)}
    made |= {PageCursor(query="q", values=(k,), k=0).encode(KEY) for k in range(50)}
    made |= {PageCursor(query="q", values=(), k=k, back=True).encode(KEY) for k in range(50)}
    assert len(made) == 150


@given(cursor=cursors, other=st.binary(max_size=100).filter(lambda key: key != KEY))
@settings(max_examples=50, deadline=None)
def test_a_link_signed_with_another_key_is_refused(cursor: PageCursor, other: bytes) -> None:
    with pytest.raises(Incorrect, match="not one of this server"):
        PageCursor.decode(cursor.encode(other), KEY)
