"""The simulated EHR lets a right client in, and only a right one; every switch does what it says."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from api.demo.simulator.app import SimulatedEhr
from api.demo.simulator.faults import NO_FAULTS, Faults, IdTokenFaults
from api.demo.simulator.ledger import Context
from api.demo.simulator.simulator import Choice
from fhir_tracker import clock
from tests.support.right_client import APP, SCOPES, Client, back
from tests.support.simulated_ehr import NURSE, app_at, simulated_ehr


@pytest.fixture(scope="module")
def shared() -> Iterator[SimulatedEhr]:
    with simulated_ehr(auto=Choice(member="clerk", patient="ben")) as found:
        found.simulator.register(app_at(APP))
        found.simulator.register(app_at(APP, "confidential-symmetric", client_id="with secret", secret="a+b c%"))
        yield found


@pytest.fixture
def ehr(shared: SimulatedEhr) -> Iterator[SimulatedEhr]:
    yield shared
    shared.simulator.faults = NO_FAULTS
    shared.simulator.ledger.forget()


def test_a_right_client_gets_tokens_context_and_records_and_is_blamed_for_nothing(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    context = Context(patient="ada", encounter="e1", intent="task", fhir_context=({"reference": "Task/t1"},))
    told = client.let_in(context)
    assert (told["patient"], told["encounter"], told["intent"]) == ("ada", "e1", "task")
    assert told["fhirContext"] == [{"reference": "Task/t1"}]
    assert told["need_patient_banner"] is True
    assert told["scope"] == SCOPES
    claims = client.claims(told["id_token"])
    assert claims["fhirUser"] == f"{ehr.simulator.fhir_base}/{NURSE.fhir_user}"
    assert (claims["aud"], claims["nonce"], claims["iss"]) == ("care-tracker", client.nonce, ehr.simulator.fhir_base)
    assert client.read("Patient/ada", told["access_token"]).json()["id"] == "ada"
    assert client.read("Patient/ben", told["access_token"]).status_code == 404
    assert client.read("Patient", told["access_token"]).json()["total"] == 1
    assert httpx.get(f"{ehr.simulator.fhir_base}/Patient/ada").status_code == 401
    assert ehr.simulator.violations == ()


def test_the_way_back_names_the_issuer_and_the_state(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    told = client.launched()
    assert (told["state"], told["iss"]) == (client.state, ehr.simulator.issuer)
    assert client.known["authorization_response_iss_parameter_supported"] is True


def test_a_standalone_launch_takes_the_chosen_person_and_chart(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    scope = "openid fhirUser launch/patient patient/*.rs"
    told = client.token(back(client.authorize(scope=scope))["code"]).json()
    assert told["patient"] == "ben"
    assert client.claims(told["id_token"])["fhirUser"].endswith("/Practitioner/clerk")
    assert "refresh_token" not in told


def test_a_refresh_rotates_and_a_second_use_ends_the_family(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    first = client.let_in()
    second = client.refresh(first["refresh_token"]).json()
    assert second["refresh_token"] != first["refresh_token"]
    assert client.read("Patient/ada", second["access_token"]).status_code == 200
    assert client.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"
    assert client.read("Patient/ada", second["access_token"]).status_code == 401
    assert client.refresh(second["refresh_token"]).json()["error"] == "invalid_grant"
    assert "token: a refresh token was shown a second time" in ehr.simulator.violations


def test_a_refresh_may_ask_for_less_and_never_for_more(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    token = client.let_in()["refresh_token"]
    assert client.refresh(token, scope="openid patient/*.rs").json()["scope"] == "openid patient/*.rs"
    token = Client(ehr).let_in()["refresh_token"]
    assert client.refresh(token, scope=f"{SCOPES} user/*.cruds").json()["error"] == "invalid_scope"


def test_a_code_counts_once_and_its_second_use_ends_the_tokens(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    code = client.launched()["code"]
    token = client.token(code).json()["access_token"]
    assert client.token(code).json()["error"] == "invalid_grant"
    assert client.read("Patient/ada", token).status_code == 401


def test_a_code_is_too_old_after_a_minute(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    code = client.launched()["code"]
    ehr.simulator.now = lambda: clock.now() + timedelta(seconds=61)
    try:
        assert client.token(code).json()["error"] == "invalid_grant"
    finally:
        ehr.simulator.now = clock.now


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"aud": "http://127.0.0.1:9/fhir"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"state": None}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": ""}, "invalid_scope"),
        ({"scope": "launch everything"}, "invalid_scope"),
        ({"scope": "openid fhirUser"}, "invalid_request"),
        ({"launch": "guessed"}, "invalid_request"),
        ({"launch": None}, "invalid_request"),
    ],
)
def test_what_is_wrong_with_a_request_goes_back_as_an_error(
    ehr: SimulatedEhr, changed: dict[str, str | None], error: str
) -> None:
    client = Client(ehr)
    launch = ehr.simulator.launch("nurse", Context(patient="ada")).id
    told = back(client.authorize(**{"launch": launch, **changed}))
    assert told["error"] == error
    assert "code" not in told
    assert ehr.simulator.violations


@pytest.mark.parametrize(
    "changed",
    [{"client_id": "stranger"}, {"redirect_uri": f"{APP}/callback/"}, {"redirect_uri": "http://evil.example/callback"}],
)
def test_a_strange_app_or_way_back_gets_a_page_and_no_redirect(ehr: SimulatedEhr, changed: dict[str, str]) -> None:
    answer = Client(ehr).authorize(**changed)
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_launch_counts_once(ehr: SimulatedEhr) -> None:
    launch = ehr.simulator.launch("nurse", Context(patient="ada")).id
    assert "code" in back(Client(ehr).authorize(launch=launch))
    assert back(Client(ehr).authorize(launch=launch))["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"code_verifier": "v" * 50}, 400, "invalid_grant"),
        ({"code_verifier": None}, 400, "invalid_grant"),
        ({"redirect_uri": f"{APP}/other"}, 400, "invalid_grant"),
        ({"redirect_uri": None}, 400, "invalid_grant"),
        ({"code": "guessed"}, 400, "invalid_grant"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": "stranger"}, 401, "invalid_client"),
        ({"client_id": None}, 401, "invalid_client"),
        ({"client_id": "with secret"}, 401, "invalid_client"),
    ],
)
def test_a_wrong_request_for_a_token_is_refused_and_noted(
    ehr: SimulatedEhr, changed: dict[str, str | None], status: int, error: str
) -> None:
    client = Client(ehr)
    answer = client.token(client.launched()["code"], **changed)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert ehr.simulator.violations


SYSTEM = {"alg": "ES384", "typ": "JWT", "kid": "s1"}


@pytest.fixture(scope="module")
def key() -> ECKey:
    """What a system of the EHR signs with."""
    return ECKey.generate_key("P-384")


def by_itself(ehr: SimulatedEhr, key: ECKey, **changed: str) -> httpx.Response:
    """A system asks for a token of its own, with a right assertion."""
    public = {"keys": [{**key.as_dict(private=False), "kid": "s1"}]}
    ehr.simulator.register(app_at(APP, "confidential-asymmetric", client_id="system", jwks=public))
    endpoint = Client(ehr).known["token_endpoint"]
    now = int(clock.now().timestamp())
    claims = {"iss": "system", "sub": "system", "aud": endpoint, "exp": now + 200, "jti": secrets.token_urlsafe(16)}
    form = {
        "grant_type": "client_credentials",
        "scope": "system/Patient.rs",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(SYSTEM, claims, key, algorithms=["ES384"]),
    }
    return httpx.post(endpoint, data={**form, **changed})


def test_a_system_that_signs_for_itself_reads_what_its_scopes_say_and_belongs_to_nobody(
    ehr: SimulatedEhr, key: ECKey
) -> None:
    told = by_itself(ehr, key).json()
    assert {"refresh_token", "id_token", "patient"} & set(told) == set()
    assert told["scope"] == "system/Patient.rs"
    client = Client(ehr)
    assert client.read("Patient", told["access_token"]).status_code == 200
    assert client.read("Practitioner/nurse", told["access_token"]).status_code == 403
    assert "client_credentials" in client.known["grant_types_supported"]
    assert ehr.simulator.violations == ()


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"scope": ""}, 400, "invalid_scope"),
        ({"scope": "patient/*.rs"}, 400, "invalid_scope"),
        ({"scope": "system/*.rs openid"}, 400, "invalid_scope"),
        ({"client_assertion": "x.y.z"}, 401, "invalid_client"),
        ({"grant_type": "authorization_code"}, 400, "invalid_grant"),
    ],
)
def test_a_system_that_asks_for_what_is_of_people_or_signs_nothing_is_refused_and_noted(
    ehr: SimulatedEhr, key: ECKey, changed: dict[str, str], status: int, error: str
) -> None:
    answer = by_itself(ehr, key, **changed)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert ehr.simulator.violations


def test_an_app_without_keys_gets_no_token_of_its_own(ehr: SimulatedEhr) -> None:
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_id": "care-tracker"}
    answer = httpx.post(Client(ehr).known["token_endpoint"], data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert ehr.simulator.violations


def test_weak_or_repeated_secrets_are_noted_though_they_pass(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    client.launched(state="short")
    client.launched()
    assert set(ehr.simulator.violations) == {
        "authorize: state is too short to hold 122 bits",
        "authorize: nonce is missing or used a second time",
        "authorize: a code_challenge is used a second time",
    }


def test_a_secret_is_shown_as_basic_and_its_encoding_is_right(ehr: SimulatedEhr) -> None:
    client = Client(ehr, "with secret")
    form = {"grant_type": "authorization_code", "redirect_uri": f"{APP}/callback", "code_verifier": client.verifier}
    packed = base64.b64encode(b"with+secret:a%2Bb+c%25").decode()
    answer = httpx.post(
        client.known["token_endpoint"],
        data={**form, "code": client.launched()["code"]},
        headers={"Authorization": f"Basic {packed}"},
    )
    assert answer.status_code == 200
    assert ehr.simulator.violations == ()
    packed = base64.b64encode(b"with+secret:other").decode()
    wrong = httpx.post(client.known["token_endpoint"], data=form, headers={"Authorization": f"Basic {packed}"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


def assertion(ehr: SimulatedEhr, key: ECKey, **changed: object) -> str:
    now = int(clock.now().timestamp())
    claims: dict[str, object] = {
        "iss": "with-keys",
        "sub": "with-keys",
        "aud": ehr.simulator.address("token"),
        "exp": now + 200,
        "jti": secrets.token_urlsafe(12),
        **changed,
    }
    return jwt.encode({"alg": "ES384", "kid": "k1", "typ": "JWT"}, claims, key, algorithms=["ES384"])


@pytest.mark.parametrize(
    ("changed", "status"),
    [({}, 200), ({"aud": "http://127.0.0.1:9/token"}, 401), ({"exp": 1}, 401), ({"jti": ""}, 401), ({"sub": "x"}, 401)],
)
def test_an_assertion_is_checked(ehr: SimulatedEhr, changed: dict[str, object], status: int) -> None:
    key = ECKey.generate_key("P-384")
    public = {**key.as_dict(private=False), "kid": "k1", "alg": "ES384", "use": "sig"}
    ehr.simulator.register(app_at(APP, "confidential-asymmetric", client_id="with-keys", jwks={"keys": [public]}))
    client = Client(ehr, "with-keys")
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    shown = assertion(ehr, key, **changed)
    code = client.launched()["code"]
    answer = client.token(code, client_id=None, client_assertion_type=kind, client_assertion=shown)
    assert answer.status_code == status, answer.text
    again = client.token(client.launched(state="s" * 30)["code"], client_assertion_type=kind, client_assertion=shown)
    assert again.status_code == 401


@pytest.mark.parametrize(
    "fault", [IdTokenFaults(algorithm="none"), IdTokenFaults(algorithm="HS256"), IdTokenFaults(unsigned=True)]
)
def test_an_id_token_can_be_signed_wrongly(ehr: SimulatedEhr, fault: IdTokenFaults) -> None:
    ehr.simulator.faults = Faults(id_token=fault)
    client = Client(ehr)
    token = client.let_in()["id_token"]
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["alg"] == fault.algorithm
    with pytest.raises(JoseError):
        client.claims(token)


def test_claims_context_metadata_and_the_way_back_can_be_replaced(ehr: SimulatedEhr) -> None:
    ehr.simulator.faults = Faults(
        id_token=IdTokenFaults(claims={"iss": "http://elsewhere", "aud": None, "nonce": "other"}),
        context={"patient": "ben", "token_type": "mac"},
        metadata={"jwks_uri": None},
        callback={"iss": "http://elsewhere"},
        token_life=-1,
        without_refresh=True,
        withheld=frozenset({"patient/*.rs"}),
    )
    client = Client(ehr)
    assert "jwks_uri" not in client.known
    way = client.launched()
    assert way["iss"] == "http://elsewhere"
    told = client.token(way["code"]).json()
    assert (told["patient"], told["token_type"]) == ("ben", "mac")
    assert "refresh_token" not in told
    assert "patient/*.rs" not in told["scope"]
    assert client.read("Patient/ada", told["access_token"]).status_code == 401


def test_a_refresh_token_can_stay_and_the_life_of_a_token_untold(ehr: SimulatedEhr) -> None:
    ehr.simulator.faults = Faults(without_rotation=True, says_life=False, other_patient="ben")
    client = Client(ehr)
    first = client.let_in()
    assert "expires_in" not in first
    assert first["patient"] == "ben"
    for _ in range(2):
        again = client.refresh(first["refresh_token"]).json()
        assert "refresh_token" not in again
        assert client.read("Patient/ada", again["access_token"]).status_code == 200
    ehr.simulator.ledger.end_access()
    assert client.read("Patient/ada", again["access_token"]).status_code == 401
    assert client.refresh(first["refresh_token"]).status_code == 200
    ehr.simulator.ledger.end_everything()
    assert client.refresh(first["refresh_token"]).json()["error"] == "invalid_grant"


def test_an_endpoint_can_be_slow(ehr: SimulatedEhr) -> None:
    ehr.simulator.faults = Faults(slow={"jwks": 3.0})
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(ehr.simulator.address("jwks"), timeout=httpx.Timeout(60, read=0.2))
    ehr.simulator.faults = Faults(slow={"jwks": 0.1})
    assert httpx.get(ehr.simulator.address("jwks"), timeout=60).status_code == 200


def test_no_patient_no_id_token_and_no_pkce(ehr: SimulatedEhr) -> None:
    ehr.simulator.faults = Faults(without_patient=True, without_pkce=True, id_token=IdTokenFaults(missing=True))
    client = Client(ehr)
    assert "code_challenge_methods_supported" not in client.known
    told = client.let_in()
    assert "patient" not in told
    assert "id_token" not in told


@pytest.mark.parametrize("fault", [Faults(denied=True), Faults(refused_scopes=True)])
def test_a_person_or_the_server_can_say_no(ehr: SimulatedEhr, fault: Faults) -> None:
    ehr.simulator.faults = fault
    assert Client(ehr).launched()["error"] in {"access_denied", "invalid_scope"}


def test_keys_are_rotated_hidden_doubled_and_spoiled(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    before = httpx.get(client.known["jwks_uri"]).json()["keys"][0]
    assert "d" not in before
    ehr.simulator.keys.rotate()
    after = httpx.get(client.known["jwks_uri"]).json()["keys"][0]
    assert after["kid"] != before["kid"]
    assert after["n"] != before["n"]
    assert client.claims(client.let_in()["id_token"])["sub"] == "nurse"
    ehr.simulator.faults = Faults(keys="others")
    other = httpx.get(client.known["jwks_uri"]).json()["keys"][0]
    assert (other["kid"], other["n"] != after["n"]) == (after["kid"], True)
    ehr.simulator.faults = Faults(keys="none")
    assert httpx.get(client.known["jwks_uri"]).json() == {"keys": []}
    ehr.simulator.faults = Faults(keys="ambiguous")
    assert [one["kid"] for one in httpx.get(client.known["jwks_uri"]).json()["keys"]] == [after["kid"]] * 2
    ehr.simulator.faults = Faults(keys="garbage")
    assert "html" in httpx.get(client.known["jwks_uri"]).text


def test_endpoints_fail_redirect_and_answer_pages(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    address = f"{ehr.simulator.fhir_base}/.well-known/smart-configuration"
    ehr.simulator.faults = Faults(down=frozenset({"discovery"}))
    assert httpx.get(address).status_code == 500
    ehr.simulator.faults = Faults(redirecting=frozenset({"discovery"}))
    assert httpx.get(address).status_code == 302
    ehr.simulator.faults = Faults(not_json=frozenset({"discovery", "token"}))
    assert "html" in httpx.get(address).headers["content-type"]
    assert "portal" in client.token("any").text
    ehr.simulator.faults = replace(NO_FAULTS, token_error="temporarily_unavailable")
    assert client.token(client.launched()["code"]).json()["error"] == "temporarily_unavailable"


def test_tokens_are_introspected_and_revoked_by_their_app(ehr: SimulatedEhr) -> None:
    client = Client(ehr)
    told = client.let_in()
    ask = {"token": told["access_token"], "client_id": "care-tracker"}
    about = httpx.post(client.known["introspection_endpoint"], data=ask).json()
    assert (about["active"], about["patient"], about["client_id"]) == (True, "ada", "care-tracker")
    assert httpx.post(client.known["introspection_endpoint"], data={"token": "x"}).status_code == 401
    httpx.post(client.known["revocation_endpoint"], data={**ask, "token": told["refresh_token"]})
    assert httpx.post(client.known["introspection_endpoint"], data=ask).json() == {"active": False}
    assert client.read("Patient/ada", told["access_token"]).status_code == 401
    assert ehr.simulator.violations == ()


def test_requests_are_kept_for_tests_to_look_at(ehr: SimulatedEhr) -> None:
    Client(ehr).let_in()
    kinds = [one.endpoint for one in ehr.simulator.ledger.seen]
    assert kinds == ["discovery", "authorize", "token"]
    assert ehr.simulator.ledger.seen[1].parameters["code_challenge_method"] == "S256"
    httpx.post(f"{ehr.simulator.address('token')}?client_id=care-tracker", data={})
    assert "token: parameters of a POST stand in its address" in ehr.simulator.violations


def test_without_anybody_chosen_the_pages_ask_who_which_and_whether(shared: SimulatedEhr) -> None:
    with simulated_ehr() as ehr:
        ehr.simulator.register(app_at(APP))
        client = Client(ehr)
        page = client.authorize(scope="openid fhirUser launch/patient patient/*.rs")
        assert "Who are you?" in page.text
        answer = f"{ehr.simulator.origin}/oauth/answer"
        page = httpx.post(answer, data={"key": key_of(page.text), "member": "nurse"})
        assert "Which patient?" in page.text
        page = httpx.post(answer, data={"key": key_of(page.text), "patient": "ada"})
        assert "Allow Care plan tracker?" in page.text
        last = key_of(page.text)
        told = client.token(back(httpx.post(answer, data={"key": last, "allow": "yes"}))["code"]).json()
        assert told["patient"] == "ada"
        assert httpx.post(answer, data={"key": last, "allow": "yes"}).status_code == 400
        page = client.authorize(scope="openid fhirUser", state="t" * 30)
        assert back(httpx.post(answer, data={"key": key_of(page.text), "allow": "no"}))["error"] == "access_denied"


def key_of(page: str) -> str:
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def test_the_frame_asks_who_and_makes_launches_of_open_charts(ehr: SimulatedEhr) -> None:
    with httpx.Client(base_url=ehr.simulator.origin) as browser:
        assert "Who are you?" in browser.get("/ehr").text
        assert browser.post("/ehr/launch", data={"app": "care-tracker"}).status_code == 400
        browser.post("/ehr/login", data={"member": "nurse"})
        frame = browser.get("/ehr")
        assert "Nora Nurse" in frame.text
        assert f"frame-src 'self' {APP};" in frame.headers["content-security-policy"]
        told = browser.post("/ehr/launch", data={"app": "care-tracker", "patient": "ada"}).json()
        launch = dict(parse_qsl(urlsplit(told["address"]).query))
        assert told["address"].startswith(f"{APP}/launch?")
        assert launch["iss"] == ehr.simulator.fhir_base
        client = Client(ehr)
        assert client.token(back(client.authorize(launch=launch["launch"]))["code"]).json()["patient"] == "ada"
        queues = browser.post("/ehr/launch", data={"app": "care-tracker", "patient": ""}).json()
        launch = dict(parse_qsl(urlsplit(queues["address"]).query))
        client = Client(ehr)
        assert "patient" not in client.token(back(client.authorize(launch=launch["launch"]))["code"]).json()
        assert browser.post("/ehr/launch", data={"app": "care-tracker", "patient": "zoe"}).status_code == 400
        elsewhere = browser.post("/ehr/launch", data={"app": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert elsewhere.status_code == 403
        browser.post("/ehr/logout")
        assert "Who are you?" in browser.get("/ehr").text


def test_the_day_is_told_beside_the_charts(ehr: SimulatedEhr) -> None:
    assert httpx.get(f"{ehr.simulator.origin}/ehr/day.json").json() == {}
    ehr.frame.tell({"phase": "running", "steps": [], "recent": []})
    assert httpx.get(f"{ehr.simulator.origin}/ehr/day.json").json()["phase"] == "running"
