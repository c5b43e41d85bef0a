"""A login that does not work says what happened and what to do, in words of people, with the id of the request."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select, text, update

from api.demo.simulator.faults import Faults, IdTokenFaults
from fhir_tracker import clock, issuers
from fhir_tracker.digests import digest_of
from fhir_tracker.storage.launch_tables import launch_pending
from tests.api.staff.markup import problems
from tests.support.launching import Launchpad

JARGON = re.compile(r"(?i)traceback|exception|stack|null\b|None\b|--[a-z]|token endpoint|http \d|errno|object at 0x")
FAULTS = {
    "says no": (Faults(denied=True), "You were not let in", "said no"),
    "scopes refused": (Faults(refused_scopes=True), "You were not let in", "nothing of what the tracker asks for"),
    "token down": (Faults(down=frozenset({"token"})), "The EHR did not answer as it should", "Open the tracker again"),
    "token refused": (Faults(token_error="invalid_client"), "The EHR did not let you in", "Open the tracker again"),
    "token no json": (
        Faults(not_json=frozenset({"token"})),
        "The EHR did not let you in",
        "asked who you are",
    ),
    "keys down": (Faults(down=frozenset({"jwks"})), "The EHR did not answer as it should", "Open the tracker again"),
    "nobody named": (Faults(id_token=IdTokenFaults(missing=True)), "You were not let in", "did not say who you are"),
    "discovery down": (Faults(down=frozenset({"discovery"})), "The EHR cannot let you in now", "Try again in a moment"),
}


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is the page."""
    return one_file


def first_words(answer: httpx.Response) -> str:
    """What the page says but for what is meant for an administrator."""
    main = answer.text.partition('<main id="main"')[2]
    return html.unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<code>.*?</code>", "", main, flags=re.DOTALL)))


def check(answer: httpx.Response, heading: str, said: str) -> None:
    words = " ".join(first_words(answer).split())
    assert f"<h1>{heading}</h1>" in answer.text, words
    assert said in words
    assert not JARGON.search(words), words
    assert f"<code>{answer.headers['x-request-id']}</code>" in answer.text
    assert problems(answer.text) == []
    assert answer.status_code >= 400


@pytest.mark.security("S58", "L1")
@pytest.mark.requirement(91)
@pytest.mark.parametrize("name", FAULTS)
def test_what_went_wrong_at_the_ehr_is_told_in_plain_words(pad: Launchpad, name: str) -> None:
    faults, heading, said = FAULTS[name]
    pad.simulator.faults = faults
    browser = pad.browser()
    sent = browser.launch()
    answer = sent if sent.status_code >= 400 else browser.get(browser.at_ehr(sent))
    check(answer, heading, said)


def test_who_has_no_account_is_told_what_to_tell_and_whom(pad: Launchpad) -> None:
    answer = pad.browser().come_in("clerk")
    check(answer, "You have no account here yet", "Tell your administrator this")
    assert answer.status_code == 403
    assert "--fhir-user Practitioner/clerk" in html.unescape(answer.text)


@pytest.mark.security("S11", "S14")
@pytest.mark.parametrize(
    ("path", "heading", "said"),
    [
        ("/launch", "No EHR is named", "the parameter iss is missing"),
        ("/launch?launch=x", "No EHR is named", "Open the tracker from your EHR"),
        ("/launch/standalone?iss=", "No EHR is named", "tell your administrator"),
        (
            "/launch?iss=https://elsewhere.example/fhir&launch=x",
            "This EHR is not known here",
            "It calls itself https://else",
        ),
        ("/launch?iss=https://elsewhere.example/fhir&launch=x", "This EHR is not known here", "Ask your administrator"),
        ("/launch/standalone?iss=https://elsewhere.example", "This EHR is not known here", "Ask your administrator"),
        ("/callback?state=unknown&code=x", "This login is over", "Open the tracker again"),
        ("/callback?state=unknown&error=access_denied", "This login is over", "Open the tracker again"),
        ("/callback", "This login is over", "Open the tracker again"),
        ("/launch?iss=a&iss=b", "That did not work", "names something twice"),
        ("/launch?iss=%00", "That did not work", "cannot be read"),
        ("/callback?state=" + "x" * 20_000, "That did not work", "more than a login can be"),
    ],
)
def test_an_address_that_leads_nowhere_says_why(pad: Launchpad, path: str, heading: str, said: str) -> None:
    check(pad.browser().get(path), heading, said)


def test_the_id_that_a_caller_gave_its_request_is_the_one_that_is_told(pad: Launchpad) -> None:
    for given, told in (("mine-4711", True), ("<script>", False), ("x" * 80, False)):
        answer = pad.browser().get("/launch", {"X-Request-Id": given})
        assert (f"<code>{given}</code>" in answer.text) == told
        check(answer, "No EHR is named", "the parameter iss is missing")


@pytest.mark.security("S11")
@pytest.mark.parametrize(
    "iss",
    [
        "https://elsewhere.example/fhir?session=4711",
        "https://somebody@elsewhere.example/fhir",
        "<b>Call 555-0199 now</b>",
        "javascript:alert(1)",
        "Your password has run out, call 555-0199",
        "https://elsewhere.example/" + "x" * 500,
        "https://elsewhere.example/\N{SNOWMAN}",
    ],
)
def test_what_calls_itself_by_no_plain_address_is_not_quoted(pad: Launchpad, iss: str) -> None:
    answer = pad.browser().get("/launch", iss=iss, launch="x")
    check(answer, "This EHR is not known here", "Ask your administrator")
    words = html.unescape(answer.text)
    assert "It calls itself" not in words
    assert iss not in words


@pytest.mark.security("S11")
@pytest.mark.requirement(90)
def test_the_trail_has_the_address_of_an_ehr_that_was_not_known_and_no_other_text(pad: Launchpad) -> None:
    """What an administrator needs to see that an address was set up a little otherwise."""
    near = f"{pad.simulator.fhir_base}/r4"
    for iss in (near, f"{near}?token=4711", "<b>Call 555-0199</b>", "https://pat@elsewhere.example/fhir", ""):
        assert pad.browser().get("/launch", iss=iss, launch="x").status_code == 400
    with pad.database.read() as tx:
        rows = tx.connection.execute(text("SELECT detail FROM audit WHERE action = 'login-refused' ORDER BY seq"))
        told = [json.loads(one.detail) for one in rows]
    assert told == [{"why": "unknown-issuer", "named": near}, *[{"why": "unknown-issuer"}] * 4]


@pytest.mark.requirement(95)
def test_an_ehr_that_does_not_take_a_launch_is_told_of_in_words_that_fit_an_old_one(pad: Launchpad) -> None:
    browser = pad.browser()
    back = {name: texts[0] for name, texts in parse_qs(urlsplit(browser.at_ehr(browser.launch())).query).items()}
    del back["code"]
    answer = browser.get("/callback", None, **back, error="invalid_request", error_description="<b>555-0199</b>")
    check(answer, "You were not let in", "The launch may be too old")
    assert "555-0199" not in answer.text


def test_a_step_that_was_said_is_not_said_again(pad: Launchpad) -> None:
    for fault in (Faults(denied=True), Faults(callback={"iss": "https://evil.example"}), Faults(callback={"code": ""})):
        pad.simulator.faults = fault
        browser = pad.browser()
        words = first_words(browser.get(browser.at_ehr(browser.launch())))
        assert words.count("pen the tracker again") == 1, words


@pytest.mark.requirement(95)
@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("Patient/ada", "calls you Patient/ada, which is no member of its staff"),
        (
            "https://evil.example/fhir/Practitioner/nurse",
            "calls you https://evil.example/fhir/Practitioner/nurse, which",
        ),
        ("nurse", "calls you nurse, which is no member of its staff"),
        ("", "scope fhirUser"),
        (None, "scope fhirUser"),
        (["Practitioner/nurse"], "scope fhirUser"),
        ("Practitioner/<script>alert(1)</script>", "says who you are, but that is no member of its staff"),
        ("Call 555-0199 now", "says who you are, but that is no member of its staff"),
        ("x" * 3000, "says who you are, but that is no member of its staff"),
    ],
)
def test_who_is_named_but_no_member_of_staff_is_told_so(pad: Launchpad, named: object, said: str) -> None:
    pad.simulator.faults = Faults(id_token=IdTokenFaults(claims={"fhirUser": named}))
    answer = pad.browser().come_in()
    check(answer, "You were not let in", said)
    words = html.unescape(answer.text)
    assert answer.status_code == 403
    assert "alert(1)" not in words
    assert "555-0199" not in words
    assert "xxx" not in words
    if "scope" not in said:
        assert f"Practitioner, PractitionerRole, RelatedPerson count, with an id at {pad.simulator.fhir_base}" in words


# --- in the frame of the EHR


def framed_by(answer: httpx.Response) -> str:
    """Who may show a page."""
    return answer.headers["content-security-policy"].partition("frame-ancestors ")[2].partition(";")[0]


@pytest.mark.requirement(100)
@pytest.mark.security("S23")
def test_why_a_login_is_over_can_be_read_in_the_frame_it_was_for(pad: Launchpad) -> None:
    """A frame that is reloaded asks for the same address again: used up, too old, or refused before."""
    browser = pad.browser()
    used, refused, late = (browser.at_ehr(browser.launch(who)) for who in ("nurse", "clerk", "nurse"))
    assert browser.get(used).status_code == 303
    assert browser.get(refused).status_code == 403
    long_ago(pad, late, timedelta(minutes=50))
    browser.launch()
    for back in (used, refused, late):
        for one in (browser, pad.browser()):
            answer = one.get(back)
            check(answer, "This login is over", "Open the tracker again")
            assert (answer.status_code, framed_by(answer)) == (400, pad.simulator.origin)
    assert len(pad.sessions()) == 1


@pytest.mark.security("S23", "S14")
def test_a_login_nobody_knows_of_is_framed_by_nobody(pad: Launchpad) -> None:
    browser = pad.browser()
    gone, removed = browser.at_ehr(browser.launch()), browser.at_ehr(browser.launch())
    long_ago(pad, gone, timedelta(hours=2))
    browser.launch()
    with pad.database.begin() as tx:
        issuers.remove(tx, "clinic", clock.now())
    for back in (gone, removed, "/callback", "/callback?state=" + "x" * 43, "/callback?state=" + "x" * 600):
        answer = browser.get(back)
        assert (answer.status_code, framed_by(answer)) == (400, "'none'")


@pytest.mark.requirement(100)
@pytest.mark.security("S23")
def test_a_launch_that_names_nothing_to_open_says_so_in_the_frame_of_its_ehr(pad: Launchpad) -> None:
    for launch, said in (("", "is missing"), ("x" * 4001, "is longer than any launch")):
        answer = pad.browser().get("/launch", iss=pad.simulator.fhir_base, launch=launch)
        check(answer, "Nothing is named to open", f"the parameter launch {said}")
        assert framed_by(answer) == pad.simulator.origin
    for path in ("/launch?launch=x", "/launch?iss=https://elsewhere.example/fhir&launch=x"):
        assert framed_by(pad.browser().get(path)) == "'none'"


def long_ago(pad: Launchpad, back: str, ago: timedelta) -> None:
    """Have the login that ends at the address `back` begun so much earlier."""
    state = parse_qs(urlsplit(back).query)["state"][0]
    mine = launch_pending.c.state_digest == digest_of(state)
    with pad.database.begin() as tx:
        (row,) = tx.rows(select(launch_pending).where(mine))
        earlier = {"made_at": row.made_at - ago, "ends_at": row.ends_at - ago}
        tx.execute(update(launch_pending).where(mine).values(**earlier))
