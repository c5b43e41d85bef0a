"""The digest of a secret: the same for ever, whatever the bearer sends, and never the secret itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.digests import digest_of


@pytest.mark.parametrize(
    ("secret", "kept"),
    [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ],
)
def test_what_was_kept_by_former_versions_is_known_again(secret: str, kept: str) -> None:
    assert digest_of(secret) == kept


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_is_sent_has_a_digest_of_its_own(one: str, other: str) -> None:
    assert len(digest_of(one)) == 64
    assert (digest_of(one) == digest_of(other)) == (one == other)
    assert one not in digest_of(one) or len(one) < 8


@pytest.mark.parametrize("odd", ["\udc80", "\ud800\udfff", "a\udcff"])
def test_what_is_no_text_by_the_standard_is_no_error_and_is_taken_for_nothing_else(odd: str) -> None:
    alike = {odd.encode("utf-8", way).decode() for way in ("replace", "ignore", "backslashreplace")}
    assert digest_of(odd) not in {digest_of(one) for one in alike}
