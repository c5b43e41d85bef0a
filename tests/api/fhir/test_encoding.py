"""gzip in within a limit and out where it is taken.

https://hl7.org/fhir/R4/http.html#compression
"""

from __future__ import annotations

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fhir.encoding import SMALLEST, decoded, encoded, pretty, takes_gzip
from fhir_tracker.errors import Incorrect, TooLarge, UnsupportedMediaType

LIMIT = 100_000


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "x-gzip", " GZIP "]))
def test_what_was_packed_comes_out_as_it_was(body: bytes, name: str) -> None:
    assert decoded(gzip.compress(body), name, LIMIT) == body


@pytest.mark.parametrize("name", ["", "identity", "Identity"])
def test_a_plain_body_stays(name: str) -> None:
    assert decoded(b"{}", name, LIMIT) == b"{}"


def test_a_body_of_several_members_is_joined() -> None:
    assert decoded(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip", LIMIT) == b"one two"


@pytest.mark.parametrize("name", ["deflate", "br", "zstd", "gzip, gzip", "compress", "*", "gzip;q=1", "nonsense"])
def test_another_encoding_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        decoded(b"{}", name, LIMIT)


@pytest.mark.parametrize(
    "body",
    [b"{}", gzip.compress(b"x" * 500, mtime=0)[:-5], gzip.compress(b"x", mtime=0) + b"tail", b"\x1f\x8b"],
    ids=["plain", "cut", "tail", "magic"],
)
def test_a_body_that_is_not_gzip_or_ends_early_is_refused(body: bytes) -> None:
    with pytest.raises(Incorrect):
        decoded(body, "gzip", LIMIT)


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    many = gzip.compress(bytes(LIMIT - 1)) * 50
    tracemalloc.start()
    for body in (bomb, many):
        with pytest.raises(TooLarge):
            decoded(body, "gzip", LIMIT)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10 * LIMIT


def test_the_limit_itself_is_allowed() -> None:
    assert len(decoded(gzip.compress(bytes(LIMIT)), "gzip", LIMIT)) == LIMIT
    with pytest.raises(TooLarge):
        decoded(gzip.compress(bytes(LIMIT + 1)), "gzip", LIMIT)


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("gzip", True),
        ("deflate, gzip", True),
        ("gzip;q=0.5, identity", True),
        ("*", True),
        ("X-GZIP", True),
        ("", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("gzip;q=-1", False),
        ("gzip;q=x", False),
        ("gzippy", False),
    ],
)
def test_gzip_goes_out_only_to_who_takes_it(accept: str, taken: bool) -> None:
    body = b"x" * SMALLEST
    packed, headers = encoded(body, accept)
    assert takes_gzip(accept) is taken
    assert headers["Vary"] == "Accept-Encoding"
    assert headers.get("Content-Encoding") == ("gzip" if taken else None)
    assert (gzip.decompress(packed) if taken else packed) == body


def test_a_small_body_is_never_packed() -> None:
    assert encoded(b"x" * (SMALLEST - 1), "gzip") == (b"x" * (SMALLEST - 1), {})


@pytest.mark.parametrize(
    ("wanted", "lines"), [([], False), (["true"], True), (["false"], False), (["x"], False), (["false", "true"], True)]
)
def test_lines_are_given_to_who_asks_and_numbers_stay(wanted: list[str], lines: bool) -> None:
    body = b'{"a":[1.00,{"b":"x\\n \xc3\xa9"}],"c":12345678901234567890.10}'
    shown = pretty(body, wanted)
    assert (b"\n" in shown) == lines
    assert b"1.00" in shown
    assert b"12345678901234567890.10" in shown
    assert b"x\\n \xc3\xa9" in shown
    assert pretty(b"", ["true"]) == b""
