from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker.errors import UsageError
from fhir_tracker.sealing import seal, unseal

KEY = "k" * 40


@given(text=st.text(max_size=400))
def test_what_is_sealed_is_read_again_and_never_looks_the_same_twice(text: str) -> None:
    sealed = seal(KEY, text)
    assert unseal(KEY, sealed) == text
    assert sealed != seal(KEY, text)
    assert len(text) < 8 or text not in sealed


def test_another_key_opens_nothing_and_says_which_setting_to_mend() -> None:
    with pytest.raises(UsageError, match="FHIR_TRACKER_SECRET_KEY") as caught:
        unseal("j" * 40, seal(KEY, "made-up-canary"))
    assert "canary" not in caught.value.message


def test_a_sealed_text_that_was_changed_in_any_place_is_refused() -> None:
    sealed = seal(KEY, "made-up-canary")
    for at in range(0, len(sealed), 3):
        other = "A" if sealed[at] != "A" else "B"
        with pytest.raises(UsageError):
            unseal(KEY, sealed[:at] + other + sealed[at + 1 :])


@pytest.mark.parametrize("text", ["", "x", "a.b.c.d.e", "....", "eyJhbGciOiJub25lIn0....", "\0", "é" * 50, "." * 9000])
def test_what_was_never_sealed_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        unseal(KEY, text)
