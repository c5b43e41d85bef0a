"""Each state of each page, read as a browser reads it."""

from __future__ import annotations

import re

import pytest

from api.staff.rendering import POLICY, templates
from tests.api.staff.markup import problems, tree
from tests.api.staff.rendered.conftest import HEBREW, World

QUEUES = {
    "the queue": "/",
    "my work": "/?tab=mine",
    "unassigned": "/?tab=unassigned",
    "on hold": "/?tab=hold",
    "escalated": "/?tab=escalated",
    "done": "/?tab=done",
    "all": "/?tab=all&state=any",
    "narrowed": "/?tab=all&state=late&owner=none&program=ring&status=to-call&flag=high-risk&q=rosa&age=%3C1d",
    "escalated by a rule": "/?tab=all&rule=late",
    "a team": "/?role=front-desk",
    "no team": "/?role=none",
    "of an odd owner": "/?owner=Practitioner/nobody%22%3E",
    "empty": "/?q=zebra",
    "with hebrew": f"/?q={HEBREW}",
    "confirmed": "/?said=claimed",
}
PLACES = {
    "operations": "/operations",
    "programs": "/programs",
    "sync": "/sync",
    "keys": "/help/keys",
    "patient": "/patients/rosa",
    "patient on hold": "/patients/ivo",
    "patient with a long name": "/patients/long",
    "patient of another script": "/patients/rtl",
    "no patient": "/patients/nobody",
    "no page": "/no/such/page",
    "no task": "/tasks/none",
    "a broken place": "/?after=x",
}
CALLS = ("call of rosa", "call of ivo", "call of mia", "call of fred")
FORMS = (
    "?do=attempt",
    "?do=note",
    "?do=reassign",
    "?do=send-back",
    "?move=reached",
    "?move=waiting",
    "?move=unreachable",
    "?move=calling",
    "?move=nonsense&do=nonsense",
    "?back=/%3Ftab%3Dhold",
)
ODD = ("nobodys", "owned", "titled", "script", "unknown", "ehrs", "noted", "escalation", "closed escalation")


def states(world: World) -> dict[str, str]:
    found = QUEUES | PLACES | {name: world.pages[name] for name in (*CALLS, *ODD)}
    found |= {f"{name} {form}": world.pages[name] + form for name in (*CALLS, "escalation", "owned") for form in FORMS}
    return found


NAMES = [*QUEUES, *PLACES, *CALLS, *ODD]
NAMES += [f"{name} {form}" for name in (*CALLS, "escalation", "owned") for form in FORMS]


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_sound_markup_with_names_labels_and_tokens(world: World, name: str) -> None:
    page = world.reader().get(states(world)[name])
    assert problems(page.text) == []
    assert page.headers["content-security-policy"] == POLICY
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("name", ["the queue", "patient", "call of rosa", "call of rosa ?do=reassign", "keys"])
def test_the_pages_of_somebody_who_logged_in_are_as_sound(world: World, name: str) -> None:
    assert problems(world.colleague("rn").get(states(world)[name]).text) == []


@pytest.mark.parametrize("density", ["compact", "comfortable"])
def test_preferences_change_no_soundness(world: World, density: str) -> None:
    reader = world.reader()
    reader.send("/preferences", {"density": density, "keys": "off"})
    page = reader.get("/")
    assert problems(page.text) == []
    assert tree(page.text).all("html")[0].attrs["data-density"] == density


@pytest.mark.parametrize(
    ("step", "fields", "status"),
    [
        ("move", {"to": "reached"}, 422),
        ("move", {"to": "waiting", "hold.until": "2001-01-01T09:00", "reason": "x"}, 422),
        ("move", {"to": "waiting", "hold.until": "<script>"}, 422),
        ("move", {"to": "nonsense"}, 422),
        ("attempt", {}, 400),
        ("note", {}, 422),
        ("note", {"version": "999"}, 412),
        ("claim", {"version": "999"}, 412),
        ("acknowledge", {}, 422),
    ],
)
def test_a_refusal_is_a_sound_page_too(world: World, step: str, fields: dict[str, str], status: int) -> None:
    page = world.reader().send(f"{world.pages['call of rosa']}/{step}", fields)
    assert page.status == status
    assert problems(page.text) == []
    assert tree(page.text).all("p", "section")
    assert any("role" in node.attrs and node.attrs["role"] == "alert" for node in tree(page.text).walk()) or (
        'aria-invalid="true"' in page.text
    )


@pytest.mark.security("S23")
def test_the_policy_allows_nothing_unsafe_and_nothing_from_elsewhere() -> None:
    parts = {part.split()[0]: part.split()[1:] for part in POLICY.split(";")}
    assert not any("unsafe" in word or "*" in word or "http" in word for words in parts.values() for word in words)
    assert parts["default-src"] == ["'self'"]
    assert parts["object-src"] == parts["base-uri"] == ["'none'"]
    assert parts["form-action"] == parts["frame-ancestors"] == ["'self'"]
    assert not {"script-src", "style-src"} & set(parts), "what is not said falls back to default-src"


@pytest.mark.security("S24", "S25")
def test_no_template_switches_escaping_off_for_what_is_stored() -> None:
    environment = templates()
    assert environment.autoescape is True
    assert environment.loader is not None
    for name in environment.list_templates():
        source, _, _ = environment.loader.get_source(environment, name)
        assert "autoescape false" not in source, name
        safe = re.findall(r"\(?['\"][^|{}]*\| *safe", source)
        assert all("aria-describedby" in one for one in safe), name


def test_every_link_of_every_page_leads_somewhere(world: World) -> None:
    reader = world.reader()
    seen: dict[str, str] = {}
    for name in ["the queue", "done", *PLACES, "call of rosa", "escalation"]:
        for link in tree(reader.get(states(world)[name]).text).all("a"):
            seen.setdefault(link.attrs["href"].partition("#")[0], name)
    known_absent = "/patients/nowhere"
    broken = {href: name for href, name in seen.items() if href and reader.get(href).status != 200}
    assert set(broken) <= {known_absent}


def test_nothing_of_a_patient_is_in_an_address_but_the_id(world: World) -> None:
    for name in [*QUEUES, *CALLS]:
        page = world.reader().get(states(world)[name])
        for link in tree(page.text).all("a", "form"):
            address = link.attrs.get("href", "") + link.attrs.get("action", "")
            assert "Synthetic" not in address, (name, address)
