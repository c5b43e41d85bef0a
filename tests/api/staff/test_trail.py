from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.staff.session import local_path
from api.staff.trail import carried, crumb


@pytest.mark.parametrize(
    ("href", "back", "whole"),
    [
        ("/tasks/1", "/?tab=mine", "/tasks/1?back=%2F%3Ftab%3Dmine"),
        ("/tasks/1?do=note", "/?tab=mine", "/tasks/1?do=note&back=%2F%3Ftab%3Dmine"),
        ("/tasks/1?do=note#form", "/patients/p", "/tasks/1?do=note&back=%2Fpatients%2Fp#form"),
        ("/tasks/1#form", "/?q=a%26b", "/tasks/1?back=%2F%3Fq%3Da%2526b#form"),
        ("/tasks/1", "/", "/tasks/1"),
        ("/tasks/1", "", "/tasks/1"),
    ],
)
def test_a_link_carries_the_list_it_stands_in(href: str, back: str, whole: str) -> None:
    assert carried(href, back) == whole


@settings(max_examples=80)
@given(
    st.text("abc &=#?/%+;é\u05d0\"'<>", max_size=30), st.sampled_from(["/tasks/1", "/tasks/1?do=note", "/tasks/1#form"])
)
def test_whatever_the_list_is_called_it_comes_back_whole(query: str, href: str) -> None:
    back = f"/?q={query}"
    whole = urlsplit(carried(href, back))
    assert dict(parse_qsl(whole.query))["back"] == back
    assert whole.path == "/tasks/1"
    assert whole.fragment == urlsplit(href).fragment


@pytest.mark.parametrize(
    ("back", "label", "href"),
    [
        ("", "Queue", "/"),
        ("/", "Queue", "/"),
        ("/?tab=hold", "Queue", "/?tab=hold"),
        ("/patients/rosa", "Patient", "/patients/rosa"),
        ("/operations", "Operations", "/operations"),
        ("/tasks/1", "Work", "/tasks/1"),
        ("/elsewhere", "Back", "/elsewhere"),
    ],
)
def test_the_way_back_is_called_what_it_leads_to(back: str, label: str, href: str) -> None:
    shown = crumb(back)
    assert (shown.label, shown.href) == (label, href)


@pytest.mark.requirement(94)
@pytest.mark.parametrize(
    ("back", "label", "href"),
    [
        ("", "Patient", "/patients/rosa"),
        ("/", "Patient", "/patients/rosa"),
        ("/?tab=hold", "Patient", "/patients/rosa"),
        ("/patients/rosa#plan-1", "Patient", "/patients/rosa#plan-1"),
        ("/tasks/1", "Work", "/tasks/1"),
    ],
)
def test_in_a_chart_no_way_back_is_called_the_queue(back: str, label: str, href: str) -> None:
    shown = crumb(back, "/patients/rosa")
    assert (shown.label, shown.href) == (label, href)


@pytest.mark.security("S16")
@settings(max_examples=150)
@given(st.text(max_size=60) | st.text("/\\.:@?#[]%abehlpstx \t\r\n", max_size=30))
def test_no_text_makes_a_way_out_of_this_server(text: str) -> None:
    kept = local_path(text)
    assert kept.startswith("/")
    assert not kept.startswith(("//", "/\\"))
    assert urlsplit(kept).netloc == ""
    assert kept.isprintable()
