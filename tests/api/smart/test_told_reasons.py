"""A login that does not work says what happened and what to do, in words of people, with the id of the request."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from api.demo.simulator.faults import Faults, IdTokenFaults
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
        ("/launch", "This EHR is not known here", "Ask your administrator"),
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
        check(answer, "This EHR is not known here", "Ask your administrator")
