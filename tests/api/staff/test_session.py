from __future__ import annotations

import pytest

from api.staff import session
from api.staff.session import Session

SECRET = "s" * 40
MINE = Session(id="abc", density="compact", keys=False)


def test_a_session_comes_back_as_it_went() -> None:
    assert session.read(session.write(MINE, SECRET), SECRET) == MINE


@pytest.mark.parametrize(
    "change", [lambda text: text[:-1] + "0", lambda text: "e30." + text.split(".")[1], lambda _: "x"]
)
def test_a_changed_cookie_is_nobodys(change: object) -> None:
    assert callable(change)
    forged = change(session.write(MINE, SECRET))
    assert forged == session.write(MINE, SECRET) or session.read(forged, SECRET) is None


def test_a_cookie_of_another_server_is_nobodys() -> None:
    assert session.read(session.write(MINE, "t" * 40), SECRET) is None


def test_a_form_token_fits_one_session_only() -> None:
    assert session.is_token(session.token(MINE, SECRET), MINE, SECRET)
    assert not session.is_token(session.token(MINE, SECRET), Session(id="abd"), SECRET)
    assert not session.is_token("", MINE, SECRET)
    assert not session.is_token("é", MINE, SECRET)


@pytest.mark.security("S22")
@pytest.mark.parametrize(
    ("origin", "fetch_site", "ours"),
    [
        ("http://here:80", "same-origin", True),
        ("http://HERE:80", "", True),
        ("null", "same-origin", True),
        ("", "", True),
        ("", "same-origin", True),
        ("null", "", False),
        ("null", "cross-site", False),
        ("http://here:80", "cross-site", False),
        ("http://here:80", "same-site", False),
        ("http://elsewhere", "same-origin", False),
        ("http://elsewhere", "", False),
        ("http://here:80.elsewhere", "", False),
    ],
)
def test_only_our_own_pages_may_send_forms(origin: str, fetch_site: str, ours: bool) -> None:
    assert session.is_same_origin("here:80", origin, fetch_site) is ours


@pytest.mark.security("S16")
@pytest.mark.parametrize(
    "text",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\/evil.example",
        "javascript:alert(1)",
        "/a\r\nSet-Cookie: x=1",
        "/\tb",
        "",
        "evil",
        "///evil.example",
        "/%0d%0a" + "a" * 3000,
        "/é",
    ],
)
def test_no_return_path_leaves_this_server(text: str) -> None:
    assert session.local_path(text) == "/"


def test_our_own_paths_are_kept() -> None:
    assert session.local_path("/tasks/1?do=note#form") == "/tasks/1?do=note#form"
