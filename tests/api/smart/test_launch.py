"""Launches: people are sent to log in at the EHRs we know, with everything the specification asks for, and nowhere else."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select

from api.demo.simulator.faults import Faults
from api.demo.simulator.ledger import Context
from api.demo.simulator.simulator import Choice
from fhir_tracker import clock, issuers
from fhir_tracker.digests import digest_of
from fhir_tracker.issuers import Terms
from fhir_tracker.model.viewer import open_viewer
from fhir_tracker.storage import local_logins, resources
from fhir_tracker.storage.launch_tables import launch_pending
from fhir_tracker.storage.local_logins import Guesses
from tests.support.launching import BASE, Browser, Launchpad, asked, launch_of
from tests.support.older_ehr import older_ehr

FRAMED = {"sec-fetch-dest": "iframe"}


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is what goes over the wire."""
    return one_file


def endpoints(pad: Launchpad) -> list[str]:
    """What the EHR was asked, in order."""
    return [one.endpoint for one in pad.simulator.ledger.seen]


@pytest.mark.requirement(90, 91, 93, 94, 95)
@pytest.mark.security("S14", "S15", "S18")
def test_a_launch_from_a_chart_comes_in_to_that_chart(pad: Launchpad) -> None:
    browser = pad.browser()
    sent = browser.launch(context=Context(patient="ada"))
    request = asked(sent)
    assert sent.headers["location"].startswith(f"{pad.simulator.address('authorize')}?")
    assert (request["response_type"], request["client_id"]) == ("code", "care-tracker")
    assert request["redirect_uri"] == f"{BASE}/callback"
    assert request["aud"] == pad.simulator.fhir_base
    assert request["code_challenge_method"] == "S256"
    assert {"openid", "fhirUser", "launch"} <= set(request["scope"].split())
    assert len(request["state"]) * 6 >= 122
    assert len(request["nonce"]) * 6 >= 122
    answer = browser.get(browser.at_ehr(sent))
    session = pad.session(launch_of(answer))
    assert (session.patient, session.issuer, session.client) == ("clinic-ada", pad.simulator.fhir_base, "care-tracker")
    assert session.frame_ancestors == (pad.simulator.origin,)
    assert pad.simulator.violations == ()
    shown = [one.parameters for one in pad.simulator.ledger.seen if "code_verifier" in one.parameters]
    digest = hashlib.sha256(shown[0]["code_verifier"].encode()).digest()
    assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == request["code_challenge"]
    with pad.database.read() as tx:
        ada = resources.find(tx, open_viewer(), "Patient", "clinic-ada")
    assert ada is not None
    assert '"Synthetic"' in ada.body


@pytest.mark.security("S14", "S18", "S16")
def test_no_code_state_or_token_stays_in_an_address_a_page_or_a_cookie(pad: Launchpad) -> None:
    browser = pad.browser()
    sent = browser.launch(context=Context(patient="ada"))
    back = browser.at_ehr(sent)
    answer = browser.get(back)
    assert re.fullmatch(r"/l/[A-Za-z0-9_-]{20,}/open", answer.headers["location"])
    assert answer.headers["cache-control"] == "no-store"
    code = parse_qs(urlsplit(back).query)["code"][0]
    tokens = [one for one in _tokens(pad) if one]
    assert tokens
    told = str(answer.headers) + answer.text + str(sent.headers) + sent.text + str(browser.client.cookies)
    for secret in (code, *tokens):
        assert secret not in told.replace(asked(sent)["state"], "")
    for cookie in answer.headers.get_list("set-cookie") + sent.headers.get_list("set-cookie"):
        assert cookie.startswith("__Host-")
        for part in ("Secure", "HttpOnly", "SameSite=None", "Partitioned", "Path=/"):
            assert part in cookie
        assert "domain" not in cookie.lower()


def _tokens(pad: Launchpad) -> list[str]:
    shelves: Any = pad.simulator.ledger._kept
    return [*shelves.access, *shelves.refresh]


@pytest.mark.requirement(90)
@pytest.mark.security("S11", "S12", "S16")
@pytest.mark.parametrize(
    "iss",
    [
        "https://evil.example/fhir",
        "http://127.0.0.1:{port}/fhirs",
        "http://127.0.0.1:{port}/fhir%2f",
        "http://127.0.0.1:{port}/fhir/../fhir",
        "http://127.0.0.1:{port}@evil.example/fhir",
        "http://evil.example@127.0.0.1:{port}/fhir",
        "http://127.0.0.1.:{port}/fhir",
        "http://localhost:{port}/fhir",
        "http://127.0.0.1:{port}/fhir?x=1",
        "http://127.0.0.1:{port}/fhir#x",
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/launch", "/launch/standalone"])
def test_an_ehr_that_is_not_set_up_is_asked_nothing(pad: Launchpad, path: str, iss: str) -> None:
    port = str(urlsplit(pad.simulator.origin).port)
    answer = pad.browser().get(path, iss=iss.replace("{port}", port), launch="x")
    assert (answer.status_code, "location" in answer.headers) == (400, False)
    assert ("not known here" if iss else "No EHR is named") in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert endpoints(pad) == []


@pytest.mark.security("S11", "M3")
def test_a_client_that_wants_fhir_is_told_by_an_operation_outcome(pad: Launchpad) -> None:
    answer = pad.browser().get("/launch", {"accept": "application/fhir+json"}, iss="https://evil.example", launch="x")
    assert answer.status_code == 400
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.headers["content-type"].startswith("application/fhir+json")


@pytest.mark.requirement(90)
@pytest.mark.security("S12")
def test_the_address_written_another_usual_way_is_the_same_and_aud_stays_as_registered(pad: Launchpad) -> None:
    pressed = pad.simulator.launch("nurse", Context())
    sent = pad.browser().get("/launch", iss=f"{pad.simulator.fhir_base}/".replace("http:", "HTTP:"), launch=pressed.id)
    assert asked(sent)["aud"] == pad.simulator.fhir_base


@pytest.mark.security("S16")
@pytest.mark.parametrize("name", ["redirect", "redirect_uri", "next", "launch_url", "return_to", "target_link_uri"])
def test_nothing_in_the_address_of_a_launch_leads_elsewhere(pad: Launchpad, name: str) -> None:
    browser = pad.browser()
    pressed = pad.simulator.launch("nurse", Context())
    odd = {name: "https://evil.example/"}
    sent = browser.get("/launch", None, iss=pad.simulator.fhir_base, launch=pressed.id, **odd)
    assert asked(sent)["redirect_uri"] == f"{BASE}/callback"
    assert "evil" not in sent.headers["location"]
    back = browser.at_ehr(sent)
    answer = browser.get(f"{back}&{name}=https%3A%2F%2Fevil.example%2F")
    assert answer.headers["location"].startswith("/l/")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "iss=%FF",
        "iss=a&iss=b",
        "launch=x",
        "iss=a%00b",
        "iss=" + "a" * 20_000,
        "&".join(f"a{n}=1" for n in range(80)),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_in_plain_words(pad: Launchpad, query: str) -> None:
    for path in ("/launch", "/launch/standalone", "/callback"):
        answer = pad.browser().get(f"{path}?{query}")
        assert (answer.status_code, "<h1>" in answer.text) == (400, True), path
    assert endpoints(pad) == []


def test_a_launch_without_its_parameter_is_refused(pad: Launchpad) -> None:
    for launch in ("", "x" * 4001):
        answer = pad.browser().get("/launch", iss=pad.simulator.fhir_base, launch=launch)
        assert (answer.status_code, "parameter launch" in answer.text) == (400, True)


@pytest.mark.requirement(99)
def test_a_standalone_login_opens_the_queues_and_one_that_asks_for_a_chart_that_chart(pad: Launchpad) -> None:
    pad.simulator.auto = Choice(member="nurse", patient="ben")
    browser = pad.browser()
    sent = browser.get("/launch/standalone", iss=pad.simulator.fhir_base)
    assert "launch" not in asked(sent)
    assert not {"launch", "launch/patient"} & set(asked(sent)["scope"].split())
    pad.simulator.auto = Choice(member="nurse")
    assert pad.session(launch_of(browser.get(browser.at_ehr(sent)))).patient is None
    pad.simulator.auto = Choice(member="nurse", patient="ben")
    sent = browser.get("/launch/standalone", iss=pad.simulator.fhir_base, patient="choose")
    assert "launch/patient" in asked(sent)["scope"].split()
    assert pad.session(launch_of(browser.get(browser.at_ehr(sent)))).patient == "clinic-ben"
    assert pad.simulator.violations == ()


@pytest.mark.requirement(94)
def test_without_a_chart_a_launch_opens_the_queues(pad: Launchpad) -> None:
    session = pad.session(launch_of(pad.browser().come_in()))
    assert (session.patient, session.needs_banner, session.intent) == (None, True, "")


@pytest.mark.requirement(91)
def test_scopes_are_those_that_were_set_up_and_launch_only_from_a_chart(pad: Launchpad) -> None:
    pad.set_up(scopes="patient/*.rs launch offline_access")
    pad.simulator.auto = Choice(member="nurse")
    assert asked(pad.browser().launch())["scope"] == "patient/*.rs launch offline_access openid fhirUser"
    standalone = pad.browser().get("/launch/standalone", iss=pad.simulator.fhir_base)
    assert asked(standalone)["scope"] == "patient/*.rs offline_access openid fhirUser"


@pytest.mark.requirement(91)
def test_an_ehr_that_takes_the_request_by_post_gets_it_so_where_that_is_wanted(pad: Launchpad) -> None:
    pad.set_up(posts=True)
    browser = pad.browser()
    page = browser.launch()
    assert page.status_code == 200
    assert f"form-action {pad.simulator.origin}" in page.headers["content-security-policy"]
    target = re.search(r'action="([^"]+)"', page.text)
    fields = {name: unescape(value) for name, value in re.findall(r'name="([a-z_]+)" value="([^"]*)"', page.text)}
    assert target is not None
    assert target[1] == pad.simulator.address("authorize")
    answer = httpx.post(target[1], data=fields, follow_redirects=False, trust_env=False)
    assert launch_of(browser.get(answer.headers["location"]))
    assert pad.simulator.violations == ()
    pad.simulator.faults = Faults(metadata={"capabilities": ["launch-ehr"]})
    pad.set_up(posts=True)
    assert pad.browser().launch().status_code == 302


@pytest.mark.security("S15")
def test_an_ehr_that_does_not_say_that_it_checks_pkce_is_refused_unless_a_person_takes_the_risk(pad: Launchpad) -> None:
    pad.simulator.faults = Faults(without_pkce=True)
    answer = pad.browser().launch()
    assert (answer.status_code, "--no-pkce-check" in answer.text) == (502, True)
    pad.simulator.faults = Faults(metadata={"code_challenge_methods_supported": ["plain"]})
    pad.set_up()
    assert pad.browser().launch().status_code == 502
    pad.simulator.faults = Faults(without_pkce=True)
    pad.set_up(checks_pkce=False)
    sent = pad.browser().launch()
    assert asked(sent)["code_challenge_method"] == "S256"


FAULTS: dict[str, Faults] = {
    "down": Faults(down=frozenset({"discovery"})),
    "redirecting": Faults(redirecting=frozenset({"discovery"})),
    "redirecting to itself": Faults(
        redirecting=frozenset({"discovery"}), redirect_to="/fhir/.well-known/smart-configuration"
    ),
    "a page": Faults(not_json=frozenset({"discovery"})),
    "no authorize": Faults(metadata={"authorization_endpoint": None}),
    "no token": Faults(metadata={"token_endpoint": None}),
    "http token": Faults(metadata={"token_endpoint": "http://auth.example/token"}),
    "user in address": Faults(metadata={"token_endpoint": "https://a:b@auth.example/token"}),
    "fragment": Faults(metadata={"authorization_endpoint": "https://auth.example/a#b"}),
    "script": Faults(metadata={"authorization_endpoint": "javascript:alert(1)"}),
    "not text": Faults(metadata={"authorization_endpoint": ["https://auth.example"]}),
    "odd issuer": Faults(metadata={"issuer": 7}),
    "http issuer": Faults(metadata={"issuer": "ftp://auth.example"}),
}


@pytest.mark.security("S29", "S58", "E1")
@pytest.mark.parametrize("fault", FAULTS)
def test_an_ehr_that_tells_nonsense_of_itself_sends_nobody_anywhere(pad: Launchpad, fault: str) -> None:
    pad.simulator.faults = FAULTS[fault]
    answer = pad.browser().launch()
    assert (answer.status_code, "location" in answer.headers) == (502, False)
    assert "cannot let you in now" in answer.text
    assert f"frame-ancestors {pad.simulator.origin}" in answer.headers["content-security-policy"]


@pytest.mark.security("S58")
def test_an_answer_of_many_megabytes_is_not_read_to_its_end(pad: Launchpad) -> None:
    pad.simulator.faults = Faults(metadata={"odd": "x" * 2_000_000})
    assert pad.browser().launch().status_code == 502


def test_an_authorization_server_elsewhere_has_to_be_where_a_person_said(pad: Launchpad) -> None:
    pad.simulator.faults = Faults(metadata={"token_endpoint": "https://auth.example/token"})
    assert pad.browser().launch().status_code == 302
    pad.set_up(endpoint_origins=["https://login.example"])
    answer = pad.browser().launch()
    assert (answer.status_code, "--endpoint-origin" in answer.text) == (502, True)
    pad.set_up(endpoint_origins=["https://auth.example"])
    assert pad.browser().launch().status_code == 302


def test_what_an_ehr_says_of_itself_is_asked_once_and_anew_when_it_is_set_up_anew(pad: Launchpad) -> None:
    for _ in range(3):
        assert pad.browser().launch().status_code == 302
    assert endpoints(pad) == ["discovery"]
    pad.set_up()
    assert pad.browser().launch().status_code == 302
    assert endpoints(pad) == ["discovery"] * 2


def test_a_capability_statement_serves_where_an_older_ehr_has_no_smart_configuration(pad: Launchpad) -> None:
    with older_ehr() as base:
        pad.simulator.auto = Choice(member="nurse")
        terms = Terms(url=base, client_id="care-tracker", checks_pkce=False)
        with pad.database.begin() as tx:
            issuers.of_connection(tx, "clinic", terms, pad.context.secret_key, clock.now())
        sent = pad.browser().get("/launch/standalone", iss=base)
        assert sent.headers["location"].startswith(f"{base}/old/authorize?")


@pytest.mark.requirement(97)
@pytest.mark.security("S14", "S21")
def test_in_a_frame_without_our_cookie_the_window_keeps_the_secret_too(pad: Launchpad) -> None:
    browser = pad.browser()
    page = browser.launch(headers=FRAMED)
    assert (page.status_code, "location" in page.headers) == (200, False)
    assert f"frame-ancestors {pad.simulator.origin}" in page.headers["content-security-policy"]
    address, secret = going(page)
    browser.client.cookies.clear()
    back = browser.at_ehr(httpx.Response(302, headers={"location": address}))
    relay = browser.get(back)
    assert (relay.status_code, "data-launch-window" in relay.text) == (200, True)
    assert secret not in relay.text
    fields = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    assert pad.sessions() == []
    here = {"sec-fetch-site": "same-origin", "origin": BASE}
    answer = browser.client.post("/callback", data={**fields, "window": secret}, headers=here, follow_redirects=False)
    assert (answer.status_code, "tracker-handle" in answer.text) == (200, True)
    assert len(pad.sessions()) == 1
    again = browser.client.post("/callback", data={**fields, "window": secret}, headers=here, follow_redirects=False)
    assert again.status_code == 400


@pytest.mark.security("S14", "S22")
@pytest.mark.parametrize("wrong", ["other window", "no window", "other site", "cookie way"])
def test_another_window_or_site_cannot_end_a_login_of_a_window(pad: Launchpad, wrong: str) -> None:
    browser = pad.browser()
    page = browser.launch(headers={} if wrong == "cookie way" else FRAMED)
    address, secret = (page.headers["location"], "x" * 43) if wrong == "cookie way" else going(page)
    back = browser.at_ehr(httpx.Response(302, headers={"location": address}))
    fields = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    window = {"other window": "y" * 43, "no window": ""}.get(wrong, secret)
    site = "cross-site" if wrong == "other site" else "same-origin"
    answer = browser.client.post(
        "/callback", data={**fields, "window": window}, headers={"sec-fetch-site": site}, follow_redirects=False
    )
    assert answer.status_code == 403
    assert (pad.sessions(), "token" in endpoints(pad)) == ([], False)


def going(page: httpx.Response) -> tuple[str, str]:
    """The address a page sends the browser to, and the secret it has the window keep."""
    address = re.search(r'href="([^"]+)" data-launch-go', page.text)
    secret = re.search(r'data-launch-secret="([^"]+)"', page.text)
    assert address
    assert secret
    return unescape(address[1]), secret[1]


def test_two_logins_of_one_browser_wait_side_by_side(pad: Launchpad) -> None:
    browser = pad.browser()
    first, second = (browser.launch(context=Context(patient=one)) for one in ("ada", "ben"))
    later, sooner = browser.get(browser.at_ehr(second)), browser.get(browser.at_ehr(first))
    assert [pad.session(launch_of(one)).patient for one in (sooner, later)] == ["clinic-ada", "clinic-ben"]
    assert launch_of(sooner) != launch_of(later)


def test_head_and_other_methods_begin_nothing(pad: Launchpad) -> None:
    browser: Browser = pad.browser()
    for method in ("POST", "PUT", "DELETE"):
        answer = browser.client.request(method, "/launch", params={"iss": pad.simulator.fhir_base, "launch": "x"})
        assert answer.status_code in (401, 405)
    assert endpoints(pad) == []


@pytest.mark.security("S14")
def test_who_looks_ahead_by_head_uses_no_login_up(pad: Launchpad) -> None:
    """A mail or web filter that asks for an address before the browser does."""
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    for one in (browser, pad.browser()):
        answer = one.client.head(back, follow_redirects=False)
        assert (answer.status_code, answer.headers["allow"], answer.text) == (405, "GET, POST", "")
        assert not answer.headers.get_list("set-cookie")
    assert (endpoints(pad).count("token"), pad.sessions()) == (0, [])
    assert launch_of(browser.get(back))


@pytest.mark.security("S56", "M3")
def test_a_flood_of_launches_is_slowed_before_anything_is_kept_of_them(pad: Launchpad) -> None:
    now = clock.now()
    full = Guesses(key=digest_of("launch:testclient"), failures=0, last_at=now, barred_until=now + timedelta(hours=1))
    with pad.database.begin() as tx:
        local_logins.note(tx, full, now)
    browser = pad.browser()
    answer = browser.launch(context=Context(patient="ada"))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert "Too many logins are begun" in answer.text
    assert f"frame-ancestors {pad.simulator.origin};" in answer.headers["content-security-policy"]
    with pad.database.read() as tx:
        assert tx.rows(select(launch_pending)) == []
