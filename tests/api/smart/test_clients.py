"""Every type of client: what is shown at the token endpoint, with what, and that a secret is kept and shown nowhere else."""

from __future__ import annotations

import base64
from urllib.parse import unquote_plus

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from api.demo.simulator.faults import Faults
from api.demo.simulator.ledger import Seen
from fhir_tracker import clock, issuers, signing_keys
from fhir_tracker.issuers import Terms
from fhir_tracker.signing_keys import Keyring
from fhir_tracker.storage.issuers import PROVIDER
from tests.support.launching import BASE, KEY, SECRET, Launchpad, launch_of
from tests.support.simulated_ehr import app_at


@pytest.fixture
def ready_url(one_file: str) -> str:
    """The subject is what goes over the wire."""
    return one_file


def shown(pad: Launchpad) -> Seen:
    """The request for the token."""
    return next(one for one in pad.simulator.ledger.seen if one.endpoint == "token")


@pytest.mark.requirement(93)
def test_a_public_client_shows_its_id_and_the_verifier(pad: Launchpad) -> None:
    assert launch_of(pad.browser().come_in())
    form = shown(pad).parameters
    assert set(form) == {"grant_type", "code", "redirect_uri", "code_verifier", "client_id"}
    assert (form["client_id"], shown(pad).authorization) == ("care-tracker", "")
    assert form["redirect_uri"] == f"{BASE}/callback"
    assert 43 <= len(form["code_verifier"]) <= 128
    assert pad.simulator.violations == ()


@pytest.mark.requirement(93)
@pytest.mark.security("S18", "S55")
def test_a_client_with_a_secret_shows_it_by_basic_only(pad: Launchpad) -> None:
    pad.set_up("confidential-symmetric")
    answer = pad.browser().come_in()
    assert launch_of(answer)
    kind, _, packed = shown(pad).authorization.partition(" ")
    pair = [unquote_plus(one) for one in base64.b64decode(packed).decode().split(":")]
    assert (kind, pair) == ("Basic", ["care-tracker", SECRET])
    assert SECRET not in str(shown(pad).parameters) + str(answer.headers)
    assert pad.simulator.violations == ()


@pytest.mark.requirement(93)
def test_a_server_that_takes_secrets_in_the_form_only_gets_them_there(pad: Launchpad) -> None:
    pad.set_up("confidential-symmetric")
    pad.simulator.faults = Faults(metadata={"token_endpoint_auth_methods_supported": ["client_secret_post"]})
    pad.browser().come_in()
    assert (shown(pad).parameters["client_secret"], shown(pad).authorization) == (SECRET, "")


@pytest.mark.requirement(93, 102)
@pytest.mark.parametrize("alg", ["RS384", "ES384"])
def test_a_client_with_keys_signs_a_fresh_assertion(pad: Launchpad, alg: str) -> None:
    keys = Keyring(database=pad.database, secret_key=pad.context.secret_key)
    keys.ensure(clock.now(), alg)
    with pad.database.read() as tx:
        page = signing_keys.key_set(tx)
    pad.set_up("confidential-asymmetric", jwks=page)
    assert launch_of(pad.browser().come_in())
    assert launch_of(pad.browser().come_in())
    asked = [one.parameters for one in pad.simulator.ledger.seen if one.endpoint == "token"]
    known = KeySet.import_key_set(page)  # type: ignore[arg-type]
    found = [jwt.decode(one["client_assertion"], known, algorithms=[alg]) for one in asked]
    claims = found[0].claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == (
        "care-tracker",
        "care-tracker",
        pad.simulator.address("token"),
    )
    assert 0 < claims["exp"] - claims["iat"] <= 300
    assert found[0].header["kid"] == page["keys"][0]["kid"]
    assert found[0].claims["jti"] != found[1].claims["jti"]
    assert pad.simulator.violations == ()


def test_a_secret_or_key_that_is_wrong_is_told_without_it(pad: Launchpad) -> None:
    pad.set_up("confidential-symmetric")
    pad.simulator.register(app_at(BASE, "confidential-symmetric", secret="another"))
    answer = pad.browser().come_in()
    assert (answer.status_code, "invalid_client" in answer.text, SECRET in answer.text) == (403, True, False)


def test_a_secret_sealed_with_another_key_is_a_plain_problem(pad: Launchpad) -> None:
    terms = Terms(url=pad.simulator.fhir_base, client_id="care-tracker", secret=SECRET)
    with pad.database.begin() as tx:
        issuers.of_connection(tx, KEY, terms, "z" * 40, clock.now())
    answer = pad.browser().come_in()
    assert (answer.status_code, "FHIR_TRACKER_SECRET_KEY" in answer.text) == (400, True)
    assert pad.sessions() == []


@pytest.mark.requirement(95)
def test_a_login_provider_is_an_issuer_of_another_kind(pad: Launchpad) -> None:
    """What is asked of it comes from openid-configuration; nothing of an EHR's is asked for."""
    terms = Terms(url=pad.simulator.issuer, client_id="care-tracker", checks_pkce=False)
    with pad.database.begin() as tx:
        issuers.remove(tx, KEY, clock.now())
        office = issuers.of_provider(tx, "office", terms, pad.context.secret_key, clock.now())
    assert office.kind == PROVIDER
    sent = pad.browser().get("/launch/standalone", iss=pad.simulator.issuer)
    assert sent.status_code == 302
    assert "aud=" not in sent.headers["location"]
    assert "scope=openid&" in sent.headers["location"]
    assert [one.endpoint for one in pad.simulator.ledger.seen] == ["openid"]
    assert pad.browser().get("/launch", iss=pad.simulator.issuer, launch="x").status_code == 400
