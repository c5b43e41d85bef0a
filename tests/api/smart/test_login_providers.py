"""Staff outside an EHR: any OpenID provider that is set up lets in whom it vouches for, and who has an account."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from fhir_tracker import accounts, clock, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.roles import built_in
from tests.support.launching import Browser, Launchpad, asked, launch_of
from tests.support.login_provider import LoginProvider, login_provider

MAIL = "ben@clinic.example"


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is what goes over the wire."""
    return one_file


@pytest.fixture
def office() -> Iterator[LoginProvider]:
    with login_provider() as found:
        yield found


def set_up(pad: Launchpad, office: LoginProvider, subject: str, **more: Any) -> None:
    """The provider `office`, and Ben, who is known there by `subject`."""
    with pad.database.begin() as tx:
        terms = Terms(url=office.url, client_id="tracker", **more)
        issuers.of_provider(tx, "office", terms, pad.context.secret_key, clock.now())
        accounts.add(
            tx, "Ben Example", ["clinic-admin"], known=built_in(), now=clock.now(), provider="office", subject=subject
        )


def come_in(pad: Launchpad, office: LoginProvider, **back: str) -> httpx.Response:
    """The whole way by the provider, which answers by `back`."""
    browser: Browser = pad.browser()
    sent = browser.get("/launch/standalone", iss=office.url)
    if sent.status_code != 302:
        return sent
    request = asked(sent)
    office.nonce = request["nonce"]
    assert "aud" not in request
    assert "launch" not in request
    return browser.get("/callback", None, **{"state": request["state"], **(back or {"code": "a-code"})})


@pytest.mark.requirement(95)
def test_who_the_provider_vouches_for_comes_in_to_the_queues(pad: Launchpad, office: LoginProvider) -> None:
    set_up(pad, office, "u-1")
    session = pad.session(launch_of(come_in(pad, office)))
    assert (session.connection, session.provider, session.issuer) == (None, "office", office.url)
    assert (session.patient, session.frame_ancestors) == (None, ())
    (form,) = office.forms
    assert (form["client_id"], form["grant_type"], form["code"]) == ("tracker", "authorization_code", "a-code")
    assert "code_verifier" in form


@pytest.mark.requirement(95)
@pytest.mark.security("A2", "S8")
@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"email": MAIL, "email_verified": True}, 303),
        ({"email": MAIL.title(), "email_verified": True}, 303),
        ({"email": MAIL, "email_verified": False}, 403),
        ({"email": MAIL, "email_verified": "true"}, 403),
        ({"email": MAIL}, 403),
        ({"email_verified": True}, 403),
        ({"email": ["x", MAIL], "email_verified": True}, 403),
        ({"email": "eve@clinic.example", "email_verified": True}, 403),
        ({"sub": MAIL}, 403),
    ],
)
def test_a_mail_address_counts_only_where_the_provider_vouches_for_it(
    pad: Launchpad, office: LoginProvider, claims: dict[str, object], status: int
) -> None:
    set_up(pad, office, MAIL, subject_claim="email")
    office.claims = claims
    assert come_in(pad, office).status_code == status
    assert len(pad.sessions()) == (status == 303)


@pytest.mark.security("S8", "D1")
@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "somebody-else"},
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"nonce": "another"},
        {"exp": 1_700_000_000},
        {"sub": "u-1", "azp": "another"},
    ],
)
def test_nobody_else_comes_in_by_a_provider(pad: Launchpad, office: LoginProvider, claims: dict[str, object]) -> None:
    set_up(pad, office, "u-1")
    office.claims = claims
    answer = come_in(pad, office)
    assert (answer.status_code, pad.sessions()) == (403, [])


def test_who_has_no_account_is_told_the_command(pad: Launchpad, office: LoginProvider) -> None:
    set_up(pad, office, "u-1")
    office.claims = {"sub": "u-2"}
    assert "staff add --provider office --subject u-2" in come_in(pad, office).text


NOT_IN: dict[str, dict[str, Any]] = {
    "said no": {"back": {"error": "access_denied"}, "says": "You, or the login provider on your behalf, said no."},
    "busy": {"back": {"error": "temporarily_unavailable"}, "says": "The login provider is busy"},
    "a word nobody knows": {"back": {"error": "odd"}, "says": "The login provider did not let you in"},
    "no code": {"back": {"iss": "{url}"}, "says": "brings no code"},
    "another answers": {"back": {"iss": "https://evil.example"}, "says": "than the login provider that was asked"},
    "no id_token": {"claims": {"nonce": None}, "says": "Who you are was said at another login"},
    "too old": {"claims": {"exp": 1_700_000_000}, "says": "What the login provider said of who you are"},
    "another issuer": {"claims": {"iss": "https://evil.example"}, "says": "by another issuer than your login provider"},
    "no token address": {"metadata": {"token_endpoint": None}, "says": "The login provider cannot let you in now"},
    "no keys": {"metadata": {"jwks_uri": None}, "says": "The login provider did not answer as it should"},
}


@pytest.mark.requirement(95)
@pytest.mark.security("S58")
@pytest.mark.parametrize("kind", NOT_IN)
def test_who_has_no_ehr_is_told_nothing_of_one(pad: Launchpad, office: LoginProvider, kind: str) -> None:
    fault = NOT_IN[kind]
    set_up(pad, office, "u-1")
    office.claims, office.metadata = fault.get("claims", {}), fault.get("metadata", {})
    answer = come_in(pad, office, **{name: text.format(url=office.url) for name, text in fault.get("back", {}).items()})
    words = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text.partition("<main")[2])).split())
    assert (answer.status_code >= 400, pad.sessions()) == (True, [])
    assert fault["says"] in words
    assert "EHR" not in words, words
    assert "gin again at the login page" in words or "Try again in a moment" in words


@pytest.mark.security("S12", "S13")
def test_a_provider_that_calls_itself_otherwise_is_not_the_one_that_was_set_up(
    pad: Launchpad, office: LoginProvider
) -> None:
    set_up(pad, office, "u-1")
    office.metadata = {"issuer": "https://login.evil.example"}
    answer = pad.browser().get("/launch/standalone", iss=office.url)
    assert (answer.status_code, "another issuer" in answer.text) == (502, True)


@pytest.mark.security("S50")
def test_an_account_of_a_provider_is_no_account_of_an_ehr(pad: Launchpad, office: LoginProvider) -> None:
    """The same words at two issuers are two people."""
    set_up(pad, office, "Practitioner/clerk")
    assert pad.browser().come_in("clerk").status_code == 403
    office.claims = {"sub": "Practitioner/nurse"}
    assert come_in(pad, office).status_code == 403


def test_the_login_page_lists_who_lets_people_in(pad: Launchpad, office: LoginProvider) -> None:
    set_up(pad, office, "u-1", label="The office")
    page = pad.browser().get("/login")
    assert (page.status_code, "Log in with The office" in page.text) == (401, True)
