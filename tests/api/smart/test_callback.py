"""The way back from logging in: who did not begin here, in this browser, at this EHR, gets nothing, and nothing is asked for."""

from __future__ import annotations

import base64
import json
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from sqlalchemy import text

from api.demo.simulator.faults import Faults, IdTokenFaults
from api.demo.simulator.ledger import Context
from api.smart import browsers
from fhir_tracker import accounts, clock, connections, issuers
from fhir_tracker.issuers import Terms
from fhir_tracker.storage.database import Database
from tests.support.launching import BASE, Browser, Launchpad, launch_of
from tests.support.simulated_ehr import app_at, simulated_ehr


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is what goes over the wire."""
    return one_file


def changed(address: str, **values: str | None) -> str:
    """An address with other parameters; None takes one away."""
    parts = urlsplit(address)
    pairs = {**dict(parse_qsl(parts.query)), **values}
    return parts._replace(query=urlencode({name: one for name, one in pairs.items() if one is not None})).geturl()


def tokens_asked(pad: Launchpad) -> int:
    """How often a token was asked for."""
    return sum(one.endpoint == "token" for one in pad.simulator.ledger.seen)


def trail(database: Database, action: str) -> list[dict[str, Any]]:
    """The rows of one kind of act, the oldest first."""
    with database.read() as tx:
        rows = tx.connection.execute(
            text("SELECT who, outcome, detail FROM audit WHERE action = :a ORDER BY seq"), {"a": action}
        )
        return [{"who": one.who, "outcome": one.outcome, **json.loads(one.detail)} for one in rows]


@pytest.mark.requirement(92)
@pytest.mark.security("S14", "S17")
def test_a_state_counts_once(pad: Launchpad) -> None:
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    assert launch_of(browser.get(back))
    for one in (back, changed(back, code="another")):
        answer = browser.get(one)
        assert (answer.status_code, "used already" in answer.text) == (400, True)
    assert (tokens_asked(pad), len(pad.sessions())) == (1, 1)


@pytest.mark.requirement(92)
@pytest.mark.security("S14", "S17")
def test_of_many_who_come_back_at_once_with_one_state_one_gets_in(pad: Launchpad) -> None:
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    gate, found = threading.Barrier(4), list[int]()
    cookies = {one.name: str(one.value) for one in browser.client.cookies.jar}

    def come() -> None:
        other = pad.browser()
        gate.wait(30)
        found.append(other.get(back, {"cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}).status_code)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert sorted(found) == [303, 400, 400, 400]
    assert (tokens_asked(pad), len(pad.sessions())) == (1, 1)


@pytest.mark.requirement(92)
@pytest.mark.security("S14")
@pytest.mark.parametrize("state", [None, "", "x" * 43, "x" * 600, "%00", "\N{SNOWMAN}" * 20])
def test_a_state_that_is_not_ours_is_refused_without_a_request(pad: Launchpad, state: str | None) -> None:
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    assert browser.get(changed(back, state=state)).status_code == 400
    assert (tokens_asked(pad), pad.sessions()) == (0, [])


@pytest.mark.security("S14", "S17")
def test_a_login_cannot_be_ended_in_another_browser(pad: Launchpad) -> None:
    """An attacker who sends somebody the end of their own login does not log them in as themselves."""
    attacker, victim, blank = pad.browser(), pad.browser(), pad.browser()
    victim.launch()
    for other, said in ((victim, "another browser"), (blank, "no cookie")):
        back = attacker.at_ehr(attacker.launch())
        answer = other.get(back)
        assert (answer.status_code, said in answer.text) == (403, True)
        assert attacker.get(back).status_code == 400
    assert (tokens_asked(pad), pad.sessions()) == (0, [])
    assert {one["outcome"] for one in trail(pad.database, "login-refused")} == {"denied"}


@pytest.mark.requirement(97)
@pytest.mark.security("S14", "S19", "S20")
def test_two_frames_that_begin_at_the_same_moment_both_come_in_with_a_chart_each(pad: Launchpad) -> None:
    """Neither request has the cookie of the other yet; the browser keeps both."""
    browser = pad.browser()
    ways = []
    for patient in ("ada", "ben"):
        held = dict(browser.client.cookies)
        browser.client.cookies.clear()
        ways.append(browser.at_ehr(browser.launch(context=Context(patient=patient))))
        for name, secret in held.items():
            browser.client.cookies.set(name, secret, domain="testserver.local", path="/")
    found = [pad.session(launch_of(browser.get(way))).patient for way in ways]
    assert found == ["clinic-ada", "clinic-ben"]
    assert [one for one in browser.client.cookies if one.startswith(browsers.PREFIX)] == []


@pytest.mark.security("S14", "S56")
def test_a_browser_holds_few_logins_under_way_and_the_latest_counts(pad: Launchpad) -> None:
    browser = pad.browser()
    ways = [browser.at_ehr(browser.launch()) for _ in range(3 * browsers.MOST)]
    assert len([one for one in browser.client.cookies if one.startswith(browsers.PREFIX)]) <= browsers.MOST
    assert "another browser" in browser.get(ways[0]).text
    assert launch_of(browser.get(ways[-1]))


@pytest.mark.security("S14", "S17")
def test_the_cookie_of_one_login_ends_no_other(pad: Launchpad) -> None:
    browser = pad.browser()
    first, second = (browser.at_ehr(browser.launch()) for _ in range(2))
    names = [browsers.name_of(dict(parse_qsl(urlsplit(way).query))["state"]) for way in (first, second)]
    one, other = (browser.client.cookies[name] for name in names)
    answer = pad.browser().get(first, {"cookie": f"{names[0]}={other}; {names[1]}={one}"})
    assert (answer.status_code, "another browser" in answer.text) == (403, True)
    assert tokens_asked(pad) == 0


@pytest.mark.security("S14")
@pytest.mark.parametrize("cookie", ["", "short", "x" * 43, 'x"y', "x" * 5000])
def test_a_cookie_of_ones_own_making_opens_nothing(pad: Launchpad, cookie: str) -> None:
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    name = browsers.name_of(dict(parse_qsl(urlsplit(back).query))["state"])
    answer = pad.browser().get(back, {"cookie": f"{name}={cookie}; __Host-launching={cookie}"})
    assert (answer.status_code, tokens_asked(pad)) == (403, 0)


@pytest.mark.requirement(92)
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Faults(denied=True), "said no"),
        (Faults(refused_scopes=True), "the scopes"),
        (Faults(callback={"code": None, "error": "server_error"}), "had a fault"),
        (Faults(callback={"error": "<script>alert(1)</script>"}), "no reason that is known"),
        (Faults(callback={"code": None}), "brings no code"),
        (Faults(callback={"code": ""}), "brings no code"),
        (Faults(callback={"code": "x" * 9000}), "brings no code"),
    ],
)
def test_an_error_of_the_ehr_is_told_in_plain_words_and_no_token_is_asked_for(
    pad: Launchpad, fault: Faults, said: str
) -> None:
    pad.simulator.faults = fault
    answer = pad.browser().come_in()
    assert (answer.status_code, said in answer.text) == (400, True)
    assert "<script>alert" not in answer.text
    assert "error_description" not in answer.text
    assert f"frame-ancestors {pad.simulator.origin}" in answer.headers["content-security-policy"]
    assert (tokens_asked(pad), pad.sessions()) == (0, [])


@pytest.mark.security("S13", "S17")
@pytest.mark.parametrize("iss", [None, "", "https://evil.example/fhir", "{base}/", "{base}x", "{base}?x"])
def test_an_answer_of_another_issuer_is_refused_without_a_request(pad: Launchpad, iss: str | None) -> None:
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    named = iss.replace("{base}", pad.simulator.issuer) if iss is not None else None
    answer = browser.get(changed(back, iss=named))
    assert (answer.status_code, tokens_asked(pad), pad.sessions()) == (400, 0, [])


@pytest.mark.security("S13")
def test_an_ehr_that_does_not_name_itself_need_not_but_may_not_lie(pad: Launchpad) -> None:
    pad.simulator.faults = Faults(
        metadata={"authorization_response_iss_parameter_supported": None}, callback={"iss": None}
    )
    assert launch_of(pad.browser().come_in())
    pad.simulator.faults = Faults(
        metadata={"authorization_response_iss_parameter_supported": None}, callback={"iss": "https://evil.example"}
    )
    assert pad.browser().come_in().status_code == 400


@pytest.mark.security("S13", "S17")
def test_a_code_of_one_ehr_is_never_shown_to_another(pad: Launchpad) -> None:
    """Mix-up: the person is sent to one EHR, and the answer brings what another gave out."""
    with simulated_ehr() as other:
        other.simulator.register(app_at(BASE))
        with pad.database.begin() as tx:
            connections.add(tx, "north", other.simulator.fhir_base, now=clock.now())
            terms = Terms(url=other.simulator.fhir_base, client_id="care-tracker")
            issuers.of_connection(tx, "north", terms, pad.context.secret_key, clock.now())
        browser = pad.browser()
        honest = browser.at_ehr(browser.launch())
        pressed = other.simulator.launch("nurse", Context())
        evil = browser.at_ehr(browser.get("/launch", iss=other.simulator.fhir_base, launch=pressed.id))
        codes, issued = (dict(parse_qsl(urlsplit(one).query)) for one in (honest, evil))
        mixed = browser.get(changed(evil, code=codes["code"], iss=issued["iss"], state=codes["state"]))
        assert mixed.status_code == 400
        mixed = browser.get(changed(evil, code=codes["code"]))
        assert mixed.status_code == 403
        assert tokens_asked(pad) == 0
        assert pad.sessions() == []


@pytest.mark.security("S14")
def test_a_login_that_took_too_long_is_over(pad: Launchpad) -> None:
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    earlier = int(timedelta(minutes=10).total_seconds() * 1_000_000)
    with pad.database.begin() as tx:
        tx.connection.execute(
            text(f"UPDATE launch_pending SET made_at = made_at - {earlier}, ends_at = ends_at - {earlier}")
        )
    answer = browser.get(back)
    assert (answer.status_code, tokens_asked(pad)) == (400, 0)


@pytest.mark.security("S50")
def test_an_ehr_that_was_taken_away_meanwhile_lets_nobody_in(pad: Launchpad) -> None:
    browser = pad.browser()
    back = browser.at_ehr(browser.launch())
    with pad.database.begin() as tx:
        issuers.remove(tx, "clinic", clock.now())
    assert (browser.get(back).status_code, tokens_asked(pad)) == (400, 0)
    assert browser.launch().status_code == 400


@pytest.mark.requirement(95)
@pytest.mark.security("A2", "B1")
def test_somebody_without_an_account_is_told_what_to_tell_the_administrator(pad: Launchpad) -> None:
    answer = pad.browser().come_in("clerk")
    assert answer.status_code == 403
    command = "fhir-tracker staff add --connection clinic --fhir-user Practitioner/clerk"
    assert command in answer.text
    assert f"frame-ancestors {pad.simulator.origin}" in answer.headers["content-security-policy"]
    assert not any(one.startswith("__Host-l-") for one in answer.headers.get_list("set-cookie"))
    assert pad.sessions() == []
    (row,) = trail(pad.database, "login-refused")
    assert (row["who"], row["why"], row["named"]) == ("Practitioner/clinic-clerk", "unmapped", "Practitioner/clerk")


@pytest.mark.requirement(95)
@pytest.mark.security("S50", "A2")
def test_somebody_who_was_disabled_does_not_come_in_and_who_is_in_gets_out(pad: Launchpad) -> None:
    who = pad.person()
    browser = pad.browser()
    session = pad.session(launch_of(browser.come_in()))
    assert browser.get(f"/l/{session.id}/help/keys").status_code == 200
    with pad.database.begin() as tx:
        accounts.disable(tx, who.id, clock.now())
    assert browser.get(f"/l/{session.id}/help/keys").status_code == 401
    answer = pad.browser().come_in()
    assert (answer.status_code, "switched off" in answer.text) == (403, True)
    assert pad.session(session.id).ended_why == "disabled"
    assert trail(pad.database, "login-refused")[-1]["why"] == "disabled"


@pytest.mark.security("B1", "A2")
def test_who_came_in_is_in_the_trail_with_issuer_client_and_session(pad: Launchpad) -> None:
    session = pad.session(launch_of(pad.browser().come_in(context=Context(patient="ada"))))
    with pad.database.read() as tx:
        row = tx.connection.execute(text("SELECT * FROM audit WHERE action = 'launch'")).mappings().one()
    assert (row["who"], row["issuer"], row["client"]) == (
        "Practitioner/clinic-nurse",
        pad.simulator.fhir_base,
        "care-tracker",
    )
    assert (row["session"], row["patient"]) == (session.id, "clinic-ada")


@pytest.mark.requirement(94)
def test_the_context_of_a_launch_is_kept_as_this_store_calls_it(pad: Launchpad) -> None:
    context = Context(
        patient="ada",
        encounter="visit-1",
        intent="care-plan",
        needs_banner=False,
        tenant="north-clinic",
        style_url="https://ehr.example/style.json",
        fhir_context=(
            {"reference": "Appointment/7"},
            {"reference": f"{pad.simulator.fhir_base}/CarePlan/8"},
            {"reference": f"{BASE}/fhir/Task/0196-ours"},
            {"reference": "https://evil.example/Task/9"},
            {"reference": "Nonsense/9"},
            {"canonical": "http://example.org/q"},
        ),
    )
    session = pad.session(launch_of(pad.browser().come_in(context=context)))
    assert (session.patient, session.encounter) == ("clinic-ada", "clinic-visit-1")
    assert (session.intent, session.needs_banner, session.tenant) == ("care-plan", False, "north-clinic")
    assert session.style_url == "https://ehr.example/style.json"
    assert session.fhir_context == ("Appointment/clinic-7", "CarePlan/clinic-8", "Task/0196-ours")


@pytest.mark.requirement(94)
@pytest.mark.parametrize(
    "odd", [7.5, ["ada"], {"reference": "Patient/ada"}, "../ada", "Patient/../ada", "a b", "x" * 300, True, ".."]
)
def test_a_chart_that_cannot_be_told_never_becomes_a_view_of_everybody(pad: Launchpad, odd: object) -> None:
    pad.simulator.faults = Faults(context={"patient": odd})
    answer = pad.browser().come_in(context=Context(patient="ada"))
    assert (answer.status_code, pad.sessions()) == (403, [])


@pytest.mark.requirement(94)
def test_what_is_odd_in_a_context_is_left_out_and_does_no_harm(pad: Launchpad) -> None:
    odd: dict[str, object] = {
        "encounter": ["x"],
        "intent": "a\nb",
        "need_patient_banner": "no",
        "fhirContext": {"reference": "Task/1"},
        "tenant": 7,
        "smart_style_url": "javascript:alert(1)",
        "scope": "openid fhirUser launch",
    }
    pad.simulator.faults = Faults(context=odd)
    session = pad.session(launch_of(pad.browser().come_in()))
    assert (session.encounter, session.intent, session.fhir_context, session.tenant) == (None, "", (), "")
    assert (session.needs_banner, session.style_url) == (True, "")
    assert session.scopes == ("openid", "fhirUser", "launch")


@pytest.mark.requirement(94)
def test_scopes_that_were_not_granted_are_not_those_of_the_session(pad: Launchpad) -> None:
    pad.simulator.faults = Faults(withheld=frozenset({"patient/Patient.rs", "online_access"}))
    session = pad.session(launch_of(pad.browser().come_in(context=Context(patient="ada"))))
    assert session.scopes == ("launch", "openid", "fhirUser")


def handmade(**header: object) -> str:
    """A token with a header that no library writes, signed by nobody."""
    parts = [{"alg": "RS256", "kid": "a", **header}, {"iss": "x"}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in [*parts, "c2ln"])


BAD_TOKENS: dict[str, tuple[Faults, int]] = {
    "missing": (Faults(id_token=IdTokenFaults(missing=True)), 403),
    "alg none": (Faults(id_token=IdTokenFaults(algorithm="none")), 403),
    "alg HS256 with the public key": (Faults(id_token=IdTokenFaults(algorithm="HS256")), 403),
    "alg RS384": (Faults(id_token=IdTokenFaults(algorithm="RS384")), 403),
    "signed by nobody": (Faults(id_token=IdTokenFaults(unsigned=True)), 403),
    "crit": (Faults(context={"id_token": handmade(crit=["exp"])}), 403),
    "wrong aud": (Faults(id_token=IdTokenFaults(claims={"aud": "another-app"})), 403),
    "aud without azp": (Faults(id_token=IdTokenFaults(claims={"aud": ["care-tracker", "another-app"]})), 403),
    "aud of many, azp of another": (
        Faults(id_token=IdTokenFaults(claims={"aud": ["care-tracker", "b"], "azp": "b"})),
        403,
    ),
    "azp of another": (Faults(id_token=IdTokenFaults(claims={"azp": "another-app"})), 403),
    "no aud": (Faults(id_token=IdTokenFaults(claims={"aud": None})), 403),
    "odd aud": (Faults(id_token=IdTokenFaults(claims={"aud": {"care-tracker": 1}})), 403),
    "wrong iss": (Faults(id_token=IdTokenFaults(claims={"iss": "https://evil.example"})), 403),
    "no iss": (Faults(id_token=IdTokenFaults(claims={"iss": None})), 403),
    "wrong nonce": (Faults(id_token=IdTokenFaults(claims={"nonce": "another"})), 403),
    "no nonce": (Faults(id_token=IdTokenFaults(claims={"nonce": None})), 403),
    "odd nonce": (Faults(id_token=IdTokenFaults(claims={"nonce": ["a"]})), 403),
    "expired": (Faults(id_token=IdTokenFaults(claims={"exp": 1_700_000_000})), 403),
    "no exp": (Faults(id_token=IdTokenFaults(claims={"exp": None})), 403),
    "text exp": (Faults(id_token=IdTokenFaults(claims={"exp": "2999999999"})), 403),
    "exp of 1e300": (Faults(id_token=IdTokenFaults(claims={"exp": 1e300})), 403),
    "true exp": (Faults(id_token=IdTokenFaults(claims={"exp": True})), 403),
    "from the future": (Faults(id_token=IdTokenFaults(claims={"iat": 4_000_000_000, "exp": 4_000_000_300})), 403),
    "of long ago": (Faults(id_token=IdTokenFaults(claims={"iat": 1_700_000_000})), 403),
    "text iat": (Faults(id_token=IdTokenFaults(claims={"iat": "now"})), 403),
    "odd nbf": (Faults(id_token=IdTokenFaults(claims={"nbf": [1]})), 403),
    "not yet": (Faults(id_token=IdTokenFaults(claims={"nbf": 4_000_000_000})), 403),
    "no sub": (Faults(id_token=IdTokenFaults(claims={"sub": None})), 403),
    "no fhirUser": (Faults(id_token=IdTokenFaults(claims={"fhirUser": None})), 403),
    "odd fhirUser": (Faults(id_token=IdTokenFaults(claims={"fhirUser": 7})), 403),
    "a patient": (Faults(id_token=IdTokenFaults(claims={"fhirUser": "Patient/nurse"})), 403),
    "of another server": (
        Faults(id_token=IdTokenFaults(claims={"fhirUser": "https://evil.example/fhir/Practitioner/nurse"})),
        403,
    ),
    "text": (Faults(context={"id_token": "no.token"}), 403),
    "a number": (Faults(context={"id_token": 7}), 403),
    "huge": (Faults(context={"id_token": f"{'a' * 70_000}.b.c"}), 403),
    "many dots": (Faults(context={"id_token": "." * 1000}), 403),
    "no keys": (Faults(keys="none"), 403),
    "keys of others": (Faults(keys="others"), 403),
    "no page of keys": (Faults(keys="garbage"), 502),
    "two keys of one id": (Faults(keys="ambiguous"), 403),
    "a key id of another": (Faults(id_token=IdTokenFaults(header={"kid": "../../etc/passwd"})), 403),
    "a key id that is none": (Faults(context={"id_token": handmade(kid=7)}), 403),
    "a key id of many letters": (Faults(context={"id_token": handmade(kid="x" * 300)}), 403),
    "a method that is none": (Faults(context={"id_token": handmade(alg=["RS256"])}), 403),
    "no method": (Faults(context={"id_token": handmade(alg=None)}), 403),
    "keys down": (Faults(down=frozenset({"jwks"})), 502),
    "keys redirecting": (Faults(redirecting=frozenset({"jwks"})), 502),
    "keys at http elsewhere": (
        Faults(metadata={"jwks_uri": "http://evil.example/keys"}),
        502,
    ),
}


@pytest.mark.requirement(95)
@pytest.mark.security("S1", "S2", "S4", "S6", "S8", "D1")
@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_who_somebody_is_is_believed_only_of_a_good_id_token(pad: Launchpad, kind: str) -> None:
    pad.simulator.faults, status = BAD_TOKENS[kind]
    browser = pad.browser()
    answer = browser.launch()
    if answer.status_code == 302:
        answer = browser.get(browser.at_ehr(answer))
    assert (answer.status_code, pad.sessions()) == (status, []), answer.text
    assert "Traceback" not in answer.text


@pytest.mark.security("S2", "S3")
def test_a_key_that_comes_with_the_token_or_is_named_in_it_is_never_used(pad: Launchpad) -> None:
    evil = {"jku": "http://127.0.0.1:9/keys", "x5u": "http://127.0.0.1:9/x", "jwk": {"kty": "oct", "k": "AAAA"}}
    pad.simulator.faults = Faults(id_token=IdTokenFaults(unsigned=True, header=evil))
    answer = pad.browser().come_in()
    assert (answer.status_code, pad.sessions()) == (403, [])


GOOD_TOKENS: dict[str, Faults] = {
    "ES384": Faults(id_token=IdTokenFaults(algorithm="ES384")),
    "aud as a list": Faults(id_token=IdTokenFaults(claims={"aud": ["care-tracker"]})),
    "aud of two with azp": Faults(id_token=IdTokenFaults(claims={"aud": ["care-tracker", "b"], "azp": "care-tracker"})),
    "relative fhirUser": Faults(id_token=IdTokenFaults(claims={"fhirUser": "Practitioner/nurse"})),
    "no iat": Faults(id_token=IdTokenFaults(claims={"iat": None})),
    "the older name": Faults(id_token=IdTokenFaults(claims={"fhirUser": None, "profile": "Practitioner/nurse"})),
}


@pytest.mark.requirement(95)
@pytest.mark.security("S8")
@pytest.mark.parametrize("kind", GOOD_TOKENS)
def test_good_id_tokens_of_every_make_let_in(pad: Launchpad, kind: str) -> None:
    pad.simulator.faults = GOOD_TOKENS[kind]
    assert launch_of(pad.browser().come_in())


@pytest.mark.fault("F29")
@pytest.mark.security("S7", "D1")
def test_keys_that_were_rotated_are_read_anew_once(pad: Launchpad) -> None:
    assert launch_of(pad.browser().come_in())
    pad.simulator.keys.rotate()
    assert launch_of(pad.browser().come_in())
    pages = [one.endpoint for one in pad.simulator.ledger.seen].count("jwks")
    assert pages == 2
    pad.simulator.faults = Faults(id_token=IdTokenFaults(header={"kid": "nobody"}))
    for _ in range(3):
        assert pad.browser().come_in().status_code == 403
    assert [one.endpoint for one in pad.simulator.ledger.seen].count("jwks") == 2


@pytest.mark.security("S58")
@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Faults(down=frozenset({"token"})), 502),
        (Faults(redirecting=frozenset({"token"})), 403),
        (Faults(not_json=frozenset({"token"})), 403),
        (Faults(token_error="invalid_grant"), 403),
        (Faults(token_error="invalid_client"), 403),
        (Faults(token_error="<script>"), 403),
        (Faults(context={"token_type": "mac"}), 403),
        (Faults(context={"access_token": None}), 403),
        (Faults(context={"access_token": "a b"}), 403),
        (Faults(context={"odd": "x" * 200_000}), 403),
    ],
)
def test_a_token_endpoint_that_fails_lets_nobody_in(pad: Launchpad, fault: Faults, status: int) -> None:
    pad.simulator.faults = fault
    answer = pad.browser().come_in()
    assert (answer.status_code, pad.sessions()) == (status, [])
    assert "<script>" not in answer.text.replace('<script src="/static/pages.js" defer></script>', "")


@pytest.mark.requirement(96)
@pytest.mark.parametrize(
    "fault", [Faults(without_refresh=True), Faults(says_life=False), Faults(context={"expires_in": "300"})]
)
def test_tokens_without_renewal_or_told_life_let_in_too(pad: Launchpad, fault: Faults) -> None:
    pad.simulator.faults = fault
    session = pad.session(launch_of(pad.browser().come_in()))
    assert session.tokens_end is not None


def test_a_patient_the_ehr_does_not_show_is_nobody_else(pad: Launchpad) -> None:
    answer = pad.browser().come_in(context=Context(patient="not-there"))
    session = pad.session(launch_of(answer))
    assert session.patient == "clinic-not-there"


@pytest.mark.security("A4")
def test_where_people_read_in_their_own_name_the_ehr_decides_who_opens_a_chart(pad: Launchpad) -> None:
    pad.set_up(reads_as_user=True)
    assert launch_of(pad.browser().come_in(context=Context(patient="ada")))
    reads = [one for one in pad.simulator.ledger.seen if one.endpoint == "fhir"]
    assert len(reads) == 1
    assert launch_of(pad.browser().come_in(context=Context(patient="ada")))
    assert len([one for one in pad.simulator.ledger.seen if one.endpoint == "fhir"]) == 2
    pad.simulator.faults = Faults(withheld=frozenset({"patient/Patient.rs"}))
    answer = pad.browser().come_in(context=Context(patient="ada"))
    assert (answer.status_code, "does not let you read" in answer.text) == (403, True)
    pad.simulator.faults = Faults()
    assert pad.browser().come_in(context=Context(patient="not-there")).status_code == 403


@pytest.mark.requirement(98)
@pytest.mark.security("S29", "S18")
def test_a_persons_token_is_never_sent_to_another_server(pad: Launchpad) -> None:
    with simulated_ehr() as other:
        elsewhere = f"{other.simulator.origin}/fhir/Patient/ada"
        pad.simulator.faults = Faults(redirecting=frozenset({"fhir"}), redirect_to=elsewhere)
        assert launch_of(pad.browser().come_in(context=Context(patient="ada")))
        assert other.simulator.ledger.seen == ()
        pad.set_up(reads_as_user=True)
        assert pad.browser().come_in(context=Context(patient="ada")).status_code == 403
        assert other.simulator.ledger.seen == ()


@pytest.mark.security("S19")
def test_a_chart_opened_later_changes_nothing_in_the_one_opened_before(pad: Launchpad) -> None:
    browser = pad.browser()
    first = launch_of(browser.come_in(context=Context(patient="ada")))
    second = launch_of(browser.come_in(context=Context(patient="ben")))
    assert [pad.session(one).patient for one in (first, second)] == ["clinic-ada", "clinic-ben"]
    assert browser.get(f"/l/{first}/patients/clinic-ben").status_code == 404
    assert browser.get(f"/l/{second}/patients/clinic-ada").status_code == 404
    assert browser.get(f"/l/{first}/patients/clinic-ada").status_code == 200


@pytest.mark.security("S56", "M3")
def test_who_fails_without_end_is_slowed_down(pad: Launchpad) -> None:
    browser: Browser = pad.browser()
    found = {browser.get("/callback", state="x").status_code for _ in range(130)}
    assert found == {400, 429}
    answer: httpx.Response = browser.get("/callback", state="x")
    assert int(answer.headers["retry-after"]) >= 1
