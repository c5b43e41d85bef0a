"""Addresses of pages: within the launch and the public path they are asked for by, and never in anybody else's."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.staff import filters
from api.staff.filters import Wanted
from api.staff.places import HERE, Place, asset, at
from api.staff.rendering import templates
from tests.support.contexts import context_of

KEY = "k" * 40
_ADDRESS = re.compile(r'\b(?:href|action|src|formaction|data-(?:page|probe|pulse|help|session|stay|tickets))="([^"]*)"')


ELSEWHERE = {
    ("login.html", "{{ invited.uri }}"),
    ("login_form.html", "{{ target }}"),
    ("login_going.html", "{{ address }}"),
    ("parts.html", "{{ line.away }}"),
}
"""What is meant to lead elsewhere: an app's own address, the EHR that somebody logs in at, and an app that a Task asks for."""


class Framed:
    """Something with a place."""

    def __init__(self, place: Place) -> None:
        self.place = place


@pytest.mark.parametrize("root", ["", "/care", "/care/tracker"])
@pytest.mark.parametrize("launch", ["", "abc_DEF-1"])
def test_an_address_is_below_root_and_launch(root: str, launch: str) -> None:
    framed = Framed(Place(root=root, launch=launch))
    prefix = f"{root}/l/{launch}" if launch else root
    assert at("/", framed) == f"{prefix}/"
    assert at("/tasks/1?do=note#form", framed) == f"{prefix}/tasks/1?do=note#form"
    assert asset("/static/pages.css", framed) == f"{root}/static/pages.css"
    for elsewhere in ("#main", "?x=y", "", "otpauth://totp/x"):
        assert at(elsewhere, framed) == elsewhere
    assert HERE.at("/x") == "/x"


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://127.0.0.1:8080", ""),
        ("https://tracker.example.org", ""),
        ("https://practice.example.org/care", "/care"),
        ("https://practice.example.org/care/tracker", "/care/tracker"),
    ],
)
def test_the_root_is_the_path_of_the_public_address(url: str, root: str) -> None:
    assert context_of(None, public_url=url).root == root  # type: ignore[arg-type]


@pytest.mark.security("S16", "S19")
def test_no_template_writes_an_address_that_is_not_made_in_one_place() -> None:
    environment = templates()
    assert environment.loader is not None
    known = environment.list_templates()
    assert {"base.html", "queue.html", "login.html"} <= set(known)
    for name in known:
        source, _, _ = environment.loader.get_source(environment, name)
        for address in _ADDRESS.findall(source):
            made = re.search(r"\| (?:at|asset)\(frame\) \}\}$", address)
            said = address.startswith("#") or (name, address) in ELSEWHERE
            assert made or said or _of_a_local(address, source), (name, address)


def _of_a_local(address: str, source: str) -> bool:
    """A name that the template itself set to an address made in that place."""
    name = re.fullmatch(r"\{\{ (\w+) \}\}", address)
    return bool(name and re.search(rf"set {name[1]} = .*\| at\(frame\)", source))


@pytest.mark.security("L2")
@given(st.text(max_size=300), st.sampled_from(["mine", "team", "all"]), st.text(max_size=20))
def test_words_come_back_from_the_address_that_hides_them(words: str, tab: str, owner: str) -> None:
    wanted = filters.hidden(Wanted(tab=tab, q=words[:200], owner=owner), KEY)
    address = wanted.href("/pulse", after="x")
    query = dict(parse_qsl(urlsplit(address).query))
    assert "q" not in query
    found = filters.searched(Wanted(tab=tab, find=query.get("find", "")), KEY)
    assert found.q == words[:200]
    assert "find" not in dict(parse_qsl(urlsplit(wanted.href(q="")).query))


@pytest.mark.security("L2", "S55")
def test_words_are_hidden_from_who_has_not_the_key() -> None:
    wanted = filters.hidden(Wanted(q="Rosa Synthetic 4471"), KEY)
    assert not [one for one in ("Rosa", "4471", "Synthetic") if one in wanted.href()]
    assert wanted.href() != filters.hidden(Wanted(q="Rosa Synthetic 4471"), KEY).href(), "never twice the same"
    assert filters.searched(Wanted(find=wanted.find), "l" * 40).q == ""
    assert filters.searched(Wanted(find=wanted.find[:-1]), KEY).q == ""
