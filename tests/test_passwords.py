from __future__ import annotations

import base64
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_tracker import passwords
from fhir_tracker.passwords import STEP_SECONDS, STRONG, Cost
from tests.support.codes import code_at

CHEAP = Cost(n=2**4, r=1, p=1)
NOW = datetime(2026, 3, 11, 15, 0, 10, tzinfo=UTC)
RFC_KEY = base64.b32encode(b"12345678901234567890").decode()
STEP = timedelta(seconds=STEP_SECONDS)


@pytest.mark.security("S55")
def test_a_password_is_kept_by_scrypt_with_more_memory_than_a_graphics_card_likes() -> None:
    assert 128 * STRONG.n * STRONG.r * STRONG.p >= 128 * 2**20
    one, other = (passwords.hashed("correct horse battery", CHEAP) for _ in range(2))
    assert one != other, "each has a salt of its own"
    assert "correct" not in one
    assert one.startswith("scrypt$16$1$1$")
    assert all(passwords.is_password(kept, "correct horse battery") for kept in (one, other))


@pytest.mark.parametrize(
    "given", ["", "correct horse batter", "Correct horse battery", "correct horse battery ", "\ud800"]
)
def test_another_password_is_not_it(given: str) -> None:
    assert not passwords.is_password(passwords.hashed("correct horse battery", CHEAP), given)


def test_an_accent_is_the_same_however_it_was_typed() -> None:
    assert passwords.is_password(
        passwords.hashed("crème brûlée maison", CHEAP), "cre\u0300me bru\u0302le\u0301e maison"
    )


def test_no_password_is_the_password_of_nobody() -> None:
    assert not passwords.is_password(None, "")


@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=60))
def test_only_the_same_text_is_the_password(one: str, other: str) -> None:
    kept = passwords.hashed(one, CHEAP)
    assert passwords.is_password(kept, one)
    if unicodedata.normalize("NFKC", one) != unicodedata.normalize("NFKC", other):
        assert not passwords.is_password(kept, other)


@pytest.mark.parametrize(
    ("password", "weak"),
    [
        ("correct horse battery", False),
        ("x7$kQ!m2Zp0w", False),
        ("kürzere Wörter!", False),
        ("elevenchars", True),
        ("", True),
        ("aaaaaaaaaaaaaaaa", True),
        ("abababababababab", True),
        ("ada.example2026", True),
        ("ADA.EXAMPLEADA.EXAMPLE", True),
        ("Ada Example 1234", True),
        ("a1b2" * 100, True),
    ],
)
def test_which_passwords_are_taken(password: str, weak: bool) -> None:
    assert bool(passwords.weakness(password, "ada.example", "Ada Example")) is weak


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_codes_are_those_of_the_rfc(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert passwords.step_of(RFC_KEY, code, now) == seconds // STEP_SECONDS
    assert passwords.step_of(RFC_KEY, f"{code[:3]} {code[3:]}", now) is not None


def test_a_code_counts_for_its_step_and_those_beside_it() -> None:
    code = code_at(RFC_KEY, NOW)
    step = int(NOW.timestamp()) // STEP_SECONDS
    taken = {offset: passwords.step_of(RFC_KEY, code, NOW + offset * STEP) for offset in range(-3, 4)}
    assert taken == {-3: None, -2: None, -1: step, 0: step, 1: step, 2: None, 3: None}


@pytest.mark.parametrize(
    "code", ["", "0", "00000", "0000000", "abcdef", "１２３４５６", "-12345", "\ud800", "0" * 10_000]
)
def test_what_is_no_code_is_wrong_and_breaks_nothing(code: str) -> None:
    assert passwords.step_of(RFC_KEY, code, NOW) is None


def test_the_link_and_the_letters_hold_the_same_secret() -> None:
    key = passwords.fresh_key()
    assert len(base64.b32decode(key)) == 20
    assert key != passwords.fresh_key()
    uri = passwords.enrolment_uri(key, "ada@example")
    assert uri.startswith("otpauth://totp/fhir-tracker:ada%40example?")
    assert f"secret={key}" in uri
