"""Servers unlike our simulator: what the specifications leave open, or real servers do, lets in; what they forbid does not.

The shapes follow what the vendors publish of their authorization servers; nothing here is a copy of any of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fhir_tracker.fhir.identity import local_id
from tests.support.other_servers import (
    CLIENT,
    EC384,
    OTHER_RSA,
    RSA,
    SECRET,
    SMART,
    Practice,
    Server,
    older_statement,
    one_practice,
    page_of,
    public,
)

OPENID = "/auth/.well-known/openid-configuration"
SYMMETRIC = {"client_type": "confidential-symmetric", "secret": SECRET}
ELSEWHERE = "https://elsewhere.example"
NO_PAGE = page_of({}, 404)
HTML = page_of(b"<html>log in first</html>", kind="text/html")


@pytest.fixture(scope="module")
def clinic(prepared_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    """One tracker for all: what is looked at goes over the wire, and each server is a connection of its own."""
    with one_practice(prepared_file, tmp_path_factory.mktemp("others")) as found:
        yield found


def known(clinic: Practice, server: Server, **terms: Any) -> str:
    """A server that lets in a nurse who has an account."""
    key = clinic.connect(server, **terms)
    clinic.person(key)
    return key


VENDORS: dict[str, tuple[Server, dict[str, Any]]] = {
    "Epic": (
        Server(
            configuration={
                "capabilities": ["launch-ehr", "client-public", "sso-openid-connect", "permission-v1", "permission-v2"],
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "client_secret_basic",
                    "private_key_jwt",
                ],
                "scopes_supported": ["openid", "fhirUser", "launch", "epic.scanning.dmsusername"],
            },
            token={
                "patient": "eq081-VQEgP8drUUqCWzHfw3",
                "__epic.dstu2.patient": "T1wI5bk8n1YVgvWk9D05BmRV0Pi3ECImNSK8DKyKltsMB",
                "need_patient_banner": "false",
                "smart_style_url": "https://ehr.example/styles.json",
                "encounter": "e.X-1",
                "location": "e123",
                "appointment": "e456",
                "loginDepartment": "e789",
                "state": "echoed",
            },
            code="eyJhbGciOiJSUzI1NiJ9." + "a" * 3000,
        ),
        {},
    ),
    "Oracle Health": (
        Server(
            configuration={"issuer": "{auth}", "jwks_uri": None, "capabilities": ["launch-ehr", "permission-v1"]},
            token={
                "patient": "12724066",
                "encounter": "97953477",
                "tenant": "ec2458f2",
                "username": "portal",
                "user": "portal",
                "need_patient_banner": True,
                "scope": "launch online_access openid fhirUser patient/Patient.read",
                "expires_in": 570,
            },
            claims={"fhirUser": None, "profile": "{base}/Practitioner/nurse"},
        ),
        {},
    ),
    "athenahealth": (
        Server(
            configuration={"token_endpoint_auth_methods_supported": ["client_secret_basic"]},
            token={"patient": "a-1.Patient-100", "ah-practice": "a-1.Practice-195900", "expires_in": "3600"},
            claims={"aud": [CLIENT], "azp": CLIENT, "ver": 1, "amr": ["pwd"]},
            basic=True,
        ),
        SYMMETRIC,
    ),
    "eClinicalWorks": (
        Server(
            configuration={"token_endpoint_auth_methods_supported": ["client_secret_post"]},
            token={"patient": "Lt2IFR8pyZvvJHR1Ko8mjtgrS1cNjcPN1g0bNSZKDcs", "token_type": "bearer", "scope": None},
            claims={"nbf": 0},
        ),
        SYMMETRIC,
    ),
    "SMART launcher": (
        Server(
            configuration={
                "issuer": "{base}",
                "jwks_uri": "{at}/keys",
                "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic"],
                "management_endpoint": "{auth}/manage",
                "associated_endpoints": [{"url": "{base}", "capabilities": ["smart-app-state"]}],
                "user_access_brand_bundle": {"odd": True},
            },
            token={"patient": "87a339d0-8cae-418e-89c7-8651e6aab3c6", "intent": "reconcile", "sim_error": ""},
            claims={"iss": "{base}", "fhirUser": "Practitioner/nurse", "profile": "Practitioner/nurse"},
            pages={
                "/fhir/.well-known/openid-configuration": page_of({"issuer": "{base}", "jwks_uri": "{at}/keys"}),
                "/keys": page_of({"keys": [public(RSA, ext=True, key_ops=["verify"], use=None)]}),
            },
        ),
        {},
    ),
    "HAPI with Keycloak": (
        Server(
            configuration={"issuer": None, "jwks_uri": None, "capabilities": ["launch-ehr", "client-public"]},
            token={"patient": 42, "session_state": "0e0e", "not-before-policy": 0, "refresh_expires_in": 1800},
            claims={"aud": CLIENT, "azp": CLIENT, "typ": "ID", "acr": "1", "fhirUser": "Practitioner/nurse"},
            back={"iss": "{auth}", "session_state": "0e0e"},
            keys=(public(OTHER_RSA, kid="two", use="enc", alg="RSA-OAEP"), public(RSA, alg="RS256", x5t="x")),
        ),
        {},
    ),
    "Medplum": (
        Server(
            token={
                "patient": "0a1b2c3d-0000-4000-8000-000000000001",
                "project": {"reference": "Project/1"},
                "profile": {"reference": "Practitioner/nurse"},
                "refresh_token": "",
                "smart_style_url": None,
            },
            claims={"fhirUser": "{base}/Practitioner/nurse", "login_id": "x", "nonce_extra": 1},
        ),
        {},
    ),
    "Aidbox": (
        Server(
            configuration={"capabilities": None, "grant_types_supported": ["authorization_code", "implicit"]},
            token={"patient": "pt-1", "userinfo": {"id": "nurse"}, "need_patient_banner": True, "expires_in": None},
            claims={"email": None, "fhirUser": "{base}/Practitioner/nurse"},
            keys=(public(RSA, alg=None, use=None), public(EC384, kid="two")),
        ),
        {},
    ),
}
LOCAL: dict[str, str] = {
    "Epic": "eq081-VQEgP8drUUqCWzHfw3",
    "Oracle Health": "12724066",
    "athenahealth": "a-1.Patient-100",
    "eClinicalWorks": "Lt2IFR8pyZvvJHR1Ko8mjtgrS1cNjcPN1g0bNSZKDcs",
    "SMART launcher": "87a339d0-8cae-418e-89c7-8651e6aab3c6",
    "HAPI with Keycloak": "42",
    "Medplum": "0a1b2c3d-0000-4000-8000-000000000001",
    "Aidbox": "pt-1",
}


@pytest.mark.requirement(90)
@pytest.mark.parametrize("vendor", VENDORS)
def test_a_chart_opens_from_servers_as_vendors_describe_theirs(clinic: Practice, vendor: str) -> None:
    server, terms = VENDORS[vendor]
    key = known(clinic, server, **terms)
    browser = clinic.browser()
    session = clinic.session(clinic.come_in(key, browser))
    assert session.patient == local_id(key, LOCAL[vendor], "Patient")
    page = browser.get(f"/l/{session.id}/patients/{session.patient}")
    assert (page.status_code, "Pat Synthetic" in page.text) == (200, True)


ACCEPTED: dict[str, tuple[Server, dict[str, Any]]] = {
    "an issuer with a slash at its end": (
        Server(
            configuration={"issuer": "{auth}/"},
            openid={"issuer": "{auth}/"},
            claims={"iss": "{auth}/"},
            back={"iss": "{auth}/"},
        ),
        {},
    ),
    "no ways to show a secret are told: Basic": (Server(basic=True), SYMMETRIC),
    "nothing is told of jwks": (Server(configuration={"jwks_uri": None}), {}),
    "no openid-configuration: keys of the smart-configuration": (Server(pages={OPENID: NO_PAGE}), {}),
    "a login page where openid-configuration should be": (Server(pages={OPENID: HTML}), {}),
    "members of odd types": (
        Server(
            configuration={
                "scopes_supported": "openid fhirUser",
                "capabilities": {"launch-ehr": True},
                "token_endpoint_auth_methods_supported": 7,
                "revocation_endpoint": None,
                "introspection_endpoint": [],
                "grant_types_supported": "authorization_code",
                "authorization_response_iss_parameter_supported": "true",
            }
        ),
        {},
    ),
    "keys with their own media type": (
        Server(pages={"/auth/keys": page_of({"keys": [public(RSA)]}, kind="application/jwk-set+json; charset=utf-8")}),
        {},
    ),
    "the older way only": (
        Server(pages={SMART: NO_PAGE, "/fhir/metadata": older_statement()}),
        {"checks_pkce": False},
    ),
    "the older way, everything else wants a login": (
        Server(pages={SMART: page_of({}, 401), "/fhir/metadata": older_statement()}),
        {"checks_pkce": False},
    ),
    "an authorization address with a query of its own": (
        Server(configuration={"authorization_endpoint": "{auth}/authorize?realm=a%20b"}),
        {},
    ),
    "a configuration that has moved within its server": (
        Server(
            pages={
                SMART: (302, {"Location": "{at}/moved"}, b""),
                "/moved": page_of(
                    {
                        "authorization_endpoint": "{auth}/authorize",
                        "token_endpoint": "{auth}/token",
                        "issuer": "{auth}",
                        "code_challenge_methods_supported": ["plain", "S256"],
                    }
                ),
            }
        ),
        {},
    ),
    "ES384 without a name of the key": (Server(alg="ES384", header={"kid": None}), {}),
    "one key without a name": (Server(header={"kid": None}, keys=(public(RSA, kid=None),)), {}),
    "two kinds of keys of one name": (Server(keys=(public(EC384, alg="ES384"), public(RSA))), {}),
    "the same key told twice": (Server(keys=(public(RSA), public(RSA))), {}),
    "another type in the token's header": (Server(header={"typ": "id_token+jwt"}), {}),
    "a moment a little ahead": (Server(claims={"iat": 4_000_000_000}), {}),
    "fhirUser of a version": (Server(claims={"fhirUser": "{base}/Practitioner/nurse/_history/3"}), {}),
    "a fhirUser that says nothing, and a profile": (
        Server(claims={"fhirUser": "", "profile": "{base}/Practitioner/nurse"}),
        {},
    ),
    "an empty scope": (Server(token={"scope": ""}), {}),
    "a reduced scope": (Server(token={"scope": "openid fhirUser"}), {}),
    "scopes in another order": (Server(token={"scope": "patient/Patient.rs fhirUser launch openid"}), {}),
    "no type of the token": (Server(token={"token_type": None}), {}),
    "a life in parts of a second": (Server(token={"expires_in": 299.5}), {}),
    "a life of no sense": (Server(token={"expires_in": "soon"}), {}),
    "a code of odd signs": (Server(code="a+b/c=&d%2B e~\u00e9|#?"), {}),
    "a long code": (Server(code="c" * 6000), {}),
    "who answers is told, and nobody said it would be": (Server(back={"iss": "{auth}"}), {}),
    "more on the way back than is known, on several lines": (
        Server(back={"session_state": "a\r\nb", "client_info": "\x7f", "error_description": ""}),
        {},
    ),
    "odd members of a token's answer": (
        Server(
            token={"refresh_token": 7, "intent": ["x"], "tenant": None, "fhirContext": "Task/1", "patient": "", "a": []}
        ),
        {},
    ),
}


@pytest.mark.requirement(90)
@pytest.mark.parametrize("kind", ACCEPTED)
def test_what_the_specifications_leave_open_lets_in(clinic: Practice, kind: str) -> None:
    server, terms = ACCEPTED[kind]
    if kind == "a moment a little ahead":
        server.claims = {"iat": int(time.time()) + 40, "nbf": int(time.time()) + 40}
    key = known(clinic, server, **terms)
    assert clinic.session(clinic.come_in(key)).issuer == clinic.issuer(key).url


def moved(status: int, where: str = "{auth}/elsewhere") -> Server:
    """A server whose token endpoint sends on."""
    return Server(pages={"/auth/token": (status, {"Location": where}, b"")})


REFUSED: dict[str, tuple[Server, dict[str, Any], int, str]] = {
    "relative addresses": (
        Server(configuration={"authorization_endpoint": "/auth/authorize"}),
        {},
        502,
        "authorization_endpoint",
    ),
    "a relative token address": (Server(configuration={"token_endpoint": "token"}), {}, 502, "token_endpoint"),
    "no token address": (Server(configuration={"token_endpoint": None}), {}, 502, "token_endpoint"),
    "an address that is a list": (
        Server(configuration={"authorization_endpoint": ["{auth}/authorize"]}),
        {},
        502,
        "authorization_endpoint",
    ),
    "plain PKCE only": (Server(configuration={"code_challenge_methods_supported": ["plain"]}), {}, 502, "PKCE"),
    "PKCE as text": (Server(configuration={"code_challenge_methods_supported": "S256"}), {}, 502, "PKCE"),
    "nothing said of PKCE": (Server(configuration={"code_challenge_methods_supported": None}), {}, 502, "PKCE"),
    "a list where the configuration should be": (Server(pages={SMART: page_of([1])}), {}, 502, ""),
    "the older way without a word of PKCE": (
        Server(pages={SMART: NO_PAGE, "/fhir/metadata": older_statement()}),
        {},
        502,
        "--no-pkce-check",
    ),
    "nothing at all": (Server(pages={SMART: NO_PAGE}), {}, 502, "404"),
    "alg none": (Server(alg="none"), {}, 403, "not trusted"),
    "HS256 with our own secret": (Server(alg="HS256", basic=True), SYMMETRIC, 403, "not trusted"),
    "a method nobody agreed on": (Server(alg="PS256"), {}, 403, "RS256"),
    "a curve nobody agreed on": (Server(alg="ES256"), {}, 403, "RS256"),
    "no name of the key, and two keys": (
        Server(header={"kid": None}, keys=(public(RSA), public(OTHER_RSA, kid="two"))),
        {},
        403,
        "more than one key",
    ),
    "two keys of one name": (Server(keys=(public(RSA), public(OTHER_RSA))), {}, 403, "more than one key"),
    "a key for other uses only": (Server(keys=(public(RSA, use="enc"),)), {}, 403, "no key"),
    "no nonce": (Server(claims={"nonce": None}), {}, 403, "another login"),
    "an id_token of another server there": (Server(claims={"iss": "{base}"}), {}, 403, "another issuer"),
    "an issuer that differs by a slash": (Server(claims={"iss": "{auth}/"}), {}, 403, "another issuer"),
    "no id_token although it was asked for": (Server(token={"id_token": None}), {}, 403, "no id_token"),
    "a Patient as the user": (Server(claims={"fhirUser": "{base}/Patient/nurse"}), {}, 403, "staff"),
    "a Device as the user": (Server(claims={"fhirUser": "{base}/Device/nurse"}), {}, 403, "staff"),
    "a user of a server beside it": (Server(claims={"fhirUser": "{base}x/Practitioner/nurse"}), {}, 403, "staff"),
    "a user of the authorization server": (Server(claims={"fhirUser": "{auth}/Practitioner/nurse"}), {}, 403, "staff"),
    "a token of another kind": (Server(token={"token_type": "DPoP"}), {}, 403, "bearer"),
    "no token": (Server(token={"access_token": None}), {}, 403, "without a token"),
    "a token page in HTML": (Server(pages={"/auth/token": HTML}), {}, 403, "without a token"),
    "a token endpoint that is broken": (Server(pages={"/auth/token": page_of(b"oops", 500)}), {}, 502, "500"),
    "a token endpoint that moved, as a GET": (moved(302), {}, 403, "redirects"),
    "a token endpoint that moved to another server": (moved(307, f"{ELSEWHERE}/token"), {}, 403, "another origin"),
    "a token endpoint that moves without end": (moved(308, "{auth}/token"), {}, 403, "without end"),
    "a refusal in HTML": (Server(pages={"/auth/token": page_of(b"<h1>no</h1>", 400, "text/html")}), {}, 403, "400"),
    "the way back names another": (Server(back={"iss": ELSEWHERE}), {}, 400, "somebody else"),
    "the way back names nobody": (Server(back={"iss": ""}), {}, 400, "somebody else"),
    "the way back names the FHIR base, which is not the issuer": (
        Server(back={"iss": "{base}"}),
        {},
        400,
        "somebody else",
    ),
    "no issuer is told, and the way back names one elsewhere": (
        Server(configuration={"issuer": None}, back={"iss": ELSEWHERE}),
        {},
        400,
        "somebody else",
    ),
    "no issuer is told, and who answers is not where the code goes": (
        Server(
            configuration={"issuer": None, "authorization_endpoint": "http://localhost:9/authorize"},
            back={"iss": "http://localhost:9"},
        ),
        {},
        400,
        "somebody else",
    ),
    "an error with a reason on several lines": (
        Server(back={"code": None, "error": "access_denied", "error_description": "AADSTS65004: no\r\nTrace: 1\r\n"}),
        {},
        400,
        "said no",
    ),
    "an error of its own making": (Server(back={"code": None, "error": "4105"}), {}, 400, "no reason that is known"),
    "an error beside a code": (Server(back={"error": "access_denied"}), {}, 400, "said no"),
    "a code that is changed on its way": (Server(back={"code": "another"}), {}, 403, "invalid_grant"),
    "a state with a space behind it": (Server(back={"state": "x "}), {}, 400, "not known any more"),
}


@pytest.mark.requirement(92)
@pytest.mark.security("S1", "S8", "S13", "S15", "S17")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_they_forbid_is_refused_in_plain_words(clinic: Practice, kind: str) -> None:
    server, terms, status, said = REFUSED[kind]
    key = known(clinic, server, **terms)
    browser = clinic.browser()
    answer = clinic.come_in(key, browser)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert "Traceback" not in answer.text
    assert not any(one.startswith("__Host-l-") for one in browser.cookies)
