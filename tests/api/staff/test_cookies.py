"""The cookies of launches, as headers: what a hostile name in a request cannot put into an answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from api.staff import cookies
from api.staff.session import local_path

HEADER = re.compile(
    r"__Host-l-[A-Za-z0-9_-]{1,64}=[A-Za-z0-9_-]*; Max-Age=[0-9]+; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
)


def given_headers(response: Response) -> list[str]:
    return response.headers.getlist("set-cookie")


@pytest.mark.security("S20")
@pytest.mark.requirement(97)
@pytest.mark.parametrize("seconds", [-5, 0, 1, 43_200])
def test_a_cookie_has_every_attribute_and_lasts_no_longer_than_its_launch(seconds: int) -> None:
    response = Response()
    cookies.give(response, "abc_DEF-1", "s3cr3t_-", seconds)
    (header,) = given_headers(response)
    assert HEADER.fullmatch(header)
    assert f"Max-Age={max(seconds, 1)};" in header
    assert "domain" not in header.lower()
    assert "expires" not in header.lower()


@pytest.mark.security("S20", "A6")
def test_a_cookie_is_taken_back_with_the_attributes_it_was_given_with() -> None:
    response = Response()
    cookies.give(response, "a", "s", 60)
    cookies.take(response, "a")
    one, other = given_headers(response)
    assert one.split("; ")[2:] == other.split("; ")[2:], "browsers find it by these"
    assert other.startswith("__Host-l-a=; Max-Age=0; ")
    assert HEADER.fullmatch(other)


@pytest.mark.security("S14", "S20")
@pytest.mark.parametrize(
    "name",
    [
        "__Host-l-",
        "__host-l-a",
        "__Secure-l-a",
        "l-a",
        " __Host-l-a",
        "__Host-l-a b",
        "__Host-l-a;Domain=evil.example",
        "__Host-l-a\r\nSet-Cookie: x=y",
        "__Host-l-a\0",
        "__Host-l-é",
        "__Host-l-" + "a" * 65,
        "__Host-launching",
    ],
)
def test_only_names_of_our_own_form_are_taken_for_launches(name: str) -> None:
    assert cookies.launches_in([name, "__Host-l-fine_1"]) == ["fine_1"]


@pytest.mark.security("S14", "S20")
@given(st.lists(st.text(max_size=80), max_size=8))
def test_whatever_cookies_a_request_names_an_answer_is_made_of_ours(texts: list[str]) -> None:
    response = Response()
    for one in cookies.launches_in([cookies.name_of(text) for text in texts]):
        cookies.take(response, one)
    assert all(HEADER.fullmatch(one) for one in given_headers(response))


@pytest.mark.security("S16")
@given(st.text(max_size=60))
def test_a_path_of_ours_never_leads_elsewhere_whatever_was_sent(text: str) -> None:
    for given_text in (text, f"/{text}", f"//{text}", f"/\\{text}"):
        path = local_path(given_text)
        assert path.startswith("/")
        assert not path.startswith(("//", "/\\"))
        assert path.isascii()
        assert path.isprintable()
